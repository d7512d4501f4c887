package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"gimbal/internal/durable"
	"gimbal/internal/safetensors"
)

// Snapshot is what Save writes.
type Snapshot struct {
	Step      int64               // updates done, >= 0
	Files     map[string][]byte   // config.json, tokenizer.json, state.json and so on
	Model     []safetensors.Entry // for model.safetensors
	Adapter   bool                // Model is an adapter, for adapter_model.safetensors
	Optimizer []safetensors.Entry // for optimizer.safetensors; nil: no such file
}

// Copy is memory for the tensors of a snapshot. It is kept from one snapshot to the next.
type Copy struct{ data []float32 }

// Take puts copies in place of the tensors of s, so that it can be written while the originals change. The snapshot
// that it was given before must have been written.
func (c *Copy) Take(s *Snapshot) {
	n := 0
	for _, list := range [][]safetensors.Entry{s.Model, s.Optimizer} {
		for _, e := range list {
			n += len(e.Data)
		}
	}
	if cap(c.data) < n {
		c.data = make([]float32, n)
	}
	rest := c.data[:n]
	for _, list := range []*[]safetensors.Entry{&s.Model, &s.Optimizer} {
		*list = slices.Clone(*list)
		for i := range *list {
			e := &(*list)[i]
			size := copy(rest, e.Data)
			e.Data, rest = rest[:size:size], rest[size:]
		}
	}
}

// Save writes a snapshot to dir/step-N, making dir if it is missing, and returns that path. When it returns without
// error it has read the checkpoint back and verified it, and the checkpoint survives a power loss.
//
// If step-N exists with the same content, it stays. If it is damaged or differs, the new one takes its place; Newest
// finds a valid version of it at every moment. Save first removes what an earlier Save that died left in dir.
//
// Failure: Save touches nothing that was there before, and removes the unfinished files. If the last sync of dir
// fails, the new checkpoint is in place, but a power loss may still remove it. Another Save writes all files again.
// Errors match durable.ErrNoSpace when the disk is full, and ErrVersion when a newer program wrote step-N. Save does
// not replace such a checkpoint, nor one that cannot be read.
func Save(fsys durable.FS, dir string, s *Snapshot) (path string, err error) {
	if err := s.check(); err != nil {
		return "", err
	}
	defer wrap(&err, "save step %d in %s", s.Step, dir)
	if err := durable.Mkdir(fsys, dir); err != nil {
		return "", err
	} else if err := durable.Sweep(fsys, dir); err != nil {
		return "", err
	}
	tmp := durable.TempName(dir, strconv.FormatInt(s.Step, 10))
	final := filepath.Join(dir, StepName(s.Step))
	m, err := s.write(fsys, tmp)
	if err == nil {
		err = place(fsys, tmp, final, m)
	}
	if err != nil {
		if rerr := fsys.RemoveAll(tmp); rerr != nil {
			err = fmt.Errorf("%w (unfinished files stay in %s: %v)", err, tmp, rerr)
		}
		return "", err
	}
	return final, nil
}

// check refuses what Open could not read back.
func (s *Snapshot) check() error {
	if s.Step < 0 {
		return fmt.Errorf("checkpoint: save: step %d is negative", s.Step)
	}
	for name, data := range s.Files {
		switch {
		case name == ModelFile || name == AdapterFile || name == OptimizerFile || name == ManifestFile ||
			!PlainName(name):
			return fmt.Errorf("checkpoint: save: %q cannot be the name of a file of a checkpoint", name)
		case len(data) > maxSmallFile:
			return fmt.Errorf("checkpoint: save: %s has %d bytes, at most %d are read back", name, len(data), maxSmallFile)
		}
	}
	return nil
}

