package plan

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/corpus"
	"gimbal/internal/optim"
)

// probeOrigin begins the origin of a peak that a range test has chosen.
const probeOrigin = "probe: "

// Limit is the rate at which the loss of the range test was least; 0: not measured.
func (r *RangeTest) Limit() float64 {
	if r == nil || r.LR == 0 || r.RangeTest == nil {
		return 0
	}
	rate, _, _ := r.Argmin()
	return rate
}

// chooseRate decides the peak and resolves the schedule.
func (p *Plan) chooseRate(ctx context.Context, t *trial) error {
	if err := p.probe(ctx, t); err != nil {
		return err
	}
	rate, warning, err := schedule(p.Config, p.Spec.Arch)
	if err != nil {
		return fault(p.Config.Origin("optim.lr"), "optim.lr", "%v", err)
	}
	if warning != "" {
		p.Warnings = append(p.Warnings, warning)
	}
	rate.Test = p.Rate.Test
	if r := rate.Test; r != nil && r.LR != 0 {
		rate.Rules = append(rate.Rules, optim.Rate{Rule: "probe", LR: r.LR})
	}
	p.Rate = rate
	return nil
}

// sizesFor is what the rules for the peak depend on.
func sizesFor(cfg *config.Config, arch config.Arch) optim.Sizes {
	_, multiplied := arch.Params()
	return optim.Sizes{Width: arch.Width, Params: multiplied, BatchTokens: cfg.Train.BatchTokens,
		Muon: cfg.Optim.Kind == "muon", Adapter: cfg.Train.Adapter == "lora"}
}

// schedule resolves the learning rate of the run: everything in it follows from the configuration and the model.
func schedule(cfg *config.Config, arch config.Arch) (r Rate, warning string, err error) {
	sizes := sizesFor(cfg, arch)
	r.Rules = optim.Rates(sizes)
	peak := cfg.Optim.LR.Value
	if rule := cfg.Optim.LR.Name; rule != "" {
		chosen, err := optim.Peak(rule, sizes)
		if err != nil {
			return r, "", err
		}
		peak, warning = chosen.LR, chosen.Warning
	}
	resumes := resumes(cfg)
	steps := resumes[0].steps
	want := int64(cfg.Schedule.Warmup.Value)
	switch cfg.Schedule.Warmup.Name {
	case "auto":
		want = optim.AutoWarmup(steps, peak, sizes.Muon)
	case "article":
		want = optim.ArticleWarmup(steps)
	case "finetune":
		want = optim.TuneWarmup(steps)
	}
	var warmup int64
	warmup, r.Capped = optim.Warmup(want, steps, cfg.Schedule.WarmupExact)
	if most := optim.WarmupPeak(warmup, sizes.Muon); cfg.Optim.LR.Name != "" && peak > most {
		warning = fmt.Sprintf("the rule %s gives a peak of %.3g, but a warmup of %s allows only %.3g, which is used",
			cfg.Optim.LR.Name, peak, corpus.CountKind(warmup, "step"), most)
		peak = most
	}
	r.Schedule = optim.Schedule{Kind: cfg.Schedule.Kind, Peak: peak, Steps: steps, Warmup: warmup,
		Period: cfg.Schedule.Period, Floor: cfg.Schedule.Floor}
	for _, e := range resumes[1:] {
		r.Before = append(r.Before, r.Schedule)
		r.Schedule = r.Schedule.Extend(e.at, e.steps)
	}
	return r, warning, nil
}

// Extend gives a run that has made at steps another number of them. The configuration keeps the one before, because the
// rate goes on from where it stands.
func Extend(cfg *config.Config, at, steps int64, origin string) error {
	if at > 0 {
		list := append(slices.Clone(cfg.Schedule.Extended), float64(at), float64(cfg.Train.Steps))
		if err := cfg.SetPlanned("schedule.extended", list, origin); err != nil {
			return err
		}
	}
	return cfg.SetPlanned("train.steps", steps, origin)
}

// Anew is the configuration of a run for one that begins with other weights: its rate begins at the beginning.
func Anew(cfg *config.Config) *config.Config {
	cfg = cfg.Clone()
	cfg.Schedule.Extended = nil
	return cfg
}

// lengths is a number of steps of a run, and the step from which it holds.
type lengths struct{ at, steps int64 }

