package train

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/judge"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

const (
	defaultEvals     = 10                // evaluations of a run
	plannedTime      = 150 * time.Second // of training steps, where no number of steps is given
	plannedEpochs    = 10                // most passes over the data that are planned by themselves
	plannedMin       = 20                // fewest steps that are planned by themselves
	plannedUpdates   = 1000              // updates that a planned run should have, before its batches grow to their full size
	microNarrow      = 2048              // tokens of one pass of a narrow model: enough rows for the multiplies, and activations stay in cache
	microWide        = 4096              // and of a wide one
	wide             = 384               // channels from which a model is wide
	tokensPerWeight  = 10                // training tokens for each weight that an automatic preset asks for
	memoryShare      = 0.8               // of the memory that is free, which a plan may take
	defaultPresetFor = "nano"
)

// Plan is what a run will do, known before its first step.
type Plan struct {
	Config     *config.Config
	Arch       config.Arch
	Params     int64 // parameters
	Multiplied int64 // of them, those that enter multiplies

	Census      data.Census
	SplitBy     string // how the validation part was held out, in a sentence
	TrainTokens int64  // labels of one epoch
	ValTokens   int64
	Epochs      float64 // passes over the training part

	Schedule optim.Schedule
	Rates    []optim.Rate // what each rule for the peak would give
	Capped   bool         // the warmup was cut to a quarter of the run
	Probe    *Probe       // the range test that chose the peak; nil: none was made

	Preflight *runlog.Preflight // what the checks before the first step came to; nil: not yet made

	Memory  model.Plan
	Moments int64 // bytes of the optimizer's state
	Writing int64 // bytes of the judge, and of the cache of keys and values with which texts are written
	Probing int64 // bytes of the copy of the weights while the learning rate is probed, before anything is written

	Evaluations float64    // of the run, those at the ends of epochs not counted
	Samples     judge.Plan // what each writes
	WriteShare  float64    // of the training time, which all writing takes

	Tier      kernel.Tier
	Workers   int
	Speed     float64 // tokens per second, measured; 0 when it was not
	Estimated time.Duration
	Dir       string
}

// programBytes is what the program itself takes while it trains: code, runtime, tokenizer, buffers of files. Measured.
const programBytes = 14 << 20

// bytes is the most memory that the run takes while it trains, without mapped files.
func (p *Plan) bytes() int64 {
	return p.Memory.Total + p.Moments + max(p.Writing, p.Probing) + programBytes
}

