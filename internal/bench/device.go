package bench

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/device"
	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/optim"
)

// trainOnDevice is Train on the devices that opt.Device names. A step lasts from where the
// numbers of the one before have come back to where its own do, so it has an update in it.
func (t *trainer) trainOnDevice(ctx context.Context, cfg *config.Config) (r *TrainResult, err error) {
	opt := t.opt
	s, with, err := device.Start(ctx, config.Numeric{Device: opt.Device, Devices: opt.Devices, Fast: opt.Fast}, "")
	if err != nil {
		return nil, err
	}
	with.Attention = opt.Attention
	o := device.New(s, with)
	defer o.Close()
	hw := o.Hardware()
	spec := engine.Spec{Arch: t.arch, MicroTokens: opt.Micro, Checkpointing: or(opt.Checkpointing,
		model.CheckpointNone),
		Mode: opt.Mode, Optim: optim.Options{Beta1: cfg.Optim.Beta1, Beta2: cfg.Optim.Beta2At(opt.Tokens),
			Eps: cfg.Optim.Eps, WeightDecay: cfg.Optim.WeightDecay}}
	if spec.Mode == "" || spec.Mode == model.ModeAuto {
		if spec.Mode = model.ModeFP32; hw.FasterBF16 {
			spec.Mode = model.ModeBF16
		}
	}
	r = &TrainResult{Machine: machine(nil), Model: opt.Preset, Vocab: t.arch.Vocab, Tokens: opt.Tokens,
		Context: t.arch.Context, Micro: opt.Micro, Steps: opt.Steps, Mode: spec.Mode, Checkpointing: spec.Checkpointing}
	r.Tier, r.Workers = hw.Name, hw.Workers
	r.Params, r.Multiplied = t.arch.Params()
	began := time.Now()
	memory := o.Estimate(spec)
	if m, ok := o.(device.Measurer); ok {
		if memory, err = m.Measure(ctx, spec); err != nil {
			return nil, err
		}
	}
	r.Predicted = memory.Model + memory.Slots
	e, err := o.Open(spec)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	r.Attention = o.Hardware().Attention
	if err := e.Init(1); err != nil {
		return nil, err
	}
	t.plan()
	peak, err := newPeak(ctx, s, spec.Mode, hw.FasterBF16)
	if err != nil {
		return nil, err
	}
	peaks, err := peak.measure(ctx)
	if err != nil {
		return nil, err
	}
	var steps []timed
	var last time.Time
	for i := range opt.Steps + 2 { // the first compiles, and the second has the first update in it
		t.fill()
		update, err := t.stepOnDevice(ctx, e, r)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if i == 0 {
			r.Compile = now.Sub(began).Seconds()
		}
		if i > 1 {
			steps = append(steps, timed{seconds: now.Sub(last).Seconds()})
		}
		last = now
		if _, err := e.Commit(update); err != nil {
			return nil, err
		}
	}
	after, err := peak.measure(ctx)
	if err != nil {
		return nil, err
	}
	peaks = append(peaks, after...)
	r.summarise(t.arch, steps, peaks)
	r.PeakMemory = peakMemory()
	snapshot, err := e.Get()
	if err != nil {
		return nil, err
	}
	h := fnv.New64a()
	for _, p := range snapshot.Params {
		hashInto(h, p.Data)
	}
	r.Bits = fmt.Sprintf("%016x", h.Sum64())
	return r, nil
}

// stepOnDevice is one training step up to the update, which is returned. Devices make it while the next step begins.
func (t *trainer) stepOnDevice(ctx context.Context, e engine.Engine, r *TrainResult) (engine.Update, error) {
	const lr = 1e-4
	t.step++
	e.Discard()
	scale := 1 / float64(t.opt.Tokens)
	for _, in := range t.inputs {
		_, err := e.Pass(ctx, engine.Input{Tokens: in.Tokens, Labels: in.Labels, Counts: in.Counts, Bounds: in.Bounds,
			Scale: scale}, engine.Gradient)
		if err != nil {
			return engine.Update{}, err
		}
	}
	p, err := e.Propose(ctx, engine.Proposal{Step: t.step, LR: lr, Clip: t.clip, Scale: scale})
	r.LossNats = p.Loss
	return engine.Update{Step: t.step, LR: lr, Scale: p.ClipScale}, err
}

