package judge

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// anyHistory is a history in which everything that a choice looks at takes values that matter and values that do not.
func anyHistory(r *rand.Rand) []Point {
	of := func(list ...float64) float64 { return list[r.IntN(len(list))] }
	texts := int(of(0, 8, 30, 100))
	noise := of(0, 0.0005, 0.02)
	var h []Point
	for i := range r.IntN(12) {
		p := Point{Step: int64(i+1) * 100, Loss: of(2, 2.01, 2.02, 2.03, 2.2, 2+r.Float64()/20),
			Disturbed: r.IntN(12) == 0, Few: r.IntN(4) == 0}
		if r.IntN(20) == 0 {
			p.Loss = math.MaxFloat64
		}
		p.Metrics = map[string]Metric{}
		for _, name := range decisive {
			m := Metric{Human: 0.03, HumanSE: 0.002, Compared: r.IntN(10) > 0}
			if !m.Compared {
				m.Human, m.HumanSE = 0, 0
			}
			m.SE = noise + 0.001
			switch name {
			case "rep", "rep3", "rep4":
				m.Value = max(0, 0.03+noise*r.NormFloat64()+of(0, 0, 0, 0, 0.03, 0.3))
				m.N = texts
			case "finish_rate", "short_rate":
				n := max(10, texts)
				m = Metric{Estimate: Estimate{Value: float64(r.IntN(1+n/int(of(1, 2, 10)))) / float64(n)}, N: texts,
					Human: float64(r.IntN(n/2)) / float64(n), HumanN: texts, Compared: true}
			default:
				m.Value = of(0.1, 0.12, 0.3) + noise*r.NormFloat64()
				if m.Compared {
					m.Human = of(0.03, 0.11, 0.2)
				}
			}
			p.Metrics[name] = m
		}
		if r.IntN(15) == 0 {
			delete(p.Metrics, of2(r, "rep", "consistency"))
		}
		h = append(h, p)
	}
	return h
}

func of2(r *rand.Rand, a, b string) string {
	if r.IntN(2) == 0 {
		return a
	}
	return b
}

// said is a choice with what a reason must agree with.
type said struct {
	h    []Point
	c    Choice
	k    Candidate
	i    int
	held func(int64) bool
	n    []float64 // in the text of the reason, in their order
}

// lower reports whether a candidate that passes has a lower loss.
func (s said) lower(pass func(Candidate) bool) bool {
	return slices.ContainsFunc(s.c.Candidates, func(k Candidate) bool { return pass(k) && k.Loss < s.k.Loss })
}

func anyone(Candidate) bool { return true }

func (s said) kept(k Candidate) bool { return s.held(k.Step) }

// steadiest is the least spread of the eligible ones, and its candidate.
func (s said) steadiest() Candidate {
	return slices.MinFunc(slices.DeleteFunc(slices.Clone(s.c.Candidates), func(k Candidate) bool { return !k.Eligible }),
		func(a, b Candidate) int {
			if a.Spread < b.Spread {
				return -1
			}
			return 1
		})
}

// steady reports whether chance explains why a candidate varies more than the steadiest one.
func (s said) steady(k Candidate) bool {
	return k.Eligible && (k.Score == 0 || k.Spread < variancesDiffer*s.steadiest().Spread || k.Step == s.steadiest().Step)
}

func (s said) countOf(pass func(Candidate) bool) int {
	n := 0
	for _, k := range s.c.Candidates {
		if pass(k) {
			n++
		}
	}
	return n
}

func (s said) deviation(i int) float64 { // of rep-4
	var v []float64
	for _, p := range s.h[i-2 : i+1] {
		v = append(v, p.Metrics["rep4"].Value)
	}
	_, sd := meanSD(v)
	return sd
}

func near(a, b, digits float64) bool { return math.Abs(a-b) <= 0.51*math.Pow(10, -digits) }

