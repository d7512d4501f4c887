package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"gimbal/internal/data"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
)

// twin is a model and its optimizer as they are used without an engine.
type twin struct {
	x   *kernel.Exec
	m   *model.Model[float32]
	opt *optim.Optimizer[float32]
}

func newTwin(t *testing.T, s Spec) *twin {
	t.Helper()
	x, err := kernel.NewExec(1, kernel.TierAuto) // the number of workers changes no bits
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	m, err := model.New[float32](s.Arch, x, model.Options{MicroTokens: micro, Mode: s.Mode, Adapter: s.Adapter})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(1)
	unsettle(m, s)
	return &twin{x, m, optim.New[float32](x, len(m.Trained().Flat), segmentsOf(m.Trained().Views), s.Optim)}
}

// accumulate runs the passes of a step and returns the summed nats.
func (w *twin) accumulate(b *data.Batch, step int64) (nats float64) {
	w.m.ClearGrads()
	sequence := uint64(0)
	for _, m := range data.SplitMicro(nil, b, micro) {
		in := model.Input{Tokens: m.Tokens, Labels: m.Labels, Counts: m.Counts, Bounds: m.Bounds}
		for range m.Spans {
			in.Dropout = append(in.Dropout, rng.New(3, rng.Dropout).Sub(uint64(step)).Sub(sequence))
			sequence++
		}
		nats += w.m.Backward(in, 1/float64(b.Counted))
	}
	return nats
}

// norms are those of layered clipping: squares of pieces of 4,096 elements, added in order.
func (w *twin) norms() (norms []float64) {
	for _, v := range w.m.Trained().Views {
		sum := 0.0
		for lo := v.Lo; lo < v.Hi; lo += 4096 {
			sum += kernel.SumSquares(w.x, w.m.Grads()[lo:min(lo+4096, v.Hi)])
		}
		norms = append(norms, math.Sqrt(sum))
	}
	return norms
}

// The engine computes the bits that model and optimizer have without it: losses, reports with all details, weights and
// moments, with and without factors for single tensors.
func TestStepsAreThoseOfModelAndOptim(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e, w := open(t, o, s), newTwin(t, s)
		flat, grads := w.m.Trained().Flat, w.m.Grads()
		n := len(w.m.Trained().Views)
		for step := int64(1); step <= 4; step++ {
			b := batch(step)
			r := propose(t, e, step, Norms|TensorStats|Hashes)
			nats := w.accumulate(b, step)
			if got := firstOf(named{"gradient", e.model.Grads(), grads}); got != "" {
				t.Fatalf("step %d: %s", step, got)
			}
			norm := w.opt.GlobalNorm(grads)
			scale, err := optim.ClipScale(norm, 1)
			if err != nil {
				t.Fatal(err)
			}
			want := Report{Loss: nats * (1 / float64(b.Counted)), GradNorm: norm, ClipScale: scale, LR: 1e-2,
				UpdateRatio: w.opt.UpdateRatio(flat, grads, step, 1e-2, scale), Norms: w.norms(), Hashes: r.Hashes}
			want.Tensors = make([]TensorState, n)
			w.opt.Stats(grads, want.Tensors)
			want.UpdateMedian = w.opt.Trial(flat, grads, step, 1e-2, scale, want.Tensors)
			if !same(r, want) {
				t.Fatalf("step %d:\n%+v, want\n%+v", step, r, want)
			}
			u := Update{Step: step, LR: r.LR * 0.5, Scale: r.ClipScale}
			if step%2 == 0 {
				u.Factors = slices.Repeat([]float64{1}, n)
				u.Factors[1], u.Factors[n-1] = 0.3, 0.7
				for i, f := range u.Factors {
					if v := w.m.Trained().Views[i]; f != 1 {
						kernel.Affine(w.x, grads[v.Lo:v.Hi], grads[v.Lo:v.Hi], float32(f), 0)
					}
				}
				w.opt.Changed()
			}
			if lr, err := e.Commit(u); err != nil || lr != u.LR {
				t.Fatalf("a rate of %v, %v", lr, err)
			}
			w.opt.Update(flat, grads, step, u.LR, scale)
			w.m.Refresh()
			if got := e.held().first(held{flat, w.opt.M, w.opt.V}); got != "" {
				t.Fatalf("step %d: %s", step, got)
			}
		}
		v, err := e.Pass(t.Context(), SequenceInput(batch(9), batch(9).Spans[2]), Nats|PerToken)
		in := SequenceInput(batch(9), batch(9).Spans[2])
		nats := w.m.Loss(model.Input{Tokens: in.Tokens, Labels: in.Labels, Counts: in.Counts, Bounds: in.Bounds})
		if err != nil || v.Nats != nats || !slices.Equal(v.TokenNats, w.m.TokenNats()) ||
			!slices.Equal(v.TokenLogZ, w.m.TokenLogZ()) {
			t.Errorf("a loss of %v, want %v, or tokens differ: %v", v.Nats, nats, err)
		}
		if v, _ := e.Pass(t.Context(), in, 0); !same(v, Values{}) {
			t.Errorf("values that nobody wants: %+v", v)
		}
	})
}

