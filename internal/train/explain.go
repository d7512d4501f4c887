package train

import (
	"context"
	"errors"
	"path/filepath"

	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/inspect"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// watch measures the health of the model when that is due, and records the result and new alarms. It runs before the
// guard's decision and does not influence it.
func (t *run) watch(ctx context.Context, o guard.Observation, r engine.Report) error {
	h, b, vocab := &t.state.Health, &t.feed.Batch, t.plan.Spec.Arch.Vocab
	h.MarkRead(b.Tokens, vocab)
	if due, _ := h.Due(o.Step); due {
		s := t.plan.Rate.Schedule
		rec, events, err := h.Look(ctx, t.engine, b, guard.HealthCheck{Step: o.Step, Warmup: s.Warmup, Loss: o.Loss,
			PeakLR: s.Peak, WeightDecay: t.plan.Config.Optim.WeightDecay, Trained: t.state.Before != nil}, r)
		if err != nil {
			return err
		}
		if rec != nil {
			rec.At = t.atObservation(o)
			if err := t.record.look(rec, len(events)); err != nil {
				return err
			}
		}
		if err := t.tell(t.atObservation(o), events); err != nil {
			return err
		}
	}
	if n := h.Unread(vocab); n > 0 && t.state.Before == nil && o.Step == t.plan.Config.Train.Steps {
		t.record.note("%d of %d vocabulary tokens never occurred in training; their embeddings are untrained", n, vocab)
	}
	return nil
}

// atObservation is where the step in progress stands.
func (t *run) atObservation(o guard.Observation) runlog.At {
	at := t.at()
	at.Step, at.Batch = o.Step, o.Batch
	return at
}

// explain records what the guard saw in the batch in progress: the observation if its update is refused, and the
// events with the tensor and the documents behind them. It runs before anything is done about them.
func (t *run) explain(ctx context.Context, o guard.Observation, d guard.Decision) error {
	at := t.atObservation(o)
	if d.Action != guard.Apply {
		t.record.refused++
		err := t.record.write(runlog.Refused{At: at, Labels: o.Labels, Loss: runlog.Float(o.Loss),
			GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(o.LR), UpdateRatio: runlog.Float(o.UpdateRatio),
			Action: d.Action.String(), Injected: t.faults.Active(o.Batch)})
		if err != nil {
			return err
		}
	}
	for _, e := range d.Events {
		rec := inspect.Event(at, e)
		found, err := t.inspected().Explain(ctx, &rec, d, t.opener, t.plan.Spec)
		t.feed.SetAside(found.Aside, &t.state.Quarantine)
		if found.Keep {
			t.keep(&rec)
		}
		if err = errors.Join(err, t.event(rec)); err != nil {
			return err
		}
	}
	return nil
}

// inspected is the batch in progress.
func (t *run) inspected() inspect.Batch {
	return inspect.Batch{Batch: &t.feed.Batch, Engine: t.engine, Passes: t.acc.Passes, Step: t.state.Step + 1,
		Describe: t.feed.Describe}
}

// keep saves the batch in progress, which was refused. A disk that is full does not end the run for it.
func (t *run) keep(e *runlog.Event) {
	dir := filepath.Join(t.store.Dir, rundir.Refused)
	if err := t.inspected().Save(t.store.FS, dir, t.text.Set.Describe, e); err != nil {
		t.record.note("warning: the refused batch could not be saved: %v", err)
	}
}