// reasonsSaid are all that Choose may say of a candidate, each with what makes it true. A number is a # in the text.
var reasonsSaid = map[string]func(s said) bool{
	"it needs two measured evaluations before it, and its own": func(s said) bool {
		return s.i < 2 || slices.ContainsFunc(s.h[s.i-2:s.i+1], func(p Point) bool { return !p.measured() })
	},
	"its validation loss is not finite": func(s said) bool { return s.k.Loss == math.MaxFloat64 },
	"validation loss # is more than # % above the lowest, #": func(s said) bool {
		low := slices.MinFunc(s.h, func(a, b Point) int { return int(math.Copysign(1, a.Loss-b.Loss)) }).Loss
		return near(s.n[0], s.k.Loss, 4) && near(s.n[2], low, 4) && s.k.Loss > 1.02*low
	},
	"it repeats itself: excess rep- # #, rep- # #": func(s said) bool {
		a, b := s.k.Metrics["rep3"], s.k.Metrics["rep4"]
		return near(s.n[1], a.Excess(), 3) && near(s.n[3], b.Excess(), 3) && max(a.Excess(), b.Excess()) > 0.02 &&
			(a.Excess() > 2*a.ExcessSE() || b.Excess() > 2*b.ExcessSE())
	},
	"the guard confirmed an instability before it": func(s said) bool { return s.k.Disturbed },
	"# % of its texts end too early": func(s said) bool {
		m := s.k.Metrics["short_rate"]
		return near(s.n[0], 100*m.Value, 0) && m.Value > 0.25 && (m.N == 0 || m.Value*float64(m.N) >= 0.25*float64(m.N)+2)
	},
	"the model ended # % of its texts; in human text # % end": func(s said) bool {
		m := s.k.Metrics["finish_rate"]
		return near(s.n[0], 100*m.Value, 1) && near(s.n[1], 100*m.Human, 1) && m.Value < m.Human/4 && !s.k.Few &&
			(m.N == 0 || (m.Human-m.Value)*float64(m.N) >= 4)
	},
	"its checkpoint was deleted":                    func(s said) bool { return !s.held(s.k.Step) },
	"prompt consistency # is below the # of step #": func(s said) bool { return s.worse("consistency", false) },
	"prompt consistency # is below the # of step #, and the # of human text": func(s said) bool {
		return s.worse("consistency", true)
	},
	"texts of different prompts are more similar, #, than the # of step #": func(s said) bool {
		return s.worse("between", false)
	},
	"texts of different prompts are more similar, #, than the # of step #, and the # of human text": func(s said) bool {
		return s.worse("between", true)
	},
	"chosen: the lowest validation loss of the # whose repetition is equally steady": func(s said) bool {
		return s.n[0] == float64(s.countOf(s.steady)) && s.n[0] > 1 && !s.lower(s.steady)
	},
	"chosen: its repetition is the steadiest over three evaluations": func(s said) bool {
		return s.k.Spread == s.steadiest().Spread && s.countOf(s.steady) == 1 && s.countOf(eligible) > 1
	},
	"chosen: the only eligible evaluation": func(s said) bool { return s.k.Eligible && s.countOf(eligible) == 1 },
	"as steady, but its validation loss is not lower": func(s said) bool {
		return s.steady(s.k) && s.k.Loss >= s.chosen().Loss
	},
	"its repetition varies more": func(s said) bool {
		return s.k.Eligible && !s.steady(s.k) && s.k.Spread > s.chosen().Spread
	},
	"chosen: lowest validation loss": func(s said) bool { return !s.lower(anyone) },
	"chosen: lowest validation loss of those with a checkpoint": func(s said) bool {
		return !s.lower(s.kept) && s.lower(anyone)
	},
	"its validation loss is not lower": func(s said) bool { return s.k.Loss >= s.chosen().Loss && s.held(s.k.Step) },
	"chosen: least variance of rep- #": func(s said) bool {
		for i, k := range s.c.Candidates {
			if s.held(k.Step) && !math.IsNaN(k.Spread) && s.deviation(i) < s.deviation(s.i) {
				return false
			}
		}
		return true
	},
	"its repetition does not vary less": func(s said) bool {
		return s.deviation(s.i) >= s.deviation(slices.IndexFunc(s.c.Candidates, func(k Candidate) bool { return k.Chosen }))
	},
}

func (s said) chosen() Candidate {
	return s.c.Candidates[slices.IndexFunc(s.c.Candidates, func(k Candidate) bool { return k.Chosen })]
}

// worse reports whether a metric is worse than that of the named step, and than human text where that is named.
func (s said) worse(name string, human bool) bool {
	own := s.k.Metrics[name]
	best := s.h[slices.IndexFunc(s.h, func(p Point) bool { return p.Step == int64(s.n[2]) })].Metrics[name]
	diff := best.Value - own.Value
	past := own.Human - own.Value
	if name == "between" {
		diff, past = -diff, -past
	}
	return near(s.n[0], own.Value, 3) && near(s.n[1], best.Value, 3) && diff > 2*math.Hypot(own.SE, best.SE) &&
		own.Compared == human && (!human || near(s.n[3], own.Human, 3) && past > 2*own.HumanSE)
}

var numberIn = regexp.MustCompile(`-?\d+(\.\d+)?`)

