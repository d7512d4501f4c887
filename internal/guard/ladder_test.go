package guard

import (
	"math"
	"strings"
	"testing"
)

// outlierOf is a step of ten times the loss and a hundred times the norm.
func outlierOf(o Observation) Observation { o.Loss *= 10; o.GradNorm *= 100; return o }

func TestOutlierIsSkippedAndEarnedBack(t *testing.T) {
	r := newStream(acting, 1)
	r.calm(t, 100)
	o := outlierOf(r.next())
	d := r.give(o)
	if d.Action != Skip || !d.Quarantine || d.Diagnose || d.Scale != 0.5 || codes(d) != CodeOutlier {
		t.Fatalf("%+v", d)
	}
	n := d.Events[0].Numbers
	if n["loss"] != o.Loss || n["grad_norm"] != o.GradNorm || n["lr"] != o.LR || n["scale_before"] != 1 ||
		n["scale_after"] != 0.5 ||
		!(n["z_loss"] > lossOutlier && n["z_norm"] > normOutlier) || !(n["median_loss"] > 3 && n["median_loss"] < 5) ||
		!(n["median_norm"] > 0.7 && n["median_norm"] < 0.9) {
		t.Errorf("numbers %v", n)
	}
	// Twenty calm steps at half the rate, and then a hundred back to all of it.
	for i := range probation + ramp {
		if want := 0.5 + 0.5*max(0, float64(i-probation)/ramp); math.Abs(r.s.Scale()-want) > 1e-12 {
			t.Fatalf("calm step %d after it: scale %v, want %v", i, r.s.Scale(), want)
		}
		r.calm(t, 1)
	}
	if r.s.Scale() != 1 || r.s.Dip != 0 {
		t.Errorf("after the probation: %v", r.s.Scale())
	}
}

func TestArticleStaysHalved(t *testing.T) {
	rules := acting
	rules.StayHalved = true
	r := newStream(rules, 1)
	r.calm(t, 100)
	r.give(outlierOf(r.next()))
	r.calm(t, 500)
	nan := r.next()
	nan.Loss = math.NaN()
	r.give(nan)
	r.calm(t, 500)
	if r.s.Scale() != 0.25 {
		t.Errorf("scale %v", r.s.Scale())
	}
}

// TestLadder walks sequences of faults. In the pattern a dot is a calm step, o an outlier, n a NaN, and N.. a run of
// that many calm steps; the answer has the last code of every refusal.
func TestLadder(t *testing.T) {
	const calm100 = "...................................................................................................."
	tests := []struct {
		name, pattern, want string
		scale               float64
	}{
		{"one outlier", "o", "E1", 0.5},
		{"two outliers", "o.o", "E1 E1", 0.25},
		{"three outliers in ten", "o...o....o", "E1 E1 E2", 0.5},
		{"three outliers in eleven", "o...o.....o", "E1 E1 E1", 0.125},
		{"one NaN", "n", "E0", 0.5},
		{"two NaN in a hundred", "n" + calm100[:98] + "n", "E0 E2", 0.5},
		{"two NaN in more", "n" + calm100 + calm100 + "n", "E0 E0", 0.5},
		{"outliers and a NaN", "oon", "E1 E1 E0", 0.125},
		{"five outliers just apart", "o....o.....o....o.....o", "E1 E1 E1 E1 E3", 1},
		{"two rewinds", "nn" + calm100 + "nn", "E0 E2 E0 E2", 0.25},
		{"three rewinds", "nn" + calm100 + "nn" + calm100 + "nn", "E0 E2 E0 E2 E0 E3", 1},
	}
	for _, tt := range tests {
		r := newStream(acting, 3)
		r.calm(t, 120)
		var seen []string
		for _, c := range tt.pattern {
			o := r.next()
			switch c {
			case 'o':
				o = outlierOf(o)
			case 'n':
				o.GradNorm = math.NaN()
			}
			if d := r.give(o); d.Action != Apply {
				all := strings.Fields(codes(d))
				seen = append(seen, all[len(all)-1][:2])
				if want := map[byte]Action{'0': Skip, '1': Skip, '2': Rewind, '3': Stop}[all[len(all)-1][1]]; d.Action != want {
					t.Errorf("%s: %s with action %v", tt.name, codes(d), d.Action)
				}
			}
		}
		if got := strings.Join(seen, " "); got != tt.want || r.s.Scale() != tt.scale {
			t.Errorf("%s: %s at scale %v, want %s at %v", tt.name, got, r.s.Scale(), tt.want, tt.scale)
		}
	}
}

// TestProbationWaitsForCalm: steps that are accepted while the loss is still up do not count, and do not undo what
// counted.
func TestProbationWaitsForCalm(t *testing.T) {
	r := newStream(acting, 1)
	r.calm(t, 150)
	r.give(outlierOf(r.next()))
	r.calm(t, 15)
	for range 10 {
		o := r.next()
		o.Loss = r.loss(o.Step) * 1.065 // three deviations: no event, and no calm
		if d := r.give(o); d.Action != Apply {
			t.Fatalf("%+v", d)
		}
		if i := r.s.Calmed; i > 18 {
			t.Fatalf("%d steps counted", i)
		}
	}
	before := r.s.Calmed
	r.calm(t, probation+ramp)
	if before < 15 || r.s.Scale() != 1 {
		t.Errorf("%d steps counted; at the end the scale is %v", before, r.s.Scale())
	}
}

// TestNewAccountAfterStop: a guard that only records begins anew after an E3, so that the next trouble is told for what
// it is.
func TestNewAccountAfterStop(t *testing.T) {
	rules := acting
	rules.Act = false
	r := newStream(rules, 3)
	r.calm(t, 120)
	var seen []string
	for range 5 {
		for range 2 {
			o := r.next()
			o.Loss = math.NaN()
			all := strings.Fields(codes(r.give(o)))
			seen = append(seen, all[len(all)-1][:2])
		}
		r.calm(t, 100)
	}
	if got := strings.Join(seen, " "); got != "E0 E2 E0 E2 E0 E3 E0 E2 E0 E2" {
		t.Errorf("seen %s", got)
	}
	if r.s.Stopped != 1 || r.s.Nonfinite != 10 || r.s.Sustained != 5 {
		t.Errorf("counted %d, %d, %d", r.s.Stopped, r.s.Nonfinite, r.s.Sustained)
	}
}
