package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// update makes the copy what the run is now.
func (m *Mirror) update(ctx context.Context) error {
	there, err := m.b.list(ctx)
	if err == nil && !m.ours {
		err = m.identify(ctx, there)
	}
	if err != nil {
		return err
	}
	infos, err := checkpoint.List(durable.OS, rundir.CheckpointsOf(m.dir))
	if err != nil {
		return err
	}
	if err := m.files(ctx, "."); err != nil { // first: no checkpoint may be there without its log and configuration
		return err
	}
	kept := map[string]bool{}
	for _, info := range slices.Backward(infos) { // oldest first: the newest is bound to the newest log
		name := filepath.Base(info.Path)
		if kept[name] = true; info.Err != nil || strings.HasSuffix(name, ".old") {
			continue
		}
		if err := m.checkpoint(ctx, there, name); err != nil {
			if _, gone := m.root.Stat(path.Join(rundir.Checkpoints, name)); errors.Is(gone, fs.ErrNotExist) {
				m.Changed() // it was pruned: look again
				delete(kept, name)
				continue
			}
			return err
		}
	}
	for _, below := range []string{rundir.Samples, rundir.Refused, rundir.Checkpoints} {
		if err := m.files(ctx, below); err != nil {
			return err
		}
	}
	return m.prune(ctx, there, kept)
}

// identify refuses what is not a copy of this run: its log begins otherwise.
func (m *Mirror) identify(ctx context.Context, there map[string]int64) error {
	if len(there) > 0 {
		first := func(r io.Reader) []byte {
			head, _ := io.ReadAll(io.LimitReader(r, 1<<16))
			line, _, _ := bytes.Cut(head, []byte{'\n'})
			return line
		}
		remote, err := m.b.get(ctx, rundir.LogFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s: %w", m.b, ErrOther)
		case err != nil:
			return err
		}
		defer remote.Close()
		local, err := m.root.Open(rundir.LogFile)
		if err != nil {
			return err
		}
		defer local.Close()
		if !bytes.Equal(first(remote), first(local)) {
			return fmt.Errorf("%s: %w", m.b, ErrOther)
		}
	}
	m.ours = true
	return nil
}

// files copies the regular files of a directory of the run that have changed.
func (m *Mirror) files(ctx context.Context, below string) error {
	entries, err := fs.ReadDir(m.root.FS(), below)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || !checkpoint.PlainName(name) || name == rundir.LockFile {
			continue
		}
		info, err := e.Info()
		key := path.Join(below, name)
		now := version{}
		if err == nil {
			now = version{info.Size(), info.ModTime()}
			if m.sent[key] == now {
				continue
			}
			_, err = m.put(ctx, key, now.size)
		}
		if errors.Is(err, fs.ErrNotExist) { // replaced or removed in between: look again
			m.Changed()
			continue
		}
		if err != nil {
			return err
		}
		m.sent[key] = now
	}
	return nil
}

// checkpoint copies a checkpoint that is not there yet, the manifest last.
func (m *Mirror) checkpoint(ctx context.Context, there map[string]int64, name string) error {
	at := path.Join(rundir.Checkpoints, name)
	last := path.Join(at, checkpoint.ManifestFile)
	manifest, err := m.root.ReadFile(last)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(manifest)
	if _, ok := there[last]; ok {
		if m.copied[name] == hash {
			return nil
		}
		if same, err := m.b.holds(ctx, last, hash); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		} else if same {
			m.copied[name] = hash
			return nil
		}
		if err := m.b.remove(ctx, last); err != nil { // other content: it counts no more
			return err
		}
	}
	delete(m.copied, name)
	entries, err := fs.ReadDir(m.root.FS(), at)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == checkpoint.ManifestFile || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err == nil {
			_, err = m.put(ctx, path.Join(at, e.Name()), info.Size())
		}
		if err != nil {
			return err
		}
	}
	got, err := m.put(ctx, last, int64(len(manifest)))
	if err == nil && got != hash {
		err = fmt.Errorf("%s changed while it was copied: %w", at, fs.ErrNotExist)
	}
	if err == nil {
		m.copied[name] = hash
	}
	return err
}

// put copies the first bytes of a file of the run.
func (m *Mirror) put(ctx context.Context, name string, size int64) (hash [32]byte, err error) {
	f, err := m.root.Open(name)
	if err != nil {
		return hash, err
	}
	defer f.Close()
	return m.b.put(ctx, name, f, size)
}

// prune removes checkpoints that the run does not keep, and parts of some, the manifest first.
func (m *Mirror) prune(ctx context.Context, there map[string]int64, kept map[string]bool) error {
	for _, key := range slices.SortedFunc(maps.Keys(there), func(a, b string) int {
		if am, bm := path.Base(a) == checkpoint.ManifestFile, path.Base(b) == checkpoint.ManifestFile; am != bm {
			return map[bool]int{true: -1, false: 1}[am]
		}
		return strings.Compare(a, b)
	}) {
		dir := path.Dir(key)
		if path.Dir(dir) != rundir.Checkpoints || kept[path.Base(dir)] {
			continue
		}
		if err := m.b.remove(ctx, key); err != nil {
			return err
		}
		delete(m.copied, path.Base(dir))
	}
	return nil
}
