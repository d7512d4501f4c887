package judge

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var seed = flag.Uint64("seed", 1, "of random tests")

func random(t testing.TB, n uint64) *rand.Rand {
	t.Logf("-seed=%d", *seed)
	return rand.New(rand.NewPCG(*seed, n))
}

// truth is what a simulated model really writes like at an evaluation.
type truth struct {
	loss    float64
	rep     float64 // excess of rep-3 and rep-4
	within  float64
	between float64
}

const (
	humanRep = 0.03
	repSE    = 0.003
	cosSE    = 0.01
)

// observed is an evaluation of a model at a step: the truth with sampling noise, and what the noise is known to be.
func observed(r *rand.Rand, step int64, m truth, repNoise float64) Point {
	rep := max(0, humanRep+m.rep+repNoise*r.NormFloat64())
	rep4 := max(0, rep+0.0005*r.NormFloat64())
	w, x := m.within+cosSE*r.NormFloat64(), m.between+cosSE*r.NormFloat64()
	put := func(v, se, human float64) Metric {
		return Metric{Estimate: Estimate{Value: v, Lo: v - 1.96*se, Hi: v + 1.96*se, SE: se}, Human: human, HumanSE: se,
			Compared: true}
	}
	return Point{Step: step, Loss: m.loss, Metrics: map[string]Metric{
		"rep3": put(rep, repNoise, humanRep), "rep4": put(rep4, repNoise, humanRep), "rep": put((rep+rep4)/2, repNoise,
			humanRep),
		"within": put(w, cosSE, 0.3), "between": put(x, cosSE, 0.1), "consistency": put(Consistency(w, x), cosSE, 0.2),
		"finish_rate": put(0.5, 0.05, 0.5), "short_rate": put(0.02, 0.01, 0),
	}}
}

// history simulates evaluations every 100 steps.
func history(r *rand.Rand, repNoise float64, models ...truth) (points []Point) {
	for i, m := range models {
		points = append(points, observed(r, int64(i+1)*100, m, repNoise))
	}
	return points
}

func all(int64) bool { return true }

// good is a model whose texts are like human text.
func good(loss float64) truth { return truth{loss: loss, within: 0.3, between: 0.1} }

// repeater always writes the same.
func repeater(loss float64) truth { return truth{loss: loss, rep: 0.6, within: 1, between: 1} }

// Each story has one right choice, and the literal rule is fooled where it is known to be: by what does not vary.
func TestChooseOnSimulatedHistories(t *testing.T) {
	for name, tt := range map[string]struct {
		models  []truth
		quiet   []int // evaluations whose repetition does not vary at all
		right   func(step int64) bool
		article func(step int64) bool // what the literal rule does
	}{
		"constant repeater": {
			[]truth{good(3), good(2.5), good(2.3), good(2.2), good(2.15), repeater(2.14), repeater(2.13),
				repeater(2.12)}, []int{5, 6, 7},
			func(s int64) bool { return s == 500 }, func(s int64) bool { return s == 800 },
		},
		"untrained plateau": {
			[]truth{{4.1, -humanRep, 0, 0}, {4.1, -humanRep, 0, 0}, {4.1, -humanRep, 0, 0}, good(3), good(2.5), good(2.3),
				good(2.2), good(2.19)}, []int{0, 1, 2},
			func(s int64) bool { return s >= 700 }, func(s int64) bool { return s == 300 },
		},
		"late collapse": {
			[]truth{good(3), good(2.5), good(2.3), good(2.2), good(2.15), good(2.14), {2.12, 0.2, 0.5, 0.4},
				{2.11, 0.5, 0.9, 0.8}, repeater(2.10)}, nil,
			func(s int64) bool { return s == 600 }, nil,
		},
	} {
		r := random(t, 1)
		fooled := 0
		for range 200 {
			h := history(r, repSE, tt.models...)
			for _, i := range tt.quiet {
				exact := observed(rand.New(rand.NewPCG(1, 1)), h[i].Step, tt.models[i], 0)
				for _, name := range []string{"rep", "rep3", "rep4"} {
					m := h[i].Metrics[name]
					m.Value = exact.Metrics[name].Value
					h[i].Metrics[name] = m
				}
			}
			if c := Choose(h, all, Sound); !tt.right(c.Step) {
				t.Fatalf("%s: chose %s", name, c.Reason)
			}
			if tt.article != nil && tt.article(Choose(h, all, Article).Step) {
				fooled++
			}
		}
		if tt.article != nil && fooled < 190 {
			t.Errorf("%s: the literal rule was fooled in %d of 200 histories only", name, fooled)
		}
	}
}

