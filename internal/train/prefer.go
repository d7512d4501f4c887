package train

import (
	"context"

	"gimbal/internal/evaluate"
	"gimbal/internal/guard"
	"gimbal/internal/inspect"
	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// refer makes sure that the reference of preferences is there.
func (t *run) refer(ctx context.Context) (err error) {
	p := t.acc.Prefer
	if p == nil || p.Reference != nil {
		return nil
	}
	like := evaluate.Reference{Data: t.text.Set.Hash, Template: evaluate.Hash(t.text.Set.Chat().Template),
		Base: t.start.base.Hash, Numerics: t.engine.Info().Numerics}
	p.Reference, err = t.store.Reference(&t.state, like, func(r *evaluate.Reference) error {
		told, err := t.evaluator.Refer(ctx, r, t.record.detail)
		if err == nil {
			t.record.note("%s", told)
		}
		return err
	})
	return err
}

// watchPairs records what the pairs of a step came to, and what the guard finds in them.
func (t *run) watchPairs(o guard.Observation, rec *runlog.Step) error {
	if t.acc.Prefer == nil {
		return nil
	}
	p := t.acc.Pairs
	rec.Pairs = evaluate.PairsRecord(p, t.acc.Prefer.Beta)
	var events []guard.Event
	t.state.Preferences, events = guard.NextPreferences(t.state.Preferences, o.Step, guard.PairSums{Pairs: p.Count,
		Correct: p.Correct, Ratio: p.Ratio, Tokens: p.Tokens}, t.epoch() > 0)
	return t.tell(t.atObservation(o), events)
}

// tell records events of the guard.
func (t *run) tell(at runlog.At, events []guard.Event) error {
	for _, e := range events {
		if err := t.event(inspect.Event(at, e)); err != nil {
			return err
		}
	}
	return nil
}

// evaluatePairs adds to a point what held-out pairs came to, and watches the length of what is written.
func (t *run) evaluatePairs(s evaluate.Score, w *evaluate.Writing, point *judge.Point) error {
	b := t.state.Before
	if s.Pairs.Count == 0 || b == nil {
		return nil
	}
	point.Metrics[evaluate.MetricAccuracy] = judge.Metric{
		Estimate: judge.Estimate{Value: s.Pairs.Mean(s.Pairs.Correct)}}
	written := w.Metrics()["length"] // tokens per text; 0: nothing was written
	if t.state.Step == 0 {
		b.Pairs, b.Written = s.Pairs.Count, written
	}
	var events []guard.Event
	t.state.Preferences, events = guard.NextLength(t.state.Preferences, t.state.Step, float64(b.Written),
		float64(written))
	return t.tell(t.at(), events)
}
