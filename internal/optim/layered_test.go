package optim

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"gimbal/internal/kernel"
)

// clip is layered clipping of a gradient: norms, factors, and the product.
func clip(a *Optimizer[float32], l *Layered, grads []float32) (norm float64, clipped int) {
	norms := make([]float64, len(a.segments))
	a.SegmentNorms(grads, norms)
	factors, norm, clipped := l.Factors(norms)
	if factors != nil {
		a.ScaleSegments(grads, factors)
	}
	return norm, clipped
}

// TestLayeredAgainstReference compares 160 steps, with sudden large gradients in single tensors, with the formula
// written out in float64, and takes state out and back in on the way.
func TestLayeredAgainstReference(t *testing.T) {
	r := random(t)
	a, _, grads := observed(t, r, 2, kernel.TierAuto)
	l := NewLayered(len(a.segments))
	average := make([]float64, len(a.segments))
	spikes := map[int]int{50: 1, 120: 1, 121: 3, 140: 0} // step: segment
	for step := range 160 {
		if step == 130 { // a resume
			data, err := json.Marshal(l.LayeredState)
			if err != nil {
				t.Fatal(err)
			}
			var s LayeredState
			if err := json.Unmarshal(data, &s); err != nil {
				t.Fatal(err)
			}
			l = NewLayered(len(a.segments))
			if err := l.SetState(s); err != nil {
				t.Fatal(err)
			}
		}
		want := make([]float64, len(grads))
		wantClipped, wantTotal := 0, 0.0
		for i, s := range a.segments {
			size := 1e-3
			if at, ok := spikes[step]; ok && at == i {
				size = 1
			}
			if i == 2 && step < 110 {
				size = 0 // its first gradient comes late
			}
			norm := 0.0
			for j := s.Lo; j < s.Hi; j++ {
				grads[j] = float32(size * (1 + r.Float64()))
				want[j] = float64(grads[j])
				norm += want[j] * want[j]
			}
			norm = math.Sqrt(norm)
			factor := 1.0
			if step >= 100 && average[i] > 0 {
				factor = min(1, 1.05*average[i]/norm)
			}
			if factor < 1 {
				wantClipped++
			}
			for j := s.Lo; j < s.Hi; j++ {
				want[j] *= factor
			}
			norm *= factor
			wantTotal += norm * norm
			if average[i] == 0 {
				average[i] = norm
			} else {
				average[i] = 0.98*average[i] + 0.02*norm
			}
		}
		norm, clipped := clip(a, l, grads)
		if clipped != wantClipped || !near(norm, math.Sqrt(wantTotal), 1e-6) {
			t.Fatalf("step %d: norm %g with %d clipped, want %g with %d", step, norm, clipped,
				math.Sqrt(wantTotal), wantClipped)
		}
		for j := range want {
			if math.Abs(float64(grads[j])-want[j]) > 1e-6*math.Abs(want[j]) {
				t.Fatalf("step %d: gradient %d is %g, want %g", step, j, grads[j], want[j])
			}
		}
		if after := a.GlobalNorm(grads); !near(norm, after, 1e-6) {
			t.Fatalf("step %d: norm %g reported, %g there", step, norm, after)
		}
	}
	if !slices.EqualFunc(l.LayeredState.Norms, average, func(a, b float64) bool { return near(a, b, 1e-6) }) {
		t.Errorf("averages %v, want %v", l.LayeredState.Norms, average)
	}
}

func TestLayeredLeavesNonFiniteAlone(t *testing.T) {
	a, _, grads := observed(t, random(t), 2, kernel.TierAuto)
	l := NewLayered(len(a.segments))
	clip(a, l, grads)
	before := slices.Clone(l.LayeredState.Norms)
	grads[60] = float32(math.Inf(1))
	old := slices.Clone(grads)
	if norm, clipped := clip(a, l, grads); !math.IsInf(norm, 1) || clipped != 0 {
		t.Errorf("norm %v with %d clipped, want +Inf and none", norm, clipped)
	}
	if !slices.Equal(grads, old) || !slices.Equal(l.LayeredState.Norms, before) || l.LayeredState.Steps != 1 {
		t.Error("a step that must not be made left something behind")
	}
}

func TestLayeredRefusesForeignState(t *testing.T) {
	a, _, _ := observed(t, random(t), 1, kernel.TierAuto)
	l := NewLayered(len(a.segments))
	if err := l.SetState(LayeredState{}); err != nil {
		t.Error(err)
	}
	for _, s := range []LayeredState{
		{Steps: 1, Norms: make([]float64, 3)},
		{Steps: 1, Norms: []float64{1, 2, math.NaN(), 1}},
		{Steps: 1, Norms: []float64{1, 2, -1, 1}},
		{Steps: -1, Norms: make([]float64, 4)},
	} {
		if l.SetState(s) == nil {
			t.Errorf("state %+v was accepted", s)
		}
	}
}

func TestLayeredAllocatesNothing(t *testing.T) {
	a, _, grads := observed(t, random(t), 2, kernel.TierAuto)
	l, norms := NewLayered(len(a.segments)), make([]float64, len(a.segments))
	if n := testing.AllocsPerRun(5, func() {
		a.SegmentNorms(grads, norms)
		factors, _, _ := l.Factors(norms)
		a.ScaleSegments(grads, factors)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The norms of segments are those of their elements, for any number of workers and whatever lies between; scaling
// touches nothing but the segments whose factor is not 1.
func TestSegments(t *testing.T) {
	r := random(t)
	a, _, grads := observed(t, r, 3, kernel.TierAuto)
	for i := range grads {
		grads[i] = float32(r.NormFloat64())
	}
	norms := make([]float64, len(a.segments))
	a.SegmentNorms(grads, norms)
	factors := slices.Repeat([]float64{1}, len(norms))
	factors[1], factors[3] = 0.25, 2
	want := slices.Clone(grads)
	for i, s := range a.segments {
		sum := 0.0
		for j := s.Lo; j < s.Hi; j++ {
			sum += float64(grads[j]) * float64(grads[j])
			want[j] *= float32(factors[i])
		}
		if !near(norms[i], math.Sqrt(sum), 1e-9) {
			t.Errorf("segment %d: norm %v, want %v", i, norms[i], math.Sqrt(sum))
		}
	}
	a.ScaleSegments(grads, factors)
	if !slices.Equal(grads, want) {
		t.Error("the scaled gradient is another one")
	}
	grads[a.segments[2].Lo] = float32(math.NaN())
	if a.SegmentNorms(grads, norms); !math.IsNaN(norms[2]) || math.IsNaN(norms[1]) {
		t.Errorf("norms %v with a NaN in segment 2", norms)
	}
}
