package bench

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
)

// TrainOptions say which training steps are timed; zeros leave the preset's, or what each comment names.
type TrainOptions struct {
	Preset        string
	Vocab         int
	Tokens        int    // of a step: whole sequences
	Context       int    // length of every sequence
	Micro         int    // tokens of a pass; 0: as training plans it
	Steps         int    // timed ones, after a step to warm up; at least 1
	Mode          string // fp32, bf16 or auto (also "")
	Checkpointing string // none (also ""), attention or block
	Workers       int    // 0: one for each processor
	Device        string // as numeric.device; empty: the CPU
	Devices       int    // 0: all there are
	Attention     string // plain, blocks or cudnn, on a device; empty: as training takes it
	Fast          bool   // as numeric.fast
}

// TrainResult is what training steps took. Seconds and what follows from them are medians over the steps.
type TrainResult struct {
	Machine
	Model         string `json:"model"`
	Vocab         int    `json:"vocab"`
	Params        int64  `json:"params"`
	Multiplied    int64  `json:"multiplied_params"`
	Tokens        int    `json:"tokens"`
	Context       int    `json:"context"`
	Micro         int    `json:"micro_tokens"`
	Steps         int    `json:"steps"`
	Mode          string `json:"mode"`
	Checkpointing string `json:"checkpointing"`

	Seconds         float64 `json:"seconds_per_step"`
	Best            float64 `json:"best_seconds_per_step"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	TFLOPs          float64 `json:"tflops"`      // FLOP/s over 10¹², as stepFLOPs counts them
	PeakTFLOPs      float64 `json:"peak_tflops"` // of the mode, measured between the steps
	PeakShare       float64 `json:"peak_share"`
	PeakMemory      int64   `json:"peak_memory_bytes"`      // of the process, without mapped files
	Predicted       int64   `json:"predicted_memory_bytes"` // by the plan: model and optimizer
	Parts           []Part  `json:"parts"`                  // of the step that took the median time
	LossNats        float64 `json:"loss_nats"`              // a token, last step: about ln(vocab), the tokens are random

	// On a device: how it computes attention, the seconds until the first step was done, and a hash of the weights.
	Attention string  `json:"attention,omitempty"`
	Compile   float64 `json:"compile_seconds,omitempty"`
	Bits      string  `json:"bits,omitempty"`
}

// Part is one part of a step.
type Part struct {
	Name    string  `json:"part"`
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share"`            // of the step
	TFLOPs  float64 `json:"tflops,omitempty"` // for multiplies, counting each once even if it is computed again
}

// Parts of a step that are not the model's.
const (
	partClear   = "clear gradients"
	partNorm    = "norm and clip"
	partUpdate  = "update"
	partRefresh = "refresh"
	partOther   = "other"
)

// peakTime is how long the peak is measured at a time.
const peakTime = 10 * time.Millisecond

