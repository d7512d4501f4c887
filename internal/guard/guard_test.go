package guard

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// acting are the rules of the tests: a run of 10,000 steps that has its warmup behind it and is not nudged.
var acting = Rules{Act: true, Steps: 10_000, Warmup: 100, LossLimit: math.Log(4096), Clip: 1, MaxRate: 1, MaxScale: 1}

// replay judges observations in their order, and returns the decision on each and the state after the last.
func replay(s State, observations []Observation) (State, []Decision) {
	decisions := make([]Decision, len(observations))
	for i, o := range observations {
		s, decisions[i] = Next(s, o)
	}
	return s, decisions
}

// stream makes observations, and passes them on.
type stream struct {
	s    State
	rng  *rand.Rand
	step int64
	n    int64 // batch
	loss func(step int64) float64
	norm float64
	lr   func(step int64) float64
}

// newStream is a calm run: a loss that falls slowly, with a spread of 2 %, and a norm with one of 15 %.
func newStream(r Rules, seed uint64) *stream {
	return &stream{
		s: New(r), rng: rand.New(rand.NewPCG(seed, 4)), step: r.Warmup, norm: 0.8,
		loss: func(step int64) float64 { return 2 + 3/math.Sqrt(1+float64(step)/100) },
		lr:   func(int64) float64 { return 1e-3 },
	}
}

// next is the observation that a healthy step would make.
func (r *stream) next() Observation {
	return Observation{
		Step: r.step + 1, Batch: r.n, LR: r.lr(r.step + 1),
		Loss: r.loss(r.step+1) * (1 + 0.02*r.rng.NormFloat64()), GradNorm: r.norm * math.Exp(0.15*r.rng.NormFloat64()),
	}
}

// give passes an observation on, and counts the step if it was made.
func (r *stream) give(o Observation) Decision {
	var d Decision
	r.s, d = Next(r.s, o)
	r.n++
	if d.Action == Apply {
		r.step = o.Step
	}
	return d
}

// calm passes n healthy steps on, which must all be made without an error.
func (r *stream) calm(t *testing.T, n int) {
	t.Helper()
	for range n {
		if d := r.give(r.next()); d.Action != Apply || hasError(d) {
			t.Fatalf("a calm step: %+v", d)
		}
	}
}

func hasError(d Decision) bool {
	for _, e := range d.Events {
		if e.Severity == "error" {
			return true
		}
	}
	return false
}

// codes are the events of a decision.
func codes(d Decision) string {
	var all []string
	for _, e := range d.Events {
		all = append(all, e.Code)
	}
	return strings.Join(all, " ")
}

func TestNonfinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	tests := []struct {
		loss, norm, ratio float64
		names             string // "": applied
	}{
		{2.5, 1, 0, ""},
		{0, 0, 0, ""},
		{math.MaxFloat64, math.SmallestNonzeroFloat64, 0.01, ""},
		{nan, 1, 0, "the loss"},
		{2.5, inf, 0, "the gradient norm"},
		{2.5, nan, 0, "the gradient norm"},
		{-inf, nan, 0, "the loss and the gradient norm"},
		{2.5, 1, nan, "the update"},
		{2.5, 1, inf, "the update"},
	}
	for _, tt := range tests {
		s, d := Next(New(Rules{Act: true}), Observation{Step: 7, Loss: tt.loss, GradNorm: tt.norm, UpdateRatio: tt.ratio})
		if (d.Action == Apply) != (tt.names == "") || s.Checked != 1 {
			t.Errorf("%+v: action %v, checked %d", tt, d.Action, s.Checked)
		}
		if tt.names == "" {
			continue
		}
		if d.Action != Skip || !d.Diagnose || d.Quarantine || d.Scale != 0.5 || s.Scale() != 0.5 || s.Nonfinite != 1 ||
			codes(d) != CodeNonfinite || !strings.HasPrefix(d.Events[0].Message, "step 7: "+tt.names+" ") {
			t.Errorf("%+v: %+v", tt, d)
		}
	}
}

func TestZeroDecisionIsStop(t *testing.T) {
	if (Decision{}).Action != Stop {
		t.Fatal("a decision nobody made must not let an update through")
	}
}

// TestPure: the same input twice gives the same, the input is left alone, and the state survives JSON at every point.
func TestPure(t *testing.T) {
	r := newStream(acting, 1)
	for i := range 1500 {
		o := r.next()
		switch {
		case i%97 == 90:
			o.Loss *= 3
		case i%301 == 300:
			o.GradNorm = math.NaN()
		case i%11 == 0:
			o.UpdateRatio = 0.06
		}
		before := r.s
		s1, d1 := Next(r.s, o)
		s2, d2 := Next(r.s, o)
		if r.s != before {
			t.Fatalf("observation %d changed the state that was passed in", i)
		}
		if s1 != s2 || !sameDecision(d1, d2) {
			t.Fatalf("observation %d: two answers", i)
		}
		if throughJSON(t, r.s) != r.s {
			t.Fatalf("observation %d: the state does not survive JSON", i)
		}
		r.give(o)
	}
	if r.s.Outlier < 5 || r.s.Nonfinite < 3 {
		t.Fatalf("the stream tested little: %+v", r.s)
	}
}

