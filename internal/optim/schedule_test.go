package optim

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The wanted shares of the peak are worked out by hand from the definitions.
func TestLRGolden(t *testing.T) {
	cos := func(t float64) float64 { return 0.1 + 0.9*(1+math.Cos(math.Pi*t))/2 }
	nano := Schedule{Kind: "cosine", Steps: 2000, Warmup: 100}
	single := Schedule{Kind: "cosine-restarts", Steps: 2000, Warmup: 500}
	three := Schedule{Kind: "cosine-restarts", Steps: 32_000, Warmup: 2000}     // 3 × 10,000 after the warmup
	stretched := Schedule{Kind: "cosine-restarts", Steps: 16_400, Warmup: 2000} // 14,400: one cycle
	cut := Schedule{Kind: "cosine-restarts", Steps: 17_000, Warmup: 2000}       // 15,000: 10,000 and 5,000
	short := Schedule{Kind: "cosine-restarts", Steps: 250, Warmup: 50, Period: 80}
	linear := Schedule{Kind: "linear", Steps: 1000, Warmup: 200}
	wsd := Schedule{Kind: "wsd", Steps: 1000, Warmup: 100}
	for _, c := range []struct {
		name string
		s    Schedule
		step int64
		want float64 // share of the peak
	}{
		{"nanogpt-cpu", nano, 1, 0.01},
		{"nanogpt-cpu", nano, 50, 0.5},
		{"nanogpt-cpu", nano, 100, 1},
		{"nanogpt-cpu", nano, 101, cos(1.0 / 1900)},
		{"nanogpt-cpu", nano, 1050, 0.55}, // half way
		{"nanogpt-cpu", nano, 2000, 0.1},
		{"nanogpt-cpu", nano, 5000, 0.1}, // asked beyond its end
		{"single", single, 250, 0.5},
		{"single", single, 500, 1},
		{"single", single, 1250, 0.55},
		{"single", single, 2000, 0.1},
		{"three", three, 2000, 1},
		{"three", three, 7000, 0.55},
		{"three", three, 12_000, 0.1},
		{"three", three, 12_001, cos(1.0 / 10_000)},
		{"three", three, 17_000, 0.55},
		{"three", three, 22_000, 0.1},
		{"three", three, 22_001, cos(1.0 / 10_000)},
		{"three", three, 32_000, 0.1},
		{"stretched", stretched, 9200, 0.55},
		{"stretched", stretched, 12_001, cos(10_001.0 / 14_400)},
		{"stretched", stretched, 16_400, 0.1},
		{"cut", cut, 12_000, 0.1},
		{"cut", cut, 14_500, 0.55},
		{"cut", cut, 17_000, 0.1},
		{"short", short, 90, 0.55}, // cycles 50-130, 130-250: 120 is 80 and a rest of 40 cut
		{"short", short, 130, 0.1},
		{"short", short, 170, 0.55},
		{"short", short, 210, 0.1},
		{"short", short, 230, 0.55},
		{"short", short, 250, 0.1},
		{"linear", linear, 200, 1},
		{"linear", linear, 600, 0.55},
		{"linear", linear, 1000, 0.1},
		{"wsd", wsd, 10, 0.1},
		{"wsd", wsd, 100, 1},
		{"wsd", wsd, 800, 1},
		{"wsd", wsd, 850, 0.55}, // √(50/200) is a half
		{"wsd", wsd, 1000, 0.1},
		{"constant", Schedule{Kind: "constant", Steps: 10, Warmup: 2}, 1, 0.5},
		{"constant", Schedule{Kind: "constant", Steps: 10, Warmup: 2}, 10, 1},
		{"no warmup", Schedule{Kind: "linear", Steps: 10}, 5, 0.55},
		{"one step", Schedule{Kind: "cosine", Steps: 1, Warmup: 1}, 1, 1},
		{"one step", Schedule{Kind: "cosine", Steps: 1, Warmup: 1}, 5, 0.1},
		// The cooldown has the 100 steps that are left.
		{"late warmup", Schedule{Kind: "wsd", Steps: 1000, Warmup: 900}, 925, 0.55},
	} {
		c.s.Peak, c.s.Floor = 2e-3, 0.1
		if got := LR(c.s, c.step); !(math.Abs(got-c.want*2e-3) <= 1e-12*2e-3) { // NaN fails too
			t.Errorf("%s: step %d: %g, want %g", c.name, c.step, got, c.want*2e-3)
		}
	}
}