// Write prints the plan for a person: what will be trained on what, for how long, and where each setting came from.
func (p *Plan) Write(w io.Writer) {
	c, a := p.Config, p.Arch
	kv := ""
	if a.KVHeads != a.Heads {
		kv = fmt.Sprintf(" (%d for keys and values)", a.KVHeads)
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("model", "%s shape, %d layers × %d wide, %d heads of %d%s, mlp %d, vocabulary %d, context %d", a.Shape, a.Layers, a.Width, a.Heads, a.HeadSize, kv, a.MLP, a.Vocab, a.Context)
	row("parameters", "%s, of which %s are multiplied for every token", count(p.Params), count(p.Multiplied))
	row("corpus", "%d documents in %d files: %s of text, %s tokens, %.2f bytes per token", p.Census.Documents, p.Census.Sources,
		bytesText(p.Census.TextBytes), count(p.Census.Tokens), p.Census.BytesPerToken())
	row("data", "%s tokens to train on, %s held out: %s", count(p.TrainTokens), count(p.ValTokens), p.SplitBy)
	row("steps", "%d of up to %d tokens (passes of %d): %s tokens, %.2f epochs", c.Train.Steps, c.Train.BatchTokens, c.Train.MicroTokens,
		count(c.Train.Steps*int64(c.Train.BatchTokens)), p.Epochs)
	var rates []string
	for _, r := range p.Rates {
		rates = append(rates, fmt.Sprintf("%s %.2g", r.Rule, r.LR))
	}
	row("lr", "peak %.3g (rules would give: %s)", p.Schedule.Peak, strings.Join(rates, ", "))
	warmup := fmt.Sprintf("%d steps, %.0f %% of the run", p.Schedule.Warmup, 100*float64(p.Schedule.Warmup)/float64(c.Train.Steps))
	if p.Capped {
		warmup += ", cut to a quarter of it"
	}
	row("schedule", "%s to %.3g, warmup %s", p.Schedule.Kind, p.Schedule.Peak*p.Schedule.Floor, warmup)
	row("memory", "%s: weights, gradients and activations %s, moments %s, writing samples %s, the program %s", bytesText(p.bytes()),
		bytesText(p.Memory.Total), bytesText(p.Moments), bytesText(p.Writing), bytesText(programBytes))
	row("judge", "%.0f evaluations of %s, about %.1f %% of the time", p.Evaluations, p.Samples, 100*p.WriteShare)
	row("kernels", "%s, %s, %d workers", p.Tier, c.Numeric.Mode, p.Workers)
	if p.Speed > 0 {
		row("time", "about %s at %s tokens/s, evaluations not counted", p.Estimated.Round(time.Second), count(int64(p.Speed)))
	}
	if p.Dir != "" {
		row("run", "%s", p.Dir)
	}
	var settings []string
	for _, key := range config.Keys() {
		if origin := c.Origin(key); origin != "default" {
			value, _ := c.Value(key)
			settings = append(settings, fmt.Sprintf("    %-24s %-14s %s", key, value, origin))
		}
	}
	if len(settings) > 0 {
		fmt.Fprintf(w, "  settings that are not defaults, and where they came from:\n%s\n", strings.Join(settings, "\n"))
	}
}

// choosePreset gives the model a size where nothing else did: the largest preset that the planned tokens can feed,
// and nano where the steps are planned by time.
func choosePreset(cfg *config.Config, corpusBytes int64) error {
	if cfg.Model.Preset != "" || cfg.Model.Layers != 0 && cfg.Model.Width != 0 {
		return nil
	}
	name := defaultPresetFor
	if cfg.Train.Steps > 0 {
		budget := cfg.Train.Steps * int64(cfg.Train.BatchTokens)
		budget = min(budget, plannedEpochs*corpusBytes/3) // a token spells about three bytes
		for _, size := range []struct {
			name   string
			weight int64
		}{{"micro", 5e6}, {"mini", 10e6}, {"small", 30e6}} {
			if tokensPerWeight*size.weight <= budget {
				name = size.name
			}
		}
	}
	return cfg.UsePreset(name, "planned: by corpus and budget")
}

// autoMicro is the tokens of one pass where nothing else was asked for.
func autoMicro(a config.Arch) int {
	if a.Width < wide {
		return microNarrow
	}
	return microWide
}

// planSteps decides the number of steps from the measured speed and the size of the data. Where the time is short, and
// nothing else was asked for, it takes smaller batches rather than few updates: they teach more for each token.
func planSteps(cfg *config.Config, trainTokens int64, speed float64) error {
	tokens := min(plannedTime.Seconds()*speed, plannedEpochs*float64(trainTokens))
	full := cfg.Train.BatchTokens
	if batch := max(cfg.Train.MicroTokens, int(tokens/plannedUpdates)); cfg.Origin("train.batch_tokens") == "default" && batch < full {
		if err := cfg.SetPlanned("train.batch_tokens", batch, fmt.Sprintf("planned: for about %d updates, %d at most", plannedUpdates, full)); err != nil {
			return err
		}
	}
	perStep := float64(cfg.Train.BatchTokens)
	byTime := plannedTime.Seconds() * speed / perStep
	byData := plannedEpochs * float64(trainTokens) / perStep
	steps := max(plannedMin, int64(math.Min(byTime, byData)))
	origin := fmt.Sprintf("planned: %s at %s tokens/s", plannedTime, count(int64(speed)))
	if byData < byTime {
		origin = fmt.Sprintf("planned: %d epochs", plannedEpochs)
	}
	return cfg.SetPlanned("train.steps", steps, origin)
}

// schedule resolves the learning rate of the run: everything in it follows from the configuration and the model.
func schedule(cfg *config.Config, arch config.Arch) (s optim.Schedule, rates []optim.Rate, warning string, capped bool, err error) {
	_, multiplied := arch.Params()
	sizes := optim.Sizes{Width: arch.Width, Params: multiplied, BatchTokens: cfg.Train.BatchTokens}
	rates = optim.Rates(sizes)
	peak := cfg.Optim.LR.Value
	if rule := cfg.Optim.LR.Name; rule != "" {
		r, err := optim.Peak(rule, sizes)
		if err != nil {
			return s, nil, "", false, err
		}
		peak, warning = r.LR, r.Warning
	}
	want := int64(cfg.Schedule.Warmup.Value)
	if cfg.Schedule.Warmup.Name != "" {
		want = optim.ArticleWarmup(cfg.Train.Steps)
	}
	warmup, capped := optim.Warmup(want, cfg.Train.Steps, cfg.Schedule.WarmupExact)
	if most := optim.WarmupPeak(warmup); cfg.Optim.LR.Name != "" && peak > most {
		warning = fmt.Sprintf("the rule %s gives a peak of %.3g; a warmup of %d steps carries %.3g, which is taken", cfg.Optim.LR.Name, peak, warmup, most)
		peak = most
	}
	s = optim.Schedule{Kind: cfg.Schedule.Kind, Peak: peak, Steps: cfg.Train.Steps, Warmup: warmup, Period: cfg.Schedule.Period, Floor: cfg.Schedule.Floor}
	return s, rates, warning, capped, nil
}

// count writes a number for a person: 1.23M.
func count(n int64) string {
	switch x := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.2fG", x/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", x/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", x/1e3)
	}
	return fmt.Sprint(n)
}