func throughJSON(t *testing.T, s State) State {
	t.Helper()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var read State
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// A window that no run can have written is refused.
func TestWindowOfAnotherSize(t *testing.T) {
	long, err := json.Marshal(make([]float64, ringSize+1))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(long), `"1"`, `[1e999]`} {
		var r ring
		if err := json.Unmarshal([]byte(text), &r); err == nil {
			t.Errorf("%.20s… was read as %d values", text, r.n)
		}
	}
}

// sameDecision compares decisions; NaN is like NaN.
func sameDecision(a, b Decision) bool {
	for _, d := range []*Decision{&a, &b} {
		events := make([]Event, len(d.Events))
		for i, e := range d.Events {
			numbers := map[string]float64{}
			for k, v := range e.Numbers {
				if math.IsNaN(v) {
					v = -12345.678
				}
				numbers[k] = v
			}
			e.Numbers = numbers
			events[i] = e
		}
		d.Events = events
	}
	return reflect.DeepEqual(a, b)
}

// FuzzNext passes arbitrary streams. Whatever came before, the guard never panics, never gives a factor outside
// (0, MaxScale], and is never blind: after it a NaN is refused, and after 200 calm steps an outlier is.
func FuzzNext(f *testing.F) {
	f.Add(uint64(1), uint16(300), true, 1.33)
	f.Add(uint64(2), uint16(1000), false, 1.0)
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, act bool, most float64) {
		r := rand.New(rand.NewPCG(seed, 9))
		if !finite(most) {
			t.Skip("rules are finite")
		}
		rules := Rules{Act: act, Steps: r.Int64N(20000), Warmup: r.Int64N(300), LossLimit: 12 * r.Float64(),
			Clip: 2 * r.Float64(), MaxScale: most, StayHalved: seed%3 == 0}
		s := New(rules)
		limit := most
		if !(most > 0) || !act {
			limit = 1
		}
		check := func(d Decision) {
			t.Helper()
			if !(d.Scale > 0 && d.Scale <= limit) || !(s.Scale() > 0 && s.Scale() <= limit) {
				t.Fatalf("seed %d: scale %v, then %v, of at most %v", seed, d.Scale, s.Scale(), limit)
			}
			if _, err := json.Marshal(s); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		step := int64(1)
		var d Decision
		give := func(o Observation) Decision {
			s, d = Next(s, o)
			check(d)
			s.Calm()
			return d
		}
		for range n % 2000 {
			o := Observation{Step: step, Loss: number(r), GradNorm: number(r), LR: number(r)}
			if r.IntN(2) == 0 {
				o.UpdateRatio = number(r)
			}
			if give(o).Action == Apply || r.IntN(10) == 0 {
				step = max(1, step+r.Int64N(3)-r.Int64N(2))
			}
		}
		if give(Observation{Step: step, Loss: math.NaN(), GradNorm: 1, LR: 1e-3}); !strings.Contains(codes(d),
			CodeNonfinite) || act == (d.Action == Apply) {
			t.Fatalf("seed %d: a NaN after the stream: %+v", seed, d)
		}
		for range 200 {
			step++
			give(Observation{Step: step, Loss: 3 + 0.05*r.NormFloat64(), GradNorm: math.Exp(0.1 * r.NormFloat64()), LR: 1e-3})
		}
		if give(Observation{Step: step, Loss: 300, GradNorm: 100, LR: 1e-3}); !strings.Contains(codes(d), CodeOutlier) ||
			act == (d.Action == Apply) {
			t.Fatalf("seed %d: an outlier after 200 calm steps: %+v", seed, d)
		}
	})
}

// number is any float64: of all sizes, and often one of the nasty ones.
func number(r *rand.Rand) float64 {
	nasty := []float64{0, math.Copysign(0, -1), 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64,
		-math.MaxFloat64, 5e-324, 1e-300, 1e300, 2.5}
	switch r.IntN(4) {
	case 0:
		return nasty[r.IntN(len(nasty))]
	case 1:
		return math.Float64frombits(r.Uint64())
	case 2:
		return math.Exp(3 * r.NormFloat64())
	}
	return 2 + 0.1*r.NormFloat64()
}

// BenchmarkNext is the cost of a step. The target is 20 µs, a thousandth of the shortest step there is.
func BenchmarkNext(b *testing.B) {
	r := newStream(acting, 1)
	for range 200 {
		r.give(r.next())
	}
	var all [1000]Observation // as many as keep the branches from being learned
	for i := range all {
		all[i] = r.next()
	}
	b.ReportAllocs()
	s, i := r.s, 0
	for b.Loop() {
		s, _ = Next(s, all[i%len(all)])
		i++
	}
}

func TestNothingAllocated(t *testing.T) {
	r := newStream(acting, 1)
	r.calm(t, 200)
	o := r.next()
	if n := testing.AllocsPerRun(100, func() { r.s, _ = Next(r.s, o) }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}