func TestRestarts(t *testing.T) {
	for _, c := range []struct {
		s    Schedule
		want []int64
	}{
		{Schedule{Kind: "cosine-restarts", Steps: 250, Warmup: 50, Period: 80}, []int64{131, 211}},
		{Schedule{Kind: "cosine-restarts", Steps: 240, Warmup: 50, Period: 80}, []int64{131}},
		{Schedule{Kind: "cosine-restarts", Steps: 250, Warmup: 50}, nil},
		{Schedule{Kind: "cosine", Steps: 250, Warmup: 50, Period: 80}, nil},
	} {
		c.s.Peak, c.s.Floor = 1, 0.1
		var got []int64
		for step := int64(1); step <= c.s.Steps+5; step++ {
			if c.s.Restarts(step) {
				got = append(got, step)
			}
			rose := step > c.s.Warmup+1 && LR(c.s, step) > LR(c.s, step-1)
			if rose != c.s.Restarts(step) {
				t.Errorf("%+v: step %d: rate rose: %t, Restarts: %t", c.s, step, rose, c.s.Restarts(step))
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%+v: restarts at %v, want %v", c.s, got, c.want)
			continue
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%+v: restarts at %v, want %v", c.s, got, c.want)
			}
		}
	}
}

// For any schedule that a configuration can describe: 0 < lr <= peak at every step, the warmup rises, and the run
// ends at the floor.
func checkSchedule(t *testing.T, s Schedule, step int64) {
	t.Helper()
	lr := LR(s, step)
	if !(lr > 0 && lr <= s.Peak) {
		t.Fatalf("%+v: step %d: rate %g", s, step, lr)
	}
	if step > 1 && step <= s.Warmup && LR(s, step-1) >= lr {
		t.Fatalf("%+v: step %d: the warmup does not rise", s, step)
	}
	if step > s.Warmup && !(lr >= s.Peak*s.Floor) {
		t.Fatalf("%+v: step %d: rate %g is below the floor", s, step, lr)
	}
	if end := LR(s, s.Steps); s.Kind != "constant" && s.Warmup < s.Steps && end != s.Peak*s.Floor {
		t.Fatalf("%+v: ends at %g", s, end)
	}
	if s.Warmup > 0 && LR(s, s.Warmup) != s.Peak {
		t.Fatalf("%+v: the warmup ends at %g", s, LR(s, s.Warmup))
	}
}

var kinds = []string{"cosine-restarts", "cosine", "linear", "wsd", "constant"}

func TestLREveryStep(t *testing.T) {
	r := random(t)
	for range 300 {
		s := Schedule{Kind: kinds[r.IntN(len(kinds))], Peak: math.Exp(-20 * r.Float64()), Floor: 1 - r.Float64(),
			Steps: 1 + r.Int64N(3000)}
		if r.IntN(2) == 0 {
			s.Period = 10 + r.Int64N(1000)
		}
		s.Warmup, _ = Warmup(r.Int64N(s.Steps), s.Steps, r.IntN(2) == 0)
		last := int64(0)
		for step := int64(1); step <= s.Steps+2; step++ {
			checkSchedule(t, s, step)
			if s.Restarts(step) {
				last = step
			}
		}
		if got := s.LastRestart(); got != last {
			t.Fatalf("%+v: the last restart is at %d, not %d", s, last, got)
		}
	}
}

func TestFirstOutside(t *testing.T) {
	at := func(bad int64, lr float64) func(int64) float64 {
		return func(step int64) float64 {
			if step == bad {
				return lr
			}
			return 0.5
		}
	}
	for _, c := range []struct {
		bad, stride int64
		lr          float64
		want        int64
	}{
		{0, 1, 0, 0}, {1, 1, 0, 1}, {7, 1, math.NaN(), 7}, {100, 1, -1, 100}, {100, 7, 1.5, 100},
		{50, 49, math.Inf(1), 50}, {51, 49, 0, 0}, {3, 1, 1, 0},
	} {
		if got, lr := FirstOutside(at(c.bad, c.lr), 1, 100, c.stride, 1); got != c.want ||
			got != 0 && !(lr == c.lr || lr != lr && c.lr != c.lr) {
			t.Errorf("rate %g at step %d, every %d: step %d, rate %g", c.lr, c.bad, c.stride, got, lr)
		}
	}
}

func FuzzLR(f *testing.F) {
	f.Add(uint8(0), 1e-3, 0.1, int64(2000), int64(500), int64(0), false, int64(700))
	f.Add(uint8(3), 1e-12, 1.0, int64(1), int64(500), int64(10), true, int64(1))
	f.Add(uint8(0), 10.0, 1e-9, int64(1e12), int64(1e11), int64(10), false, int64(1e12))
	f.Fuzz(func(t *testing.T, kind uint8, peak, floor float64, steps, warmup, period int64, exact bool, step int64) {
		// The limits are those of the configuration.
		if !(peak >= 1e-12 && peak <= 10 && floor > 1e-300 && floor <= 1) || steps < 1 || steps > 1e12 || warmup < 0 ||
			step < 1 {
			t.Skip("outside the limits of the configuration")
		}
		if period < 10 || period > 1e12 {
			period = 0
		}
		s := Schedule{Kind: kinds[int(kind)%len(kinds)], Peak: peak, Floor: floor, Steps: steps, Period: period}
		s.Warmup, _ = Warmup(min(warmup, steps-1), steps, exact)
		checkSchedule(t, s, step)
	})
}

