// Package checkpoint saves named tensors and the state of a run, so that a crash at any moment leaves the
// old checkpoint or the new one, complete, and so that a damaged one is recognised and never loaded.
//
// Save writes dir/step-N; Newest finds the newest one that verifies and Open reads it. A checkpoint is a Hugging Face
// model directory with the rest of the run beside it, and is complete when its manifest verifies; anything else is
// litter. Prune deletes what is no longer wanted, and marks give names to steps worth keeping.
//
// The protocol and the format are specified in docs/format/checkpoint.md. The package knows no model: it sees names,
// shapes, []float32 and bytes. It does not decide when to save or what to keep, does not shard, and reads no pickle.
// One process writes to a directory at a time; the caller holds the lock of the run.
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
	ManifestFile  = "manifest.json"
)

// Errors of this package, matched with errors.Is.
var (
	// ErrCorrupt: what is there is no complete checkpoint with the content that was saved.
	ErrCorrupt = errors.New("corrupt checkpoint")
	// ErrNone: there is no checkpoint at all, or none that verifies.
	ErrNone = errors.New("no valid checkpoint")
	// ErrVersion: the format is newer than this program knows.
	ErrVersion = errors.New("unknown checkpoint version")
)

const maxSmallFile = 1 << 28 // bytes; of a file that is not a safetensors file

// corrupt returns an ErrCorrupt that says where, what and what to do.
func corrupt(path, file, format string, args ...any) error {
	return fmt.Errorf("checkpoint: %s: %s %s: %w: restore it from a copy, or use another checkpoint",
		path, file, fmt.Sprintf(format, args...), ErrCorrupt)
}

// Checkpoint is an open checkpoint. Safe for concurrent use until Close.
type Checkpoint struct {
	fsys             durable.FS
	path             string
	manifest         *manifest // nil for a directory with weights only
	model, optimizer *safetensors.File
	open             []durable.File
}

// Open opens a checkpoint after reading all of it: the manifest, the size and hash of every file, and the headers of
// the tensors.
//
// Failure: ErrNone if there is nothing at path, ErrVersion if a newer program wrote it, ErrCorrupt for anything that
// is missing or differs from what was saved; other errors come from the file system.
func Open(fsys durable.FS, path string) (c *Checkpoint, err error) {
	m, err := readManifest(fsys, path)
	if err != nil {
		return nil, err
	}
	c = &Checkpoint{fsys: fsys, path: path, manifest: m}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
			c = nil
		}
	}()
	largest := int64(1)
	for _, entry := range m.Files {
		largest = max(largest, entry.Size)
	}
	buf := make([]byte, min(largest, 1<<18))
	for _, entry := range m.Files {
		f, err := openListed(fsys, path, entry)
		if err != nil {
			return c, err
		}
		c.open = append(c.open, f) // closed by Close, whatever happens next
		h := sha256.New()
		if _, err := io.CopyBuffer(h, struct{ io.Reader }{f}, buf); err != nil {
			return c, fmt.Errorf("checkpoint: read %s: %w", filepath.Join(path, entry.Name), err)
		}
		if hex.EncodeToString(h.Sum(nil)) != entry.SHA256 {
			return c, corrupt(path, entry.Name, "differs from what was saved (hash)")
		}
		switch entry.Name {
		case ModelFile, OptimizerFile:
			t, err := safetensors.Parse(f, entry.Size)
			if errors.Is(err, safetensors.ErrFormat) {
				return c, corrupt(path, entry.Name, "is malformed (%v)", err)
			} else if err != nil {
				return c, fmt.Errorf("checkpoint: read %s: %w", filepath.Join(path, entry.Name), err)
			}
			if entry.Name == ModelFile {
				c.model = t
			} else {
				c.optimizer = t
			}
		default:
			c.open = c.open[:len(c.open)-1]
			if err := f.Close(); err != nil {
				return c, fmt.Errorf("checkpoint: close %s: %w", filepath.Join(path, entry.Name), err)
			}
		}
	}
	if c.model == nil {
		return c, corrupt(path, ModelFile, "is not in the manifest")
	}
	return c, nil
}

