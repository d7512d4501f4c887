package optim

import (
	"math"
	"testing"
)

// walk feeds a range test with a loss that is a function of the rate, as long as it wants.
func walk(steps int64, loss func(rate float64) float64) *RangeTest {
	r := NewRangeTest(steps)
	for r.Observe(loss(r.LR())) {
	}
	return r
}

func TestRangeTestRamp(t *testing.T) {
	r := walk(101, func(rate float64) float64 { return 5 - 0.01*math.Log(rate/probeLow) })
	if len(r.Rates) != 101 || r.Rates[0] != probeLow || math.Abs(r.Rates[100]-probeHigh) > 1e-12 || r.Diverged {
		t.Fatalf("%d rates from %g to %g, diverged %v", len(r.Rates), r.Rates[0], r.Rates[len(r.Rates)-1], r.Diverged)
	}
	for i := 1; i < len(r.Rates); i++ {
		if q := r.Rates[i] / r.Rates[i-1]; math.Abs(q-math.Pow(10, 0.05)) > 1e-9 {
			t.Fatalf("factor %g at %d", q, i)
		}
	}
	for _, s := range []Sizes{{}, {Muon: true, Params: 1, BatchTokens: 1 << 20}} { // auto is at its end, too
		if lr, ok := r.Peak(s); !ok || lr != s.MaxLR() || s.Muon && lr != s.auto() || !s.Muon && lr != MaxAutoLR {
			t.Errorf("a loss that only falls: %g, %v", lr, ok)
		}
	}
}

// The smoothed loss is the mean of all losses so far, weighted by powers of 0.9.
func TestRangeTestSmoothing(t *testing.T) {
	losses := []float64{4, 3, 3.5, 2, 2.25}
	r, i := NewRangeTest(5), 0
	for r.Observe(losses[min(i, 4)]) {
		i++
	}
	for k, got := range r.Smoothed {
		sum, weights := 0.0, 0.0
		for j := range k + 1 {
			w := math.Pow(0.9, float64(k-j))
			sum, weights = sum+w*losses[j], weights+w
		}
		if math.Abs(got-sum/weights) > 1e-12 {
			t.Errorf("smoothed %d is %g, not %g", k, got, sum/weights)
		}
	}
}

func TestRangeTestStops(t *testing.T) {
	cliff := func(at float64) func(float64) float64 {
		return func(rate float64) float64 {
			if rate > at {
				return 50
			}
			return 5 - 0.2*math.Log(rate/probeLow)
		}
	}
	r := walk(200, cliff(1e-2))
	at, loss, ok := r.Argmin()
	if !r.Diverged || !ok || at < 0.8e-2 || at > 1e-2 {
		t.Errorf("a cliff at 1e-2: argmin %g, diverged %v", at, r.Diverged)
	}
	if lr, ok := r.Peak(Sizes{}); !ok || lr != at/2 {
		t.Errorf("peak %g of argmin %g", lr, at)
	}
	last := len(r.Smoothed) - 1
	if !(r.Smoothed[last] > 1.05*loss) || r.Smoothed[last-1] > 1.05*loss {
		t.Errorf("stopped at a smoothed loss of %g after %g, best %g", r.Smoothed[last], r.Smoothed[last-1], loss)
	}
	for name, bad := range map[string]float64{"NaN": math.NaN(), "+Inf": math.Inf(1), "-Inf": math.Inf(-1)} {
		r := walk(200, func(rate float64) float64 {
			if rate > 1e-3 {
				return bad
			}
			return 5 - 0.2*math.Log(rate/probeLow)
		})
		if at, loss, ok := r.Argmin(); !r.Diverged || !ok || at > 1e-3 || !(loss > 0) || r.Observe(1) {
			t.Errorf("%s: argmin %g, loss %g, diverged %v", name, at, loss, r.Diverged)
		}
	}
	// A loss that only rises, or that is bad at once, recommends nothing.
	for name, f := range map[string]func(float64) float64{
		"rising": func(rate float64) float64 { return 2 + rate },
		"NaN":    func(float64) float64 { return math.NaN() },
	} {
		if lr, ok := walk(50, f).Peak(Sizes{}); ok {
			t.Errorf("%s: recommends %g", name, lr)
		}
	}
}

// The first fall counts and not the second one, behind a hill; noise among the lowest rates is no hill.
func TestRangeTestTakesTheFirstFall(t *testing.T) {
	r := walk(300, func(rate float64) float64 {
		x := math.Log10(rate)
		switch {
		case x < -4.5:
			return 5 - 0.6*float64(int(rate*1e9)%2)
		case x < -2:
			return 5 - (x + 4.5)
		case x < -1.5:
			return 3 // a hill above 2.5,
		}
		return 2 // and what looks better behind it
	})
	if at, _, ok := r.Argmin(); !ok || math.Abs(math.Log10(at)+2) > 0.1 {
		t.Errorf("argmin %g, %v after %d steps", at, ok, len(r.Rates))
	}
}

func TestProbeSteps(t *testing.T) {
	for steps, want := range map[int64]int64{1: 0, 1000: 0, 2999: 0, 3000: 150, 5000: 250, 8000: 400, 1e9: 400} {
		if got := ProbeSteps(steps); got != want || got > steps/20 {
			t.Errorf("a run of %d steps: %d, not %d", steps, got, want)
		}
	}
}
