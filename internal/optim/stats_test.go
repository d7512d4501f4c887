package optim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/kernel"
)

// observed returns an optimizer with moments, weights and gradients of n elements in uneven segments, with gaps.
func observed(t *testing.T, r *rand.Rand, workers int, tier kernel.Tier) (a *Optimizer[float32],
	params, grads []float32) {
	const n = 3*block + 500
	segments := []Segment{{Lo: 0, Hi: 37}, {Lo: 48, Hi: 2*block + 100, Decay: true},
		{Lo: 2*block + 112, Hi: 2*block + 113, Decay: true},
		{Lo: 2*block + 128, Hi: n, Decay: true}}
	a = New[float32](newExec(t, workers, tier), n, segments,
		Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1})
	params, grads = make([]float32, n), make([]float32, n)
	for _, s := range segments {
		for i := s.Lo; i < s.Hi; i++ {
			params[i], grads[i] = float32(0.02*r.NormFloat64()), float32(1e-3*r.NormFloat64())
			a.M[i], a.V[i] = float32(1e-3*r.NormFloat64()), float32(1e-6*r.ExpFloat64())
		}
	}
	return a, params, grads
}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Abs(want)
}

func TestStats(t *testing.T) {
	r := random(t)
	a, _, grads := observed(t, r, 2, kernel.TierAuto)
	bad := map[int]float32{1: float32(math.NaN()), block: float32(math.Inf(-1)), 2*block + 99: float32(math.Inf(1))}
	for i, v := range bad {
		grads[i] = v
	}
	grads[100] = -math.MaxFloat32 // large and finite: its square is finite in float64
	dst := make([]TensorState, len(a.segments))
	a.Stats(grads, dst)
	for i, s := range a.segments {
		var want TensorGrad
		n := 0.0
		for j := s.Lo; j < s.Hi; j++ {
			if _, planted := bad[j]; planted {
				want.NonFinite++
				continue
			}
			g := math.Abs(float64(grads[j]))
			want.MeanAbs += g
			want.RMS += g * g
			want.Max = max(want.Max, g)
			n++
		}
		want.MeanAbs, want.RMS = want.MeanAbs/n, math.Sqrt(want.RMS/n)
		if got := dst[i].Grad; !near(got.MeanAbs, want.MeanAbs, 1e-12) || !near(got.RMS, want.RMS, 1e-12) ||
			got.Max != want.Max || got.NonFinite != want.NonFinite {
			t.Errorf("segment %d: %+v, want %+v", i, got, want)
		}
	}
	if dst[0].Grad.NonFinite != 1 || dst[1].Grad.NonFinite != 2 {
		t.Errorf("non-finite elements %d and %d, want 1 and 2", dst[0].Grad.NonFinite, dst[1].Grad.NonFinite)
	}
}

// A trial says what Update then does, element by element, and touches nothing.
func TestTrialIsTheUpdate(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		a, params, grads := observed(t, random(t), 2, tier)
		clear(grads[2*block+128 : 2*block+130]) // with no moments, weight or gradient an element stays
		clear(a.M[2*block+128 : 2*block+130])
		clear(params[2*block+128 : 2*block+130])
		old, oldM, oldV, oldG := slices.Clone(params), slices.Clone(a.M), slices.Clone(a.V), slices.Clone(grads)
		dst := make([]TensorState, len(a.segments))
		median := a.Trial(params, grads, 3, 0.01, 0.5, dst)
		if !slices.Equal(old, params) || !slices.Equal(oldM, a.M) || !slices.Equal(oldV, a.V) ||
			!slices.Equal(oldG, grads) {
			t.Fatalf("%s: a trial changed something", tier)
		}
		a.Update(params, grads, 3, 0.01, 0.5)
		var ratios []float64
		for i, s := range a.segments {
			var want TensorUpdate
			for j := s.Lo; j < s.Hi; j++ {
				d := math.Abs(float64(params[j]) - float64(old[j]))
				want.RMS += d * d
				want.WeightRMS += float64(old[j]) * float64(old[j])
				want.Max = max(want.Max, d)
				if params[j] == old[j] {
					want.Unmoved++
				}
			}
			n := float64(s.Hi - s.Lo)
			want.RMS, want.WeightRMS = math.Sqrt(want.RMS/n), math.Sqrt(want.WeightRMS/n)
			if got := dst[i].Update; !near(got.RMS, want.RMS, 1e-12) || !near(got.WeightRMS, want.WeightRMS, 1e-12) ||
				got.Max != want.Max || got.Unmoved != want.Unmoved {
				t.Errorf("%s: segment %d: %+v, want %+v", tier, i, got, want)
			}
			if s.Decay && want.WeightRMS >= leastWeight {
				ratios = append(ratios, want.RMS/want.WeightRMS)
			}
		}
		if dst[3].Update.Unmoved < 2 {
			t.Errorf("%s: %d unmoved weights, want those two that were planted", tier, dst[3].Update.Unmoved)
		}
		slices.Sort(ratios)
		want := (ratios[(len(ratios)-1)/2] + ratios[len(ratios)/2]) / 2
		if !near(median, want, 1e-12) {
			t.Errorf("%s: median %g, want %g", tier, median, want)
		}
	}
}

