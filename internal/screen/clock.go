package screen

import (
	"math"
	"time"

	"gimbal"
)

const (
	horizon   = 100     // steps over which times are averaged
	wholeEval = 2 << 20 // most tokens that the last evaluation scores
	forward   = 3       // a forward pass takes a third of the time of a training pass
	slower    = 1.25    // times the planned time of a step, which is worth a message
)

// clock estimates how long a run still takes: the steps that are left by their smoothed time, and the evaluations and
// saves that are left by how long the last of them took. Before the first one it takes the plan's share.
type clock struct {
	plan *gimbal.Plan
	done int64 // updates made
	n    int   // steps measured

	step    float64   // smoothed seconds of a step, and of what stands between two steps; 0: unknown
	learned float64   // smoothed tokens learned in a step
	end     time.Time // of the last step, or of the evaluation after it

	evaluated bool    // there was an evaluation since the last step
	eval      float64 // seconds of an evaluation, smoothed; 0: none was measured
	save      float64 // seconds between the last evaluation and the step after it
}

// start begins a run. Until a step is measured, the clock goes by the plan's speed.
func (c *clock) start(p *gimbal.Plan) {
	*c = clock{plan: p, step: p.Duration.Seconds() / float64(p.Steps)}
}

// stepped takes the time of a step that has just ended.
func (c *clock) stepped(now time.Time, s gimbal.Step) {
	seconds := s.Duration.Seconds()
	learned := s.TokensPerSecond * seconds
	if between := now.Sub(c.end).Seconds() - seconds; c.evaluated {
		c.save = max(0, between)
	} else if c.n > 0 {
		seconds += max(0, between) // saves, refused steps, and whatever else there was
	}
	c.n++
	weight := 1 / float64(min(max(1, c.n-1), horizon)) // the first step warms up: the second one replaces it
	c.step += weight * (seconds - c.step)
	c.learned += weight * (learned - c.learned)
	c.done, c.end, c.evaluated = s.Step, now, false
}

// evaluation takes the time of an evaluation that has just ended.
func (c *clock) evaluation(now time.Time) {
	if c.n > 0 {
		seconds := now.Sub(c.end).Seconds()
		if c.eval > 0 {
			seconds = (c.eval + seconds) / 2
		}
		c.eval = seconds
	}
	c.end, c.evaluated = now, true
}

// left is the time until the run is done; false: nothing is known yet.
func (c *clock) left(now time.Time) (time.Duration, bool) {
	if c.plan == nil || c.step == 0 {
		return 0, false
	}
	p := c.plan
	pause := c.eval + c.save
	if c.eval == 0 {
		pause = p.EvalShare * c.step * float64(p.Steps) / float64(max(1, p.Evaluations))
	}
	seconds := float64(p.Steps-c.done)*c.step + float64(c.pending())*pause
	if c.done < p.Steps || !c.evaluated { // the last evaluation scores the whole validation part
		seconds += float64(min(p.ValTokens, wholeEval)) / forward * c.step / float64(p.BatchTokens)
	}
	if c.evaluated {
		seconds += c.save
	}
	if c.n > 0 {
		seconds -= now.Sub(c.end).Seconds()
	}
	return time.Duration(max(0, seconds) * float64(time.Second)), true
}

// pending is the number of evaluations that are still to come.
func (c *clock) pending() int64 {
	p := c.plan
	every, rest := max(1, p.EvalEvery), p.Steps-c.done
	n, all := p.Steps/every-c.done/every, (p.Steps+every-1)/every
	if p.Steps%every != 0 && rest > 0 {
		n++ // that of the last step
	}
	n += int64(math.Round(float64(max(0, p.Evaluations-all)*rest) / float64(p.Steps))) // at the ends of epochs
	if due := c.done > 0 && (c.done%every == 0 || rest == 0); due && !c.evaluated {
		n++
	}
	return n
}

// speed is how many tokens are learned in a second.
func (c *clock) speed() float64 { return c.learned / c.step }

// settled reports that the speed is known well enough to speak of it.
func (c *clock) settled() bool { return c.n > 5 && float64(c.n)*c.step > 2 }

// slow reports that the machine is slower than planned.
func (c *clock) slow() bool {
	return c.settled() && c.step > slower*c.plan.Duration.Seconds()/float64(c.plan.Steps)
}
