package shards

import (
	"errors"
	"io/fs"
	"path/filepath"

	"gimbal/internal/durable"
)

// Folder holds caches, each under its key.
type Folder struct {
	FS      durable.FS
	Dir     string
	Private bool // only the user may have made what is in it
}

// Path returns the directory of a cache.
func (f Folder) Path(key string) string { return filepath.Join(f.Dir, key) }

// Open returns the manifest of a cache whose files it has verified. The error is ErrNoCache if there is none, and
// *Damage if it has to be made again.
func (f Folder) Open(key string) (*Manifest, error) {
	dir := f.Path(key)
	if f.Private && durable.Foreign(dir) { // its sums are no proof: whoever made the tokens made them, too
		return nil, &Damage{"another user made it"}
	}
	m, err := readManifest(f.FS, dir, key)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, e := range m.Files {
		total += e.Bytes
	}
	return m, m.verify(f.FS, dir, total <= autoHashBytes)
}

// Build makes a cache, which is missing or damaged, of what fill writes. Whoever made the same one meanwhile wins.
func (f Folder) Build(key string, spec Spec, fill func(*Writer) error) (m *Manifest, err error) {
	if err := durable.Mkdir(f.FS, f.Dir); err != nil {
		return nil, err
	}
	_ = durable.SweepFree(f.Dir, "") // what stays takes room and does no harm
	tmp, held, err := durable.Unfinished(f.FS, f.Dir, key)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	defer func() {
		if rerr := f.FS.RemoveAll(tmp); rerr != nil && err == nil { // does nothing after the renaming
			err = rerr
		}
	}()
	w := &Writer{fs: f.FS, dir: tmp, spec: spec}
	if m, err = w.write(key, fill); err != nil {
		return nil, err
	}
	dir := f.Path(key)
	// Another process may have made the same cache meanwhile. A whole one serves as well; a broken one is removed.
	for attempt := 1; ; attempt++ {
		theirs, err := f.Open(key)
		if err == nil {
			return theirs, nil
		}
		if !errors.Is(err, ErrNoCache) {
			old := durable.TempName(f.Dir, key)
			if err := f.FS.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			_ = f.FS.RemoveAll(old) // what stays takes room and does no harm
		}
		if err = f.FS.Rename(tmp, dir); err == nil {
			return m, f.FS.SyncDir(f.Dir)
		}
		if attempt == 3 {
			return nil, err
		}
	}
}
