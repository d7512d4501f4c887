package train

import (
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
)

// store is where a run is saved.
type store struct {
	fs     durable.FS
	dir    string           // of the run
	saved  int64            // step of the newest checkpoint; -1: none
	due    bool             // it says that the evaluation of its step is due
	marked map[string]int64 // of the newest save: which step has which name
	failed int              // saves that failed since the last that did not
	under  *saving          // the save whose end was not noted yet; nil: none
	copy   checkpoint.Copy  // what it writes beside training
}

func (s *store) checkpoints() string { return rundir.CheckpointsOf(s.dir) }

// held says which steps have a checkpoint that looks complete.
func (s *store) held() (func(step int64) bool, error) {
	infos, err := checkpoint.List(s.fs, s.checkpoints())
	there := map[int64]bool{}
	for _, info := range infos {
		there[info.Step] = there[info.Step] || info.Err == nil
	}
	return func(step int64) bool { return there[step] }, err
}

// settle makes what follows from the newest state, and sweeps what a killed process left. Whoever opens a run for
// writing calls it, so that a kill between a save and this changes nothing.
func (s *store) settle(st *state, cfg *config.Config) error {
	for _, below := range []string{".", rundir.Samples, rundir.Refused} {
		if err := durable.Sweep(s.fs, filepath.Join(s.dir, below)); err != nil {
			return err
		}
	}
	err := s.derive(st, cfg)
	s.saved, s.due, s.marked = st.Step, st.Due, st.Marks
	return err
}

// derive makes what follows from the newest state: the marks, and which checkpoints are kept.
func (s *store) derive(st *state, cfg *config.Config) error {
	held, err := s.held()
	if err != nil {
		return err
	}
	whole := st.Marks != nil
	for _, step := range st.Marks {
		whole = whole && (step < 0 || held(step))
	}
	if !whole { // of an older version, or a checkpoint is gone
		st.name(held, cfg.Judge.Select)
	}
	if err := checkpoint.SetMarks(s.fs, s.checkpoints(), st.Marks); err != nil {
		return err
	}
	_, err = checkpoint.Prune(s.fs, s.checkpoints(), cfg.Checkpoint.Keep, []string{checkpoint.StepName(st.Anchor)})
	return err
}

// Names of checkpoints.
const (
	markLast   = "last"
	markBest   = "best-loss"
	markStable = "stable"
)

// name gives the newest checkpoint, the one with the lowest loss, and the chosen one their names; -1: there is none. It
// is part of the state, because pruning changes what there is to choose from.
func (s *state) name(held func(step int64) bool, rule string) {
	s.Marks = map[string]int64{markLast: s.Step, markBest: judge.Choose(s.History, held, judge.Loss).Step,
		markStable: s.choose(held, rule).Step}
}

// choose picks the checkpoint to keep among those that are there. A run that was stopped early always keeps one: where
// its rule has none yet, it is the one with the lowest loss.
func (s *state) choose(held func(step int64) bool, rule string) judge.Choice {
	c := judge.Choose(s.History, held, rule)
	if c.Step < 0 && s.Stopped != "" {
		c = judge.Choose(s.History, held, judge.Loss)
	}
	return c
}

// choose is the choice among the checkpoints that are there now.
func (t *run) choose() (judge.Choice, error) {
	held, err := t.store.held()
	return t.state.choose(held, t.plan.Config.Judge.Select), err
}
