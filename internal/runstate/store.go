package runstate

import (
	"fmt"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// Store is where a run is saved.
type Store struct {
	FS     durable.FS
	Dir    string           // of the run
	Saved  int64            // step of the newest checkpoint; -1: none
	Due    bool             // it says that the evaluation of its step is due
	Marked map[string]int64 // of the newest save: which step has which name
	Failed int              // saves that failed since the last that did not

	under *Save           // whose end was not noted yet; nil: none
	copy  checkpoint.Copy // what it writes beside training
}

// Checkpoints is the directory of the run's checkpoints.
func (s *Store) Checkpoints() string { return rundir.CheckpointsOf(s.Dir) }

// Checkpoint is the directory of the checkpoint of a step.
func (s *Store) Checkpoint(step int64) string {
	return filepath.Join(s.Checkpoints(), checkpoint.StepName(step))
}

// Held says which steps have a checkpoint that looks complete.
func (s *Store) Held() (func(step int64) bool, error) {
	infos, err := checkpoint.List(s.FS, s.Checkpoints())
	there := map[int64]bool{}
	for _, info := range infos {
		there[info.Step] = there[info.Step] || info.Err == nil
	}
	return func(step int64) bool { return there[step] }, err
}

// OpenAnchor opens the checkpoint to go back to: that of the anchor, the newest planned one that was healthy. If that
// is damaged it opens the newest healthy one that verifies, and says so.
func (s *Store) OpenAnchor(anchor int64, note func(format string, args ...any)) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Open(s.FS, s.Checkpoint(anchor))
	if err == nil {
		return c, nil
	}
	path, _, none := checkpoint.NewestHealthy(s.FS, s.Checkpoints())
	if none != nil {
		return nil, fmt.Errorf("%w; %w", err, none)
	}
	note("warning: %v; rewinding to %s instead", err, path)
	return checkpoint.Open(s.FS, path)
}

// OpenLog opens the log of the run for appending.
func (s *Store) OpenLog() (*runlog.Writer, error) {
	return runlog.OpenWriter(s.FS, filepath.Join(s.Dir, rundir.LogFile))
}

// Settle makes what follows from the newest state, and sweeps what a killed process left. Whoever opens a run for
// writing calls it, so that a kill between a save and this changes nothing.
func (s *Store) Settle(st *State, cfg *config.Config) error {
	for _, below := range []string{".", rundir.Samples, rundir.Refused} {
		if err := durable.Sweep(s.FS, filepath.Join(s.Dir, below)); err != nil {
			return err
		}
	}
	err := s.derive(st, cfg)
	s.Saved, s.Due, s.Marked = st.Step, st.Due, st.Marks
	return err
}

// derive makes what follows from the newest state: the marks, and which checkpoints are kept.
func (s *Store) derive(st *State, cfg *config.Config) error {
	held, err := s.Held()
	if err != nil {
		return err
	}
	whole := st.Marks != nil
	for _, step := range st.Marks {
		whole = whole && (step < 0 || held(step))
	}
	if !whole { // of an older version, or a checkpoint is gone
		st.Name(held, cfg.Judge.Select)
	}
	if err := checkpoint.SetMarks(s.FS, s.Checkpoints(), st.Marks); err != nil {
		return err
	}
	_, err = checkpoint.Prune(s.FS, s.Checkpoints(), cfg.Checkpoint.Keep, []string{checkpoint.StepName(st.Anchor)})
	return err
}