// write makes the directory tmp with all files, the manifest last, and verifies it. Only its name is not durable yet.
func (s *Snapshot) write(fsys durable.FS, tmp string) (*manifest, error) {
	tensors := func(entries []safetensors.Entry, metadata map[string]string) func(io.Writer) error {
		return func(w io.Writer) error { return safetensors.Write(w, entries, metadata, "F32") }
	}
	weights := ModelFile
	if s.Adapter {
		weights = AdapterFile
	}
	parts := []part{{weights, tensors(s.Model, map[string]string{"format": "pt"})}} // Hugging Face loaders ask for it
	if s.Optimizer != nil {
		parts = append(parts, part{OptimizerFile, tensors(s.Optimizer, nil)})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		parts = append(parts, part{name, durable.Bytes(s.Files[name])})
	}
	return writeParts(fsys, tmp, s.Step, parts)
}

// WriteModel makes the new directory dir of files and of the weights that write writes, ModelFile or AdapterFile,
// with a manifest, and verifies it. Only its name is not durable yet.
func WriteModel(fsys durable.FS, dir string, step int64, files map[string][]byte, weights string,
	write func(io.Writer) error) error {
	parts := []part{{weights, write}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		parts = append(parts, part{name, durable.Bytes(files[name])})
	}
	_, err := writeParts(fsys, dir, step, parts)
	return err
}

// part is a file to write.
type part struct {
	name  string
	write func(io.Writer) error
}

// writeParts makes a directory of files and their manifest.
func writeParts(fsys durable.FS, dir string, step int64, parts []part) (*manifest, error) {
	if err := fsys.Mkdir(dir); err != nil {
		return nil, err
	}
	m := &manifest{Format: formatVersion, Step: step}
	for _, p := range parts {
		h := sha256.New()
		var size counter
		err := durable.WriteNew(fsys, filepath.Join(dir, p.name), func(w io.Writer) error {
			return p.write(io.MultiWriter(w, h, &size))
		})
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", p.name, err)
		}
		m.Files = append(m.Files, fileEntry{p.name, int64(size), hex.EncodeToString(h.Sum(nil))})
	}
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%d files make a manifest of %d bytes, at most %d are read back",
			len(m.Files), len(data), maxManifest)
	}
	if err := durable.WriteNew(fsys, filepath.Join(dir, ManifestFile), durable.Bytes(data)); err != nil {
		return nil, fmt.Errorf("write %s: %w", ManifestFile, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return nil, err
	}
	if _, err := verify(fsys, dir); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	return m, nil
}

// counter counts the bytes written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// place gives the complete directory tmp the name final.
func place(fsys durable.FS, tmp, final string, m *manifest) error {
	dir := filepath.Dir(final)
	there, err := verify(fsys, final)
	absent, valid := errors.Is(err, ErrNone), err == nil
	if err != nil && !absent && !errors.Is(err, ErrCorrupt) {
		return err // of a newer program, or unreadable now: it may be valid
	}
	old := final + oldSuffix
	same := valid && slices.Equal(there.Files, m.Files)
	var trash []string // deleted when the new one is safe
	throw := func(path string) error {
		thrown, err := discard(fsys, path)
		if thrown != "" {
			trash = append(trash, thrown)
		}
		return err
	}
	switch err = nil; {
	case same:
		trash = append(trash, tmp)
	case valid: // it becomes the older version, in place of one that may be there
		if err = throw(old); err == nil {
			err = fsys.Rename(final, old)
		}
	case !absent: // damaged
		err = throw(final)
	}
	if err == nil && !same && !absent {
		err = fsys.SyncDir(dir)
	}
	if err == nil && !same {
		err = fsys.Rename(tmp, final)
	}
	if err != nil {
		return err
	}
	// Also for the same content: the Save that wrote it may have failed here.
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	// Nothing below can harm the new checkpoint. The next Save sweeps what remains.
	if err := throw(old); err != nil || len(trash) == 0 {
		return err
	}
	// The new names of the trash must be durable before its files are deleted: else a power loss could bring back an
	// old name over missing files.
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	for _, path := range trash {
		if err := fsys.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// discard renames what is at path to a temporary name, and returns that name, or "" if there is nothing.
func discard(fsys durable.FS, path string) (tmp string, err error) {
	if _, err := fsys.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	tmp = durable.TempName(filepath.Dir(path), filepath.Base(path))
	if err := fsys.Rename(path, tmp); err != nil {
		return "", err
	}
	return tmp, nil
}
