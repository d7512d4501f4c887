package train

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
	"gimbal/internal/evaluate"
	"gimbal/internal/exit"
	"gimbal/internal/faults"
	"gimbal/internal/guard"
	"gimbal/internal/hub"
	"gimbal/internal/optim"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

// start is what a run begins or goes on with.
type start struct {
	weights preflight.Weights
	set     func(engine.Engine) error // gives an engine these weights, with the slots that go with them
	model   *hub.Model                // that they come from, while the run is made; nil: they are fresh
	base    hub.Base                  // where they lie, for an adapter beside them
	kept    hub.Kept                  // what came with the weights
	chat    string                    // the template of conversations that goes with what is trained
	out     string                    // directory of the run, which may not exist yet; empty: not chosen
	longer  bool                      // a resume has changed the number of steps, and the schedule with it
	dry     bool                      // nothing is to come of it
	began   time.Time                 // when preparing began
}

// begun reports whether the run goes on as it was planned.
func (s start) begun() bool { return s.weights == preflight.Saved && !s.longer }

// prepare opens the text of a new run, assembles it and checks it. With an error the run may be there, too, as far as
// it had come; the caller closes it.
func prepare(ctx context.Context, cfg *config.Config, opt Options, dry bool) (*run, error) {
	rec := &recorder{hooks: opt.Hooks}
	from := start{weights: preflight.Fresh, out: opt.Out, dry: dry, began: time.Now()}
	var base *hub.Model
	var err error
	if opt.From != "" {
		if base, err = hub.OpenModel(opt.From, ""); err != nil {
			return nil, err
		}
		defer base.Close()
		from.weights, from.model = preflight.Base, base
		if from.kept, err = base.Kept(); err != nil {
			return nil, err
		}
		switch {
		case cfg.Train.Adapter != "none":
			if from.base, err = hub.BaseOf(base); err != nil {
				return nil, err
			}
		case base.Base() != nil:
			rec.note("%s is an adapter: it is added to its weights, and all of them are trained; train.adapter=lora "+
				"trains a new one beside them", opt.From)
		}
		cfg = plan.Anew(cfg)
	}
	draft, err := plan.OpenText(ctx, cfg, plan.TextOptions{Model: base, Tune: base != nil, Out: opt.Out,
		Workers: opt.Workers,
		Spare:   cmp.Or(opt.Out, rundir.Parent), Note: rec.detail})
	if err != nil {
		return nil, err
	}
	for _, note := range draft.Notes {
		rec.note("%s", note)
	}
	var replaced string
	from.chat, replaced = draft.Template(from.kept.Template)
	for _, note := range []string{draft.Text.Set.Chat().Note, replaced} {
		if note != "" {
			rec.note("%s", note)
		}
	}
	var grams *evaluate.Grams
	if !dry {
		rec.detail("fitting the n-gram baseline")
		if grams, err = evaluate.Fit(ctx, draft.Text); err != nil {
			draft.Close()
			return nil, err
		}
		debug.FreeOSMemory() // the tables of the n-grams, before the model takes their place
	}
	from.set = func(e engine.Engine) error {
		if err := e.Init(draft.Config.Train.Seed); err != nil || base == nil {
			return err
		}
		if err := e.Set(base.Model(), nil); err != nil {
			return &hub.Error{Dir: base.Path(), Err: err}
		}
		return nil
	}
	t, err := assemble(ctx, draft, opt.Workers, opt.seams, from, rec)
	if err != nil {
		return t, err
	}
	if base != nil { // an evaluation comes before the first step
		t.state.Before, t.state.Due = &runstate.Before{}, true
	}
	if grams != nil {
		t.state.Baseline = grams.On(t.evaluator)
	}
	planted := make([]faults.Planted, len(opt.Inject))
	for i, spec := range opt.Inject {
		planted[i].Spec = spec
	}
	if err := t.plant(planted); err != nil {
		return t, err
	}
	return t, t.check(ctx, opt.unchecked)
}

