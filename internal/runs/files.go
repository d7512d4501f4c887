package runs

import (
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

// readLog reads the whole log of the run in dir; see runlog.Read.
func readLog(dir string) (*runlog.Log, error) {
	log, err := rundir.Log(dir)
	if err != nil {
		return nil, unreadable{err}
	}
	return log, nil
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
	raw, err := rundir.Read(dir, rundir.ConfigFile, maxConfig)
	if err != nil {
		return nil, err
	}
	return rundir.ParseConfig(raw)
}

// newestStep is the step of the newest checkpoint of a run, by its name; it may be damaged. -1: there is none.
func newestStep(dir string) int64 {
	entries, _ := durable.Inside(dir).ReadDir(rundir.CheckpointsOf(dir))
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
