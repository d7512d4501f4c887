package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/exit"
	"gimbal/internal/hub"
	"gimbal/internal/mirror"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
	"gimbal/internal/runstate"
)

// ResumeOptions say how a run is continued.
type ResumeOptions struct {
	Steps   int64    // new number of steps; 0: as planned
	Mirror  string   // checkpoint.mirror from here on; empty: as it was, if this user has named that before
	Out     string   // directory for a run that is fetched from its copy; empty: named after it
	Data    []string // where the text of the run lies now; none: where it was
	Workers int
	Device  string // numeric.device from here on; empty: as it was
	Hooks   Hooks

	seams
}

func (o ResumeOptions) change() runstate.Change {
	return runstate.Change{Steps: o.Steps, Mirror: o.Mirror, Data: o.Data, Device: o.Device}
}

// Resume continues a run from its newest checkpoint that verifies. On the same kernel tier, weights, moments and log
// get the same bits as if the run had never stopped. A finished run says so and returns. If nothing valid is there,
// or the data changed, the error matches rundir.ErrResume or data.ErrUnusable: Resume never starts over. The name of a
// copy in object storage (s3://…) is fetched first.
func Resume(ctx context.Context, dir string, opt ResumeOptions) (*Result, error) {
	dir, url, err := mirror.Here(ctx, dir, opt.Out)
	if err != nil {
		return nil, err
	}
	if _, err := rundir.Config(dir); err != nil { // before a lock file is made where no run is
		return nil, err
	}
	lock, err := rundir.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rundir.ErrResume, err)
	}
	defer lock.Unlock()
	s, err := runstate.Open(dir)
	if err != nil {
		return nil, err
	}
	defer s.Model.Close()
	extended, err := s.Apply(opt.change())
	if err != nil {
		return nil, err
	}
	rec := &recorder{hooks: opt.Hooks}
	if notes := s.Ended(); !extended && notes != nil {
		for _, why := range notes {
			rec.note("%s", why)
		}
		st := runstate.Store{FS: cmp.Or(opt.fs, durable.Inside(dir)), Dir: dir}
		if err := st.Settle(&s.State, s.Config); err != nil {
			return nil, err
		}
		return ended(s)
	}
	t, err := reassemble(ctx, s, opt, rec, extended)
	defer t.close()
	if err = exit.Preparing(ctx, err, exit.AsItWas); err != nil {
		return nil, err
	}
	t.named = opt.Mirror != "" || url == s.Config.Checkpoint.Mirror
	if err := t.goOn(s); err != nil {
		return nil, err
	}
	return t.train(ctx)
}

// ended is the result of a run that ended before.
func ended(s *runstate.Saved) (*Result, error) {
	r := &Result{Dir: s.Dir, Reason: "already done", Step: s.State.Step, Tokens: s.State.Tokens,
		Baseline: s.State.Baseline, Checkpoint: s.Model.Path()}
	r.Params, _ = s.Model.Arch.Params()
	last, err := runs.LastEval(s.Dir)
	if err == nil && last != nil {
		r.report(last)
	}
	return r, err
}

// reassemble makes a run as it was when it was saved, from the same text, and checks it. With an error the run may be
// there, too; the caller closes it.
func reassemble(ctx context.Context, s *runstate.Saved, opt ResumeOptions, rec *recorder, extended bool) (*run, error) {
	draft, err := plan.OpenText(ctx, s.Config, plan.TextOptions{Model: s.Model, Hash: s.State.DataHash, Out: s.Dir,
		Spare: s.Dir, Workers: opt.Workers})
	if errors.Is(err, plan.ErrChanged) {
		return nil, fmt.Errorf("%w; the run has%s; bring the files back, say with --data where they are now, or start a "+
			"new run with --from %s", err, runs.TextOf(s.Dir), s.Model.Path())
	}
	if err != nil {
		return nil, err
	}
	from := start{weights: preflight.Saved, model: s.Model, out: s.Dir, longer: extended,
		set: func(e engine.Engine) error {
			if base := s.Model.Base(); base != nil {
				if err := e.Set(base.Model(), nil); err != nil {
					return err
				}
			}
			return setAll(e, s.Model.Checkpoint)
		}}
	if base := s.Model.Base(); base != nil {
		if from.base, err = hub.BaseOf(base); err != nil {
			draft.Close()
			return nil, err
		}
	}
	if from.kept, err = s.Model.Kept(); err != nil {
		draft.Close()
		return nil, err
	}
	from.chat, _ = draft.Template(from.kept.Template)
	t, err := assemble(ctx, draft, opt.Workers, opt.seams, from, rec)
	if err != nil {
		return t, err
	}
	t.store.Dir, t.store.FS = s.Dir, cmp.Or(t.store.FS, durable.Inside(s.Dir))
	now := t.state.Inputs
	if err := t.takeState(s.State); err != nil {
		return t, err
	}
	if err := t.check(ctx, opt.unchecked); err != nil {
		return t, err
	}
	if err := t.plant(s.State.Faults); err != nil {
		return t, err
	}
	if !t.state.Calm() {
		rec.note("warning: %s was saved soon after %v; training continues from it as it would have without the interruption",
			s.Model.Path(), t.state.Trouble.Codes)
	}
	if t.state.Numerics != now.Numerics {
		rec.note("warning: the run used %s and continues with %s: its numbers will differ slightly from an uninterrupted run",
			t.state.Numerics, now.Numerics)
	}
	t.state.ConfigHash, t.state.Numerics = now.ConfigHash, now.Numerics
	t.state.Guard.Rules = t.plan.Rules(t.state.RateLimit)
	t.feed.LeaveOut(t.state.Quarantine)
	return t, nil
}

