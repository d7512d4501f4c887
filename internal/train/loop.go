package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/memory"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// loop trains until the planned steps are done, the context is cancelled, or the guard or the judge ends the run. It
// returns the last evaluation, nil when none was reached.
func (t *run) loop(ctx context.Context) (last *runlog.Eval, err error) {
	if err := t.refer(ctx); err != nil {
		return nil, err
	}
	for {
		t.whole = true
		if err := cmp.Or(t.watchOutput(), t.watchSave(), t.watchMirror()); err != nil {
			return last, err
		}
		if t.state.Due && ctx.Err() == nil {
			rec, err := t.evaluate(ctx)
			switch {
			case ctx.Err() != nil && errors.Is(err, ctx.Err()): // it is made when the run goes on
				continue
			case err != nil:
				return last, err
			}
			last = rec
			if err := t.saveOrGoOn(); err != nil {
				return last, err
			}
		}
		switch {
		case t.state.Due, t.state.Step < t.plan.Config.Train.Steps && t.state.Stopped == "" && ctx.Err() != nil:
			return last, t.interrupt()
		case t.state.Stopped != "":
			return t.stopEarly(ctx)
		case t.state.Step >= t.plan.Config.Train.Steps: // the last save was waited for
			if last == nil { // all steps were done before
				return runs.LastEval(t.store.Dir)
			}
			return last, nil
		}
		t.whole = false
		if err := t.stepAndSave(context.WithoutCancel(ctx)); err != nil { // a step is short, and is not broken off
			return last, err
		}
	}
}

// interrupt saves the run at its current step.
func (t *run) interrupt() error {
	if err := t.awaitSave(); err != nil {
		return err
	}
	if t.store.Saved != t.state.Step || t.store.Due != t.state.Due {
		if err := t.save(false); err != nil {
			return fmt.Errorf("%w (and the save at the interrupt failed)", err)
		}
	}
	return ErrInterrupted
}

// stepAndSave makes one step and acts on the decision about it. If an evaluation is due, the save follows that.
func (t *run) stepAndSave(ctx context.Context) error {
	before := t.epoch()
	began := time.Now()
	rec, d, err := t.step(ctx)
	if err != nil {
		return err
	}
	if d.Action != guard.Apply {
		return t.act(ctx, d)
	}
	seconds := time.Since(began).Seconds()
	rec.TokensPerSecond = runlog.Float(float64(t.feed.Batch.Counted) / seconds)
	rec.MemoryBytes = memory.Resident()
	if err := t.record.step(rec, seconds); err != nil {
		return err
	}
	if t.state.Due, t.state.Whole = t.plan.EvalDue(t.state.Step, t.epoch() > before); t.state.Due {
		return nil
	}
	if t.plan.SaveDue(t.state.Step) {
		return t.saveOrGoOn()
	}
	return nil
}

// step takes the next batch and makes one update, or refuses it: the decision says which. What the guard saw is
// recorded either way; the record of an update that was made is the caller's to complete and write.
func (t *run) step(ctx context.Context) (rec runlog.Step, d guard.Decision, err error) {
	step := t.state.Step + 1
	t.feed.Take(step, t.state.Cursor())
	b, next := &t.feed.Batch, t.feed.Next
	switch {
	case len(b.Spans) == 0:
		return rec, d, fmt.Errorf("%w: no sequence is left to train on: all %d are quarantined", data.ErrUnusable,
			len(t.state.Quarantine))
	case b.Counted == 0: // only prompts without answers: there is no loss to average
		t.state.Move(next)
		at := t.at()
		at.Step = step
		return rec, guard.Decision{Action: guard.Skip}, t.event(runlog.Event{At: at, Code: "W-NO-LABELS",
			Severity: "warning", Action: "take the next batch", Message: "the batch has no trainable tokens",
			Documents: t.feed.Describe(b.Spans)})
	}
	t.engine.Discard()
	if err := t.acc.Gradient(ctx, t.engine, b, step); err != nil {
		return rec, d, err
	}
	o, report, err := t.observe(ctx, step)
	if err != nil {
		return rec, d, err
	}
	if err := t.watch(ctx, o, report); err != nil {
		return rec, d, err
	}
	t.state.Guard, d = guard.Next(t.state.Guard, o)
	if err := t.explain(ctx, o, d); err != nil {
		return rec, d, err
	}
	t.state.Move(next)
	if d.Action != guard.Apply {
		return rec, d, nil
	}
	if rec, err = t.update(o, d, report); err == nil {
		err = t.watchPairs(o, &rec)
	}
	return rec, d, err
}

