package train

import (
	"context"
	"fmt"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
)

// assemble makes everything that training on a corpus needs but a directory: model, optimizer, schedule and plan. The
// caller closes the corpus after the trainer.
func assemble(cfg *config.Config, text *corpus, opt Options) (_ *trainer, err error) {
	t := &trainer{fs: opt.fs, cfg: cfg, corpus: text, template: opt.template, hooks: opt.Hooks, trial: opt.DryRun, unchecked: opt.unchecked, saved: -1, rarest: -1}
	if t.fs == nil {
		t.fs = durable.OS
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.arch, err = architecture(cfg, text.tok, opt.arch); err != nil {
		return nil, err
	}
	if err := recordRules(cfg, t.arch); err != nil {
		return nil, err
	}
	if t.exec, err = kernel.NewExec(opt.Workers, kernel.TierAuto); err != nil {
		return nil, &config.Error{Faults: []config.Fault{{Text: err.Error()}}}
	}
	if warning := t.exec.Warning(); warning != "" {
		t.hooks.note("warning: %s", warning)
	}
	if err := t.chooseMode(); err != nil {
		return nil, err
	}
	if cfg.Train.MicroTokens == 0 {
		micro := min(cfg.Train.BatchTokens, max(cfg.Train.Context, autoMicro(t.arch)))
		if err := cfg.SetPlanned("train.micro_tokens", micro, "planned: large enough for the multiplies"); err != nil {
			return nil, err
		}
	}
	if err := t.planMemory(); err != nil {
		return nil, err
	}
	if t.model, err = model.New[float32](t.arch, t.exec, t.modelOptions()); err != nil {
		return nil, err
	}
	t.examiner = newExaminer(t.model)
	p := t.model.Params()
	segments := make([]optim.Segment, len(p.Views))
	for i, v := range p.Views {
		segments[i] = optim.Segment{Lo: v.Lo, Hi: v.Hi, Decay: v.Decay}
	}
	o := cfg.Optim
	t.adam = optim.NewAdamW[float32](t.exec, len(p.Flat), segments, optim.Options{
		Beta1: o.Beta1, Beta2: o.Beta2At(cfg.Train.BatchTokens), Eps: o.Eps, WeightDecay: o.WeightDecay})
	if o.AGC {
		t.layered = optim.NewLayered(t.adam)
	}
	if t.loader, err = data.NewLoader(t.corpus.train, cfg.Train.Seed, cfg.Train.BatchTokens); err != nil {
		return nil, err
	}
	return t, nil
}

// recordRules writes into the configuration what the rules made of the values that were left automatic.
func recordRules(cfg *config.Config, a config.Arch) error {
	for _, k := range []struct {
		key   string
		value any
		rule  string
	}{
		{"model.heads", a.Heads, "from model.width"}, {"model.kv_heads", a.KVHeads, "from model.heads"}, {"model.head_size", a.HeadSize, "from width and heads"},
		{"model.mlp", a.MLP, "from model.width"}, {"optim.beta2", cfg.Optim.Beta2At(cfg.Train.BatchTokens), "from train.batch_tokens"},
	} {
		if cfg.Auto(k.key) {
			if err := cfg.SetPlanned(k.key, k.value, "rule: "+k.rule); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *trainer) modelOptions() model.Options {
	return model.Options{MicroTokens: t.cfg.Train.MicroTokens, Checkpointing: t.cfg.Numeric.Checkpointing, Mode: t.cfg.Numeric.Mode, Workers: t.exec.Workers()}
}

// chooseMode decides the precision of the operands of multiplies, and says so when the one asked for has no hardware.
func (t *trainer) chooseMode() error {
	how := t.exec.BF16()
	if t.cfg.Numeric.Mode == model.ModeBF16 && how == "" {
		t.hooks.note("warning: no instruction of the %s tier multiplies bf16: it is emulated, slowly; fp32 would be faster", t.exec.Tier())
	}
	if t.cfg.Numeric.Mode != model.ModeAuto {
		return nil
	}
	origin := "planned: this CPU does not multiply bf16"
	switch {
	case t.exec.FasterBF16():
		origin = "planned: this CPU multiplies bf16 (" + how + ")"
	case how != "":
		origin = "planned: this CPU multiplies bf16 (" + how + ") slower than fp32"
	}
	return t.cfg.SetPlanned("numeric.mode", model.ResolveMode(t.exec, model.ModeAuto), origin)
}

// planMemory picks the cheapest checkpointing that fits the memory there is, and refuses what does not fit at all.
func (t *trainer) planMemory() error {
	modes := []string{t.cfg.Numeric.Checkpointing}
	if modes[0] == "auto" {
		modes = []string{"none", "attention", "block"}
	}
	total, _ := t.arch.Params()
	free := freeMemory()
	t.plan = &Plan{Config: t.cfg, Arch: t.arch, Moments: 8 * total, Writing: t.writingBytes()}
	if t.cfg.Optim.LR.Name == "probe" {
		t.plan.Probing = 4 * total
	}
	for _, mode := range modes {
		opt := t.modelOptions()
		opt.Checkpointing = mode
		t.plan.Memory = model.Memory(t.arch, opt)
		if free == 0 || float64(t.plan.bytes()) <= memoryShare*float64(free) {
			if t.cfg.Numeric.Checkpointing == "auto" {
				return t.cfg.SetPlanned("numeric.checkpointing", mode, "planned: the fastest that fits the memory")
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the run needs %s and %s are free; lower train.micro_tokens (%d), train.context or the size of the model",
		ErrMemory, bytesText(t.plan.bytes()), bytesText(free), t.cfg.Train.MicroTokens)
}

// finishPlan decides what is still open (the number of steps, from the speed of a trial pass) and completes the plan.
func (t *trainer) finishPlan(ctx context.Context) error {
	speed := 0.0
	if t.cfg.Train.Steps == 0 {
		speed = t.trialSpeed()
		if err := planSteps(t.cfg, t.corpus.train.Tokens(), speed); err != nil {
			return err
		}
		var err error
		if t.loader, err = data.NewLoader(t.corpus.train, t.cfg.Train.Seed, t.cfg.Train.BatchTokens); err != nil {
			return err
		}
	}
	if err := t.planWriting(); err != nil {
		return err
	}
	if err := t.cfg.Check(); err != nil {
		return err
	}
	if err := t.probe(ctx); err != nil {
		return err
	}
	sched, rates, warning, capped, err := schedule(t.cfg, t.arch)
	if err != nil {
		return &config.Error{Faults: []config.Fault{{Where: t.cfg.Origin("optim.lr"), Key: "optim.lr", Text: err.Error()}}}
	}
	if warning != "" {
		t.hooks.note("warning: %s", warning)
	}
	t.sched = sched
	p := t.plan
	p.Params, p.Multiplied = t.arch.Params()
	p.Census, p.SplitBy = t.corpus.set.Census(), t.corpus.set.SplitNote
	p.TrainTokens, p.ValTokens = t.corpus.train.Tokens(), t.corpus.val.Tokens()
	p.Epochs = float64(t.cfg.Train.Steps) * float64(t.cfg.Train.BatchTokens) / float64(p.TrainTokens)
	p.Schedule, p.Rates, p.Capped = sched, append(rates, p.Probe.rate()...), capped
	p.Tier, p.Workers, p.Speed = t.exec.Tier(), t.exec.Workers(), speed
	if speed > 0 {
		p.Estimated = time.Duration(float64(t.cfg.Train.Steps) * float64(t.cfg.Train.BatchTokens) / speed * float64(time.Second))
	}
	t.state = state{Version: stateVersion, ConfigHash: t.cfg.Hash(), DataHash: t.corpus.set.Hash, TokenizerHash: t.corpus.tok.Hash(),
		Numerics: fmt.Sprintf("%s %s", t.exec.Tier(), t.cfg.Numeric.Mode), RateLimit: p.Probe.limit()}
	t.state.Guard = guard.New(t.rules())
	return nil
}

// trialSpeed measures tokens per second on the first batch. It changes nothing: gradients are cleared, nothing is
// updated, and random numbers have no state.
func (t *trainer) trialSpeed() float64 {
	t.loader.Next(&t.batch, data.Cursor{})
	best := 0.0
	for range 3 {
		began := time.Now()
		t.accumulate(&t.batch)
		best = max(best, float64(len(t.batch.Tokens))/time.Since(began).Seconds()) // also those that do not count take time
	}
	clear(t.model.Grads())
	const updateShare = 0.9 // what norm, update and records leave of it
	return updateShare * best
}

// close gives back everything that is held; it may be called at any stage.
func (t *trainer) close() {
	if t.log != nil {
		t.log.Close()
	}
	if t.exec != nil {
		t.exec.Close()
	}
}
