package train

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
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

// saved is a run that began before, at its newest checkpoint that verifies.
type saved struct {
	dir     string
	cfg     *config.Config
	model   *hub.Model
	state   state
	refused []string // checkpoints that are newer, and why they were not taken
	changes []string // of the configuration, by whoever resumes
}

// openSaved reads a run. The caller closes the model.
func openSaved(dir string) (*saved, error) {
	cfg, err := rundir.Config(dir)
	if err != nil {
		return nil, err
	}
	c, refused, err := rundir.Newest(dir)
	if err != nil {
		return nil, err
	}
	s := &saved{dir: dir, cfg: cfg, refused: refused}
	if _, err = rundir.Verify(dir, c); err == nil {
		err = rundir.ReadState(c, &s.state)
	}
	if err == nil {
		if s.model, err = hub.ModelOf(c); err != nil {
			err = fmt.Errorf("%w: %w", rundir.ErrResume, err)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// Resume continues a run from its newest checkpoint that verifies. On the same kernel tier, weights, moments and log
// get the same bits as if the run had never stopped. A finished run says so and returns. If nothing valid is there,
// or the data changed, the error matches rundir.ErrResume or data.ErrUnusable: Resume never starts over. The name of a
// copy in object storage (s3://…) is fetched first.
func Resume(ctx context.Context, dir string, opt ResumeOptions) (*Result, error) {
	var url string
	if mirror.Is(dir) {
		url = dir
		dir = cmp.Or(opt.Out, filepath.Join(rundir.Parent, mirror.Name(url)))
		if err := mirror.Fetch(ctx, url, dir); err != nil {
			return nil, fmt.Errorf("%w: %w", rundir.ErrResume, err)
		}
	} else if opt.Out != "" {
		return nil, fmt.Errorf("%w: --out is for a copy in object storage; %s stays where it is", rundir.ErrResume, dir)
	}
	if _, err := rundir.Config(dir); err != nil { // before a lock file is made where no run is
		return nil, err
	}
	lock, err := rundir.Lock(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rundir.ErrResume, err)
	}
	defer lock.Unlock()
	s, err := openSaved(dir)
	if err != nil {
		return nil, err
	}
	defer s.model.Close()
	extended, err := s.change(opt)
	if err != nil {
		return nil, err
	}
	rec := &recorder{hooks: opt.Hooks}
	if !extended && s.ended(rec) {
		st := store{fs: cmp.Or(opt.fs, durable.Inside(dir)), dir: dir}
		if err := st.settle(&s.state, s.cfg); err != nil {
			return nil, err
		}
		return s.result()
	}
	t, err := s.assemble(ctx, opt, rec, extended)
	defer t.close()
	if err = exit.Preparing(ctx, err, exit.AsItWas); err != nil {
		return nil, err
	}
	t.named = opt.Mirror != "" || url == s.cfg.Checkpoint.Mirror
	if err := t.goOn(s); err != nil {
		return nil, err
	}
	return t.train(ctx)
}

// change puts into the configuration what the run is resumed with, and reports whether that is another number of steps.
func (s *saved) change(opt ResumeOptions) (extended bool, err error) {
	step, before := s.state.Step, s.cfg.Train.Steps
	if opt.Mirror != "" && opt.Mirror != s.cfg.Checkpoint.Mirror {
		if err := s.cfg.SetPlanned("checkpoint.mirror", opt.Mirror, "resume --mirror"); err != nil {
			return false, err
		}
	}
	if len(opt.Data) > 0 {
		if err := s.cfg.SetPlanned("data.paths", opt.Data, "resume --data"); err != nil {
			return false, err
		}
		s.changes = append(s.changes, "its text was named again")
	} else if moved := rundir.Moved(s.dir, s.cfg.Data.Paths); moved != nil {
		if err := s.cfg.SetPlanned("data.paths", moved, "moved with the run"); err != nil {
			return false, err
		}
		s.changes = append(s.changes, "its text has moved with it")
	}
	switch d := s.cfg.Numeric; {
	case opt.Device != "" && opt.Device != d.Device:
		if err := s.move(opt.Device); err != nil {
			return false, err
		}
	case opt.Device == "" && d.Plugin():
		return false, fmt.Errorf("%w: its %s names the plugin %s, which is a program: to run it, name it yourself with "+
			"--device", rundir.ErrResume, rundir.ConfigFile, d.Device)
	}
	if opt.Steps == 0 || opt.Steps == before {
		return false, nil
	}
	if opt.Steps < step {
		return false, fmt.Errorf("%w: --steps %d is less than the %d steps already done", rundir.ErrResume, opt.Steps, step)
	}
	origin := fmt.Sprintf("resume --steps at step %d, %d before", step, before)
	s.changes, s.state.Stopped = append(s.changes, "extended: "+origin), "" // somebody wants it to go on
	return true, plan.Extend(s.cfg, step, opt.Steps, origin)
}

// move puts the run on other hardware, and leaves open again what was planned for the old.
func (s *saved) move(device string) error {
	const origin = "resume --device"
	for _, key := range []string{"numeric.mode", "numeric.checkpointing", "numeric.devices", "train.micro_tokens"} {
		if strings.HasPrefix(s.cfg.Origin(key), "planned") {
			if err := s.cfg.SetPlanned(key, "auto", origin); err != nil {
				return err
			}
		}
	}
	s.changes = append(s.changes, "it moved to "+device)
	return s.cfg.SetPlanned("numeric.device", device, origin)
}

// ended reports whether nothing is left to do, and notes why.
func (s *saved) ended(rec *recorder) bool {
	step, steps := s.state.Step, s.cfg.Train.Steps
	switch {
	case s.state.Due, !runs.Ended(s.dir): // it was killed before it had said so
		return false
	case step >= steps:
		for _, r := range s.refused {
			rec.note("refused %s", r)
		}
		rec.note("%s is done: %d of %d steps; \"gimbal resume %s --steps N\" extends it", s.dir, step, steps, s.dir)
	case s.state.Stopped != "":
		rec.note("%s was stopped early at step %d of %d (%s); \"gimbal resume %s --steps N\" continues it with another "+
			"number of steps", s.dir, step, steps, s.state.Stopped, s.dir)
	default:
		return false
	}
	return true
}

// result is that of a run that ended before.
func (s *saved) result() (*Result, error) {
	r := &Result{Dir: s.dir, Reason: "already done", Step: s.state.Step, Tokens: s.state.Tokens,
		Baseline: s.state.Baseline, Checkpoint: s.model.Path()}
	r.Params, _ = s.model.Arch.Params()
	last, err := runs.LastEval(s.dir)
	if err == nil && last != nil {
		r.report(last)
	}
	return r, err
}

// assemble makes the run as it was when it was saved, from the same text, and checks it. With an error the run may be
// there, too; the caller closes it.
func (s *saved) assemble(ctx context.Context, opt ResumeOptions, rec *recorder, extended bool) (*run, error) {
	draft, err := plan.OpenText(ctx, s.cfg, plan.TextOptions{Model: s.model, Hash: s.state.DataHash, Out: s.dir,
		Spare: s.dir, Workers: opt.Workers})
	if errors.Is(err, plan.ErrChanged) {
		return nil, fmt.Errorf("%w; the run has%s; bring the files back, say with --data where they are now, or start a "+
			"new run with --from %s", err, runs.TextOf(s.dir), s.model.Path())
	}
	if err != nil {
		return nil, err
	}
	from := start{weights: preflight.Saved, model: s.model, out: s.dir, longer: extended,
		set: func(e engine.Engine) error {
			if base := s.model.Base(); base != nil {
				if err := e.Set(base.Model(), nil); err != nil {
					return err
				}
			}
			return setAll(e, s.model.Checkpoint)
		}}
	if base := s.model.Base(); base != nil {
		if from.base, err = hub.BaseOf(base); err != nil {
			draft.Close()
			return nil, err
		}
	}
	if from.kept, err = s.model.Kept(); err != nil {
		draft.Close()
		return nil, err
	}
	from.chat, _ = draft.Template(from.kept.Template)
	t, err := assemble(ctx, draft, opt.Workers, opt.seams, from, rec)
	if err != nil {
		return t, err
	}
	t.store.dir, t.store.fs = s.dir, cmp.Or(t.store.fs, durable.Inside(s.dir))
	now := t.state.Inputs
	if err := t.takeState(s.state); err != nil {
		return t, err
	}
	if err := t.check(ctx, opt.unchecked); err != nil {
		return t, err
	}
	if err := t.plant(s.state.Faults); err != nil {
		return t, err
	}
	if !t.state.calm() {
		rec.note("warning: %s was saved soon after %v; training continues from it as it would have without the interruption",
			s.model.Path(), t.state.Trouble.Codes)
	}
	if t.state.Numerics != now.Numerics {
		rec.note("warning: the run used %s and continues with %s: its numbers will differ slightly from an uninterrupted run",
			t.state.Numerics, now.Numerics)
	}
	t.state.ConfigHash, t.state.Numerics = now.ConfigHash, now.Numerics
	t.state.Guard.Rules = t.rules()
	t.feed.leaveOut(t.state.Quarantine)
	return t, nil
}

// goOn opens the log for appending and records the resume.
func (t *run) goOn(s *saved) error {
	t.state.Attempt = s.state.Attempt + 1
	if err := t.store.settle(&t.state, t.plan.Config); err != nil {
		return err
	}
	if err := t.openLog(); err != nil {
		return err
	}
	past, err := runlog.Read(t.store.fs, filepath.Join(s.dir, rundir.LogFile))
	if err != nil {
		return err
	}
	var last int64
	t.record.events, t.record.refused, last = runs.Standing(past, t.at())
	t.record.sort()
	t.state.Attempt = max(t.state.Attempt, last+1) // an attempt that died before its first save left only records
	reason := "continue"
	switch {
	case len(s.changes) > 0:
		reason = strings.Join(s.changes, "; ")
		name := filepath.Join(s.dir, rundir.ConfigFile)
		if err := durable.WriteFile(t.store.fs, name, t.plan.Config.TOML()); err != nil {
			return err
		}
	case t.state.ConfigHash != s.state.ConfigHash:
		reason = "continue with an edited configuration"
		t.record.note("warning: %s was edited since the run began: from here on the new settings apply", rundir.ConfigFile)
	}
	err = t.record.write(runlog.Resume{Kind: "resume", At: t.at(), Process: t.process(reason), Checkpoint: s.model.Path(),
		Refused: s.refused})
	if err != nil {
		return err
	}
	if err := t.altered(past); err != nil {
		return err
	}
	for _, r := range s.refused {
		err := t.event(runlog.Event{At: t.at(), Code: "F-CHECKPOINT-REFUSED", Severity: "error",
			Action: "took an older one", Message: r})
		if err != nil {
			return err
		}
	}
	t.record.note("resuming %s at step %d of %d, attempt %d", s.dir, t.state.Step, t.plan.Config.Train.Steps,
		t.state.Attempt)
	return t.recordPlan()
}

// altered records that lines behind the checkpoint are not those that were written. What was recorded before is not
// new.
func (t *run) altered(past *runlog.Log) error {
	const code, places = "F-LOG-ALTERED", "places"
	known := 0
	for _, e := range runlog.All[runlog.Event](past) {
		if e.Code == code {
			known = int(e.Numbers[places])
		}
	}
	if past.Altered <= known {
		return nil
	}
	return t.event(runlog.Event{At: t.at(), Code: code, Severity: "warning", Action: "go on",
		Message: fmt.Sprintf("lines of %s behind the checkpoint were altered, removed or put in, in %s", rundir.LogFile,
			runs.Plural(past.Altered-known, "place")),
		Numbers: map[string]runlog.Float{places: runlog.Float(past.Altered)}})
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
	var s state
	if err := rundir.ReadState(c, &s); err != nil {
		return err
	}
	if err := setAll(t.engine, c); err != nil {
		return err
	}
	return t.takeState(s)
}

// takeState makes a saved state the run's.
func (t *run) takeState(s state) error {
	if t.layered != nil {
		if err := t.layered.SetState(s.Layered); err != nil {
			return fmt.Errorf("%w: %w", rundir.ErrResume, err)
		}
	}
	t.state, t.store.saved, t.store.due = s, s.Step, s.Due
	return nil
}

// CheckRun makes the checks of the preflight for going on with the run in dir, and only reads it: it may be in
// progress.
func CheckRun(ctx context.Context, dir string, opt ResumeOptions) (*Diagnosis, error) {
	s, err := openSaved(dir)
	if err != nil {
		return nil, err
	}
	defer s.model.Close()
	rec := &recorder{hooks: opt.Hooks}
	rec.note("checking %s at step %d of %d", dir, s.state.Step, s.cfg.Train.Steps)
	extended, err := s.change(opt)
	if err != nil {
		return nil, err
	}
	t, err := s.assemble(ctx, opt, rec, extended)
	defer t.close()
	err = exit.Preparing(ctx, err, exit.AsItWas)
	d := t.diagnosis()
	if d == nil {
		return nil, err
	}
	for _, r := range s.refused {
		d.Checks = append(d.Checks, runlog.Check{Code: "F-CHECKPOINT-REFUSED", Result: "warning", Message: r,
			Advice: "a resume takes the newest that verifies, " + s.model.Path()})
	}
	return d, err
}