// Of two runs of equal quality the steady one is kept, even at a slightly higher loss; the lowest loss would be the
// other.
func TestChooseTheSteadyOne(t *testing.T) {
	r := random(t, 2)
	right, n := 0, 500
	for range n {
		noisy := []truth{good(2.31), good(2.305), good(2.30), good(2.295)}
		for i, d := range []float64{-0.019, 0.014, -0.018, 0.015} {
			noisy[i].rep = d
		}
		steady := []truth{good(2.32), good(2.31), good(2.31), good(2.31)}
		h := history(r, 0.0005, append(append([]truth{}, noisy...), steady...)...)
		if c := Choose(h, all, Sound); c.Step >= 700 {
			right++
		}
		if c := Choose(h, all, Loss); c.Step != 400 {
			t.Fatalf("rule loss: %s", c.Reason)
		}
	}
	if right < n*95/100 {
		t.Errorf("the steady one was chosen in %d of %d", right, n)
	}
}

// What sampling explains is no reason to give away loss: on a run whose repetition varies by chance alone, the rule
// keeps the lowest loss, where the literal one throws dice.
func TestChooseDoesNotChaseNoise(t *testing.T) {
	r := random(t, 3)
	sound, article, n := 0.0, 0.0, 500
	for range n {
		var models []truth
		for i := range 12 {
			models = append(models, good(2.0+0.038*math.Exp(-float64(i)/3)))
		}
		h := history(r, repSE, models...)
		sound += h[Choose(h, all, Sound).Step/100-1].Loss - h[11].Loss
		article += h[Choose(h, all, Article).Step/100-1].Loss - h[11].Loss
	}
	sound, article = sound/float64(n), article/float64(n)
	t.Logf("loss given away, nats: sound %.4f, article %.4f", sound, article)
	if sound > 0.002 || article < 2*sound {
		t.Errorf("given away: sound %.4f, article %.4f", sound, article)
	}
}

// Adding a constant to all repetition changes nothing while the floor holds, and everything when it does not.
func TestChoiceUnderAConstant(t *testing.T) {
	r := random(t, 4)
	h := history(r, 0.0005, good(2.4), good(2.3), good(2.25), good(2.24), good(2.23), good(2.24))
	shift := func(d float64) []Point {
		var moved []Point
		for _, p := range h {
			q := p
			q.Metrics = map[string]Metric{}
			for name, m := range p.Metrics {
				if name == "rep" || name == "rep3" || name == "rep4" {
					m.Value += d
				}
				q.Metrics[name] = m
			}
			moved = append(moved, q)
		}
		return moved
	}
	was := Choose(h, all, Sound)
	if c := Choose(shift(0.01), all, Sound); c.Step != was.Step || c.Fallback {
		t.Errorf("below the floor: %s, was %s", c.Reason, was.Reason)
	}
	if c := Choose(shift(0.1), all, Sound); !c.Fallback {
		t.Errorf("above the floor: %s", c.Reason)
	}
}

func TestChooseFloor(t *testing.T) {
	r := random(t, 5)
	base := func() []Point { return history(r, 0.0005, good(2.3), good(2.2), good(2.1), good(2.09), good(2.08)) }
	set := func(p *Point, name string, v float64) {
		m := p.Metrics[name]
		m.Value = v
		p.Metrics[name] = m
	}
	if c := Choose(base(), all, Sound); c.Step != 500 || c.Candidates[0].Eligible || c.Candidates[1].Eligible {
		t.Fatalf("the clean history: %s", c.Reason)
	}
	for name, spoil := range map[string]func(p *Point){
		"instability": func(p *Point) { p.Disturbed = true },
		"short texts": func(p *Point) { set(p, "short_rate", 0.4) },
		"no end":      func(p *Point) { set(p, "finish_rate", 0.1) },
		"consistency": func(p *Point) { set(p, "consistency", 0.05) },
		"likeness":    func(p *Point) { set(p, "between", 0.3) },
		"unmeasured":  func(p *Point) { p.Metrics = nil },
	} {
		h := base()
		spoil(&h[4])
		if c := Choose(h, all, Sound); c.Step != 400 || c.Candidates[4].Eligible || c.Candidates[4].Why == "" {
			t.Errorf("%s: chose %s; the spoilt one: %q", name, c.Reason, c.Candidates[4].Why)
		}
	}
	h := base()
	h[4].Few = true
	set(&h[4], "finish_rate", 0)
	if c := Choose(h, all, Sound); c.Step != 500 {
		t.Errorf("few documents: how texts end is a note only: %s", c.Reason)
	}
	if c := Choose(base(), func(s int64) bool { return s != 500 }, Sound); c.Step != 400 {
		t.Errorf("without its checkpoint: %s", c.Reason)
	}
	if c := Choose(base()[:2], all, Sound); c.Step != 200 || !c.Fallback {
		t.Errorf("before the third evaluation: %s", c.Reason)
	}
	if c := Choose(nil, all, Sound); c.Step != -1 {
		t.Errorf("without evaluations: %+v", c)
	}
	nan := NewPoint(600, math.NaN(), false, false, &Report{})
	if c := Choose([]Point{base()[0], nan}, all, Loss); c.Step != 100 {
		t.Errorf("a loss that is not a number: %s", c.Reason)
	}
}

