package train

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/inspect"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// watch measures the health of the model when that is due, and records the result and new alarms. It runs before the
// guard's decision and does not influence it.
func (t *run) watch(ctx context.Context, o guard.Observation, r engine.Report) error {
	h, b, vocab := &t.state.Health, &t.feed.batch, t.plan.Spec.Arch.Vocab
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
		rec := eventOf(at, e)
		var err error
		switch e.Code {
		case guard.CodeNonfinite:
			err = t.explainNonfinite(ctx, &rec, d)
		case guard.CodeOutlier:
			err = t.explainOutlier(ctx, &rec, d)
		}
		if err = errors.Join(err, t.event(rec)); err != nil {
			return err
		}
	}
	return nil
}

// eventOf is an event of the guard as the log records it.
func eventOf(at runlog.At, e guard.Event) runlog.Event {
	rec := runlog.Event{At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message,
		Numbers: map[string]runlog.Float{}}
	for name, v := range e.Numbers {
		rec.Numbers[name] = runlog.Float(v)
	}
	return rec
}

// explainNonfinite names what is behind a loss, norm or update that is not finite: the first bad place in the model and
// the documents. Where the guard acts it runs the batch again, saves it, and tries it in full precision; it needs the
// gradients no more.
func (t *run) explainNonfinite(ctx context.Context, e *runlog.Event, d guard.Decision) error {
	b := t.inspected()
	place, suspects, weight, err := b.FirstBad()
	if err != nil {
		return err
	}
	e.Tensor, e.Documents = place, t.feed.describe(suspects)
	if d.Action == guard.Apply {
		return nil
	}
	guilty, err := b.Blame(ctx, suspects)
	if err != nil {
		return err
	}
	if len(guilty) > 0 {
		e.Documents = t.feed.describe(guilty)
		if !weight {
			t.setAside(guilty)
			e.Message += fmt.Sprintf("; sequences that cause it alone: %d, now quarantined", len(guilty))
		}
	}
	if d.Diagnose {
		op, err := b.InFullPrecision(ctx, t.opener, t.plan.Spec)
		if err != nil {
			return err
		}
		if op.Asked {
			e.Numbers["fp32_loss"], e.Numbers["fp32_grad_norm"] = runlog.Float(op.Loss), runlog.Float(op.GradNorm)
		}
		if op.Text != "" {
			e.Message += "; " + op.Text
		}
	}
	t.keep(e)
	return nil
}

// inspected is the batch in progress.
func (t *run) inspected() inspect.Batch {
	return inspect.Batch{Batch: &t.feed.batch, Engine: t.engine, Passes: t.acc.Passes, Step: t.state.Step + 1}
}

// explainOutlier names the documents of a batch far outside the accepted ones, the worst first, leaves its sequences
// out and saves it. Where the data is not the reason, or the guard does not act, there is nothing to explain.
func (t *run) explainOutlier(ctx context.Context, e *runlog.Event, d guard.Decision) error {
	if !d.Quarantine {
		return nil
	}
	worst, loss, err := t.inspected().Worst(ctx)
	if err != nil {
		return err
	}
	e.Documents, e.Numbers["worst_sequence_loss"] = t.feed.describe(worst), runlog.Float(loss)
	t.setAside(t.feed.batch.Spans)
	t.keep(e)
	return nil
}

// setAside leaves sequences out for the rest of the run.
func (t *run) setAside(spans []data.Span) {
	for _, s := range spans {
		if q := sequenceOf(s); !t.feed.quarantine[q] {
			t.state.Quarantine = append(t.state.Quarantine, q)
		}
	}
	t.feed.leaveOut(t.state.Quarantine)
}

// keep saves the batch in progress, which was refused. A disk that is full does not end the run for it.
func (t *run) keep(e *runlog.Event) {
	dir := filepath.Join(t.store.Dir, rundir.Refused)
	if err := t.inspected().Save(t.store.FS, dir, t.text.Set.Describe, e); err != nil {
		t.record.note("warning: the refused batch could not be saved: %v", err)
	}
}
