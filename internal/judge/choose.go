package judge

import (
	"fmt"
	"math"
)

const (
	window    = 3    // evaluations whose repetition is compared
	lossSlack = 1.02 // of the lowest validation loss
	excessCap = 0.02 // of repetition
	// two variances of three values each are called different when one is at least nine times the other: F(2,2)
	// exceeds 9 once in ten.
	variancesDiffer = 9
)

// Candidate is what the choice says of the checkpoint of one evaluation.
type Candidate struct {
	Point
	Eligible bool
	Chosen   bool
	Spread   float64 // variance of rep-4 over the window, plus that of rep-3
	Score    float64 // Spread without what sampling alone explains, never below 0
	Why      string  // chosen or not, in a sentence
}

// Choice is the checkpoint to keep.
type Choice struct {
	Step       int64 // -1: there is none to choose
	Reason     string
	Candidates []Candidate // one for each point
	Fallback   bool        // nothing passed the floor: it is the one with the lowest loss
}

// Choose picks the checkpoint to keep. held says which steps have one. It is pure.
//
// Sound: eligible is what has two evaluations before it, a validation loss within 2 % of the lowest, excess repetition
// of at most max(0.02, 2 SE) for rep-3 and rep-4, consistency and likeness in people's band or within 2 SE of the best
// that pass the rest, texts that end about as people's do, and no confirmed instability since the evaluation before.
// Of those, the least variance of repetition over the last three evaluations, less what sampling explains; differences
// that chance explains are ties, and ties go to the lower loss. Where nothing is eligible it is the lowest loss.
//
// Article, literally: the least variance of rep-4 over the last three evaluations. Loss: the lowest validation loss.
func Choose(history []Point, held func(step int64) bool, rule string) Choice {
	c := Choice{Step: -1, Candidates: make([]Candidate, len(history))}
	for i, p := range history {
		c.Candidates[i] = Candidate{Point: p, Score: nan, Spread: nan}
		if i+1 >= window {
			c.Candidates[i].spread(history[i+1-window : i+1])
		}
	}
	best := -1
	switch rule {
	case Sound:
		best = c.sound(held)
	case Article:
		best = c.article(held)
	}
	if best < 0 && rule != Article {
		best = c.lowest(held)
		c.Fallback = rule == Sound && best >= 0
	}
	if best < 0 {
		c.Reason = "there is no checkpoint to choose yet"
		return c
	}
	chosen := &c.Candidates[best]
	chosen.Chosen, c.Step = true, chosen.Step
	switch {
	case c.Fallback:
		c.Reason = fmt.Sprintf("step %d, the lowest validation loss: no evaluation passes the floor of quality",
			c.Step)
		chosen.Why = "chosen for its loss, as nothing is eligible; itself: " + chosen.Why
	case rule == Loss:
		c.Reason = fmt.Sprintf("step %d, the lowest validation loss (rule loss)", c.Step)
		chosen.Why = "chosen: lowest validation loss"
	case rule == Article:
		c.Reason = fmt.Sprintf("step %d, the least variance of repetition (rule article)", c.Step)
		chosen.Why = "chosen: least variance of rep-4"
	default:
		c.Reason = fmt.Sprintf("step %d: %s", c.Step, chosen.Why)
		chosen.Why = "chosen: " + chosen.Why
	}
	return c
}

// spread fills in the variances over the three points that end with the candidate.
func (c *Candidate) spread(last []Point) {
	total, noise := 0.0, 0.0
	for _, name := range []string{"rep3", "rep4"} {
		var values []float64
		for _, p := range last {
			if !p.measured() {
				return
			}
			values = append(values, p.excess(name))
			noise += p.Metrics[name].SE * p.Metrics[name].SE / window
		}
		_, sd := meanSD(values)
		total += sd * sd
	}
	c.Spread, c.Score = total, max(0, total-noise)
}

// sound marks what is eligible, and returns the index of the choice among them, -1 for none.
func (c *Choice) sound(held func(int64) bool) int {
	lowest := math.Inf(1)
	for _, k := range c.Candidates {
		lowest = min(lowest, k.Loss)
	}
	for i := range c.Candidates {
		k := &c.Candidates[i]
		k.Why = k.fault(lowest)
		if k.Why == "" && !held(k.Step) {
			k.Why = "its checkpoint is no longer there"
		}
		k.Eligible = k.Why == ""
	}
	c.consistent()
	least := -1
	for i, k := range c.Candidates {
		if k.Eligible && (least < 0 || k.Spread < c.Candidates[least].Spread) {
			least = i
		}
	}
	if least < 0 {
		return -1
	}
	best := least
	limit := c.Candidates[least]
	tied := func(k Candidate) bool {
		return k.Score == 0 && limit.Score == 0 || k.Spread < variancesDiffer*limit.Spread
	}
	ties := 0
	for i, k := range c.Candidates {
		if k.Eligible && tied(k) {
			if ties++; k.Loss < c.Candidates[best].Loss {
				best = i
			}
		}
	}
	for i := range c.Candidates {
		switch k := &c.Candidates[i]; {
		case !k.Eligible:
		case i == best && ties > 1:
			k.Why = fmt.Sprintf("the lowest validation loss of the %d whose repetition is equally steady", ties)
		case i == best:
			k.Why = "its repetition is the steadiest of the last three evaluations"
		case tied(*k):
			k.Why = "as steady, with a higher validation loss"
		default:
			k.Why = "its repetition varies more"
		}
	}
	return best
}

