package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// Find returns the directory of the run that a person names: by that directory, or by its name below runs/. It returns
// "" if something else is there, which may be a checkpoint.
func Find(name string) (run string, err error) {
	if IsRun(name) {
		return name, nil
	}
	if below := filepath.Join(Parent, name); !strings.ContainsRune(name, filepath.Separator) && IsRun(below) {
		return below, nil
	}
	switch _, err := os.Stat(name); {
	case name == "":
		return "", fmt.Errorf("%w: the name of the run is empty", ErrCheckpoint)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%w: there is no %s, here or in %s", ErrCheckpoint, name, Parent)
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return "", nil
}

// IsRun reports whether path is the directory of a run, in whatever state. A directory that cannot be read may be one.
func IsRun(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return false
	}
	return exists(filepath.Join(path, ConfigFile)) || exists(CheckpointsOf(path)) || exists(filepath.Join(path, LogFile))
}

// Config reads the configuration of a run.
func Config(dir string) (*config.Config, error) {
	raw, err := Read(dir, ConfigFile, maxConfig)
	if err != nil {
		err = fmt.Errorf("%w: %s holds no run: %w", ErrResume, dir, err)
		if exists(CheckpointsOf(dir)) {
			err = fmt.Errorf("%w: %s", err, copyOfConfig(dir))
		}
		return nil, err
	}
	cfg, err := ParseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w: %s", ErrResume, filepath.Join(dir, ConfigFile), err, copyOfConfig(dir))
	}
	return cfg, nil
}

// Moved looks for the text of the run in dir where the folder that holds both was moved or renamed: for each path that
// is not there any more, the end of it that is there, as seen from the run or from a folder above it. It returns all
// the
// paths as they are now, or nil if none has moved or one cannot be found. It compares nothing: the text may be another.
func Moved(dir string, paths []string) (now []string) {
	dir, err := filepath.Abs(dir)
	moved := false
	for _, path := range paths {
		at := path
		if !exists(path) && err == nil {
			at, moved = beside(dir, path), true
		}
		if at == "" {
			return nil
		}
		now = append(now, at)
	}
	if !moved {
		return nil
	}
	return now
}

// beside finds the longest end of a path that is there as seen from dir, else from the folder above it, and so on; ""
// if there is none.
func beside(dir, path string) string {
	path = filepath.Clean(path)
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) { // not in the root, which holds what others have
		for i := range path {
			if !os.IsPathSeparator(path[i]) || i+1 == len(path) {
				continue
			}
			if at := filepath.Join(dir, path[i+1:]); exists(at) {
				return at
			}
		}
	}
	return ""
}

// Log reads the log of a run; see runlog.Read.
func Log(dir string) (*runlog.Log, error) {
	return runlog.Read(durable.Inside(dir), filepath.Join(dir, LogFile))
}

// CheckpointsOf returns the directory of the checkpoints of a run.
func CheckpointsOf(run string) string { return filepath.Join(run, Checkpoints) }

// OpenCheckpoint opens a checkpoint of the run that a person names (Find): the one called name (stable, best-loss, last
// or step-N), or if name is empty the stable one, else the last one, else the newest that verifies. If path is not a
// run it opens the checkpoint there.
func OpenCheckpoint(path, name string) (*checkpoint.Checkpoint, error) {
	run, err := Find(path)
	if err != nil {
		return nil, err
	}
	if run == "" {
		return single(path, name)
	}
	fsys, dir := durable.Inside(run), CheckpointsOf(run)
	marks, err := checkpoint.Marks(fsys, dir)
	if err != nil {
		return nil, err
	}
	wanted := []string{"stable", "last"}
	if name != "" {
		wanted = []string{name}
	}
	for _, mark := range wanted {
		if step, ok := marks[mark]; ok {
			return checkpoint.Open(fsys, filepath.Join(dir, checkpoint.StepName(step)))
		}
	}
	if name != "" {
		at := filepath.Join(dir, filepath.Base(name))
		if _, err := os.Stat(at); err != nil {
			return nil, fmt.Errorf("%w: %s has no checkpoint %q: %w", ErrCheckpoint, run, name, there(run, marks))
		}
		return checkpoint.Open(fsys, at)
	}
	c, _, err := Newest(run)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}