// A probe says what the model says, and leaves the gradients alone.
func TestProbeIsThatOfTheModel(t *testing.T) {
	o := opener(t)
	every(t, func(t *testing.T, s Spec) {
		e, w := open(t, o, s), newTwin(t, s)
		propose(t, e, 1, 0)
		before := slices.Clone(e.model.Grads())
		b := batch(1)
		in := SequenceInput(b, slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len }))
		stats := w.m.NewProbeStats()
		w.m.Probe(model.Input{Tokens: in.Tokens, Labels: in.Labels, Counts: in.Counts, Bounds: in.Bounds}, stats)
		v, err := e.Pass(t.Context(), in, Probe|Nats)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, n := range w.m.TokenNats() {
			sum += n
		}
		if !same(v.Probe, stats) || v.Nats != sum || len(stats.Heads) != s.Arch.Layers*s.Arch.Heads {
			t.Errorf("%+v and %v nats, want %+v and %v", *v.Probe, v.Nats, *stats, sum)
		}
		if got := firstOf(named{"gradient", e.model.Grads(), before}); got != "" {
			t.Error(got)
		}
	})
}

// Propose changes nothing, and says the same again; Discard forgets passes.
func TestProposeChangesNothing(t *testing.T) {
	e := open(t, opener(t), spec(shapes[0], model.ModeFP32))
	train(t, e, 1, 2)
	before := e.held()
	first := propose(t, e, 3, Norms|TensorStats|Hashes)
	grads := slices.Clone(e.model.Grads())
	b := batch(3)
	again, err := e.Propose(t.Context(), Proposal{Step: 3, LR: 1e-2, Clip: 1, Scale: Scale(b),
		Detail: Norms | TensorStats | Hashes})
	if err != nil || !same(first, again) || first.Loss == 0 || first.UpdateRatio == 0 || first.UpdateMedian == 0 {
		t.Errorf("%+v and then %+v: %v", first, again, err)
	}
	if got := e.held().first(before) + firstOf(named{"gradient", grads, e.model.Grads()}); got != "" {
		t.Error(got)
	}
	other := propose(t, e, 4, Hashes|NoUpdate)
	if slices.Equal(first.Hashes, []uint64{}) || other.UpdateRatio != 0 || other.Norms != nil || other.Tensors != nil {
		t.Errorf("%+v", other)
	}
	e.Discard()
	if r, err := e.Propose(t.Context(), Proposal{Step: 3, LR: 1, Clip: 1, Scale: 1}); err != nil ||
		r.Loss != 0 || r.GradNorm != 0 {
		t.Errorf("%+v after Discard: %v", r, err)
	}
}

// Hashes tell gradients that differ in one bit, and not zeros of two signs.
func TestHash(t *testing.T) {
	a := []float32{0, 1, -2, 3}
	for i := range a {
		b := slices.Clone(a)
		b[i] = math.Float32frombits(math.Float32bits(b[i]) ^ 1)
		if Hash(a) == Hash(b) {
			t.Errorf("element %d is not in the hash", i)
		}
	}
	if negative := float32(math.Copysign(0, -1)); Hash([]float32{negative, 1}) != Hash([]float32{0, 1}) {
		t.Error("the sign of zero is in the hash")
	}
}

