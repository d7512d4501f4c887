package plan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/engine"
	"gimbal/internal/judge"
	"gimbal/internal/optim"
)

// MemoryShare of the memory that is free is what a plan may take.
const MemoryShare = 0.8

// Request is what a plan is made of, beside the text.
type Request struct {
	Opener engine.Opener
	// Engine opens the engine of the run with the weights that it starts from. It is called where something must be
	// measured: the speed, where no number of steps was given, and the loss at rising rates for the rule probe. nil: it
	// cannot be opened here.
	Engine func(engine.Spec) (engine.Engine, error)
	// Reset puts an engine back to how Engine returned it.
	Reset func(engine.Engine) error

	Began time.Time // when preparing began, which counts in the time of a run that is planned by time
	Begun bool      // the run has begun: its rate cannot be probed any more
	Dry   bool      // nothing is to come of the plan: no range test is made
	Note  func(format string, args ...any)
}

// Make decides what is still open in a draft and returns the plan.
//
// Its errors are a *config.Error, match ErrMemory or data.ErrUnusable, or are those of the engine.
func (d *Draft) Make(ctx context.Context, r Request) (*Plan, error) {
	if r.Note == nil {
		r.Note = func(string, ...any) {}
	}
	before := d.Config.Clone()
	t, err := d.begin(ctx, r)
	for errors.Is(err, ErrMemory) {
		d.Config = before.Clone()
		if shorter, fault := d.shorter(); !shorter {
			return nil, cmp.Or(fault, err)
		}
		before = d.Config.Clone()
		t, err = d.begin(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	if d.Config.Train.Steps == 0 {
		if err := t.planTime(ctx, before); err != nil {
			return nil, err
		}
	}
	p, cfg := t.plan, d.Config
	if err := p.chooseWriting(d); err != nil {
		return nil, err
	}
	p.chooseCopy()
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if err := p.chooseRate(ctx, t); err != nil {
		return nil, err
	}
	p.Hardware.Attention = r.Opener.Hardware().Attention // as it was chosen since
	p.count(d)
	return p, nil
}

// begin makes the plan of a draft as far as nothing has to be measured for it, and a trial of it.
func (d *Draft) begin(ctx context.Context, r Request) (*trial, error) {
	p := &Plan{Config: d.Config, Hardware: r.Opener.Hardware(),
		Warnings: append(slices.Clone(d.Config.Notes()), d.warnings...)}
	if w := p.Hardware.Warning; w != "" {
		p.Warnings = append(p.Warnings, w)
	}
	if err := p.recordHardware(); err != nil {
		return nil, err
	}
	if err := p.chooseSpec(d, r.Begun); err != nil {
		return nil, err
	}
	return &trial{draft: d, plan: p, request: r}, p.chooseMemory(ctx, d, r.Opener)
}

// recordHardware writes into the configuration what the hardware is, where that was left open.
func (p *Plan) recordHardware() error {
	cfg, hw := p.Config, p.Hardware
	name, devices := "cpu", 1
	if hw.Device != "" {
		name, devices = hw.Device, hw.Workers
	}
	if cfg.Numeric.Device == "auto" {
		if err := cfg.SetPlanned("numeric.device", name, "planned: by what is there"); err != nil {
			return err
		}
	}
	if cfg.Numeric.Devices == 0 {
		return cfg.SetPlanned("numeric.devices", devices, "planned: all there are")
	}
	return nil
}

// chooseSpec decides architecture, precision, the size of a pass and the optimizer.
func (p *Plan) chooseSpec(d *Draft, begun bool) error {
	cfg := p.Config
	a, err := d.architecture()
	if err != nil {
		return err
	}
	if err := recordRules(cfg, a); err != nil {
		return err
	}
	if err := p.chooseMode(); err != nil {
		return err
	}
	if cfg.Train.MicroTokens == 0 && p.Hardware.Device == "" { // that of a device follows from its memory
		micro := min(cfg.Train.BatchTokens, max(cfg.Train.Context, AutoMicro(a)))
		if err := cfg.SetPlanned("train.micro_tokens", micro, "planned: large enough for the multiplies"); err != nil {
			return err
		}
	}
	p.Spec = engine.Spec{Arch: a, MicroTokens: cfg.Train.MicroTokens, Mode: cfg.Numeric.Mode}
	p.Params, p.Multiplied = a.Params()
	if err := p.chooseAdapter(d); err != nil {
		return err
	}
	if err := p.chooseOptimizer(d); err != nil {
		return err
	}
	if err := chooseMomentum(cfg, begun || d.arch != nil); err != nil {
		return err
	}
	o := cfg.Optim
	p.Spec.Optim.Beta1, p.Spec.Optim.Beta2 = o.Beta1, o.Beta2At(cfg.Train.BatchTokens)
	p.Spec.Optim.Eps, p.Spec.Optim.WeightDecay = o.Eps, o.WeightDecay
	p.Spec.Optim.Muon, p.Spec.Optim.Momentum = o.Kind == "muon", o.Momentum
	return nil
}

// muonShare is the operations of an update by Muon, as a share of those of a batch, from which on AdamW is planned.
// At a share of 0.45 Muon still learns more in the same time.
const muonShare = 0.5

// chooseOptimizer decides which optimizer updates the matrices.
func (p *Plan) chooseOptimizer(d *Draft) error {
	cfg := d.Config
	if cfg.Optim.Kind != "auto" {
		return nil
	}
	kind, origin := "muon", "planned: a batch teaches more than with AdamW"
	if share := p.muonWork() / (6 * float64(p.Multiplied) * float64(cfg.Train.BatchTokens)); d.arch != nil {
		kind, origin = "adamw", "planned: the weights come from elsewhere"
	} else if share > muonShare {
		kind, origin = "adamw", fmt.Sprintf("planned: with %d tokens a batch, Muon would take %.0f %% more time",
			cfg.Train.BatchTokens, 100*share)
	}
	return cfg.SetPlanned("optim.kind", kind, origin)
}

// A short run learns more with a moment that forgets sooner: 785 to 1,041 steps do, 3,140 do not
// (bench/minutes/2026-11-29-bf16.md).
const (
	shortRun      = 1500 // steps, or
	shortBudget   = 2.5  // minutes where the steps follow from the time
	shortMomentum = 0.9
)

// chooseMomentum decides the decay of Muon's moment. A run that has begun or starts from trained weights keeps its own.
func chooseMomentum(cfg *config.Config, trained bool) error {
	short, why := cfg.Train.Steps < shortRun, fmt.Sprintf("planned: for fewer than %d steps", shortRun)
	if cfg.Train.Steps == 0 {
		short, why = cfg.Train.Budget <= shortBudget, fmt.Sprintf("planned: for at most %g minutes", shortBudget)
	}
	if trained || !short || cfg.Optim.Kind != "muon" || cfg.Origin("optim.momentum") != "default" {
		return nil
	}
	return cfg.SetPlanned("optim.momentum", shortMomentum, why)
}

// muonWork is the operations of an update by Muon.
func (p *Plan) muonWork() float64 {
	return optim.MuonWork(engine.Segments(p.Spec.Arch, p.Spec.Adapter))
}

// leastBatch is the tokens of a batch that the operations of an update by Muon ask for; 1 for AdamW.
func (p *Plan) leastBatch() int {
	if p.Config.Optim.Kind != "muon" {
		return 1
	}
	return int(p.muonWork() / (6 * float64(p.Multiplied) * muonShare))
}

// chooseMode decides the precision of the operands of multiplies, and warns where the one asked for has no hardware.
func (p *Plan) chooseMode() error {
	hw, mode := p.Hardware, p.Config.Numeric.Mode
	if mode == "bf16" && hw.BF16 == "" {
		p.Warnings = append(p.Warnings, fmt.Sprintf("the %s tier has no bf16 multiply, so bf16 is emulated; fp32 would be "+
			"faster", hw.Name))
	}
	if mode != "auto" {
		return nil
	}
	mode, origin := "fp32", "planned: this CPU does not multiply bf16"
	switch {
	case hw.Device != "" && hw.FasterBF16:
		mode, origin = "bf16", "planned: "+hw.Device+" devices multiply bf16 faster"
	case hw.FasterBF16:
		mode, origin = "bf16", "planned: this CPU multiplies bf16 ("+hw.BF16+")"
	case hw.BF16 != "":
		origin = "planned: this CPU multiplies bf16 (" + hw.BF16 + ") slower than fp32"
	}
	return p.Config.SetPlanned("numeric.mode", mode, origin)
}

// count fills in the numbers of the text.
func (p *Plan) count(d *Draft) {
	t := d.Text
	p.Text = Text{Census: t.Set.Census(), SplitBy: t.Set.SplitNote, Train: t.Train.Tokens(), Val: t.Val.Tokens(),
		Ends: t.Train.EOS()}
	if t.Set.Pairs() {
		p.Text.Pairs = [2]int64{t.Train.Sequences(), t.Val.Sequences()}
	}
	val, test := t.Docs.SplitNames()
	if p.Text.LeftOut = test; t.Set.SplitBy == "name" {
		p.Text.Held = val
	}
	tokens := float64(p.Config.Train.Steps) * float64(p.Config.Train.BatchTokens)
	p.Text.Epochs = tokens / float64(p.Text.Train)
	if p.Speed > 0 {
		p.Estimated = time.Duration(tokens / p.Speed * float64(time.Second))
	}
}

// samplesFor is what an evaluation writes by the configuration as it stands.
func samplesFor(cfg *config.Config, context int) judge.Plan {
	return judge.PlanFor(cfg.Eval.Prompts, cfg.Eval.Samples, cfg.Eval.MaxTokens, context-1)
}