// stops returns at which evaluation (from 1) a history is stopped; 0 for never.
func stops(h []Point, opt StopOptions) int {
	for n := 1; n <= len(h); n++ {
		if Stop(h[:n], opt).Stop {
			return n
		}
	}
	return 0
}

// A model that does not change is not stopped: under 1 % of 1,000 histories of 20 evaluations. The literal rule stops
// nearly all of them.
func TestStationaryModelIsNotStopped(t *testing.T) {
	r := random(t, 6)
	for _, correlated := range []bool{false, true} {
		sound, article := 0, 0
		for range 1000 {
			var models []truth
			drift := 0.0
			for range 20 {
				m := good(2)
				if correlated { // the noise of an evaluation has half of its variance from the one before
					drift = math.Sqrt(0.5)*drift + math.Sqrt(0.5)*repSE*r.NormFloat64()
					m.rep, m.within, m.between = drift, 0.3+3*drift, 0.1+3*drift
				}
				models = append(models, m)
			}
			h := history(r, repSE, models...)
			if stops(h, StopOptions{Rule: Sound}) > 0 {
				sound++
			}
			if stops(h, StopOptions{Rule: Article}) > 0 {
				article++
			}
		}
		t.Logf("correlated noise %v: of 1,000 stationary histories the sound rule stops %d, the literal one %d", correlated,
			sound, article)
		if sound >= 10 {
			t.Errorf("the sound rule stops %d of 1,000", sound)
		}
		if article < 900 {
			t.Errorf("the literal rule stops %d of 1,000: the simulation is not what it says", article)
		}
	}
}

// A healthy run whose repetition rises from an untrained model's zero to that of human text is not stopped, where the
// literal rule ends it early. The numbers are those of a measured run on tiny Shakespeare (4 layers, 128 wide,
// evaluations every 200 steps; W and rep-4 as measured, X at a tenth of W).
func TestHealthyRunIsNotStopped(t *testing.T) {
	rep := []float64{0, .011, .012, .029, .031, .023, .021, .018, .018, .022, .023}
	within := []float64{0, .07, .04, .11, .11, .08, .10, .13, .11, .15, .12}
	loss := []float64{4.22, 2.49, 2.25, 2.13, 2.03, 1.96, 1.91, 1.86, 1.81, 1.78, 1.76}
	var h []Point
	for i := range rep {
		put := func(v, se, human float64) Metric {
			return Metric{Estimate: Estimate{Value: v, SE: se}, Human: human, Compared: true}
		}
		h = append(h, Point{Step: int64(200 * i), Loss: loss[i], Metrics: map[string]Metric{
			"rep": put(rep[i], 0.004, 0.017), "rep3": put(rep[i], 0.004, 0.017), "rep4": put(rep[i], 0.004, 0.017),
			"within": put(within[i], 0.01, 0.1), "between": put(within[i]/10, 0.004, 0.02), "consistency": put(within[i]*0.9,
				0.012, 0.08),
		}})
	}
	if n := stops(h, StopOptions{Rule: Sound, Warmup: 100}); n != 0 {
		t.Errorf("the sound rule stops at evaluation %d", n)
	}
	if n := stops(h, StopOptions{Rule: Article}); n != 3 {
		t.Errorf("the literal rule stops at evaluation %d, not at the third", n)
	}
	if c := Choose(h, all, Sound); c.Step != 2000 {
		t.Errorf("chose %s", c.Reason)
	}
	if c := Choose(h, all, Article); c.Step == 2000 {
		t.Errorf("the literal rule chose %s", c.Reason)
	}
}

// A model that begins to repeat itself is stopped within three evaluations, and what is chosen is from before.
func TestCollapseIsStopped(t *testing.T) {
	r := random(t, 7)
	for range 1000 {
		models := []truth{good(2.4), good(2.3), good(2.2), good(2.15), good(2.14), good(2.13), repeater(2.12),
			repeater(2.11), repeater(2.10)}
		h := history(r, repSE, models...)
		n := stops(h, StopOptions{Rule: Sound, Warmup: 100})
		if n != 8 {
			t.Fatalf("stopped at evaluation %d; the collapse begins at 7", n)
		}
		if c := Choose(h[:n], all, Sound); c.Step > 600 || c.Fallback {
			t.Fatalf("chose %s", c.Reason)
		}
	}
}

