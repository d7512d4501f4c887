package runs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// maxConfig is the most bytes that are read of a config.toml; ours have a hundredth.
const maxConfig = 1 << 20

// open opens a regular file of the run in dir; name is relative to it. It follows no link out of the run and does not
// wait for a pipe.
func open(dir, name string) (*os.File, error) {
	root, err := durable.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: filepath.Join(dir, name), Err: errors.New("not a regular file")}
	}
	return root.Open(name)
}

// read returns a file of the run in dir that has at most limit bytes.
func read(dir, name string, limit int64) (data []byte, err error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if data, err = io.ReadAll(io.LimitReader(f, limit+1)); err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes, so it is not the right file", limit)
	}
	return data, err
}

// readDir returns the entries of a directory of the run in dir, sorted by name. It follows no link out of the run.
func readDir(dir, name string) ([]fs.DirEntry, error) {
	root, err := durable.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return fs.ReadDir(root.FS(), name)
}

// oneFile is a file system in which every name is one open file.
type oneFile struct {
	durable.FS
	f *os.File
}

func (o oneFile) Open(string) (durable.File, error) { return o.f, nil }

// readLog reads the whole log of the run in dir; see runlog.Read.
func readLog(dir string) (*runlog.Log, error) {
	f, err := open(dir, rundir.LogFile)
	if err != nil {
		return nil, unreadablef("the log of %s: %w", dir, err)
	}
	return runlog.Read(oneFile{f: f}, filepath.Join(dir, rundir.LogFile))
}

// readLogFile reads a log from any place.
func readLogFile(path string) (*runlog.Log, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable{err}
	}
	if !info.Mode().IsRegular() {
		return nil, unreadablef("%s is neither a run nor a log", path)
	}
	return runlog.Read(durable.OS, path)
}

// readConfig reads the configuration of the run in dir.
func readConfig(dir string) (*config.Config, error) {
	raw, err := read(dir, rundir.ConfigFile, maxConfig)
	if err != nil {
		return nil, err
	}
	return rundir.ParseConfig(raw)
}

// newestStep is the step of the newest checkpoint of a run, by its name; it may be damaged. -1: there is none.
func newestStep(dir string) int64 {
	entries, _ := readDir(dir, rundir.Checkpoints)
	newest := int64(-1)
	for _, e := range entries {
		if step, ok := stepOf(e.Name()); ok && e.IsDir() {
			newest = max(newest, step)
		}
	}
	return newest
}

// stepOf is the step in the name of a checkpoint directory.
func stepOf(name string) (step int64, ok bool) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, ".old"), "step-")
	step, err := strconv.ParseInt(digits, 10, 64)
	return step, ok && err == nil && step >= 0
}

// size is the bytes of the files of the run in dir. Files that are not the run's do not count. It follows no links.
func size(dir string) (bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !ours(e.Name()) {
			continue
		}
		// What cannot be read counts as nothing.
		filepath.WalkDir(filepath.Join(dir, e.Name()), func(_ string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return nil
			}
			if info, err := e.Info(); err == nil {
				bytes += info.Size()
			}
			return nil
		})
	}
	return bytes, err
}
