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
	Model     []safetensors.Entry // to model.safetensors, with the metadata that Hugging Face loaders ask for
	Optimizer []safetensors.Entry // to optimizer.safetensors; nil: no such file
}

// Save writes a snapshot to dir/step-N, making dir if need be, and returns that path.
// When it returns without error the checkpoint has been read back and verified, and it survives a power loss.
//
// If step-N is there already with the same content, that is all; if it is damaged or differs, the new one takes its
// place, and at every moment one valid version of it is found by Newest. What an earlier Save that died left in
// dir is removed first.
//
// Failure: nothing that was there before is touched, and the unfinished files are removed. An error of the last
// step (syncing dir) leaves the new checkpoint in place, but a power loss may still take it. Save again writes all
// files anew. Errors match durable.ErrNoSpace when the disk is full, ErrVersion when step-N was written by a newer
// program (it is left alone, as is one that cannot be read).
func Save(fsys durable.FS, dir string, s *Snapshot) (path string, err error) {
	if err := s.check(); err != nil {
		return "", err
	}
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("checkpoint: save step %d in %s: %w", s.Step, dir, err)
	}
	if err := durable.Mkdir(fsys, dir); err != nil {
		return fail(err)
	}
	if _, err := durable.Sweep(fsys, dir); err != nil {
		return fail(err)
	}
	tmp := durable.TempName(dir, strconv.FormatInt(s.Step, 10))
	final := filepath.Join(dir, StepName(s.Step))
	m, err := s.write(fsys, tmp)
	if err == nil {
		err = place(fsys, tmp, final, m)
	}
	if err != nil {
		// What place has already renamed is no longer at tmp.
		if rerr := fsys.RemoveAll(tmp); rerr != nil {
			err = fmt.Errorf("%w (unfinished files stay in %s: %v)", err, tmp, rerr)
		}
		return fail(err)
	}
	return final, nil
}

// check refuses what could not be read back.
func (s *Snapshot) check() error {
	if s.Step < 0 {
		return fmt.Errorf("checkpoint: save: step %d is negative", s.Step)
	}
	for name, data := range s.Files {
		switch {
		case name == ModelFile || name == OptimizerFile || name == ManifestFile || !goodName(name):
			return fmt.Errorf("checkpoint: save: %q is no name for a file of a checkpoint", name)
		case len(data) > maxSmallFile:
			return fmt.Errorf("checkpoint: save: %s has %d bytes, at most %d are read back",
				name, len(data), maxSmallFile)
		}
	}
	return nil
}

// write makes the directory tmp with all files, the manifest last, verified and durable but for its name.
func (s *Snapshot) write(fsys durable.FS, tmp string) (*manifest, error) {
	if err := fsys.Mkdir(tmp); err != nil {
		return nil, err
	}
	m := &manifest{Format: formatVersion, Step: s.Step}
	add := func(name string, fn func(io.Writer) error) error {
		h := sha256.New()
		var size counter
		err := durable.WriteNew(fsys, filepath.Join(tmp, name), func(w io.Writer) error {
			return fn(io.MultiWriter(w, h, &size))
		})
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		m.Files = append(m.Files, fileEntry{name, int64(size), hex.EncodeToString(h.Sum(nil))})
		return nil
	}
	tensors := func(entries []safetensors.Entry, metadata map[string]string) func(io.Writer) error {
		return func(w io.Writer) error { return safetensors.Write(w, entries, metadata) }
	}
	if err := add(ModelFile, tensors(s.Model, map[string]string{"format": "pt"})); err != nil {
		return nil, err
	}
	if s.Optimizer != nil {
		if err := add(OptimizerFile, tensors(s.Optimizer, nil)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		if err := add(name, func(w io.Writer) error { _, err := w.Write(s.Files[name]); return err }); err != nil {
			return nil, err
		}
	}
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	if len(data) > maxManifest {
		return nil, fmt.Errorf("%d files make a manifest of %d bytes, at most %d are read back",
			len(m.Files), len(data), maxManifest)
	}
	err = durable.WriteNew(fsys, filepath.Join(tmp, ManifestFile), func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", ManifestFile, err)
	}
	if err := fsys.SyncDir(tmp); err != nil {
		return nil, err
	}
	if _, err := verify(fsys, tmp); err != nil {
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
		return err // of a newer program, or unreadable now: it may be valid, so it is not touched
	}
	old := final + oldSuffix
	same := valid && slices.Equal(there.Files, m.Files)
	var trash []string // discarded, deleted when the new one is safe
	throw := func(path string) error {
		thrown, err := discard(fsys, path)
		if thrown != "" {
			trash = append(trash, thrown)
		}
		return err
	}
	switch {
	case same:
		trash = append(trash, tmp)
	case valid: // set aside; only one is, and this one is later than what may be there
		err = throw(old)
		if err == nil {
			err = fsys.Rename(final, old)
		}
	case !absent: // damaged
		err = throw(final)
	default:
		err = nil
	}
	if err != nil {
		return err
	}
	if !same {
		if !absent {
			if err := fsys.SyncDir(dir); err != nil {
				return err
			}
		}
		if err := fsys.Rename(tmp, final); err != nil {
			return err
		}
	}
	// Also for the same content: the attempt that wrote it may have failed here.
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	// Nothing below can harm the new checkpoint; what remains is swept by the next Save.
	if err := throw(old); err != nil || len(trash) == 0 {
		return err
	}
	// The names of what is deleted must go before the files: else a power loss could bring back a name over
	// missing files.
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

// discard renames what is at path, if anything, to a temporary name, and returns that name or "".
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