// resumes are the numbers of steps that a run had, at least one: the first from step 0, the last that of now.
func resumes(cfg *config.Config) []lengths {
	list, at := []lengths(nil), int64(0)
	for pair := range slices.Chunk(cfg.Schedule.Extended, 2) {
		next, before := int64(pair[0]), int64(pair[len(pair)-1])
		if next < at || next > before || next > cfg.Train.Steps {
			continue // of another run, which somebody changed by hand
		}
		list, at = append(list, lengths{at, before}), next
	}
	return append(list, lengths{at, cfg.Train.Steps})
}

// At is the planned rate of an update.
func (r Rate) At(step int64) float64 {
	s := r.Schedule
	for i := len(r.Before) - 1; i >= 0 && step <= s.Start; i-- {
		s = r.Before[i]
	}
	return optim.LR(s, step)
}

// Course says from what to what the rate goes after a resume with another number of steps; empty where there was none,
// or where that changes no rate.
func (r Rate) Course() string {
	s := r.Schedule
	if s.Start == 0 {
		return ""
	}
	course := fmt.Sprintf("from %.2g at step %d", s.From, s.Start)
	if s.Climb > 0 {
		course += fmt.Sprintf(" up to %.2g in %d steps, then", s.To, s.Climb)
	}
	return course + fmt.Sprintf(" to %.2g at the end", optim.LR(s, s.Steps))
}

// probe replaces the rule probe in the configuration by the number that a range test recommends, so that the run is,
// bit for bit, the run that was given that number. Where the run is too short, or the test says nothing, the rule auto
// stands in and a warning says so.
func (p *Plan) probe(ctx context.Context, t *trial) error {
	cfg := p.Config
	if message, ok := strings.CutPrefix(cfg.Origin("optim.lr"), probeOrigin); ok && cfg.Optim.LR.Name == "" {
		p.Rate.Test = &RangeTest{LR: cfg.Optim.LR.Value, Message: message}
		return nil
	}
	if cfg.Optim.LR.Name != "probe" {
		return nil
	}
	if t.request.Begun {
		return fault(cfg.Origin("optim.lr"), "optim.lr", "probe needs the weights of step 0, and this run has trained "+
			"already; give a number")
	}
	steps := optim.ProbeSteps(cfg.Train.Steps)
	switch {
	case steps == 0:
		return p.standIn(fmt.Sprintf("%g %% of %d steps is fewer than the %d that it needs", 100*optim.ProbeShare,
			cfg.Train.Steps, optim.ProbeLeast))
	case t.request.Dry:
		return p.standIn(fmt.Sprintf("a check makes none; the run itself would make one of up to %d steps", steps))
	}
	t.request.Note("range test of the learning rate: up to %d steps, undone afterwards", steps)
	test, seconds, err := t.rangeTest(ctx, steps)
	if err != nil {
		return err
	}
	r := &RangeTest{RangeTest: test, Seconds: seconds}
	p.Rate.Test = r
	lr, ok := test.Peak(sizesFor(cfg, p.Spec.Arch))
	if !ok {
		r.Message = "the loss never fell"
		return p.standIn(fmt.Sprintf("in %d steps the loss never fell", len(test.Rates)))
	}
	argmin, loss, _ := test.Argmin()
	r.LR = lr
	r.Message = fmt.Sprintf("half of %.3g, where the smoothed loss of %d steps was lowest (%.3f)",
		argmin, len(test.Rates), loss)
	if lr < argmin/2 {
		r.Message = fmt.Sprintf("the largest rate that is recommended; the smoothed loss of %d steps was lowest at %.3g "+
			"(%.3f)", len(test.Rates), argmin, loss)
	}
	t.request.Note("peak learning rate %.3g: %s", lr, r.Message)
	return cfg.SetPlanned("optim.lr", lr, probeOrigin+r.Message)
}

// standIn takes the rule auto where no range test says anything.
func (p *Plan) standIn(why string) error {
	rate, err := optim.Peak("auto", sizesFor(p.Config, p.Spec.Arch))
	if err != nil {
		return err
	}
	auto := rate.LR
	p.Warnings = append(p.Warnings, fmt.Sprintf("no range test: %s; the peak learning rate is that of the rule auto, %.2g",
		why, auto))
	return p.Config.SetPlanned("optim.lr", auto, "rule auto in place of probe: "+why)
}
