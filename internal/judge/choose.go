package judge

import (
	"fmt"
	"math"
)

const (
	window    = 3    // evaluations whose repetition is compared
	lossSlack = 1.02 // times the lowest validation loss
	excessCap = 0.02 // of repetition
	// Two variances of three values each are called different when one is at least nine times the other: F(2,2) exceeds
	// 9 once in ten.
	variancesDiffer = 9
)

// Candidate is the checkpoint of one evaluation, as the choice sees it.
type Candidate struct {
	Point
	Eligible bool
	Chosen   bool
	Spread   float64 // variance of rep-4 over the window, plus that of rep-3; NaN: not known
	Score    float64 // Spread without what sampling alone explains, never below 0
	Why      string  // chosen or not, in a sentence
}

// Choice is the checkpoint to keep.
type Choice struct {
	Step       int64 // -1: there is none to choose
	Reason     string
	Candidates []Candidate // one for each point
	Fallback   bool        // none was eligible: it is the one with the lowest loss
}

// Choose picks the checkpoint to keep. held says which steps have one. It is pure.
//
// Sound takes, of the eligible candidates (see fault and consistent), the one with the least variance of repetition
// over three evaluations, minus what sampling explains. Differences that chance explains are ties; the lower loss
// wins a tie. If none is eligible it takes the lowest loss. Article takes the least variance of rep-4, Loss the
// lowest validation loss.
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
		c.Reason = fmt.Sprintf("step %d, the lowest validation loss: no evaluation is eligible", c.Step)
		chosen.Why = "chosen for its loss, because none is eligible; this one: " + chosen.Why
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

// least returns the index of the candidate with the smallest value among those that pass: the first of equals, -1 for
// none.
func (c *Choice) least(pass func(Candidate) bool, value func(Candidate) float64) int {
	best := -1
	for i, k := range c.Candidates {
		if pass(k) && (best < 0 || value(k) < value(c.Candidates[best])) {
			best = i
		}
	}
	return best
}

func eligible(k Candidate) bool { return k.Eligible }

// sound marks the eligible candidates and returns the index of the chosen one, -1 for none.
func (c *Choice) sound(held func(int64) bool) int {
	lowest := math.Inf(1)
	for _, k := range c.Candidates {
		lowest = min(lowest, k.Loss)
	}
	for i := range c.Candidates {
		k := &c.Candidates[i]
		k.Why = k.fault(lowest)
		if k.Why == "" && !held(k.Step) {
			k.Why = "its checkpoint was deleted"
		}
		k.Eligible = k.Why == ""
	}
	c.consistent()
	best, ties := c.least(eligible, func(k Candidate) float64 { return k.Spread }), 0
	if best < 0 {
		return -1
	}
	limit := c.Candidates[best]
	tied := func(k Candidate) bool {
		return k.Eligible && (k.Score == 0 && limit.Score == 0 || k.Spread < variancesDiffer*limit.Spread)
	}
	for i, k := range c.Candidates {
		if tied(k) {
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
			k.Why = "its repetition is the steadiest over three evaluations"
		case tied(*k):
			k.Why = "as steady, with a higher validation loss"
		default:
			k.Why = "its repetition varies more"
		}
	}
	return best
}

// fault says why a candidate is not eligible by itself; "" if it is. Consistency is judged later: it needs the others.
func (c *Candidate) fault(lowest float64) string {
	m := c.Metrics
	over := func(name string) bool { return m[name].Excess() > max(excessCap, 2*m[name].ExcessSE()) }
	switch {
	case math.IsNaN(c.Score):
		return "it needs two measured evaluations before it, and its own"
	case c.Loss > lowest*lossSlack:
		return fmt.Sprintf("validation loss %.4f is more than 2 %% above the lowest, %.4f", c.Loss, lowest)
	case over("rep3") || over("rep4"):
		return fmt.Sprintf("it repeats itself: excess rep-3 %.3f, rep-4 %.3f", m["rep3"].Excess(), m["rep4"].Excess())
	case c.Disturbed:
		return "the guard confirmed an instability before it"
	case m["short_rate"].Value > 0.25:
		return fmt.Sprintf("%.0f %% of its texts end too early", 100*m["short_rate"].Value)
	case !c.Few && m["finish_rate"].Value < m["finish_rate"].Human/4:
		return fmt.Sprintf("the model ended %.0f %% of its texts; in human text %.0f %% end",
			100*m["finish_rate"].Value, 100*m["finish_rate"].Human)
	}
	return ""
}

// consistent rejects eligible candidates that are worse than human text and than the best eligible one, by more than
// two standard errors each: whose consistency is lower, or whose similarity between prompts is higher.
func (c *Choice) consistent() {
	at := func(name string, sign float64) func(Candidate) float64 {
		return func(k Candidate) float64 { return sign * k.Metrics[name].Value }
	}
	worse := func(own, best Metric, sign float64) bool {
		asHuman := own.Compared && sign*own.Value <= sign*own.Human+2*own.HumanSE
		return !asHuman && !(sign*(own.Value-best.Value) <= 2*math.Hypot(own.SE, best.SE))
	}
	top, low := c.least(eligible, at("consistency", -1)), c.least(eligible, at("between", 1))
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if !k.Eligible {
			continue
		}
		own, best := k.Metrics["consistency"], c.Candidates[top].Metrics["consistency"]
		if worse(own, best, -1) {
			k.Eligible, k.Why = false, fmt.Sprintf("prompt consistency %.3f is below %.3f of human text and %.3f of the "+
				"best eligible one", own.Value, own.Human, best.Value)
			continue
		}
		own, best = k.Metrics["between"], c.Candidates[low].Metrics["between"]
		if worse(own, best, 1) {
			k.Eligible, k.Why = false, fmt.Sprintf("texts of different prompts are too similar: %.3f; %.3f in human text "+
				"and %.3f in the best eligible one", own.Value, own.Human, best.Value)
		}
	}
}

// article returns the candidate with the least variance of rep-4 over three evaluations, the earliest of equals.
func (c *Choice) article(held func(int64) bool) int {
	best, least := -1, math.Inf(1)
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if i+1 < window || !held(k.Step) {
			k.Why = "it has fewer than two evaluations before it, or its checkpoint was deleted"
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
	for i := range c.Candidates {
		if k := &c.Candidates[i]; k.Why == "" {
			k.Why = "its validation loss is higher"
		}
	}
	return c.least(func(k Candidate) bool { return held(k.Step) }, func(k Candidate) float64 { return k.Loss })
}
