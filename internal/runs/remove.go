package runs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

// entry is a file or directory of a run.
type entry struct {
	name   string
	inside func(name string) bool // which names in the directory are the run's; nil: it is a file
}

// owned is everything in the directory of a run except the lock, in the order in which it is deleted. What identifies a
// run goes last, so that an interrupted removal can be repeated.
var owned = []entry{
	{rundir.Checkpoints, func(name string) bool { _, ok := stepOf(name); return ok || name == "marks.json" }},
	{"averaged", matching("*")}, // of older versions
	{rundir.Cache, matching(strings.Repeat("[0-9a-f]", 32))},
	{rundir.Refused, matching("batch-*.json")},
	{rundir.Aside, matching("*")},
	{rundir.Samples, matching("eval-*.md")},
	{rundir.ReportFile, nil},
	{rundir.PostMortemFile, nil},
	{rundir.TokenizerFile, nil},
	{rundir.LogFile, nil},
	{rundir.ConfigFile, nil},
}

func matching(pattern string) func(string) bool {
	return func(name string) bool { ok, err := filepath.Match(pattern, name); return ok && err == nil }
}

// ours reports whether a name in the directory of a run is the run's.
func ours(name string) bool {
	return name == rundir.LockFile || unfinished(name) ||
		slices.ContainsFunc(owned, func(e entry) bool { return e.name == name })
}

// unfinished reports whether a killed process left the file.
func unfinished(name string) bool { return strings.HasPrefix(name, durable.TempPrefix) }

// Removable returns the reason why Remove would refuse; nil: it would not now.
func Removable(dir string) error {
	dir = filepath.Clean(dir)
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return unreadablef("remove %s: %w", dir, err)
	case info.Mode()&fs.ModeSymlink != 0:
		return unreadablef("remove %s: it is a link; name the directory that it leads to", dir)
	case !info.IsDir():
		return unreadablef("remove %s: it is no directory", dir)
	}
	if err := recognized(dir); err != nil {
		return unreadablef("remove %s: %w", dir, err)
	}
	if err := durable.Held(filepath.Join(dir, rundir.LockFile)); errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("remove %s: it is running: %w", dir, err)
	}
	return nil
}

// recognized returns nil for a directory that is certainly a run of ours: its log, its configuration or a checkpoint
// can be read, or all of them are damaged and there is nothing else in it.
func recognized(dir string) error {
	if !started(dir) {
		return errors.New("it is no run")
	}
	if log, err := summarize(dir); err == nil && log.records > 0 {
		return nil
	}
	if cfg, err := readConfig(dir); err == nil {
		set := func(key string) bool { return cfg.Origin(key) != "default" }
		if slices.ContainsFunc(config.Keys(), set) { // a file without any key is a configuration too
			return nil
		}
	}
	if step := newestStep(dir); step >= 0 {
		manifest := filepath.Join(rundir.CheckpointsOf(dir), checkpoint.StepName(step), checkpoint.ManifestFile)
		if f, err := durable.Inside(dir).Open(manifest); err == nil {
			return f.Close()
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !ours(e.Name()) {
			return fmt.Errorf("it does not look like a run: no part of one can be read, and it holds %q; delete it by "+
				"hand", e.Name())
		}
	}
	return nil
}

// Remove deletes the run in dir, after checking that it is a run, that it is not running, and that dir is no link. It
// deletes only the run's own files. Other files stay, with the directory, and left names them.
//
// It holds the lock of the run meanwhile. It follows no links. A removal that failed or was killed can be repeated.
func Remove(dir string) (left []string, err error) {
	dir = filepath.Clean(dir)
	if err := Removable(dir); err != nil {
		return nil, err
	}
	fail := func(err error) ([]string, error) { return nil, fmt.Errorf("remove %s: %w", dir, err) }
	lock, err := durable.Lock(filepath.Join(dir, rundir.LockFile)) // directories that are links are deleted as such
	if err != nil {
		return fail(err)
	}
	defer lock.Unlock()
	root, err := durable.OpenRoot(dir)
	if err != nil {
		return fail(err)
	}
	defer root.Close()
	for _, e := range owned {
		if err := e.remove(root); err != nil {
			return fail(err)
		}
	}
	if _, err := sweep(root, ".", unfinished); err != nil {
		return fail(err)
	}
	if err := lock.Unlock(); err != nil { // first: some systems cannot delete an open file
		return fail(err)
	}
	if err := root.Remove(rundir.LockFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if len(left) > 0 {
		return left, nil
	}
	if dir, err = filepath.Abs(dir); err == nil {
		err = errors.Join(root.Close(), os.Remove(dir))
	}
	if err != nil {
		return fail(err)
	}
	return nil, nil
}

// remove deletes the entry. Of a directory it deletes what is the run's, and the directory if nothing else is in it.
func (e entry) remove(root *os.Root) error {
	info, err := root.Lstat(e.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		left, err := sweep(root, e.name, func(name string) bool {
			return unfinished(name) || e.inside != nil && e.inside(name)
		})
		if err != nil || left > 0 {
			return err
		}
	}
	return root.Remove(e.name) // of a link, the link
}

// sweep deletes the matching names in a directory, and counts the others.
func sweep(root *os.Root, dir string, match func(name string) bool) (left int, err error) {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if !match(e.Name()) {
			left++
		} else if err := root.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return 0, err
		}
	}
	return left, nil
}
