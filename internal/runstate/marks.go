package runstate

import "gimbal/internal/judge"

// Names of checkpoints.
const (
	MarkLast   = "last"
	MarkBest   = "best-loss"
	MarkStable = "stable"
)

// Name gives the newest checkpoint, the one with the lowest loss, and the chosen one their names; -1: there is none. It
// is part of the state, because pruning changes what there is to choose from.
func (s *State) Name(held func(step int64) bool, rule string) {
	s.Marks = map[string]int64{MarkLast: s.Step, MarkBest: judge.Choose(s.History, held, judge.Loss).Step,
		MarkStable: s.Choose(held, rule).Step}
}

// Choose picks the checkpoint to keep among those that are there. A run that was stopped early always keeps one: where
// its rule has none yet, it is the one with the lowest loss.
func (s *State) Choose(held func(step int64) bool, rule string) judge.Choice {
	c := judge.Choose(s.History, held, rule)
	if c.Step < 0 && s.Stopped != "" {
		c = judge.Choose(s.History, held, judge.Loss)
	}
	return c
}
