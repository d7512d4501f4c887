package guard

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// falling is a run whose loss falls by share of itself every hundred steps, with the given spread, from step 0 of a
// warmup of a hundred steps on.
func falling(rules Rules, seed uint64, share, sigma float64) *stream {
	r := newStream(rules, seed)
	r.step = 0
	r.loss = func(step int64) float64 {
		return 4 * math.Exp(-share*float64(step)/100) * (1 + sigma*r.rng.NormFloat64())
	}
	r.lr = func(step int64) float64 { return 1e-3 * min(1, float64(step)/float64(rules.Warmup)) }
	return r
}

// noise is next without the spread of its own that a stream adds.
func (r *stream) noise() Observation {
	o := r.next()
	o.Loss = r.loss(o.Step)
	return o
}

// TestNudge: which runs are nudged, and when.
func TestNudge(t *testing.T) {
	rules := acting
	rules.MaxScale = 1.34
	tests := []struct {
		name         string
		share, sigma float64
		change       func(r *stream, o *Observation)
		want         string
	}{
		{"slow and calm", 0.001, 0.002, nil, "200 400 600 W"},
		{"level and calm", 0, 0.002, nil, "200 400 600 W"},
		{"fast and calm", 0.05, 0.01, nil, ""},
		{"slow and noisy", 0.001, 0.05, nil, ""},
		{"rising for certain", -0.02, 0.002, nil, ""},
		{"an outlier, long ago", 0.001, 0.002, func(_ *stream, o *Observation) {
			if o.Step == 80 {
				o.GradNorm *= 100
			}
		}, ""},
		{"an outlier after the first nudge", 0.001, 0.002, func(_ *stream, o *Observation) {
			if o.Step == 250 {
				o.GradNorm *= 100
			}
		}, "200"},
		{"a restart", 0.001, 0.002, func(_ *stream, o *Observation) {
			if o.Step > 300 {
				o.LR *= 2
			}
		}, "200"},
		{"large updates", 0.001, 0.002, func(_ *stream, o *Observation) {
			if o.Step%150 == 0 && o.Step < 500 {
				o.UpdateRatio = 0.06
			}
		}, "400 600 800 W"},
		{"gradients that grow until step 350", 0.001, 0.002, func(_ *stream, o *Observation) {
			o.GradNorm *= 1.5 * math.Exp(0.005*float64(min(o.Step, 350)))
		}, "500 700 900 W"},
		{"as large a rate as the probe allows", 0.001, 0.002, func(r *stream, _ *Observation) { r.s.Rules.MaxScale = 1.15 },
			"200 400"},
		{"an outlier, long ago, and half the rate for good", 0.001, 0.002, func(r *stream, o *Observation) {
			if r.s.Rules.StayHalved = true; o.Step == 80 {
				o.GradNorm *= 100
			}
		}, ""},
		{"no nudges", 0.001, 0.002, func(r *stream, _ *Observation) { r.s.Rules.MaxScale = 1 }, ""},
	}
	for _, tt := range tests {
		r := falling(rules, 2, tt.share, tt.sigma)
		if tt.name == "no nudges" {
			r.s.Rules.MaxScale = 1
		}
		var seen []string
		for range 2500 {
			o := r.noise()
			once := r.s.LastError == 0 // a skipped step is made again, healthy
			if tt.change != nil && once {
				tt.change(r, &o)
			}
			before := r.s.Scale()
			for _, e := range r.give(o).Events {
				switch e.Code {
				case CodeNudge:
					seen = append(seen, fmt.Sprint(o.Step))
					if e.Severity != "info" || e.Numbers["scale_before"] != before || e.Numbers["scale_after"] != r.s.Scale() ||
						!(r.s.Scale() > before) || !(math.Abs(e.Numbers["fall"]) < 0.1) {
						t.Errorf("%s: %+v", tt.name, e)
					}
				case CodePeakLow:
					seen = append(seen, "W")
				}
			}
			if r.s.Scale() > r.s.Rules.MaxScale {
				t.Fatalf("%s: scale %v", tt.name, r.s.Scale())
			}
		}
		if got := strings.Join(seen, " "); got != tt.want {
			t.Errorf("%s: nudged at %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestNudgeWindow: after a long warmup there are five windows, and none later.
func TestNudgeWindow(t *testing.T) {
	rules := acting
	rules.MaxScale, rules.Warmup = 1.34, 2000
	r := falling(rules, 2, 0.0005, 0.01)
	var seen []int64
	for range 4000 {
		o := r.noise()
		if o.Step <= 2200 { // noisy: the first two windows do not count
			o.Loss *= 1 + 0.05*r.rng.NormFloat64()
		}
		if d := r.give(o); codes(d) == CodeNudge {
			seen = append(seen, o.Step)
		}
	}
	if fmt.Sprint(seen) != "[2300 2500]" {
		t.Errorf("nudged at %v", seen)
	}
}

func TestClipRegime(t *testing.T) {
	r := newStream(acting, 1)
	var seen []string
	for _, part := range []struct {
		steps int
		norm  float64
	}{{400, 0.5}, {600, 2}, {200, 0.95}, {600, 0.5}, {400, 2}} {
		r.norm = part.norm
		r.s.Norms = ring{} // how the norm got there is another rule's matter
		for range part.steps {
			if d := r.give(r.next()); codes(d) != "" {
				seen = append(seen, fmt.Sprint(r.step-acting.Warmup, " ", codes(d)))
				if n := d.Events[0].Numbers; !(n["clip_share"] > clipShare) || n["clip"] != 1 {
					t.Errorf("numbers %v", n)
				}
			}
		}
	}
	if got := strings.Join(seen, ", "); got != "600 W-CLIP-REGIME, 2000 W-CLIP-REGIME" {
		t.Errorf("said at %s", got)
	}
	rules := acting
	rules.Clip = 0
	r = newStream(rules, 1)
	r.norm = 50
	r.calm(t, 500)
	if r.s.ClipSteps != 0 {
		t.Error("counted although nothing is clipped")
	}
}

func TestUpdateRatioIsToldSometimes(t *testing.T) {
	r := newStream(acting, 1)
	told := 0
	for range 2500 {
		o := r.next()
		o.UpdateRatio = 0.07
		if codes(r.give(o)) == CodeUpdateRatio {
			told++
		}
	}
	if told != 3 {
		t.Errorf("told %d times in 2500 steps", told)
	}
}

// TestObserve: a guard that only records sees what an acting one sees, says so, and does nothing.
func TestObserve(t *testing.T) {
	rules := acting
	rules.Act, rules.MaxScale = false, 1.34
	acts, looks := newStream(acting, 1), newStream(rules, 1)
	for i := range 400 {
		o := acts.next()
		switch i {
		case 150:
			o = outlierOf(o)
		case 170:
			o.Loss = math.NaN()
		case 175, 177, 179:
			o.GradNorm *= 50
		}
		a, b := acts.give(o), looks.give(o)
		if b.Action != Apply || b.Scale != 1 || b.Quarantine || b.Diagnose || looks.s.Scale() != 1 {
			t.Fatalf("observation %d: %+v", i, b)
		}
		if codes(a) != codes(b) {
			t.Fatalf("observation %d: acting %s, observing %s", i, codes(a), codes(b))
		}
		for k, e := range b.Events {
			if e.Severity == "error" && e.Action != "none; would "+a.Events[k].Action {
				t.Errorf("observation %d: %q and %q", i, a.Events[k].Action, e.Action)
			}
		}
	}
	if looks.s.Outlier != 4 || looks.s.Sustained != 1 || looks.s.Nonfinite != 1 {
		t.Errorf("%+v", looks.s)
	}
}

// TestResumeDecidesTheSame: a state that went through JSON at any point has the same future.
func TestResumeDecidesTheSame(t *testing.T) {
	rules := acting
	rules.MaxScale = 1.34
	sc := newScript(7).calm(120).add(40, 90).calm(200).add(nan, 1).calm(10).add(50, 50).add(60, 50).add(70,
		50).calm(300).add(4, nan).add(nan, 3).calm(100)
	_, want := replay(New(rules), sc.all)
	for cut := 0; cut < len(sc.all); cut += 37 {
		s, _ := replay(New(rules), sc.all[:cut])
		_, got := replay(throughJSON(t, s), sc.all[cut:])
		for i := range got {
			if !sameDecision(got[i], want[cut+i]) {
				t.Fatalf("saved before observation %d: %d is %+v, was %+v", cut, cut+i, got[i], want[cut+i])
			}
		}
	}
}

// Large gradients in the first 200 steps, and in a longer warmup, are no clip regime; logs of older limits are replayed
// with the warning that they have.
func TestClipRegimeBeginning(t *testing.T) {
	for _, tt := range []struct{ limits, warmup, want int64 }{{1, 100, 200}, {2, 100, 400}, {2, 300, 500}} {
		rules := acting
		rules.Limits, rules.Warmup = tt.limits, tt.warmup
		r := newStream(rules, 1)
		r.step, r.norm = 0, 2
		said := int64(0)
		for range 600 {
			if d := r.give(r.next()); codes(d) == CodeClipRegime {
				said = r.step
			}
		}
		if said != tt.want {
			t.Errorf("limits %d, warmup %d: said at step %d, want %d", tt.limits, tt.warmup, said, tt.want)
		}
	}
}