// single opens a directory that is a checkpoint, of ours or of others.
func single(path, name string) (*checkpoint.Checkpoint, error) {
	if name != "" {
		return nil, fmt.Errorf("%w: %s is not a run, so it has no checkpoint %q", ErrCheckpoint, path, name)
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a file: name the directory of a run, a checkpoint or a model", ErrCheckpoint, path)
	}
	c, err := OpenWeights(path)
	var none *checkpoint.NoneError
	if errors.As(err, &none) {
		err = fmt.Errorf("%w: %s is neither a run nor a model: %s", ErrCheckpoint, path, none.Why)
	}
	return c, err
}

// OpenWeights opens a directory that somebody named, of a checkpoint or of a model. A model's files may be links: those
// of a download cache are. A checkpoint's are refused as those of a run are.
func OpenWeights(path string) (*checkpoint.Checkpoint, error) {
	fsys := durable.OS
	if _, err := os.Lstat(filepath.Join(path, StateFile)); err == nil {
		fsys = durable.Inside(path)
	}
	return checkpoint.OpenWeights(fsys, path)
}

// there lists the names of the checkpoints of a run.
func there(run string, marks map[string]int64) error {
	list, err := checkpoint.List(durable.Inside(run), CheckpointsOf(run))
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(marks))
	for _, info := range list {
		names = append(names, filepath.Base(info.Path))
	}
	return fmt.Errorf("it has %s", strings.Join(names, ", "))
}

// Newest opens the newest checkpoint of a run that verifies, and says which newer ones it refused and why.
func Newest(dir string) (c *checkpoint.Checkpoint, refused []string, err error) {
	fsys := durable.Inside(dir)
	path, bad, err := checkpoint.Newest(fsys, CheckpointsOf(dir))
	for _, r := range bad {
		refused = append(refused, r.Error())
	}
	switch {
	case err == nil:
		c, err = checkpoint.Open(fsys, path)
		return c, refused, err
	case len(refused) > 0:
		return nil, nil, fmt.Errorf("%w: no checkpoint of %s is whole: %w\n  %s", ErrResume, dir, err,
			strings.Join(refused, "\n  "))
	}
	return nil, nil, fmt.Errorf("%w: %s has no checkpoint, because it ended before its first save: start it again "+
		"with the same --out: %w", ErrResume, dir, err)
}

// Inputs is what the bits of a run depend on. It is part of the state in every checkpoint. A resume refuses other data,
// and says when another input changed.
type Inputs struct {
	ConfigHash    string `json:"config_hash"`
	DataHash      string `json:"data_hash"`
	TokenizerHash string `json:"tokenizer_hash"`
	Numerics      string `json:"numerics"` // hardware and precision
}

// Sequence names a sequence of a text for good: the document it is cut from and where it begins in it.
type Sequence struct {
	Source int32 `json:"source"`
	Offset int64 `json:"offset"` // of the document in its source, bytes
	First  int64 `json:"first"`  // text token of the document that is its first label
}

// Facts is the part of a checkpoint's state that is of use outside of its run.
type Facts struct {
	Inputs
	Step    int64         `json:"step"`
	Log     runlog.Prefix `json:"log"`     // when the checkpoint was saved; zero: not recorded
	Stopped string        `json:"stopped"` // why the judge ended the run
	Anchor  int64         `json:"anchor"`  // step that a rewind goes back to

	Marks map[string]int64 `json:"marks"` // names of checkpoints; a negative step: none has it; nil: not recorded

	Baseline runlog.Baseline `json:"baseline"`

	Quarantine []Sequence `json:"quarantine"` // left out, in the order in which they were
}

// ReadFacts reads the facts from a checkpoint of a run.
func ReadFacts(c *checkpoint.Checkpoint) (f Facts, err error) {
	err = ReadState(c, &f)
	return f, err
}

// StateVersion is the version of state.json that this program writes and reads.
const StateVersion = 1

// ReadState reads the state of a checkpoint into v. It refuses a state of another version.
func ReadState(c *checkpoint.Checkpoint, v any) error {
	raw, err := c.File(StateFile)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResume, err)
	}
	var head struct{ Version int }
	if err := errors.Join(json.Unmarshal(raw, &head), json.Unmarshal(raw, v)); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrResume, StateFile, err)
	}
	if head.Version != StateVersion {
		return fmt.Errorf("%w: %s has version %d, this program knows %d", ErrResume, StateFile, head.Version, StateVersion)
	}
	return nil
}
