package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// leastLR is the least learning rate that a configuration takes.
const leastLR = 1e-12

// act carries out what the guard decided about a refused step. It is the only place that acts on a decision. It returns
// an error if the run ends.
func (t *run) act(ctx context.Context, d guard.Decision) error {
	switch d.Action {
	case guard.Skip: // the batch was passed over, and nothing else changes
		return nil
	case guard.Rewind:
		return t.rewind(ctx)
	}
	stop := &StopError{Code: guard.CodeDiverged, Step: t.state.Step + 1, Reason: "the guard ended the run"}
	if n := len(d.Events); n > 0 {
		e := t.record.events[len(t.record.events)-1] // as it was explained
		stop.Code, stop.Reason, stop.Tensor, stop.Documents = d.Events[n-1].Code, d.Events[n-1].Message, e.Tensor, e.Documents
		stop.LR = d.Events[n-1].Numbers["scale_before"]
	}
	return t.stop(stop)
}

// stop writes the post-mortem and returns the reason. LR comes as the factor on the rate that was in force, 0 where
// that is the guard's, and becomes half of the peak rate at that factor.
func (t *run) stop(stop *StopError) error {
	if err := t.awaitSave(); err != nil {
		return errors.Join(stop, err)
	}
	peak := t.plan.Rate.Schedule.Peak
	stop.LR = max(leastLR, peak*min(1, cmp.Or(stop.LR, t.state.Guard.Scale()))/2)
	stop.From, _, _ = checkpoint.NewestHealthy(t.store.FS, t.store.Checkpoints()) // empty where there is none
	m := runs.PostMortem{Run: filepath.Base(t.store.Dir), Code: stop.Code, Step: stop.Step, Reason: stop.Reason,
		Guard: t.guarding(), Peak: peak, Events: t.record.events, Next: runs.Again(t.store.Dir, stop.From, stop.LR)}
	name := filepath.Join(t.store.Dir, rundir.PostMortemFile)
	err := durable.WriteWith(t.store.FS, name, func(w io.Writer) error { return m.Write(w) })
	if err != nil {
		return err
	}
	return stop
}

// Batches skipped after a rewind: twice as many as were used since the checkpoint, within these bounds. Without an
// upper bound, checkpoints far apart would throw away a good part of the corpus for a few bad batches.
const (
	leastSkipped = 20
	mostSkipped  = 100
)

// rewind returns the run to its newest healthy checkpoint and skips the data that was used since. Weights, moments and
// evaluations become those of the checkpoint. The guard's state, the quarantine and the place in the data do not.
// Planted faults keep their progress: the next save asks for it.
//
// Checkpoints newer than the healthy one are deleted first. A run that is killed at any moment after that resumes from
// the healthy one, sees the same batches and decides the same.
func (t *run) rewind(ctx context.Context) error {
	if err := t.awaitSave(); err != nil { // it may be the newest healthy checkpoint
		return err
	}
	c, err := t.store.OpenAnchor(t.state.Anchor, t.record.note)
	if err != nil {
		return t.stop(&StopError{Code: guard.CodeDiverged, Step: t.state.Step + 1,
			Reason: fmt.Sprintf("no healthy checkpoint to rewind to: %v", err)})
	}
	defer c.Close()
	if err := t.record.log.Sync(); err != nil {
		return err
	}
	if err := checkpoint.Forget(t.store.FS, t.store.Checkpoints(), c.Step()); err != nil {
		return err
	}
	before := t.state
	if err := t.restore(c); err != nil {
		return err
	}
	was := t.state.Batch
	s := &t.state
	s.Guard, s.Quarantine, s.Reference = before.Guard, before.Quarantine, before.Reference
	s.Attempt, s.ConfigHash, s.Numerics = before.Attempt, before.ConfigHash, before.Numerics
	s.Trouble, s.Rewinds = before.Trouble, before.Rewinds+1
	s.Trouble.Step = s.Step

	skip := min(max(2*(before.Batch-was), leastSkipped), mostSkipped)
	s.Move(t.feed.Pass(skip, before.Cursor()))
	if err := t.store.Settle(s, t.plan.Config); err != nil {
		return err
	}
	t.mirror.Changed()
	t.record.note("rewound from step %d to step %d; skipped %d batches", before.Step, s.Step, s.Batch-was)
	return t.record.write(runlog.Rewind{At: t.at(), From: before.Step, Skipped: skip})
}
