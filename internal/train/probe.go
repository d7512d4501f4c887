package train

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

// weightsFrom says where the weights of a trainer came from before its first step.
type weightsFrom string

const (
	freshWeights weightsFrom = "fresh"          // drawn by the seed
	baseWeights  weightsFrom = "another run"    // --from
	savedWeights weightsFrom = "the checkpoint" // of the run itself
)

// probeOrigin begins the origin of a peak that a range test has chosen.
const probeOrigin = "probe: "

// Probe is the range test behind the peak of a run.
type Probe struct {
	Test    *optim.RangeTest // nil: none was made, or it was made when the run began
	LR      float64          // what it recommends; 0: nothing
	Message string
	Seconds float64
}

// rate is what the rule probe gives, for the plan.
func (p *Probe) rate() []optim.Rate {
	if p == nil || p.LR == 0 {
		return nil
	}
	return []optim.Rate{{Rule: "probe", LR: p.LR}}
}

// limit is the rate at which the loss was least; 0: not measured.
func (p *Probe) limit() float64 {
	if p == nil || p.LR == 0 || p.Test == nil {
		return 0
	}
	rate, _, _ := p.Test.Argmin()
	return rate
}

// nudgeCeiling is the factor on the peak that no nudge of the guard may pass: up to the rate at which the loss of the
// range test was least, where there was one.
func (t *trainer) nudgeCeiling() float64 {
	if t.state.RateLimit == 0 {
		return maxNudge
	}
	return max(1, min(maxNudge, t.state.RateLimit/t.sched.Peak))
}

// probe replaces the rule probe in the configuration by the number that a range test recommends, so that the run is, bit
// for bit, the run that was given that number: what the test did to weights and moments is undone, and nothing else of a run
// has a state. Where the run is too short, or the test says nothing, the rule auto stands in and a warning says so.
func (t *trainer) probe(ctx context.Context) error {
	if origin, chosen := strings.CutPrefix(t.cfg.Origin("optim.lr"), probeOrigin); chosen && t.cfg.Optim.LR.Name == "" {
		t.plan.Probe = &Probe{LR: t.cfg.Optim.LR.Value, Message: origin}
		return nil
	}
	if t.cfg.Optim.LR.Name != "probe" {
		return nil
	}
	if t.weights != freshWeights && t.weights != baseWeights {
		return &config.Error{Faults: []config.Fault{{Where: t.cfg.Origin("optim.lr"), Key: "optim.lr",
			Text: "a run that has begun cannot be probed: its weights are no longer those of its first step; write a number"}}}
	}
	_, multiplied := t.arch.Params()
	auto := optim.AutoLR(multiplied, t.cfg.Train.BatchTokens)
	standIn := func(why string) error {
		t.hooks.note("warning: no range test: %s; the peak learning rate is that of the rule auto, %.2g", why, auto)
		return t.cfg.SetPlanned("optim.lr", auto, "rule auto in place of probe: "+why)
	}
	steps := optim.ProbeSteps(t.cfg.Train.Steps)
	switch {
	case steps == 0:
		return standIn(fmt.Sprintf("%g %% of %d steps are fewer than the %d that it needs", 100*optim.ProbeShare, t.cfg.Train.Steps, optim.ProbeLeast))
	case t.trial:
		return standIn(fmt.Sprintf("a dry run makes none, the run itself would make one of up to %d steps", steps))
	}
	t.hooks.note("probing the learning rate: up to %d steps, which leave no trace", steps)
	test, seconds, err := t.rangeTest(ctx, steps)
	if err != nil {
		return err
	}
	t.plan.Probe = &Probe{Test: test, Seconds: seconds}
	lr, ok := test.Peak()
	if !ok {
		t.plan.Probe.Message = "the loss never fell"
		return standIn(fmt.Sprintf("in %d steps the loss never fell", len(test.Rates)))
	}
	argmin, loss, _ := test.Argmin()
	t.plan.Probe.LR = lr
	t.plan.Probe.Message = fmt.Sprintf("half of %.3g, where the smoothed loss of %d steps was least (%.3f)", argmin, len(test.Rates), loss)
	if lr < argmin/2 {
		t.plan.Probe.Message = fmt.Sprintf("the most that is recommended; the smoothed loss of %d steps was least at %.3g (%.3f)", len(test.Rates), argmin, loss)
	}
	t.hooks.note("peak learning rate %.3g: %s", lr, t.plan.Probe.Message)
	return t.cfg.SetPlanned("optim.lr", lr, probeOrigin+t.plan.Probe.Message)
}

// rangeTest makes the updates of a range test on the batches that the run begins with, and takes them back. It stops
// before an update whose gradient is not finite, as at a loss that is not.
func (t *trainer) rangeTest(ctx context.Context, steps int64) (r *optim.RangeTest, seconds float64, err error) {
	began := time.Now()
	flat, grads := t.model.Params().Flat, t.model.Grads()
	before, state := slices.Clone(flat), t.state
	defer func() {
		copy(flat, before)
		t.model.Refresh()
		for _, s := range [][]float32{grads, t.adam.M, t.adam.V} {
			clear(s)
		}
		t.state = state
		seconds = time.Since(began).Seconds()
	}()
	r = optim.NewRangeTest(steps)
	for cur := (data.Cursor{}); ; t.state.Step++ { // the step is what keys of dropout are made of
		if err := ctx.Err(); err != nil {
			return nil, 0, fmt.Errorf("train: range test of the learning rate: %w", err)
		}
		cur = t.loader.Next(&t.batch, cur)
		clear(grads)
		loss := t.accumulate(&t.batch)
		norm := t.adam.GlobalNorm(grads)
		scale, err := optim.ClipScale(norm, t.cfg.Optim.Clip)
		if err != nil {
			loss = math.NaN()
		}
		lr := r.LR()
		if !r.Observe(loss) {
			return r, 0, nil
		}
		t.adam.Update(flat, grads, t.state.Step+1, lr, scale)
		t.model.Refresh()
	}
}

// tellProbe records the range test that this process has made.
func (t *trainer) tellProbe() error {
	p := t.plan.Probe
	if p == nil || p.Test == nil {
		return nil
	}
	floats := func(list []float64) []runlog.Float {
		out := make([]runlog.Float, len(list))
		for i, v := range list {
			out[i] = runlog.Float(v)
		}
		return out
	}
	argmin, best, _ := p.Test.Argmin()
	return t.log.Write(runlog.Probe{At: t.at(), LR: runlog.Float(t.sched.Peak), Argmin: runlog.Float(argmin), Best: runlog.Float(best), Planned: p.Test.Steps,
		Diverged: p.Test.Diverged, Message: p.Message, Rates: floats(p.Test.Rates), Losses: floats(p.Test.Losses), Smoothed: floats(p.Test.Smoothed),
		Seconds: runlog.Float(p.Seconds)})
}
