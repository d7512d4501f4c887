package checkpoint

import (
	"fmt"
	"maps"
	"path/filepath"

	"gimbal/internal/durable"
)

// Forget deletes the checkpoints in dir that are newer than step, and the marks on them: a run that went back to step
// has not been there. As Prune, it renames each before its files go, so a crash leaves whole ones and litter.
func Forget(fsys durable.FS, dir string, step int64) error {
	fail := func(err error) error {
		return fmt.Errorf("checkpoint: forget what is newer than step %d in %s: %w", step, dir, err)
	}
	marks, err := Marks(fsys, dir)
	if err != nil {
		return fail(err)
	}
	kept := maps.Clone(marks)
	maps.DeleteFunc(kept, func(_ string, s int64) bool { return s > step })
	if len(kept) < len(marks) {
		if err := writeMarks(fsys, dir, kept); err != nil {
			return fail(err)
		}
	}
	names, err := candidates(fsys, dir)
	if err != nil {
		return fail(err)
	}
	gone := false
	for _, name := range names {
		if s, _, _ := parseName(name); s <= step {
			continue
		}
		if _, err := discard(fsys, filepath.Join(dir, name)); err != nil {
			return fail(err)
		}
		gone = true
	}
	if gone { // the new names first: see place
		if err := fsys.SyncDir(dir); err != nil {
			return fail(err)
		}
	}
	if _, err := durable.Sweep(fsys, dir); err != nil {
		return fail(err)
	}
	return nil
}
