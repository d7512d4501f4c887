package train

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// mostReference is the most bytes of the file of a reference.
const mostReference = 4 << 30

// refer makes sure that the reference of preferences is there: it reads that of the run, or makes it before step 1.
func (t *run) refer(ctx context.Context) error {
	p := t.acc.Prefer
	if p == nil || p.Reference != nil {
		return nil
	}
	name := filepath.Join(t.store.dir, rundir.ReferenceFile)
	fresh, err := t.describeReference()
	if err != nil {
		return err
	}
	raw, err := durable.ReadFile(t.store.fs, name, mostReference)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch r, hash := evaluate.ParseReference(raw); {
	case t.state.Step > 0 && hash != t.state.Reference:
		return fmt.Errorf("%w: %s is missing or is not the one that the run was trained with: what preferences are "+
			"compared with is lost; bring the file back, or start again with --from", rundir.ErrResume, name)
	case t.state.Step > 0 && (r.Data != fresh.Data || r.Template != fresh.Template):
		return fmt.Errorf("%w: %s is of other data, or of another chat template", rundir.ErrResume, name)
	case t.state.Step > 0 || r.Same(fresh):
		p.Reference, t.state.Reference = r.Nats, hash
		return nil
	}
	told, err := t.evaluator.Refer(ctx, &fresh, t.record.detail)
	if err != nil {
		return err
	}
	t.record.note("%s", told)
	raw, hash, err := fresh.Encode()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := durable.WriteFile(t.store.fs, name, raw); err != nil {
		return err
	}
	p.Reference, t.state.Reference = fresh.Nats, hash
	return nil
}

// describeReference returns the reference that the run has at step 0, without its numbers. After that the weights are
// others.
func (t *run) describeReference() (r evaluate.Reference, err error) {
	r = evaluate.Reference{Data: t.text.Set.Hash, Template: evaluate.Hash(t.text.Set.Chat().Template),
		Base: t.start.base.Hash, Numerics: t.engine.Info().Numerics}
	if t.state.Step > 0 {
		return r, nil
	}
	c, err := checkpoint.Open(t.store.fs, filepath.Join(t.store.checkpoints(), checkpoint.StepName(0)))
	if err != nil {
		return r, err
	}
	defer c.Close()
	r.Model, err = c.WeightsHash()
	return r, err
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
		if err := t.event(eventOf(at, e)); err != nil {
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

// knowsNothing is the loss of a model that has learned nothing.
func (t *run) knowsNothing() float64 {
	if t.acc.Prefer != nil {
		return math.Ln2
	}
	return math.Log(float64(t.plan.Spec.Arch.Vocab))
}