// fault says why a candidate does not pass the floor, but for consistency, which needs the others.
func (c *Candidate) fault(lowest float64) string {
	m := c.Metrics
	over := func(name string) bool { return m[name].Excess() > max(excessCap, 2*m[name].ExcessSE()) }
	switch {
	case math.IsNaN(c.Score):
		return "fewer than three evaluations that could be measured end with it"
	case c.Loss > lowest*lossSlack:
		return fmt.Sprintf("validation loss %.4f is more than 2 %% above the lowest, %.4f", c.Loss, lowest)
	case over("rep3") || over("rep4"):
		return fmt.Sprintf("it repeats itself: excess rep-3 %.3f, rep-4 %.3f", m["rep3"].Excess(), m["rep4"].Excess())
	case c.Disturbed:
		return "the guard confirmed an instability before it"
	case m["short_rate"].Value > 0.25:
		return fmt.Sprintf("%.0f %% of its texts end too early", 100*m["short_rate"].Value)
	case !c.Few && m["finish_rate"].Value < m["finish_rate"].Human/4:
		return fmt.Sprintf("%.0f %% of its texts come to an end, of people's %.0f %%",
			100*m["finish_rate"].Value, 100*m["finish_rate"].Human)
	}
	return ""
}

// consistent takes eligibility from those whose consistency is below people's band, or whose likeness between prompts
// is above it, and that are worse in it than the best eligible one by two standard errors.
func (c *Choice) consistent() {
	within2 := func(a, b Metric, d float64) bool { return d <= 2*math.Hypot(a.SE, b.SE) }
	top, low := -1, -1
	for i, k := range c.Candidates {
		if !k.Eligible {
			continue
		}
		if top < 0 || k.Metrics["consistency"].Value > c.Candidates[top].Metrics["consistency"].Value {
			top = i
		}
		if low < 0 || k.Metrics["between"].Value < c.Candidates[low].Metrics["between"].Value {
			low = i
		}
	}
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if !k.Eligible {
			continue
		}
		own, best := k.Metrics["consistency"], c.Candidates[top].Metrics["consistency"]
		inBand := own.Compared && own.Value >= own.Human-2*own.HumanSE
		if !inBand && !within2(own, best, best.Value-own.Value) {
			k.Eligible, k.Why = false, fmt.Sprintf("prompt consistency %.3f is below people's %.3f and the best "+
				"eligible %.3f", own.Value, own.Human, best.Value)
			continue
		}
		own, best = k.Metrics["between"], c.Candidates[low].Metrics["between"]
		inBand = own.Compared && own.Value <= own.Human+2*own.HumanSE
		if !inBand && !within2(own, best, own.Value-best.Value) {
			k.Eligible, k.Why = false, fmt.Sprintf("texts of different prompts are alike: %.3f, people's %.3f, "+
				"the best eligible %.3f", own.Value, own.Human, best.Value)
		}
	}
}

// article returns the candidate with the least variance of rep-4 over three evaluations, the earliest of equals.
func (c *Choice) article(held func(int64) bool) int {
	best, least := -1, math.Inf(1)
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if i+1 < window || !held(k.Step) {
			k.Why = "fewer than three evaluations end with it, or its checkpoint is no longer there"
			continue
		}
		k.Why = "its repetition varies more"
		var values []float64
		for _, p := range c.Candidates[i+1-window : i+1] {
			values = append(values, p.Metrics["rep4"].Value)
		}
		if _, sd := meanSD(values); sd < least {
			best, least = i, sd
		}
	}
	return best
}

// lowest returns the candidate with the lowest validation loss that has a checkpoint.
func (c *Choice) lowest(held func(int64) bool) int {
	best := -1
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if k.Why == "" {
			k.Why = "its validation loss is higher"
		}
		if held(k.Step) && (best < 0 || k.Loss < c.Candidates[best].Loss) {
			best = i
		}
	}
	return best
}