// goOn opens the log for appending and records the resume.
func (t *run) goOn(s *runstate.Saved) error {
	t.state.Attempt = s.State.Attempt + 1
	if err := t.store.Settle(&t.state, t.plan.Config); err != nil {
		return err
	}
	var err error
	if t.record.log, err = t.store.OpenLog(); err != nil {
		return err
	}
	past, err := runlog.Read(t.store.FS, filepath.Join(s.Dir, rundir.LogFile))
	if err != nil {
		return err
	}
	var last int64
	t.record.events, t.record.refused, last = runs.Standing(past, t.at())
	t.record.sort()
	t.state.Attempt = max(t.state.Attempt, last+1) // an attempt that died before its first save left only records
	reason := "continue"
	switch {
	case len(s.Changes) > 0:
		reason = strings.Join(s.Changes, "; ")
		name := filepath.Join(s.Dir, rundir.ConfigFile)
		if err := durable.WriteFile(t.store.FS, name, t.plan.Config.TOML()); err != nil {
			return err
		}
	case t.state.ConfigHash != s.State.ConfigHash:
		reason = "continue with an edited configuration"
		t.record.note("warning: %s was edited since the run began: from here on the new settings apply", rundir.ConfigFile)
	}
	err = t.record.write(runlog.Resume{Kind: "resume", At: t.at(), Process: t.process(reason),
		Checkpoint: s.Model.Path(), Refused: s.Refused})
	if err != nil {
		return err
	}
	if e, ok := runs.NewlyAltered(past); ok {
		e.At = t.at()
		if err := t.event(e); err != nil {
			return err
		}
	}
	for _, r := range s.Refused {
		err := t.event(runlog.Event{At: t.at(), Code: "F-CHECKPOINT-REFUSED", Severity: "error",
			Action: "took an older one", Message: r})
		if err != nil {
			return err
		}
	}
	t.record.note("resuming %s at step %d of %d, attempt %d", s.Dir, t.state.Step, t.plan.Config.Train.Steps,
		t.state.Attempt)
	return t.recordPlan()
}

// setAll gives an engine the weights and moments of a checkpoint.
func setAll(e engine.Engine, c *checkpoint.Checkpoint) error {
	if c.Optimizer() == nil {
		return fmt.Errorf("%w: the checkpoint holds weights only; start from it with --from", rundir.ErrResume)
	}
	return e.Set(c.Model(), c.Optimizer())
}

// restore puts a checkpoint's weights, moments and state into the run.
func (t *run) restore(c *checkpoint.Checkpoint) error {
	var s runstate.State
	if err := rundir.ReadState(c, &s); err != nil {
		return err
	}
	if err := setAll(t.engine, c); err != nil {
		return err
	}
	return t.takeState(s)
}

// takeState makes a saved state the run's.
func (t *run) takeState(s runstate.State) error {
	if t.layered != nil {
		if err := t.layered.SetState(s.Layered); err != nil {
			return fmt.Errorf("%w: %w", rundir.ErrResume, err)
		}
	}
	t.state, t.store.Saved, t.store.Due = s, s.Step, s.Due
	return nil
}

// CheckRun makes the checks of the preflight for going on with the run in dir, and only reads it: it may be in
// progress.
func CheckRun(ctx context.Context, dir string, opt ResumeOptions) (*Diagnosis, error) {
	s, err := runstate.Open(dir)
	if err != nil {
		return nil, err
	}
	defer s.Model.Close()
	rec := &recorder{hooks: opt.Hooks}
	rec.note("checking %s at step %d of %d", dir, s.State.Step, s.Config.Train.Steps)
	extended, err := s.Apply(opt.change())
	if err != nil {
		return nil, err
	}
	t, err := reassemble(ctx, s, opt, rec, extended)
	defer t.close()
	err = exit.Preparing(ctx, err, exit.AsItWas)
	d := t.diagnosis()
	if d == nil {
		return nil, err
	}
	for _, r := range s.Refused {
		d.Checks = append(d.Checks, runlog.Check{Code: "F-CHECKPOINT-REFUSED", Result: "warning", Message: r,
			Advice: "a resume takes the newest that verifies, " + s.Model.Path()})
	}
	return d, err
}