// One of the two alone never stops a run: it is an alarm, said once.
func TestOneAloneIsAnAlarm(t *testing.T) {
	r := random(t, 8)
	more, apart := good(2), good(2)
	more.rep = 0.2
	apart.within = 0.12
	for code, m := range map[string]truth{CodeRepetition: more, CodeConsistency: apart} {
		h := history(r, 0.001, good(2), good(2), good(2), good(2), good(2), m, m, m, m)
		said := map[string]int{}
		for n := range h {
			v := Stop(h[:n+1], StopOptions{Rule: Sound})
			if v.Stop {
				t.Errorf("%s stops the run: %s", code, v.Reason)
			}
			if v.Code != "" {
				said[v.Code]++
			}
		}
		if fmt.Sprint(said) != fmt.Sprintf("map[%s:1]", code) {
			t.Errorf("%s: said %v", code, said)
		}
	}
}

func TestStopIsArmedLate(t *testing.T) {
	r := random(t, 9)
	h := history(r, 0.001, good(2), good(2), good(2), good(2), repeater(2), repeater(2), repeater(2))
	if n := stops(h, StopOptions{Rule: Sound}); n != 6 {
		t.Errorf("stopped at %d", n)
	}
	if n := stops(h, StopOptions{Rule: Sound, Warmup: 200}); n != 7 { // the first was written before its end
		t.Errorf("with a longer warmup stopped at %d", n)
	}
	if n := stops(h, StopOptions{Rule: Off}); n != 0 {
		t.Errorf("off: stopped at %d", n)
	}
	for i := range h {
		h[i].Metrics = nil
	}
	for _, rule := range []string{Sound, Article} {
		if n := stops(h, StopOptions{Rule: rule}); n != 0 {
			t.Errorf("%s: nothing was measured, stopped at %d", rule, n)
		}
	}
}

func TestPatience(t *testing.T) {
	r := random(t, 10)
	h := history(r, repSE, good(2.2), good(2.1), good(2.15), good(2.12), good(2.11))
	if n := stops(h, StopOptions{Rule: Sound, Patience: 3}); n != 5 {
		t.Errorf("patience 3: stopped at %d", n)
	}
	if n := stops(h, StopOptions{Rule: Off, Patience: 4}); n != 0 {
		t.Errorf("patience 4: stopped at %d", n)
	}
	if v := Stop(h, StopOptions{Rule: Sound, Patience: 3}); v.Code != CodePatience {
		t.Errorf("code %s", v.Code)
	}
}

func TestIllusion(t *testing.T) {
	r := random(t, 11)
	more := good(1.9)
	more.rep = 0.1
	if w := Illusion(history(r, 0.001, good(2.1), good(2), more), nil); len(w) != 1 {
		t.Errorf("repetition grows while the loss falls: %q", w)
	}
	more.loss = 2.2
	if w := Illusion(history(r, 0.001, good(2.1), good(2), more), nil); len(w) != 0 {
		t.Errorf("the loss grows too: %q", w)
	}
	if w := Illusion(history(r, 0.001, good(2.1), good(2), good(1.9)), nil); len(w) != 0 {
		t.Errorf("a good run: %q", w)
	}
	report := &Report{Metrics: map[string]Metric{"rep4": {Human: 0.4, Compared: true},
		"copied": {Human: 0.5, Compared: true}}}
	if w := Illusion(nil, report); len(w) != 2 {
		t.Errorf("repetitive and overlapping validation text: %q", w)
	}
}

// Weights from elsewhere stand at step 0. A checkpoint whose loss is not lower is never chosen before them.
func TestChooseTheStart(t *testing.T) {
	from := func(losses ...float64) (h []Point) {
		for i, loss := range losses {
			h = append(h, observed(rand.New(rand.NewPCG(1, uint64(i))), int64(100*i), good(loss), repSE))
		}
		return h
	}
	for _, c := range []struct {
		name   string
		losses []float64
		want   int64
	}{
		{"worse from the first step", []float64{2.30, 2.31, 2.32, 2.32, 2.33}, 0},
		{"better, then worse than the start", []float64{2.30, 2.29, 2.31, 2.32, 2.33}, 100},
		{"better", []float64{2.30, 2.25, 2.20, 2.18, 2.17}, 400},
	} {
		for _, rule := range []string{Sound, Loss} {
			if got := Choose(from(c.losses...), all, rule); got.Step != c.want {
				t.Errorf("%s, rule %s: %s", c.name, rule, got.Reason)
			}
		}
	}
}