// TestReasonsAreTrue checks every reason that Choose gives against the numbers, over random histories. Each is met.
func TestReasonsAreTrue(t *testing.T) {
	r := random(t, 20)
	seen := map[string]int{}
	for range 20_000 {
		h := anyHistory(r)
		gone := r.Uint64()
		if r.IntN(3) > 0 {
			gone = 0
		}
		held := func(step int64) bool { return gone>>(step/100)&1 == 0 }
		rule := []string{Sound, Article, Loss}[r.IntN(3)]
		c := Choose(h, held, rule)
		for i, k := range c.Candidates {
			why := k.Why
			if k.Chosen && c.Fallback {
				why = strings.TrimPrefix(why, "chosen for its loss, because none is eligible; this one: ")
			}
			why = strings.ReplaceAll(why, "rep-", "rep- ") // it is a hyphen
			pattern := numberIn.ReplaceAllString(why, "#")
			s := said{h: h, c: c, k: k, i: i, held: held}
			for _, n := range numberIn.FindAllString(why, -1) {
				v, err := strconv.ParseFloat(n, 64)
				if err != nil {
					t.Fatal(err)
				}
				s.n = append(s.n, v)
			}
			seen[pattern]++
			if good := reasonsSaid[pattern]; good == nil || !good(s) {
				t.Fatalf("rule %s, step %d: %q is not true\n%s", rule, k.Step, k.Why, table(c))
			}
		}
		checkReason(t, c, held, rule)
	}
	for pattern := range reasonsSaid {
		if seen[pattern] == 0 {
			t.Errorf("never said: %s", pattern)
		}
	}
}

// checkReason checks what is said of the choice as a whole.
func checkReason(t *testing.T, c Choice, held func(int64) bool, rule string) {
	t.Helper()
	if c.Step < 0 {
		for _, k := range c.Candidates {
			if held(k.Step) && rule != Article {
				t.Fatalf("%s, and step %d is there", c.Reason, k.Step)
			}
		}
		return
	}
	at := slices.IndexFunc(c.Candidates, func(k Candidate) bool { return k.Chosen })
	k := c.Candidates[at]
	lowest := !slices.ContainsFunc(c.Candidates, func(o Candidate) bool { return o.Loss < k.Loss })
	none := !slices.ContainsFunc(c.Candidates, func(o Candidate) bool { return o.Eligible })
	claims := strings.Contains(c.Reason, "the lowest validation loss") && !strings.Contains(c.Reason, "of th")
	if k.Step != c.Step || !held(c.Step) || !strings.HasPrefix(c.Reason, fmt.Sprintf("step %d", c.Step)) ||
		claims && !lowest || strings.Contains(c.Reason, "no evaluation is eligible") != (none && rule == Sound) {
		t.Fatalf("rule %s: %s\n%s", rule, c.Reason, table(c))
	}
}

func table(c Choice) string {
	var b strings.Builder
	for _, k := range c.Candidates {
		fmt.Fprintf(&b, "%d: loss %.4f, spread %.3g, score %.3g, eligible %v: %s\n", k.Step, k.Loss, k.Spread, k.Score,
			k.Eligible, k.Why)
	}
	return b.String()
}

// TestOneOfThirty: what one text of thirty does is chance: the later evaluation with the lower loss is kept.
func TestOneOfThirty(t *testing.T) {
	r := random(t, 21)
	share := func(k, h int) Metric {
		return Metric{Estimate: Estimate{Value: float64(k) / 30}, Human: float64(h) / 30, Compared: true, N: 30, HumanN: 30}
	}
	repeats := func(p *Point) { // one text says the same all the time
		for _, name := range []string{"rep", "rep3", "rep4"} {
			m := p.Metrics[name]
			m.Value += 0.9 / 30
			m.SE = 0.9 / 30
			p.Metrics[name] = m
		}
	}
	for name, tt := range map[string]struct {
		change func(p *Point)
		kept   int64
	}{
		"one repeats itself":          {repeats, 500},
		"one human text ends":         {func(p *Point) { p.Metrics["finish_rate"] = share(0, 1) }, 500},
		"four human texts end":        {func(p *Point) { p.Metrics["finish_rate"] = share(0, 4) }, 500},
		"half of the human texts end": {func(p *Point) { p.Metrics["finish_rate"] = share(1, 15) }, 400},
		"8 of 30 end too early":       {func(p *Point) { p.Metrics["short_rate"] = share(8, 0) }, 500},
		"15 of 30 end too early":      {func(p *Point) { p.Metrics["short_rate"] = share(15, 0) }, 400},
	} {
		h := history(r, 0.001, good(2.3), good(2.2), good(2.1), good(2.09), good(2.08))
		tt.change(&h[4])
		if c := Choose(h, all, Sound); c.Step != tt.kept {
			t.Errorf("%s: %s\n%s", name, c.Reason, table(c))
		}
	}
}

// TestExactTests compares with values from R: dbinom, and fisher.test with alternative "less".
func TestExactTests(t *testing.T) {
	for _, tt := range []struct{ got, want float64 }{
		{atLeast(8, 30, 0.25), 0.4857}, {atLeast(1, 2, 0.5), 0.75}, {atLeast(0, 5, 0.1), 1},
		{atMost(0, 30, 1, 30), 0.5}, {atMost(0, 8, 8, 8), 1 / 12870.0}, {atMost(3, 3, 0, 3), 1},
		{atMost(1, 10, 5, 10), 0.0704},
	} {
		if math.Abs(tt.got-tt.want) > 1e-4 {
			t.Errorf("%v, want %v", tt.got, tt.want)
		}
	}
}