// Tensors that began at zero say nothing about the rate, and an update that is not finite hides behind no median.
func TestTrialMedian(t *testing.T) {
	a, params, grads := observed(t, random(t), 1, kernel.TierAuto)
	dst := make([]TensorState, len(a.segments))
	clear(params)
	if median := a.Trial(params, grads, 1, 0.01, 1, dst); median != 0 {
		t.Errorf("median %g of weights that are all zero, want 0", median)
	}
	grads[60] = float32(math.NaN())
	if median := a.Trial(params, grads, 1, 0.01, 1, dst); !math.IsNaN(median) || !math.IsNaN(dst[1].Update.Max) {
		t.Errorf("median %g and largest change %g of an update with NaN, want NaN", median, dst[1].Update.Max)
	}
	grads[60] = 0
	if median := a.Trial(params, grads, 1, math.Inf(1), 1, dst); !math.IsNaN(median) {
		t.Errorf("median %g of an infinite update, want NaN", median)
	}
}

// UpdateRatio is Trial on the first block of each matrix.
func TestUpdateRatioIsATrialOfTheBeginnings(t *testing.T) {
	a, params, grads := observed(t, random(t), 2, kernel.TierAuto)
	var starts []Segment
	for _, s := range a.segments {
		if s.Decay {
			starts = append(starts, Segment{Lo: s.Lo, Hi: min(s.Hi, s.Lo+block), Decay: true})
		}
	}
	b := New[float32](a.x, len(params), starts, a.options)
	copy(b.M, a.M)
	copy(b.V, a.V)
	want := b.Trial(params, grads, 3, 1e-3, 0.5, make([]TensorState, len(starts)))
	if got := a.UpdateRatio(params, grads, 3, 1e-3, 0.5); got != want || !(got > 0) {
		t.Errorf("ratio %g, want %g", got, want)
	}
}

func TestStatsWorkersGiveTheSameBits(t *testing.T) {
	r := random(t)
	seed := [2]uint64{r.Uint64(), r.Uint64()}
	measure := func(workers int) ([]TensorState, float64) {
		a, params, grads := observed(t, rand.New(rand.NewPCG(seed[0], seed[1])), workers, kernel.TierAuto)
		states := make([]TensorState, len(a.segments))
		a.Stats(grads, states)
		return states, a.Trial(params, grads, 2, 1e-3, 1, states)
	}
	states, median := measure(1)
	for _, workers := range []int{2, 5} {
		if states2, median2 := measure(workers); !slices.Equal(states, states2) || median != median2 {
			t.Errorf("%d workers give other bits than one", workers)
		}
	}
}

func TestStatsAllocateNothing(t *testing.T) {
	a, params, grads := observed(t, random(t), 2, kernel.TierAuto)
	states := make([]TensorState, len(a.segments))
	if n := testing.AllocsPerRun(5, func() {
		a.Stats(grads, states)
		a.Trial(params, grads, 2, 1e-3, 1, states)
		a.UpdateRatio(params, grads, 2, 1e-3, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	const n = 1 << 22
	a := New[float32](newExec(b, 0, kernel.TierAuto), n, []Segment{{Lo: 0, Hi: n, Decay: true}},
		Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1})
	params, grads := make([]float32, n), make([]float32, n)
	for i := range params {
		params[i], grads[i] = float32(i%1000)/1e4, float32(i%777)/1e5
	}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"norm", func() { a.GlobalNorm(grads) }},
		{"stats", func() { a.Stats(grads, make([]TensorState, 1)) }},
		{"trial", func() { a.Trial(params, grads, 2, 1e-3, 1, make([]TensorState, 1)) }},
		{"update", func() { a.Update(params, grads, 2, 1e-9, 1) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(4 * n)
			for b.Loop() {
				c.f()
			}
		})
	}
}
