package screen

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gimbal"
)

// machineRun is a run on a machine whose times are known.
type machineRun struct {
	steps, every int64
	step         func(n int64) float64 // seconds
	eval, save   float64               // seconds
	last         float64               // seconds that the last evaluation takes more
	plan         gimbal.Plan
}

// moments plays the run and calls f after each message, with the time that is really left.
func (m machineRun) moments(c *clock, f func(step int64, now time.Time, left float64)) {
	type message struct {
		at   float64
		tell func(now time.Time)
		step int64
	}
	var all []message
	at := 0.0
	for n := int64(1); n <= m.steps; n++ {
		d := m.step(n)
		at += d
		all = append(all, message{at, func(now time.Time) {
			c.stepped(now, gimbal.Step{Step: n, Steps: m.steps, Duration: time.Duration(d * 1e9), TokensPerSecond: 100 / d})
		}, n})
		if n%m.every == 0 || n == m.steps {
			if n == m.steps {
				at += m.last
			}
			at += m.eval
			all = append(all, message{at, c.evaluation, n})
			at += m.save
		}
	}
	for _, msg := range all {
		now := time.Unix(0, int64(msg.at*1e9))
		msg.tell(now)
		f(msg.step, now, at-msg.at)
	}
}

// TestTimeLeft wants the time left within 20 % of what is really left, whatever was planned.
func TestTimeLeft(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	jitter := func(x float64) func(int64) float64 {
		return func(n int64) float64 {
			if n == 1 {
				return 3 * x
			}
			return x * math.Exp(0.3*rnd.NormFloat64()-0.045)
		}
	}
	plan := func(steps, every int64, seconds float64) gimbal.Plan {
		return gimbal.Plan{Steps: steps, EvalEvery: every, Evaluations: (steps + every - 1) / every, EvalShare: 0.03,
			Duration: time.Duration(float64(steps) * seconds * 1e9), BatchTokens: 100, ValTokens: 6000}
	}
	for name, m := range map[string]machineRun{
		"as planned":         {1000, 100, jitter(0.1), 0.3, 0.1, 2, plan(1000, 100, 0.1)},
		"five times slower":  {1000, 100, jitter(0.5), 1.5, 0.1, 10, plan(1000, 100, 0.1)},
		"no trial":           {1000, 100, jitter(0.1), 0.3, 0.1, 2, plan(1000, 100, 0)},
		"long evaluations":   {400, 40, jitter(0.1), 8, 3, 2, plan(400, 40, 0.1)},
		"uneven evaluations": {1000, 130, jitter(0.1), 3, 1, 2, plan(1000, 130, 0.1)},
		"few steps":          {20, 2, jitter(5), 3, 1, 100, plan(20, 2, 5)},
		"half as fast half way": {2000, 100, func(n int64) float64 { return 0.05 * (1 + float64(n/1001)) }, 0.2, 0.1, 2,
			plan(2000, 100, 0.1)},
	} {
		var c clock
		c.start(&m.plan)
		if name == "half as fast half way" {
			m.plan.Duration = 0
		}
		worst, samples, at := 0.0, 0, int64(0)
		m.moments(&c, func(step int64, now time.Time, left float64) {
			got, known := c.left(now)
			if !known {
				t.Fatalf("%s: nothing is known after step %d", name, step)
			}
			measured := step > m.every && step > 5 // an evaluation was measured
			if name == "half as fast half way" && step < 1200 || !measured || left < 3 {
				return // the second half is not known yet
			}
			samples++
			if off := math.Abs(got.Seconds()-left) / left; off > worst {
				worst, at = off, step
			}
		})
		if worst > 0.2 || samples < 5 {
			t.Errorf("%s: off by up to %.0f %% (step %d) in %d moments", name, 100*worst, at, samples)
		}
	}
}

// TestSlowerIsSaidAtOnce wants a machine that is slower than planned to be noticed within seconds, and one that is as
// planned never.
func TestSlowerIsSaidAtOnce(t *testing.T) {
	for _, factor := range []float64{1, 1.1, 1.5, 4} {
		m := machineRun{steps: 500, every: 50, step: func(int64) float64 { return 0.1 * factor }, eval: 1,
			plan: gimbal.Plan{Steps: 500, EvalEvery: 50, Duration: 50 * time.Second, BatchTokens: 100}}
		var c clock
		c.start(&m.plan)
		first := 0.0
		m.moments(&c, func(_ int64, now time.Time, _ float64) {
			if first == 0 && c.slow() {
				first = float64(now.UnixNano()) / 1e9
			}
		})
		if want := factor > slower; want != (first > 0) || first > 5 {
			t.Errorf("%g times slower: noticed after %.1f s", factor, first)
		}
	}
}

// TestTimeLeftAfterRewind wants evaluations that are made again to be counted again.
func TestTimeLeftAfterRewind(t *testing.T) {
	c := clock{}
	c.start(&gimbal.Plan{Steps: 100, EvalEvery: 10, Evaluations: 10, BatchTokens: 1})
	now := time.Unix(0, 0)
	step := func(n int64) {
		now = now.Add(time.Second)
		c.stepped(now, gimbal.Step{Step: n, Steps: 100, Duration: time.Second, TokensPerSecond: 1})
	}
	for n := int64(1); n <= 50; n++ {
		step(n)
		if n%10 == 0 {
			now = now.Add(2 * time.Second)
			c.evaluation(now)
		}
	}
	step(21)                                                                    // the run went back
	if left, _ := c.left(now); left < 94*time.Second || left > 98*time.Second { // 79 steps and 8 evaluations
		t.Errorf("%v are left", left)
	}
}
