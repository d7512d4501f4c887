package guard

import (
	"math"
	"strings"
	"testing"
)

func TestNextStopsOnNonfinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		loss, norm float64
		apply      bool
		names      string
	}{
		{2.5, 1, true, ""},
		{0, 0, true, ""},
		{math.MaxFloat64, math.SmallestNonzeroFloat64, true, ""},
		{nan, 1, false, "the loss"},
		{2.5, inf, false, "the gradient norm"},
		{2.5, nan, false, "the gradient norm"},
		{-inf, nan, false, "the loss and the gradient norm"},
	}
	for _, tt := range tests {
		s, d := Next(State{}, Observation{Step: 7, Loss: tt.loss, GradNorm: tt.norm})
		if (d.Action == Apply) != tt.apply || s.Checked != 1 {
			t.Errorf("loss %v, norm %v: action %v, checked %d", tt.loss, tt.norm, d.Action, s.Checked)
		}
		if !tt.apply && (len(d.Events) != 1 || d.Events[0].Code != CodeNonfinite || !strings.HasPrefix(d.Events[0].Message, tt.names+" of step 7") || s.Nonfinite != 1) {
			t.Errorf("loss %v, norm %v: events %+v, nonfinite %d", tt.loss, tt.norm, d.Events, s.Nonfinite)
		}
	}
}

// One non-finite value must not blind the controller to the next, nor make it refuse healthy steps for ever.
func TestNextIsNotBlindedByNaN(t *testing.T) {
	var s State
	var d Decision
	for i, loss := range []float64{1, math.NaN(), 1, math.NaN(), 1} {
		s, d = Next(s, Observation{Step: int64(i + 1), Loss: loss, GradNorm: 1})
		if want := !math.IsNaN(loss); (d.Action == Apply) != want {
			t.Fatalf("observation %d: action %v", i, d.Action)
		}
	}
	if s.Checked != 5 || s.Nonfinite != 2 {
		t.Fatalf("state %+v", s)
	}
}

func TestZeroDecisionIsStop(t *testing.T) {
	if (Decision{}).Action != Stop {
		t.Fatal("a decision nobody made must not let an update through")
	}
}

func FuzzNext(f *testing.F) {
	f.Add(1.0, 1.0)
	f.Add(math.NaN(), math.Inf(-1))
	f.Add(5e-324, math.MaxFloat64)
	f.Fuzz(func(t *testing.T, loss, norm float64) {
		_, d := Next(State{}, Observation{Loss: loss, GradNorm: norm})
		bad := math.IsNaN(loss+norm) || math.IsInf(loss, 0) || math.IsInf(norm, 0)
		if (loss+norm == loss+norm) && math.IsInf(loss+norm, 0) && !math.IsInf(loss, 0) && !math.IsInf(norm, 0) {
			bad = false // the sum overflowed, its terms did not
		}
		if (d.Action == Stop) != bad {
			t.Fatalf("loss %v, norm %v: action %v", loss, norm, d.Action)
		}
	})
}
