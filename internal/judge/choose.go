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
	// Sampling explains a variance of three values up to three times that of the samples: F(2,∞) exceeds 3 once in
	// twenty. A single text that repeats itself stays within it, however many texts there are.
	chanceVariance = 3
	mostShort      = 0.25 // share of texts that end too early
	leastEnding    = 0.25 // times the share of human texts that end
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
// over three evaluations. Variances that sampling explains are ties with it, and so are those that chance could make
// so different; the lowest loss wins a tie. If none is eligible it takes the lowest loss. Article takes the least
// variance of rep-4, Loss the lowest validation loss.
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
	case c.Step == 0:
		c.Reason, chosen.Why = "step 0, the weights it began with: no checkpoint has a lower validation "+
			"loss", "chosen: the start"
	case c.Fallback:
		c.Reason = fmt.Sprintf("step %d, the lowest validation loss%s: no evaluation is eligible", c.Step, c.ofThose(best))
		chosen.Why = "chosen for its loss, because none is eligible; this one: " + chosen.Why
	case rule == Loss:
		c.Reason = fmt.Sprintf("step %d, the lowest validation loss%s (rule loss)", c.Step, c.ofThose(best))
		chosen.Why = "chosen: lowest validation loss" + c.ofThose(best)
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
	c.Spread, c.Score = total, max(0, total-chanceVariance*noise)
}

// ofThose limits what is said of the loss of the chosen one, where another has a lower loss and no checkpoint.
func (c *Choice) ofThose(best int) string {
	for _, k := range c.Candidates {
		if k.Loss < c.Candidates[best].Loss {
			return " of those with a checkpoint"
		}
	}
	return ""
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
	lowest, start := math.Inf(1), math.Inf(1)
	for _, k := range c.Candidates {
		if lowest = min(lowest, k.Loss); k.Step == 0 {
			start = k.Loss
		}
	}
	for i := range c.Candidates {
		k := &c.Candidates[i]
		k.Why = k.fault(lowest, start)
		if k.Why == "" && !held(k.Step) {
			k.Why = deleted
		}
		k.Eligible = k.Why == ""
	}
	c.consistent()
	best, ties, fit := c.least(eligible, func(k Candidate) float64 { return k.Spread }), 0, 0
	if best < 0 {
		return -1
	}
	limit := c.Candidates[best]
	tied := func(k Candidate) bool {
		return k.Eligible && (k.Step == limit.Step || k.Score == 0 || k.Spread < variancesDiffer*limit.Spread)
	}
	for i, k := range c.Candidates {
		if k.Eligible {
			fit++
		}
		if tied(k) {
			if ties++; k.Loss < c.Candidates[best].Loss {
				best = i
			}
		}
	}
	for i := range c.Candidates {
		switch k := &c.Candidates[i]; {
		case !k.Eligible:
		case fit == 1:
			k.Why = "the only eligible evaluation"
		case i == best && ties > 1:
			k.Why = fmt.Sprintf("the lowest validation loss of the %d whose repetition is equally steady", ties)
		case i == best:
			k.Why = "its repetition is the steadiest over three evaluations"
		case tied(*k):
			k.Why = "as steady, but its validation loss is not lower"
		default:
			k.Why = "its repetition varies more"
		}
	}
	return best
}

// fault says why a candidate is not eligible by itself; "" if it is. start is the loss of weights that were trained
// before. Consistency is judged later: it needs the others.
func (c *Candidate) fault(lowest, start float64) string {
	m := c.Metrics
	over := func(name string) bool { return m[name].Excess() > max(excessCap, 2*m[name].ExcessSE()) }
	switch {
	case math.IsNaN(c.Score):
		return unmeasured
	case c.Loss == math.MaxFloat64:
		return "its validation loss is not finite"
	case c.Step > 0 && c.Loss >= start:
		return fmt.Sprintf("validation loss %.4f is not below the %.4f of the start", c.Loss, start)
	case c.Loss > lowest*lossSlack:
		return fmt.Sprintf("validation loss %.4f is more than 2 %% above the lowest, %.4f", c.Loss, lowest)
	case over("rep3") || over("rep4"):
		return fmt.Sprintf("it repeats itself: excess rep-3 %.3f, rep-4 %.3f", m["rep3"].Excess(), m["rep4"].Excess())
	case c.Disturbed:
		return "the guard confirmed an instability before it"
	case tooShort(m["short_rate"], mostShort):
		return fmt.Sprintf("%.0f %% of its texts end too early", 100*m["short_rate"].Value)
	case !c.Few && endsTooRarely(m["finish_rate"], leastEnding):
		return fmt.Sprintf("the model ended %.1f %% of its texts; in human text %.1f %% end",
			100*m["finish_rate"].Value, 100*m["finish_rate"].Human)
	}
	return ""
}

// consistent rejects eligible candidates that are worse than human text and than the best eligible one, by more than
// two standard errors each: first those whose consistency is lower, then those whose similarity between prompts is
// higher.
func (c *Choice) consistent() {
	c.reject("consistency", -1, "prompt consistency %.3f is below the %.3f of step %d")
	c.reject("between", 1, "texts of different prompts are more similar, %.3f, than the %.3f of step %d")
}

// reject rejects the eligible candidates whose metric is worse: higher where sign is 1, lower where it is -1.
func (c *Choice) reject(name string, sign float64, text string) {
	top := c.least(eligible, func(k Candidate) float64 { return sign * k.Metrics[name].Value })
	for i := range c.Candidates {
		k := &c.Candidates[i]
		own, best := k.Metrics[name], c.Candidates[max(0, top)].Metrics[name]
		asHuman := own.Compared && sign*own.Value <= sign*own.Human+2*own.HumanSE
		if !k.Eligible || asHuman || sign*(own.Value-best.Value) <= 2*math.Hypot(own.SE, best.SE) {
			continue
		}
		k.Eligible, k.Why = false, fmt.Sprintf(text, own.Value, best.Value, c.Candidates[top].Step)
		if own.Compared {
			k.Why += fmt.Sprintf(", and the %.3f of human text", own.Human)
		}
	}
}

// Why a candidate is not chosen, whatever the rule.
const (
	deleted    = "its checkpoint was deleted"
	unmeasured = "it needs two measured evaluations before it, and its own"
)

// article returns the candidate with the least variance of rep-4 over three evaluations, the earliest of equals.
func (c *Choice) article(held func(int64) bool) int {
	best, least := -1, math.Inf(1)
	for i := range c.Candidates {
		k := &c.Candidates[i]
		if k.Why = unmeasured; math.IsNaN(k.Spread) {
			continue
		}
		if k.Why = deleted; !held(k.Step) {
			continue
		}
		k.Why = "its repetition does not vary less"
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

// lowest returns the candidate with the lowest validation loss that has a checkpoint, the earliest of equals.
func (c *Choice) lowest(held func(int64) bool) int {
	for i := range c.Candidates {
		switch k := &c.Candidates[i]; {
		case k.Why != "":
		case held(k.Step):
			k.Why = "its validation loss is not lower"
		default:
			k.Why = deleted
		}
	}
	return c.least(func(k Candidate) bool { return held(k.Step) }, func(k Candidate) float64 { return k.Loss })
}
