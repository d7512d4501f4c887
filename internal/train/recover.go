package train

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"gimbal/internal/checkpoint"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/exit"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

// A run survives so many lost devices in so many steps: one that is lost more often will not come back.
const (
	mostLost  = 3
	lostSteps = 1000
)

// guarded is outlast, with an error where a mapped file got shorter. Where the program is wrong the run is saved if it
// is between two steps, its log says so, and the panic goes on.
func (t *run) guarded(ctx context.Context) (last *runlog.Eval, err error) {
	defer durable.CatchShrunk(debug.SetPanicOnFault(true), &err)
	defer func() {
		if v := recover(); v != nil {
			if durable.Shrunk(v) == nil {
				t.fault(v)
			}
			panic(v)
		}
	}()
	return t.outlast(ctx)
}

// fault leaves the run as well as can be where the program is wrong.
func (t *run) fault(value any) {
	defer func() { _ = recover() }() // it may be wrong here, too
	reason := fmt.Sprintf("failed: the program is wrong: %v", value)
	defer t.record.write(runlog.End{Kind: "end", At: t.at(), Process: t.process(reason), ExitCode: exit.Fault})
	if t.whole && t.store.Saved != t.state.Step {
		_ = t.save(false) // what was saved before is intact
	}
}

// outlast runs the loop, and goes on where a device was lost.
func (t *run) outlast(ctx context.Context) (last *runlog.Eval, err error) {
	last, err = t.loop(ctx)
	for lost := []int64(nil); errors.Is(err, device.ErrLost) && ctx.Err() == nil; {
		lost = append(slices.DeleteFunc(lost, func(s int64) bool { return s <= t.state.Step-lostSteps }), t.state.Step)
		if len(lost) > mostLost {
			err = fmt.Errorf("%w: %d times in %d steps, so the run ends; \"gimbal resume %s\" goes on from its newest "+
				"checkpoint", err, len(lost), lostSteps, t.store.Dir)
			return last, errors.Join(err, t.eventLost(err, "end"))
		}
		if err = t.restart(ctx, err); err == nil {
			last, err = t.loop(ctx)
		}
	}
	return last, err
}

// restart takes the run back to its newest healthy checkpoint, on a new engine. It does what a resume does, so the run
// stays the one that it would have been. With an error the run is as it was, without an engine.
func (t *run) restart(ctx context.Context, cause error) error {
	lost := t.state.Step
	if err := t.awaitSave(); err != nil {
		return err
	}
	if t.engine != nil { // nil: the device was lost again while it was opened
		t.engine.Close() // the error is known
		t.opener.Close()
		t.engine, t.opener = nil, nil
	}
	c, err := t.store.OpenAnchor(t.state.Anchor, t.record.note)
	if err != nil {
		return err
	}
	c.Close()
	if err := checkpoint.Forget(t.store.FS, t.store.Checkpoints(), c.Step()); err != nil {
		return err
	}
	s, err := runstate.Open(t.store.Dir)
	if err != nil {
		return err
	}
	defer s.Model.Close()
	s.Config, s.Changes = t.plan.Config, []string{"the device was lost"}
	rec := &recorder{hooks: t.record.hooks}
	rec.hooks.Plan, rec.hooks.Check = nil, nil // they would say the same again
	next, err := reassemble(ctx, s, t.again, rec, false)
	if err != nil {
		next.close()
		return err
	}
	t.close()
	*t = *next
	if err := t.goOn(s); err != nil {
		return err
	}
	return t.eventLost(fmt.Errorf("at step %d: %w", lost, cause), "go on from the newest healthy checkpoint")
}

// eventLost records that a device was lost.
func (t *run) eventLost(cause error, action string) error {
	return t.event(runlog.Event{At: t.at(), Code: "F-DEVICE-LOST", Severity: "error", Action: action,
		Message: cause.Error()})
}
