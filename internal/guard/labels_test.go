package guard

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// labelled are the rules of the tests with the newest limits, and without warmup.
func labelled(limits int64) Rules {
	rules := acting
	rules.Act, rules.Limits = false, limits
	return rules
}

// errorsOf counts the errors in n observations.
func errorsOf(rules Rules, n int, next func(i int) Observation) (errors int) {
	s := New(rules)
	for i := range n {
		var d Decision
		o := next(i)
		o.Step, o.LR = int64(101+i), 1e-3
		if s, d = Next(s, o); hasError(d) {
			errors++
		}
	}
	return errors
}

// mean is a loss and a norm over n labels, of which a share is a surprise of so many nats: a healthy step.
func mean(r *rand.Rand, n int, share, nats float64) Observation {
	loss := 0.05
	for range n {
		if r.Float64() < share {
			loss += nats * r.ExpFloat64() / float64(n)
		}
	}
	return Observation{Labels: int64(n), Loss: loss, GradNorm: math.Sqrt(0.1+loss) * math.Exp(0.2*r.NormFloat64())}
}

// TestFewLabels: batches of a few labels vary, above all where their number varies. That is no event; by the first
// limits, which do not look at it, it is.
func TestFewLabels(t *testing.T) {
	const steps = 20_000
	for name, size := range map[string]func(r *rand.Rand) int{
		"64": func(*rand.Rand) int { return 64 },
		"128, often the end of a text": func(r *rand.Rand) int {
			if r.IntN(20) == 0 {
				return 1 + r.IntN(12)
			}
			return 128
		},
	} {
		old := 0
		for limits := range int64(Limits + 1) {
			r := rand.New(rand.NewPCG(3, 1))
			n := errorsOf(labelled(limits), steps, func(int) Observation { return mean(r, size(r), 0.03, 6) })
			switch {
			case limits == 0:
				old = n
			case n > 0 || old == 0:
				t.Errorf("%s labels: %d errors in %d steps; %d by the first limits", name, n, steps, old)
			}
		}
	}
}

// TestRegularText: where nearly every token follows from those before, the norm is tiny and now and then ordinary.
func TestRegularText(t *testing.T) {
	const steps = 20_000
	regular := func(r *rand.Rand) func(i int) Observation {
		return func(i int) Observation {
			fall := math.Exp(-float64(i) / 100)
			o := Observation{Labels: 256, Loss: 0.03 + 4*fall + 0.003*r.NormFloat64(),
				GradNorm: (0.04 + 1.5*fall) * math.Exp(0.3*r.NormFloat64())}
			if r.IntN(300) == 0 {
				o.Loss, o.GradNorm = o.Loss+0.6*r.Float64(), o.GradNorm+12*r.Float64()
			}
			return o
		}
	}
	if n := errorsOf(labelled(Limits), steps, regular(rand.New(rand.NewPCG(1, 1)))); n > 0 {
		t.Errorf("%d errors in %d steps", n, steps)
	}
	if n := errorsOf(labelled(0), steps, regular(rand.New(rand.NewPCG(1, 1)))); n < 20 {
		t.Errorf("by the first limits %d errors: the stream tests nothing", n)
	}
}

// TestStillSeen: faults of the size that planted ones have are seen over few labels too.
func TestStillSeen(t *testing.T) {
	for _, labels := range []int{64, 768} {
		for name, fault := range map[string]func(o *Observation){
			"E1 a thousand times both": func(o *Observation) { o.Loss, o.GradNorm = 1000*o.Loss, 1000*o.GradNorm },
			"E1 200 times the norm":    func(o *Observation) { o.GradNorm *= 200 },
			"E0 not finite":            func(o *Observation) { o.GradNorm = math.NaN() },
			"E1 too large an update":   func(o *Observation) { o.UpdateRatio = 0.11 },
			"E2 a loss that stays up":  func(o *Observation) { o.Loss += 5 },
		} {
			r := rand.New(rand.NewPCG(2, 2))
			s, seen := New(labelled(Limits)), ""
			for i := range 300 {
				o := mean(r, labels, 0.5, 4)
				o.Step, o.LR = int64(101+i), 1e-3
				if at := i - 200; at == 0 || at > 0 && name[:2] == "E2" {
					fault(&o)
				}
				var d Decision
				if s, d = Next(s, o); i >= 200 {
					seen += codes(d)
				} else if hasError(d) {
					t.Fatalf("%d labels, %s: step %d: %+v", labels, name, i, d)
				}
			}
			if !strings.Contains(seen, name[:2]) {
				t.Errorf("%d labels, %s: seen %q", labels, name, seen)
			}
		}
	}
}

// TestEarlyNorm: the norms of a fresh model are remembered once, through a rewind, and not by the first limits.
func TestEarlyNorm(t *testing.T) {
	rules := acting
	rules.Limits = Limits
	r := newStream(rules, 1)
	r.calm(t, armedAt-1)
	if r.s.EarlyNorm != 0 {
		t.Error("known too early")
	}
	r.calm(t, 1)
	early := r.s.EarlyNorm
	r.norm = 0.01
	rewound(t, r, 300)
	r.calm(t, 300)
	if !(early > 0.7 && early < 0.9) || r.s.EarlyNorm != early {
		t.Errorf("early norm %v, then %v", early, r.s.EarlyNorm)
	}
	old := newStream(acting, 1)
	if old.calm(t, 200); old.s.EarlyNorm != 0 {
		t.Error("by the first limits nothing is remembered")
	}
}