// observe asks what the update would be, at the factor that the guard has in force.
func (t *run) observe(ctx context.Context, step int64) (guard.Observation, engine.Report, error) {
	counted := int64(t.feed.Batch.Counted)
	o := guard.Observation{Step: step, Batch: t.feed.Next.Batch, Labels: counted, LR: t.plan.RateAt(step)}
	p := engine.Proposal{Step: step, LR: o.LR * t.state.Guard.Scale(), Clip: t.plan.Config.Optim.Clip,
		Scale: engine.Scale(&t.feed.Batch)}
	if t.layered != nil {
		p.Detail |= engine.Norms
	}
	if _, full := t.state.Health.Due(step); full {
		p.Detail |= engine.TensorStats
	}
	r, err := t.engine.Propose(ctx, p)
	o.Loss, o.GradNorm, o.UpdateRatio = r.Loss, r.GradNorm, r.UpdateRatio
	if t.acc.Prefer != nil {
		o.Loss = t.acc.Pairs.Mean(t.acc.Pairs.Loss)
	}
	return o, r, err
}

// update makes the update that the guard let through.
func (t *run) update(o guard.Observation, d guard.Decision, r engine.Report) (rec runlog.Step, err error) {
	u := engine.Update{Step: o.Step, LR: o.LR * d.Scale, Scale: r.ClipScale}
	clipped := 0
	if t.layered != nil {
		u.Factors, u.Scale, clipped = t.layered.Clip(r.Norms, t.plan.Config.Optim.Clip)
		t.state.Layered = t.layered.LayeredState
	}
	lr, err := t.engine.Commit(u)
	if err != nil {
		return rec, err
	}
	t.state.Step = o.Step
	t.state.Tokens += o.Labels
	rec = runlog.Step{
		Kind: "step", At: t.at(), Tokens: t.state.Tokens, Labels: o.Labels, Injected: t.faults.Active(o.Batch),
		Loss: runlog.Float(o.Loss), GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(lr),
		UpdateRatio: runlog.Float(o.UpdateRatio), ClipScale: runlog.Float(u.Scale), ClippedTensors: clipped,
	}
	if d.Scale != 1 {
		rec.LRScale = runlog.Float(d.Scale)
	}
	if lr != o.LR {
		rec.LRPlanned = runlog.Float(o.LR)
	}
	return rec, nil
}

// at is where the run stands, as every record says it.
func (t *run) at() runlog.At {
	return runlog.At{Step: t.state.Step, Batch: t.state.Batch, Attempt: t.state.Attempt, Time: time.Now()}
}

// event records an event and remembers what disturbs the calm.
func (t *run) event(e runlog.Event) error {
	e.Injected = t.faults.Tainted(e.Batch)
	t.state.Trouble.Note(e)
	return t.record.event(e)
}

// watchOutput records once that what the run tells is not heard any more, and lets it go on.
func (t *run) watchOutput() error {
	lost := t.record.hooks.Lost
	if lost == nil || lost() == nil {
		return nil
	}
	t.record.hooks.Lost = nil
	return t.event(runlog.Event{At: t.at(), Code: "F-OUTPUT-LOST", Severity: "warning", Action: "go on",
		Message: lost().Error()})
}

// epoch is the number of whole passes over the training part.
func (t *run) epoch() int64 { return t.state.Sequence / t.text.Train.Sequences() }