// Train times whole steps of the real thing on random tokens: passes over the micro-batches, global norm, clipping,
// AdamW and the refresh of what follows from the weights.
func Train(ctx context.Context, opt TrainOptions) (*TrainResult, error) {
	cfg, arch, err := presetArch(opt.Preset, opt.Vocab, opt.Context)
	if err != nil {
		return nil, err
	}
	if opt.Tokens == 0 {
		opt.Tokens = max(arch.Context, cfg.Train.BatchTokens/arch.Context*arch.Context)
	}
	if opt.Micro == 0 {
		const auto = 4096 // tokens of a pass, as training plans them
		opt.Micro = min(opt.Tokens, max(arch.Context, auto/arch.Context*arch.Context))
	}
	for _, v := range []struct {
		flag  string
		value int
	}{{"tokens", opt.Tokens}, {"micro", opt.Micro}} {
		if v.value < arch.Context || v.value%arch.Context != 0 {
			return nil, usage(v.flag, "%d is not a whole number of sequences of %d tokens", v.value, arch.Context)
		}
	}
	if opt.Steps < 1 {
		return nil, usage("steps", "%d steps say nothing; ask for at least 1", opt.Steps)
	}
	t := &trainer{arch: arch, opt: opt, clip: cfg.Optim.Clip}
	if opt.Device != "" && opt.Device != "cpu" {
		return t.trainOnDevice(ctx, cfg)
	}
	x, err := kernel.NewExec(opt.Workers, kernel.TierAuto)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	t.x = x
	options := model.Options{MicroTokens: opt.Micro, Checkpointing: opt.Checkpointing, Mode: or(opt.Mode, model.ModeAuto),
		Workers: x.Workers(), Clock: t.watch.did}
	if t.model, err = model.New[float32](arch, x, options); err != nil {
		return nil, usage("model", "%v", err)
	}
	p := t.model.Params()
	segments := make([]optim.Segment, len(p.Views))
	for i, v := range p.Views {
		segments[i] = optim.Segment{Lo: v.Lo, Hi: v.Hi, Decay: v.Decay}
	}
	t.adam = optim.New[float32](x, len(p.Flat), segments, optim.Options{Beta1: cfg.Optim.Beta1,
		Beta2: cfg.Optim.Beta2At(opt.Tokens), Eps: cfg.Optim.Eps, WeightDecay: cfg.Optim.WeightDecay})
	t.model.Init(1)

	r := &TrainResult{Machine: machine(x), Model: opt.Preset, Vocab: arch.Vocab, Tokens: opt.Tokens, Context: arch.Context,
		Micro: opt.Micro, Steps: opt.Steps, Mode: t.model.Mode(), Checkpointing: or(opt.Checkpointing, model.CheckpointNone)}
	r.Params, r.Multiplied = arch.Params()
	const moments = 2 * 4 // bytes of a parameter
	r.Predicted = t.model.Footprint().Total + moments*int64(len(p.Flat))
	if err := t.run(ctx, r); err != nil {
		return nil, err
	}
	r.PeakMemory = peakMemory()
	return r, nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// trainer is a training run on random tokens.
type trainer struct {
	arch   config.Arch
	x      *kernel.Exec
	opt    TrainOptions
	clip   float64
	model  *model.Model[float32]
	adam   *optim.Optimizer[float32]
	watch  stopwatch
	inputs []model.Input // the passes of a step
	tokens []int32
	step   int64
}

// run makes a step to warm up and the timed ones, and measures the peak between them.
func (t *trainer) run(ctx context.Context, r *TrainResult) error {
	t.plan()
	var steps []timed
	var peaks []float64
	for i := range t.opt.Steps + 1 {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.fill()
		peaks = append(peaks, t.peak(r.Mode))
		t.watch.start()
		loss, err := t.update()
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		r.LossNats = loss
		seconds, parts := t.watch.stop()
		steps = append(steps, timed{seconds, parts})
	}
	r.summarise(t.arch, steps, append(peaks, t.peak(r.Mode)))
	return nil
}

// timed is what a step took.
type timed struct {
	seconds float64
	parts   []Part
}

// summarise takes the medians of the steps and of the peaks, in FLOP/s, and makes the rates of them.
func (r *TrainResult) summarise(arch config.Arch, steps []timed, peaks []float64) {
	slices.SortFunc(steps, func(a, b timed) int { return cmp.Compare(a.seconds, b.seconds) })
	median := steps[len(steps)/2]
	r.Seconds, r.Best, r.Parts = median.seconds, steps[0].seconds, median.parts
	tokens := float64(r.Tokens)
	r.TokensPerSecond = tokens / r.Seconds
	r.TFLOPs = stepFLOPs(arch) * tokens / r.Seconds / 1e12
	r.PeakTFLOPs = medianOf(peaks) / 1e12
	if r.PeakTFLOPs > 0 {
		r.PeakShare = r.TFLOPs / r.PeakTFLOPs
	}
	for i := range r.Parts {
		p := &r.Parts[i]
		p.TFLOPs = partFLOPs(arch, p.Name) * tokens / p.Seconds / 1e12
	}
}

// peak measures the peak of a mode, in FLOP/s.
func (t *trainer) peak(mode string) float64 {
	if mode == model.ModeBF16 {
		return kernel.PeakBF16(t.x)
	}
	return kernel.PeakFP32(t.x, peakTime)
}

// plan makes the inputs of the passes; fill sets their tokens.
func (t *trainer) plan() {
	n := t.opt.Tokens
	t.tokens = make([]int32, n)
	labels, counts := make([]int32, n), make([]bool, n)
	for i := range counts {
		counts[i] = true
	}
	for lo := 0; lo < n; lo += t.opt.Micro {
		hi := min(n, lo+t.opt.Micro)
		in := model.Input{Tokens: t.tokens[lo:hi], Labels: labels[lo:hi], Counts: counts[lo:hi], Bounds: []int32{0}}
		for end := t.arch.Context; end <= hi-lo; end += t.arch.Context {
			in.Bounds = append(in.Bounds, int32(end))
		}
		t.inputs = append(t.inputs, in)
	}
}

// fill draws the tokens of the next step. Every step has its own, so that nothing can be learned by heart and no
// gradient fades to zeros.
func (t *trainer) fill() {
	k := rng.New(1, rng.Probe).Sub(uint64(t.step))
	for i := range t.tokens {
		t.tokens[i] = int32(k.Uint64(uint64(i)) % uint64(t.arch.Vocab))
	}
	for _, in := range t.inputs {
		for i := range in.Labels {
			in.Labels[i] = in.Tokens[(i+1)%len(in.Tokens)]
		}
	}
}

// update is one training step. It returns the mean loss.
func (t *trainer) update() (float64, error) {
	const lr = 1e-4
	t.step++
	grads := t.model.Grads()
	t.model.ClearGrads()
	t.watch.did(partClear)
	nats, scale := 0.0, 1/float64(t.opt.Tokens)
	for _, in := range t.inputs {
		nats += t.model.Backward(in, scale)
	}
	t.watch.did(partOther)
	norm := t.adam.GlobalNorm(grads)
	clip, err := optim.ClipScale(norm, t.clip)
	if err != nil {
		return 0, fmt.Errorf("bench: step %d: %w", t.step, err)
	}
	t.watch.did(partNorm)
	t.adam.Update(t.model.Params().Flat, grads, t.step, lr, clip)
	t.watch.did(partUpdate)
	t.model.Refresh()
	t.watch.did(partRefresh)
	return nats * scale, nil
}