// A gradient that is not finite has no scale and no ratio; details are there.
func TestProposeNonFinite(t *testing.T) {
	e := open(t, opener(t), spec(shapes[0], model.ModeFP32))
	propose(t, e, 1, 0)
	name := e.info.Tensors[4].Name
	e.Harm(Fault{Kind: InfGradient, Tensor: name})
	r, err := e.Propose(t.Context(), Proposal{Step: 1, LR: 1e-2, Clip: 1, Scale: 1, Detail: TensorStats | Norms})
	if err != nil || !math.IsInf(r.GradNorm, 1) || r.ClipScale != 1 || r.UpdateRatio != 0 ||
		r.Tensors[4].Grad.NonFinite != 1 || !math.IsNaN(r.UpdateMedian) || !math.IsInf(r.Norms[4], 1) {
		t.Errorf("%+v: %v", r, err)
	}
	i, err := e.Inspect()
	if err != nil || i.Pass != -1 || i.Weight != nil || i.Gradient == nil || i.Gradient.Tensor != name ||
		i.Gradient.Index != 0 || !math.IsInf(i.Gradient.Value, 1) {
		t.Errorf("%+v: %v", i, err)
	}
}

// Nothing is allocated by a step.
func TestStepAllocatesNothing(t *testing.T) {
	o := opener(t)
	for _, mode := range modes {
		e := open(t, o, spec(shapes[1], mode))
		acc := Accumulator{MicroTokens: micro, Dropout: true, Seed: 3}
		b, step := batch(1), int64(0)
		factors := slices.Repeat([]float64{0.5}, len(e.info.Tensors))
		ctx := context.Background()
		if n := testing.AllocsPerRun(5, func() {
			step++
			e.Discard()
			if err := acc.Gradient(ctx, e, b, step); err != nil {
				t.Fatal(err)
			}
			r, err := e.Propose(ctx, Proposal{Step: step, LR: 1e-3, Clip: 1, Scale: Scale(b), Detail: Norms})
			if err == nil {
				_, err = e.Commit(Update{Step: step, LR: r.LR, Scale: r.ClipScale, Factors: factors})
			}
			if err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", mode, n)
		}
	}
}

// Passes and proposals end where the context is done, and change nothing then.
func TestContext(t *testing.T) {
	e := open(t, opener(t), spec(shapes[0], model.ModeFP32))
	before := propose(t, e, 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Pass(ctx, SequenceInput(batch(1), batch(1).Spans[0]), Gradient); !errors.Is(err, context.Canceled) {
		t.Errorf("Pass: %v", err)
	}
	if _, err := e.Propose(ctx, Proposal{Step: 1, LR: 1, Clip: 1, Scale: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Propose: %v", err)
	}
	after, err := e.Propose(t.Context(), Proposal{Step: 1, LR: 1e-2, Clip: 1, Scale: Scale(batch(1))})
	if err != nil || !same(before, after) {
		t.Errorf("%+v, and before %+v: %v", after, before, err)
	}
	acc := Accumulator{MicroTokens: micro}
	if err := acc.Gradient(ctx, e, batch(1), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("Accumulator: %v", err)
	}
}

// countdown is a context that is done after it was looked at n times.
type countdown struct {
	context.Context
	n int
}

func (c *countdown) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// A pass of an evaluation ends before the next block when its context is done, and the next pass has the same bits.
func TestPassEndsByItsContext(t *testing.T) {
	every(t, func(t *testing.T, s Spec) {
		e := open(t, opener(t), s)
		m := data.SplitMicro(nil, batch(1), micro)[0]
		want, err := e.Pass(t.Context(), MicroInput(m), Nats)
		if err != nil {
			t.Fatal(err)
		}
		looks := 0
		for ; ; looks++ {
			got, err := e.Pass(&countdown{t.Context(), looks}, MicroInput(m), Nats)
			if err == nil {
				if got.Nats != want.Nats {
					t.Errorf("%v nats, %v before", got.Nats, want.Nats)
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if least := s.Arch.Layers + 2; looks < least {
			t.Errorf("a pass looks at its context %d times, not %d", looks, least)
		}
	})
}
