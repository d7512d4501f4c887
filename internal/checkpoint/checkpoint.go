// Package checkpoint saves named tensors and the state of a run. A crash at any moment leaves the old checkpoint or the
// new one, complete. A damaged checkpoint is recognised and never loaded.
//
// Save writes dir/step-N; Newest finds the newest checkpoint that verifies, and Open reads it. A checkpoint is a
// Hugging Face model directory with the state of the run beside it. It is complete when its manifest verifies. Prune
// deletes old checkpoints; marks give names to steps worth keeping.
//
// docs/format/checkpoint.md specifies the protocol and the format. The package knows no model: it sees names, shapes,
// []float32 and bytes. It does not decide when to save or what to keep, does not shard, and reads no pickle. The caller
// holds the lock of the run: one process writes to a directory at a time.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/safetensors"
)

// Names of the files that this package itself writes.
const (
	ModelFile     = "model.safetensors"
	OptimizerFile = "optimizer.safetensors"
	AdapterFile   = "adapter_model.safetensors" // in place of ModelFile
	ManifestFile  = "manifest.json"
)

const stateFile = "state.json" // of a run; the package does not read it

// Errors of this package, matched with errors.Is.
var (
	// ErrCorrupt: the checkpoint is not complete, or its content is not what was saved.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrNone: there is no checkpoint, or none that verifies.
	ErrNone = errors.New("no valid checkpoint")
	// ErrVersion: the format is newer than this program knows.
	ErrVersion = errors.New("unknown checkpoint version")
)

const maxSmallFile = 1 << 28 // bytes of a file that is not a safetensors file

// corrupt returns an ErrCorrupt that says where and what, and what to do.
func corrupt(path, file, format string, args ...any) error {
	return fmt.Errorf("checkpoint: %s: %s %s: %w: restore it from a copy, or use another checkpoint",
		path, file, fmt.Sprintf(format, args...), ErrCorrupt)
}

// wrap adds to an error what was done.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf("checkpoint: %s: %w", fmt.Sprintf(format, args...), *err)
	}
}

// Checkpoint is an open checkpoint. Safe for concurrent use until Close.
type Checkpoint struct {
	fsys             durable.FS
	path             string
	manifest         *manifest // nil for a directory with weights only
	model, optimizer *safetensors.File
	adapter          bool // model is one
	open             []durable.File
}

// Open opens a checkpoint after reading all of it: the manifest, the size and hash of every file, and the headers of
// the tensors.
//
// Failure: ErrNone if there is nothing at path, ErrVersion if a newer program wrote it, ErrCorrupt if anything is
// missing or differs from what was saved; other errors come from the file system.
func Open(fsys durable.FS, path string) (_ *Checkpoint, err error) {
	m, err := readManifest(fsys, path)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{fsys: fsys, path: path, manifest: m}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for _, entry := range m.Files {
		if err := c.openEntry(entry); err != nil {
			return nil, err
		}
	}
	if c.model == nil {
		return nil, corrupt(path, ModelFile, "is not in the manifest")
	}
	return c, nil
}

// openEntry verifies a file of the manifest. A file of tensors stays open until Close.
func (c *Checkpoint) openEntry(entry fileEntry) (err error) {
	f, _, err := openFile(c.fsys, c.path, entry.Name, entry.Size)
	if err != nil {
		return err
	}
	c.open = append(c.open, f)
	h := sha256.New()
	buf := make([]byte, min(entry.Size+1, 1<<18))
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
		return fmt.Errorf("checkpoint: read %s: %w", filepath.Join(c.path, entry.Name), err)
	}
	if hex.EncodeToString(h.Sum(nil)) != entry.SHA256 {
		return corrupt(c.path, entry.Name, "differs from what was saved (hash)")
	}
	switch entry.Name {
	case ModelFile, AdapterFile:
		c.adapter = entry.Name == AdapterFile
		c.model, err = parseTensors(f, c.path, entry.Name, entry.Size)
	case OptimizerFile:
		c.optimizer, err = parseTensors(f, c.path, entry.Name, entry.Size)
	default:
		c.open = c.open[:len(c.open)-1]
		if err = f.Close(); err != nil {
			err = fmt.Errorf("checkpoint: close %s: %w", filepath.Join(c.path, entry.Name), err)
		}
	}
	return err
}

// statFile returns the size of a regular file of a checkpoint.
func statFile(fsys durable.FS, path, name string) (size int64, err error) {
	full := filepath.Join(path, name)
	info, err := fsys.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, corrupt(path, name, "is missing")
	case errors.Is(err, durable.ErrLink):
		return 0, corrupt(path, name, "is refused (%v)", durable.ErrLink)
	case err != nil:
		return 0, fmt.Errorf("checkpoint: read %s: %w", full, err)
	case !info.Mode().IsRegular():
		return 0, corrupt(path, name, "is not a regular file")
	}
	return info.Size(), nil
}