// extended draws a schedule that got other lengths on its way, and returns it with the step of the last change.
func extended(r *rand.Rand) (before, s Schedule, at int64) {
	s = Schedule{Kind: kinds[r.IntN(len(kinds))], Peak: math.Exp(-20 * r.Float64()), Steps: 1 + r.Int64N(400)}
	s.Floor = math.Pow(10, -6*r.Float64())
	if r.IntN(2) == 0 {
		s.Period = 10 + r.Int64N(200)
	}
	s.Warmup, _ = Warmup(r.Int64N(s.Steps), s.Steps, r.IntN(2) == 0)
	for range 1 + r.IntN(3) {
		before, at = s, at+1+r.Int64N(max(1, s.Steps-at))
		s = s.Extend(at, at+r.Int64N(600))
	}
	return before, s, at
}

// However the length changes: the rate never rises in one step by more than a warmup would, or than it has, it stays in
// (0, peak], and the run ends at the floor or where the rate stood.
func TestExtend(t *testing.T) {
	r := random(t)
	rose := map[string]int{}
	for range 3000 {
		before, s, at := extended(r)
		if at >= s.Steps {
			continue
		}
		last := LR(before, at)
		pace := max(s.Peak/float64(max(1, s.Warmup)), s.Peak/slowestPace)
		for step := at + 1; step <= s.Steps; step++ {
			lr := LR(s, step)
			if !(lr > 0 && lr <= s.Peak) {
				t.Fatalf("%+v\n%+v: step %d: rate %g", before, s, step, lr)
			}
			if lr > last*(1+1e-12) {
				rose[s.Kind]++
				if planned := s.Restarts(step); !planned && lr-last > max(last, pace)*(1+1e-9) {
					t.Fatalf("%+v\n%+v: step %d: the rate jumps from %g to %g", before, s, step, last, lr)
				}
			}
			last = lr
		}
		if want := max(s.Peak*s.Floor, 0); s.Kind != "constant" && s.begin() < s.Steps &&
			!(last <= max(want, LR(before, at))*(1+1e-9)) {
			t.Fatalf("%+v\n%+v: ends at %g", before, s, last)
		}
	}
	for _, kind := range kinds {
		if rose[kind] == 0 {
			t.Errorf("%s: the rate never rose again", kind)
		}
	}
}

