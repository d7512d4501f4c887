// Package rundir names the files in the directory of a run, creates, locks and opens it, and finds a checkpoint of it
// by name.
//
// [Create] makes a new directory and locks it. [Find] and [OpenCheckpoint] take what people type: the directory of a
// run, the name of a run below runs/, or a checkpoint directory. Reading takes no lock and writes nothing, so a run in
// progress can be read.
//
// The package knows no model and no training.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// Names in a run directory.
const (
	ConfigFile     = "config.toml"
	TokenizerFile  = "tokenizer.json"
	LogFile        = "log.jsonl"
	ReportFile     = "report.md"
	PostMortemFile = "post-mortem.md"
	ReferenceFile  = "reference.json" // log-probabilities that preferences are compared with
	LockFile       = "lock"
	Samples        = "samples"
	Checkpoints    = "checkpoints"
	Refused        = "refused"
	Aside          = "aside" // what a repair replaced
	Cache          = "cache" // of tokens, where there was no other place for it
)

// StateFile is the state of a run in a checkpoint, beside the files of a Hugging Face model.
const StateFile = "state.json"

// ConfigCopy is the configuration of the run in a checkpoint, under another name: what holds a ConfigFile is a run.
const ConfigCopy = "run.toml"

// PageName returns the name, below Samples, of the page with the texts of the n-th evaluation.
func PageName(n int) string { return fmt.Sprintf("eval-%d.md", n) }

// Parent is the folder for runs whose directory is not chosen.
const Parent = "runs"

var (
	// ErrCheckpoint says that a path holds no checkpoint that can be used.
	ErrCheckpoint = errors.New("no usable checkpoint")
	// ErrResume says that a run cannot be continued: nothing valid to resume, or its inputs changed.
	ErrResume = errors.New("cannot resume")
	// ErrExists says that the output directory already holds a run.
	ErrExists = errors.New("the directory already holds a run")
)

// Create makes the directory of a new run and locks it. One that was killed before its first save is begun again. An
// empty name becomes runs/<date>-<label>.
func Create(name, label string, now time.Time) (dir string, lock *durable.FileLock, err error) {
	if name == "" {
		base := filepath.Join(Parent, now.Format("2006-01-02-1504")+"-"+label)
		name = base
		for i := 2; exists(name); i++ {
			name = fmt.Sprintf("%s-%d", base, i)
		}
	}
	if info, err := os.Stat(name); err == nil && !info.IsDir() {
		fault := config.Fault{Where: "flag --out", Text: name + " is there, and is not a folder; choose another name"}
		return "", nil, &config.Error{Faults: []config.Fault{fault}}
	}
	there := exists(filepath.Join(name, ConfigFile)) || exists(filepath.Join(name, Checkpoints))
	if there && !halfMade(name) {
		return "", nil, fmt.Errorf("%w: %s (continue it with \"gimbal resume %s\", or choose another --out)",
			ErrExists, name, name)
	}
	if err := os.MkdirAll(filepath.Join(name, Samples), 0o777); err != nil {
		return "", nil, fmt.Errorf("make the run directory: %w", err)
	}
	if lock, err = Lock(name); err != nil {
		return name, lock, err
	}
	err = durable.Sweep(durable.OS, name) // also where a run was killed before its first file was whole
	if there {
		err = errors.Join(err, durable.Sweep(durable.OS, CheckpointsOf(name)))
		if gone := os.Remove(filepath.Join(name, LogFile)); !errors.Is(gone, fs.ErrNotExist) {
			err = errors.Join(err, gone)
		}
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("begin %s again: %w", name, err), lock.Unlock())
	}
	return name, lock, nil
}

// halfMade reports whether a run was killed before its first save: it has no checkpoint, no step in its log and no
// text. It may be begun again in the same directory.
func halfMade(dir string) bool {
	saved, err := checkpoint.List(durable.Inside(dir), CheckpointsOf(dir))
	texts, terr := os.ReadDir(filepath.Join(dir, Samples))
	if err != nil || len(saved) > 0 || terr != nil && !errors.Is(terr, fs.ErrNotExist) || len(texts) > 0 {
		return false
	}
	log, err := Log(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	return err == nil && log.Garbled == 0 && !slices.ContainsFunc(log.Records, func(r runlog.Record) bool {
		return r.At.Step > 0
	})
}

// Lock locks a run for writing. It fails at once where another process holds the lock, and where a directory of the run
// is a link: what is written, swept and pruned there could be somebody else's.
func Lock(dir string) (*durable.FileLock, error) {
	for _, name := range []string{Checkpoints, Samples, Refused, Cache} {
		at := filepath.Join(dir, name)
		if info, err := os.Lstat(at); err == nil && !info.IsDir() {
			return nil, fmt.Errorf("%s: %w", at, durable.ErrLink)
		}
	}
	return durable.Lock(filepath.Join(dir, LockFile))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// Label returns a short name for a run, from its first text and its preset.
func Label(paths []string, preset string) string {
	name := "go"
	if len(paths) > 0 {
		name = strings.TrimSuffix(filepath.Base(filepath.Clean(paths[0])), filepath.Ext(paths[0]))
	}
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, name)
	if clean = strings.Trim(clean, "-"); clean == "" {
		clean = "text"
	}
	if preset == "" {
		return clean
	}
	return clean + "-" + preset
}
