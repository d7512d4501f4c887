package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"gimbal/internal/durable"
)

// Info describes a checkpoint in a listing.
type Info struct {
	Path string
	Step int64
	Err  error // why it cannot be used; nil if it looks complete
}

// candidates returns the names of all checkpoints in dir, newest first, and the older version of a step after the one
// in place. A missing dir has none.
func candidates(fsys durable.FS, dir string) ([]string, error) {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: list %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if _, ok := parseName(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		sa, _ := parseName(a)
		sb, _ := parseName(b)
		return cmp.Or(cmp.Compare(sb, sa), cmp.Compare(len(a), len(b)))
	})
	return names, nil
}

// first returns the newest checkpoint in dir for which check returns nil, "" if there is none, and why the newer ones
// are refused.
func first(fsys durable.FS, dir string, check func(path string) error) (path string, refused []error, err error) {
	names, err := candidates(fsys, dir)
	for _, name := range names {
		path := filepath.Join(dir, name)
		err := check(path)
		if err == nil {
			return path, refused, nil
		}
		refused = append(refused, err)
	}
	return "", refused, err
}

// Newest returns the checkpoint in dir with the highest step that verifies, reading all of it, and why those with
// higher steps are refused. If none verifies the error matches ErrNone: then do not start over, but show what was
// refused.
func Newest(fsys durable.FS, dir string) (path string, refused []error, err error) {
	path, refused, err = first(fsys, dir, func(path string) error {
		_, err := verify(fsys, path)
		return err
	})
	switch {
	case err != nil || path != "":
	case len(refused) == 0:
		err = fmt.Errorf("checkpoint: there is none in %s: %w", dir, ErrNone)
	default:
		err = fmt.Errorf("checkpoint: none of the %d in %s can be used: %w (the newest: %v)",
			len(refused), dir, ErrNone, refused[0])
	}
	return path, refused, err
}

// List describes all checkpoints in dir, newest first. It checks manifests and sizes, and reads no tensor data: only
// Open and Newest verify content.
func List(fsys durable.FS, dir string) ([]Info, error) {
	names, err := candidates(fsys, dir)
	if err != nil {
		return nil, err
	}
	var infos []Info
	for _, name := range names {
		info := Info{Path: filepath.Join(dir, name)}
		info.Step, _ = parseName(name)
		m, err := readManifest(fsys, info.Path)
		if info.Err = err; err == nil {
			for _, e := range m.Files {
				f, _, err := openFile(fsys, info.Path, e.Name, e.Size)
				if err == nil {
					err = f.Close()
				}
				info.Err = cmp.Or(info.Err, err)
			}
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Prune deletes checkpoints in dir. It keeps the keep newest ones that look complete, all steps with a mark, all whose
// directory name (step-N) is in protect, the newest one that verifies, all newer than that, the newest healthy one
// (NewestHealthy), and those of a newer program. It also sweeps what saves that died left. It returns the names of what
// it deleted.
//
// If none verifies, or if a checkpoint or the marks cannot be read, it deletes nothing and the error says so. After a
// crash every checkpoint is whole or gone.
func Prune(fsys durable.FS, dir string, keep int, protect []string) (removed []string, err error) {
	infos, err := List(fsys, dir)
	if err != nil {
		return nil, err
	}
	marks, err := Marks(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(infos) == 0 {
		return remove(fsys, dir, nil)
	}
	fail := func(err error) ([]string, error) {
		return nil, fmt.Errorf("checkpoint: prune %s: nothing is deleted: %w", dir, err)
	}
	newest, _, err := Newest(fsys, dir)
	if err != nil {
		return fail(err)
	}
	healthy, _, err := newestHealthy(fsys, dir, newest)
	if err != nil && !errors.Is(err, ErrNone) {
		return fail(err)
	}
	for _, info := range infos {
		if info.Err != nil && !errors.Is(info.Err, ErrCorrupt) && !errors.Is(info.Err, ErrVersion) {
			return fail(info.Err)
		}
	}
	protected := func(info Info) bool {
		marked := slices.Contains(slices.Collect(maps.Values(marks)), info.Step)
		return marked || info.Path == healthy || slices.ContainsFunc(protect, func(p string) bool {
			return filepath.Base(p) == StepName(info.Step)
		})
	}
	kept := map[int64]bool{} // steps of which one that looks complete stays
	passed := false          // the newest valid one
	var doomed []string
	for _, info := range infos {
		complete := info.Err == nil
		var stays bool
		switch {
		case !passed || errors.Is(info.Err, ErrVersion):
			stays = true
		case kept[info.Step]: // an older version of a step
		case complete:
			stays = len(kept) < keep || protected(info)
		default:
			stays = protected(info) // it may be possible to repair it
		}
		passed = passed || info.Path == newest
		if !stays {
			doomed = append(doomed, filepath.Base(info.Path))
		} else if complete && passed { // the damaged ones before the newest valid one do not count
			kept[info.Step] = true
		}
	}
	removed, err = remove(fsys, dir, doomed)
	wrap(&err, "prune %s", dir)
	return removed, err
}

// Forget deletes the checkpoints in dir that are newer than step, and the marks on them, for a run that goes back to
// step. After a crash every checkpoint is whole or gone.
func Forget(fsys durable.FS, dir string, step int64) (err error) {
	defer wrap(&err, "forget what is newer than step %d in %s", step, dir)
	marks, err := Marks(fsys, dir)
	if err != nil && !errors.Is(err, ErrCorrupt) { // damaged ones name nothing
		return err
	}
	before := len(marks)
	maps.DeleteFunc(marks, func(_ string, s int64) bool { return s > step })
	if len(marks) < before {
		if err := writeMarks(fsys, dir, marks); err != nil {
			return err
		}
	}
	names, err := candidates(fsys, dir)
	if err != nil {
		return err
	}
	newer := slices.DeleteFunc(names, func(name string) bool { s, _ := parseName(name); return s <= step })
	_, err = remove(fsys, dir, newer)
	return err
}

// remove deletes checkpoints and sweeps dir. It renames all of them before it deletes their files, and returns the
// names of those that it renamed.
func remove(fsys durable.FS, dir string, names []string) (removed []string, err error) {
	for _, name := range names {
		if _, err := discard(fsys, filepath.Join(dir, name)); err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	if len(removed) > 0 { // make the new names durable first: see place
		if err := fsys.SyncDir(dir); err != nil {
			return removed, err
		}
	}
	return removed, durable.Sweep(fsys, dir)
}