// What an expert would do, by the kind of schedule.
func TestExtendByKind(t *testing.T) {
	cos := func(t float64) float64 { return 0.1 + 0.9*(1+math.Cos(math.Pi*t))/2 }
	const same = -1 // as planned for the new length: nothing is remembered
	for _, c := range []struct {
		name      string
		kind      string
		at, steps int64
		start     int64   // same, or the step of the change
		climb     int64   // steps of a second warmup
		to, end   float64 // shares of the peak
	}{
		{"a run that is done warms up again", "cosine", 100, 200, 100, 25, cos(76.0 / 175), 0.1},
		{"linear, too", "linear", 100, 200, 100, 25, 1 - 0.9*76/175, 0.1},
		{"and wsd, to its plateau", "wsd", 100, 200, 100, 25, 1, 0.1},
		{"and restarts, whose next cycle would begin", "cosine-restarts", 100, 200, 100, 25, cos(76.0 / 175), 0.1},
		{"a few steps more are not worth a warmup", "cosine", 100, 104, 100, 0, 0.1, 0.1},
		{"half way the tail is stretched", "cosine", 55, 120, 55, 0, cos(30.0 / 75), 0.1},
		{"or shortened", "cosine", 55, 70, 55, 0, cos(30.0 / 75), 0.1},
		{"a plateau goes on", "wsd", 55, 200, same, 0, 1, 0.1},
		{"and is left at once where little is left", "wsd", 55, 60, 55, 0, 1, 0.1},
		{"a constant rate stays", "constant", 100, 200, same, 0, 1, 1},
		{"the first warmup goes on", "cosine", 10, 200, same, 0, 1, 0.1},
		{"and is cut where the run gets too short", "cosine", 10, 50, 10, 10, 0.8, 0.1},
	} {
		s := Schedule{Kind: c.kind, Peak: 1, Steps: 100, Warmup: 25, Floor: 0.1}
		got := s.Extend(c.at, c.steps)
		if c.start == same {
			s.Steps = c.steps
			if got != s {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if got.Start != c.start || got.Climb != c.climb || math.Abs(got.To-c.to) > 1e-12 || got.From != LR(s, c.at) ||
			math.Abs(LR(got, c.steps)-c.end) > 1e-12 {
			t.Errorf("%s: %+v, ends at %g", c.name, got, LR(got, c.steps))
		}
	}
}

// A longer run is the same function: nothing of the shorter one is remembered, and its warmup agrees.
func TestExtension(t *testing.T) {
	short := Schedule{Kind: "cosine", Peak: 1e-3, Steps: 1000, Warmup: 100, Floor: 0.1}
	long := short
	long.Steps = 3000
	for step := int64(1); step <= 100; step++ {
		if LR(short, step) != LR(long, step) {
			t.Fatalf("step %d: %g and %g", step, LR(short, step), LR(long, step))
		}
	}
	if LR(long, 1000) <= LR(short, 1000) || LR(long, 3000) != LR(short, 1000) {
		t.Errorf("at 1000: %g and %g; at 3000: %g", LR(short, 1000), LR(long, 1000), LR(long, 3000))
	}
}

func TestMostNudge(t *testing.T) {
	for limit, want := range map[float64]float64{0: maxNudge, 1.2e-2: 1.2, 2e-2: maxNudge, 5e-3: 1} {
		if got := (Schedule{Peak: 1e-2}).MostNudge(limit); got != want {
			t.Errorf("argmin %g: %g, not %g", limit, got, want)
		}
	}
}

func TestAutoWarmup(t *testing.T) {
	for _, c := range []struct {
		steps int64
		peak  float64
		muon  bool
		want  int64
	}{{5, 1e-5, false, 1}, {1000, 1e-3, false, 100}, {100, 5e-3, false, 20}, {100, 5e-3, true, 10}, {100, 7e-3, true, 14},
		{20_000, 1e-2, false, 2000}} {
		got := AutoWarmup(c.steps, c.peak, c.muon)
		if got != c.want || c.peak > WarmupPeak(got, c.muon) {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if AutoWarmup(5000, 1e-3, true) != ArticleWarmup(5000) {
		t.Error("from 5,000 steps on the rules article and auto differ")
	}
}

func TestWarmup(t *testing.T) {
	for _, c := range []struct {
		want, steps int64
		exact       bool
		warmup      int64
		capped      bool
	}{
		{ArticleWarmup(600), 600, false, 150, true},
		{ArticleWarmup(600), 600, true, 500, false},
		{ArticleWarmup(2000), 2000, false, 500, false},
		{ArticleWarmup(20_000), 20_000, false, 2000, false},
		{100, 2000, true, 100, false},
		{0, 2000, false, 0, false},
		{500, 1, false, 1, true},
		{500, 3, false, 1, true},
	} {
		if got, capped := Warmup(c.want, c.steps, c.exact); got != c.warmup || capped != c.capped {
			t.Errorf("Warmup(%d, %d, %t) = %d, %t; want %d, %t",
				c.want, c.steps, c.exact, got, capped, c.warmup, c.capped)
		}
	}
}

func TestRates(t *testing.T) {
	near := func(got, want float64) bool { return math.Abs(got-want) <= 0.02*want }
	// The article's example, and the table of the rules.
	for _, c := range []struct {
		rule string
		s    Sizes
		want float64
	}{
		{"article", Sizes{Width: 768}, 2.2e-4},
		{"article", Sizes{Width: 128}, 5.3e-4},
		{"article-literal", Sizes{Width: 768}, 2.2e-5},
		{"auto", Sizes{Width: 128, Params: 796_544, BatchTokens: 768}, 3.0e-3},
		{"auto", Sizes{Width: 768, Params: 124_000_000, BatchTokens: 524_288}, 2.7e-3},
		{"auto", Sizes{Width: 768, Params: 108_000_000, BatchTokens: 327_680}, 0.00235},
	} {
		r, err := Peak(c.rule, c.s)
		if err != nil || !near(r.LR, c.want) {
			t.Errorf("%s of %+v: %g, %v; want about %g", c.rule, c.s, r.LR, err, c.want)
		}
		if (r.Warning != "") != (c.rule == "article-literal") {
			t.Errorf("%s: warning %q", c.rule, r.Warning)
		}
	}
	for _, rule := range []string{"probe", "", "cosine"} {
		if r, err := Peak(rule, Sizes{Width: 1, Params: 1, BatchTokens: 1}); err == nil {
			t.Errorf("rule %q: %+v", rule, r)
		}
	}
}