// assemble makes everything that training on a text needs but a directory: plan, engine, and what stands around it.
// The run that it returns owns the draft, and is there with an error, too.
func assemble(ctx context.Context, draft *plan.Draft, workers int, with seams, from start,
	rec *recorder) (*run, error) {
	t := &run{start: from, text: draft.Text, record: rec, opener: with.opener,
		store: &runstate.Store{FS: with.fs, Saved: -1}, written: &evaluate.Writing{},
		again: ResumeOptions{Workers: workers, seams: with}}
	var err error
	if t.opener == nil {
		if t.opener, err = device.Choose(ctx, draft.Config.Numeric, workers, rec.note); err != nil {
			return t, err
		}
	}
	t.plan, err = draft.Make(ctx, plan.Request{Opener: t.opener, Engine: t.open, Reset: from.set,
		Began: from.began, Begun: from.weights == preflight.Saved, Dry: from.dry, Note: rec.note})
	if err != nil {
		return t, err
	}
	for _, w := range t.plan.Warnings {
		rec.note("warning: %s", w)
	}
	if _, err := t.open(t.plan.Spec); err != nil {
		return t, err
	}
	cfg := t.plan.Config
	if t.feed, err = runstate.NewFeed(t.text, cfg.Train.Seed, cfg.Train.BatchTokens); err != nil {
		return t, err
	}
	if len(cfg.Eval.Keep) > 0 && from.model != nil && !from.dry {
		if t.kept, err = plan.OpenOther(ctx, cfg, cfg.Eval.Keep, from.model, workers); err != nil {
			return t, err
		}
	}
	for _, name := range cfg.Eval.Tasks {
		task, err := evaluate.OpenTask(name, evaluate.TaskOptions{Limit: cfg.Eval.TaskLimit, Shots: cfg.Eval.TaskShots})
		if err != nil {
			return t, fmt.Errorf("eval.tasks: %w", err)
		}
		t.tasks = append(t.tasks, task)
	}
	t.acc = t.plan.Accumulator()
	t.evaluator = t.newEvaluator()
	if cfg.Optim.AGC {
		t.layered = optim.NewLayered(len(t.engine.Info().Tensors))
	}
	t.state = runstate.State{Version: rundir.StateVersion, RateLimit: t.plan.Rate.Test.Limit(), Inputs: rundir.Inputs{
		ConfigHash: cfg.Hash(), DataHash: t.text.Set.Hash, TokenizerHash: t.text.Tok.Hash(),
		Numerics: t.engine.Info().Numerics}}
	t.state.Guard = guard.New(t.plan.Rules(t.state.RateLimit))
	return t, nil
}

// open opens the engine with the weights that the run starts with. It is that of the trials that the plan asked for, if
// these were of the same kind.
func (t *run) open(spec engine.Spec) (engine.Engine, error) {
	if t.engine != nil && t.opened == spec {
		return t.engine, nil
	}
	if t.engine != nil {
		if err := t.engine.Close(); err != nil {
			return nil, err
		}
		t.engine = nil
	}
	e, err := t.opener.Open(spec)
	if err != nil {
		return nil, err
	}
	t.engine, t.opened = e, spec
	return e, t.start.set(e)
}

// plant wraps the engine and the batches of the run where faults are planted in it.
func (t *run) plant(planted []faults.Planted) (err error) {
	if len(planted) == 0 {
		return nil
	}
	t.faults, err = faults.New(planted, faults.Env{Info: t.engine.Info(), Steps: t.plan.Config.Train.Steps, Text: t.text,
		Seed: t.plan.Config.Train.Seed, MicroTokens: t.plan.Spec.MicroTokens, Note: t.record.note})
	if err != nil {
		return err
	}
	t.engine, t.feed.Source = t.faults.Engine(t.engine), t.faults.Source(t.feed.Source)
	t.state.Faults = t.faults.State()
	return nil
}

// check makes the preflight of the run, and remembers what to record of it.
func (t *run) check(ctx context.Context, skip bool) (err error) {
	if skip {
		return nil
	}
	p := preflight.Run{Plan: t.plan, Engine: t.engine, Opener: t.opener, Text: t.text, Weights: t.start.weights,
		Step: t.state.Step, Begun: t.start.begun(), Out: t.start.out}
	if t.checks, err = p.Check(ctx); err == nil {
		call(t.record.hooks.Check, t.checks)
	}
	return err
}

// Diagnosis is what the preflight says about a run that is not begun, or not continued.
type Diagnosis struct {
	*runlog.Preflight
	Plan *plan.Plan `json:"-"`
}

// Check plans the run that cfg and opt describe, makes the checks of the preflight, and begins nothing. With an error
// of the preflight the diagnosis is there, too; the other errors are those of Run.
func Check(ctx context.Context, cfg *config.Config, opt Options) (*Diagnosis, error) {
	t, err := prepare(ctx, cfg, opt, true) // no range test: it would take as long as the start of the run
	defer t.close()
	return t.diagnosis(), exit.Preparing(ctx, err, exit.NothingBegun)
}

// diagnosis is nil where the checks were not reached.
func (t *run) diagnosis() *Diagnosis {
	if t == nil || t.checks == nil {
		return nil
	}
	return &Diagnosis{t.checks, t.plan}
}