// peak multiplies large matrices on the first device, one after the other.
type peak struct {
	session device.Session
	program *device.Executable
	in      []device.Array
	flops   float64
}

const peakChain = 16 // products in a row

// newPeak compiles the program of a peak: x·wᵏ from matrices that it makes of a number, so that nothing is copied.
func newPeak(ctx context.Context, s device.Session, mode string, fast bool) (*peak, error) {
	n, kind := 512, graph.F32
	if fast {
		n = 8192
	}
	if mode == model.ModeBF16 {
		kind = graph.BF16
	}
	p, err := s.Compile(ctx, peakProgram(n, kind))
	if err != nil {
		return nil, fmt.Errorf("bench: the peak: %w", err)
	}
	a, err := s.Upload(ctx, p.In[0], 1, []byte{0, 0, 0x80, 0x3f}) // 1
	return &peak{s, p, []device.Array{a}, 2 * peakChain * math.Pow(float64(n), 3)}, err
}

// measure returns the operations of a second, of each of a few runs.
func (p *peak) measure(ctx context.Context) (rates []float64, err error) {
	for range 4 {
		began := time.Now()
		out, err := p.session.Run(ctx, p.program, p.in)
		if err != nil {
			return nil, err
		}
		var sum [4]byte
		if err := cmp.Or(p.session.Fetch(ctx, out[0], 0, sum[:]), p.session.Free(out...)); err != nil {
			return nil, err
		}
		rates = append(rates, p.flops/time.Since(began).Seconds())
	}
	return rates[1:], nil // the first waits for what came before
}

// peakProgram is a chain of products of matrices of n rows and columns. They are made of sines, whose products neither
// grow nor fade.
func peakProgram(n int, kind graph.Type) graph.Program {
	precision := "DEFAULT"
	if kind == graph.F32 {
		precision = "HIGHEST"
	}
	f32, t := fmt.Sprintf("tensor<%dx%dxf32>", n, n), fmt.Sprintf("tensor<%dx%dx%s>", n, n, kind)
	text := fmt.Sprintf(`module @peak attributes {mhlo.num_replicas = 1 : i32} {
func.func public @main(%%a: tensor<f32>) -> (tensor<f32>) {
  %%s = stablehlo.broadcast_in_dim %%a, dims = [] : (tensor<f32>) -> %[1]s
  %%i = stablehlo.iota dim = 0 : %[1]s
  %%j = stablehlo.iota dim = 1 : %[1]s
  %%p = stablehlo.constant dense<1.7> : %[1]s
  %%q = stablehlo.constant dense<%[3]g> : %[1]s
  %%ip = stablehlo.multiply %%i, %%p : %[1]s
  %%jj = stablehlo.multiply %%j, %%j : %[1]s
  %%ij = stablehlo.add %%ip, %%jj : %[1]s
  %%is = stablehlo.multiply %%ij, %%s : %[1]s
  %%sin = stablehlo.sine %%is : %[1]s
  %%wf = stablehlo.multiply %%sin, %%q : %[1]s
  %%x0 = stablehlo.convert %%sin : (%[1]s) -> %[2]s
  %%w = stablehlo.convert %%wf : (%[1]s) -> %[2]s
`, f32, t, math.Sqrt(2/float64(n)))
	for k := range peakChain {
		text += fmt.Sprintf("  %%x%d = stablehlo.dot_general %%x%d, %%w, contracting_dims = [1] x [0], "+
			"precision = [%[3]s, %[3]s] : (%[4]s, %[4]s) -> %[4]s\n", k+1, k, precision, t)
	}
	text += fmt.Sprintf(`  %%f = stablehlo.convert %%x%d : (%s) -> %s
  %%z = stablehlo.constant dense<0.0> : tensor<f32>
  %%r = stablehlo.reduce(%%f init: %%z) applies stablehlo.add across dimensions = [0, 1] : (%s,
	tensor<f32>) -> tensor<f32>
  return %%r : tensor<f32>
}
}
`, peakChain, t, f32, f32)
	scalar := []graph.Shape{{Type: graph.F32}}
	return graph.Program{Name: "peak", Text: text, Devices: 1, In: scalar, Out: scalar}
}