// openListed opens a file of a manifest if it is there with its size.
func openListed(fsys durable.FS, path string, entry fileEntry) (durable.File, error) {
	name := filepath.Join(path, entry.Name)
	info, err := fsys.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, corrupt(path, entry.Name, "is missing")
	case err != nil:
		return nil, fmt.Errorf("checkpoint: read %s: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, corrupt(path, entry.Name, "is not a regular file")
	case info.Size() != entry.Size:
		return nil, corrupt(path, entry.Name, "has %d bytes instead of %d", info.Size(), entry.Size)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", name, err)
	}
	return f, nil
}

// OpenWeights opens a Hugging Face model directory for its weights: one with a manifest like Open, any other
// without verification (there is nothing to verify it against), as step 0 and without optimizer state. A model in
// shards or in a pickle file is refused.
func OpenWeights(fsys durable.FS, path string) (*Checkpoint, error) {
	exists := func(name string) (bool, error) {
		_, err := fsys.Stat(filepath.Join(path, name))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	}
	if ok, err := exists(ManifestFile); err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
	} else if ok {
		return Open(fsys, path)
	}
	name := filepath.Join(path, ModelFile)
	info, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		for _, other := range []struct{ name, advice string }{
			{ModelFile + ".index.json", "the model is in shards: make a checkpoint of it with gimbal import"},
			{"pytorch_model.bin", "pickle files can run code and are not read: convert it to " + ModelFile},
			{"", "it has no " + ModelFile + ": give a model directory"},
		} {
			if ok, err := exists(other.name); err != nil {
				return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
			} else if ok {
				return nil, fmt.Errorf("checkpoint: open %s: %s: %w", path, other.advice, ErrNone)
			}
		}
		return nil, fmt.Errorf("checkpoint: open %s: there is no such directory: %w", path, ErrNone)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, corrupt(path, ModelFile, "is not a regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: open %s: %w", path, err)
	}
	t, err := safetensors.Parse(f, info.Size())
	if err != nil {
		if errors.Is(err, safetensors.ErrFormat) {
			err = corrupt(path, ModelFile, "is malformed (%v)", err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Checkpoint{fsys: fsys, path: path, model: t, open: []durable.File{f}}, nil
}

// Path returns the directory.
func (c *Checkpoint) Path() string { return c.path }

// Step returns the number of updates done when it was saved; 0 without a manifest.
func (c *Checkpoint) Step() int64 {
	if c.manifest == nil {
		return 0
	}
	return c.manifest.Step
}

// Model returns the tensors of the model.
func (c *Checkpoint) Model() *safetensors.File { return c.model }

// Optimizer returns the tensors of the optimizer, nil if there are none.
func (c *Checkpoint) Optimizer() *safetensors.File { return c.optimizer }

// File returns the content of one of the other files, such as "state.json". An error that matches fs.ErrNotExist
// means that it was not saved.
func (c *Checkpoint) File(name string) ([]byte, error) {
	full := filepath.Join(c.path, name)
	if c.manifest == nil {
		if !goodName(name) {
			return nil, fmt.Errorf("checkpoint: read %s: not the name of a file of a checkpoint", full)
		}
		return durable.ReadFile(c.fsys, full, maxSmallFile)
	}
	i := slices.IndexFunc(c.manifest.Files, func(e fileEntry) bool { return e.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("checkpoint: read %s: not part of this checkpoint: %w", full, fs.ErrNotExist)
	}
	data, err := durable.ReadFile(c.fsys, full, maxSmallFile)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != c.manifest.Files[i].SHA256 {
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
	// An older version of a step is called so while a new one takes its place. It counts as a checkpoint, so that
	// there is no moment without one.
	oldSuffix = ".old"
)

// StepName returns the name of the directory of a step.
func StepName(step int64) string { return stepPrefix + strconv.FormatInt(step, 10) }

// parseName reads a name made by StepName, or one set aside.
func parseName(name string) (step int64, old, ok bool) {
	base, old := strings.CutSuffix(name, oldSuffix)
	digits, ok := strings.CutPrefix(base, stepPrefix)
	if !ok {
		return 0, false, false
	}
	step, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || step < 0 || StepName(step) != base {
		return 0, false, false
	}
	return step, old, true
}

// goodName reports whether name can be a file of a checkpoint on every system: no path, nothing hidden.
func goodName(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, `/\:`) && filepath.IsLocal(name) &&
		filepath.Base(name) == name
}