// openFile opens a regular file of a checkpoint. It must have the size that is expected; -1 expects none.
func openFile(fsys durable.FS, path, name string, expected int64) (f durable.File, size int64, err error) {
	size, err = statFile(fsys, path, name)
	if err != nil {
		return nil, 0, err
	}
	if expected >= 0 && size != expected {
		return nil, 0, corrupt(path, name, "has %d bytes instead of %d", size, expected)
	}
	if f, err = fsys.Open(filepath.Join(path, name)); err != nil {
		return nil, 0, fmt.Errorf("checkpoint: read %s: %w", filepath.Join(path, name), err)
	}
	return f, size, nil
}

// parseTensors reads the header of a file of tensors.
func parseTensors(f durable.File, path, name string, size int64) (*safetensors.File, error) {
	t, err := safetensors.Parse(f, size)
	if errors.Is(err, safetensors.ErrFormat) {
		return nil, corrupt(path, name, "is malformed (%v)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", filepath.Join(path, name), err)
	}
	return t, nil
}

// Path returns the directory.
func (c *Checkpoint) Path() string { return c.path }

// Step returns the number of updates that were done when it was saved; 0 without a manifest.
func (c *Checkpoint) Step() int64 {
	if c.manifest == nil {
		return 0
	}
	return c.manifest.Step
}

// Model returns the tensors of the model.
func (c *Checkpoint) Model() *safetensors.File { return c.model }

// Adapter reports whether Model is an adapter, beside a model that lies elsewhere.
func (c *Checkpoint) Adapter() bool { return c.adapter }

// WeightsHash is the SHA-256 of the file of Model, in hex.
func (c *Checkpoint) WeightsHash() (string, error) {
	name := ModelFile
	if c.adapter {
		name = AdapterFile
	}
	if c.manifest != nil {
		for _, entry := range c.manifest.Files {
			if entry.Name == name {
				return entry.SHA256, nil
			}
		}
	}
	f, err := c.fsys.Open(filepath.Join(c.path, name))
	if err != nil {
		return "", err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", errors.Join(fmt.Errorf("checkpoint: read %s: %w", filepath.Join(c.path, name), err), f.Close())
	}
	return hex.EncodeToString(h.Sum(nil)), f.Close()
}

// Optimizer returns the tensors of the optimizer, nil if there are none.
func (c *Checkpoint) Optimizer() *safetensors.File { return c.optimizer }

// File returns the content of one of the other files, such as "state.json". An error that matches fs.ErrNotExist means
// that it was not saved.
func (c *Checkpoint) File(name string) ([]byte, error) {
	full, listed := filepath.Join(c.path, name), -1
	if c.manifest != nil {
		listed = slices.IndexFunc(c.manifest.Files, func(e fileEntry) bool { return e.Name == name })
	}
	switch {
	case c.manifest != nil && listed < 0:
		return nil, fmt.Errorf("checkpoint: read %s: not part of this checkpoint: %w", full, fs.ErrNotExist)
	case !PlainName(name):
		return nil, fmt.Errorf("checkpoint: read %s: not the name of a file of a checkpoint", full)
	}
	data, err := durable.ReadFile(c.fsys, full, maxSmallFile)
	if err != nil || listed < 0 {
		return data, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != c.manifest.Files[listed].SHA256 {
		return nil, corrupt(c.path, name, "changed since it was verified")
	}
	return data, nil
}

// Close closes the files. A second call does nothing.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.open {
		if err := f.Close(); err != nil {
			errs = append(errs, fmt.Errorf("checkpoint: close %s: %w", c.path, err))
		}
	}
	c.open = nil
	return errors.Join(errs...)
}

// verify reads all of a checkpoint and returns its manifest.
func verify(fsys durable.FS, path string) (*manifest, error) {
	c, err := Open(fsys, path)
	if err != nil {
		return nil, err
	}
	return c.manifest, c.Close()
}

const (
	stepPrefix = "step-"
	// oldSuffix is on the older version of a step while a new one takes its place. Both count as checkpoints, so that
	// there is always one.
	oldSuffix = ".old"
)

// StepName returns the name of the directory of a step.
func StepName(step int64) string { return stepPrefix + strconv.FormatInt(step, 10) }

// parseName reads a name made by StepName, or that of an older version.
func parseName(name string) (step int64, ok bool) {
	base := strings.TrimSuffix(name, oldSuffix)
	step, err := strconv.ParseInt(strings.TrimPrefix(base, stepPrefix), 10, 64)
	return step, err == nil && step >= 0 && StepName(step) == base
}

// PlainName reports whether name is that of a file in a directory on every system: no path, and not hidden.
func PlainName(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "/\\:\x00") && filepath.IsLocal(name) &&
		filepath.Base(name) == name
}
