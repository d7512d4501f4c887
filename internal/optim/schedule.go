package optim

import (
	"math"
	"slices"
)

// Schedule describes the learning rate of a whole run. LR gives the rate at each step.
type Schedule struct {
	Kind   string  // cosine-restarts, cosine, linear, wsd or constant
	Peak   float64 // largest rate
	Steps  int64   // updates of the run
	Warmup int64   // steps of linear warmup, as Warmup gives them; below Steps
	Period int64   // steps of one cycle of cosine-restarts, counted from the end of the warmup; 0: min(Steps, 10000)
	Floor  float64 // rate at the last step as a share of Peak, in (0,1]

	// Where the run got another number of steps on its way; see Extend.
	Start int64   // the step at which it did; 0: it did not, or that changes no rate
	From  float64 // rate of that step
	Climb int64   // steps of a second warmup, from From to To
	To    float64 // rate from which the rest falls
}

const (
	wsdShare     = 0.2    // of a wsd run: it cools down at the end
	longestCycle = 10_000 // steps: the automatic period of cosine-restarts
)

// LR returns the learning rate of update step, counted from 1.
//
// It is Peak·k/Warmup at step k of the warmup. After that, where t is the share of the rest that is done:
//
//	cosine           Peak·(f + (1-f)·(1+cos πt)/2)
//	cosine-restarts  the same over each cycle; the last cycle is longer or shorter so that it ends with the run
//	linear           Peak·(1 - (1-f)·t)
//	wsd              Peak, and over the last 20 % of the run Peak·(1 - (1-f)·√t)
//	constant         Peak
//
// Every kind but constant reaches Floor·Peak exactly at Steps and stays there. A run shorter than one and a half cycles
// is a single cosine. After Start the rest of the run is a schedule of its own, from To; at Start the rate is From.
// Source: linear warmup and restarts after Loshchilov and Hutter 2016, arXiv:1608.03983; wsd with a square root after
// Hägele et al. 2024, arXiv:2405.18392.
// Numerics: 0 < LR <= Peak at every step. Panics if step < 1 or the schedule is malformed.
func LR(s Schedule, step int64) float64 {
	s.check()
	if step < 1 {
		panic("optim: step before the first")
	}
	peak, floor, first := s.Peak, s.Floor, s.begin() // the rate leaves the peak after first
	switch {
	case s.Start > 0:
		peak, floor = s.To, min(1, s.Peak*s.Floor/s.To)
		if step <= s.Start {
			return s.From
		}
		if step <= first {
			return min(s.To, s.From+(s.To-s.From)*(float64(step-s.Start)/float64(s.Climb)))
		}
	case step <= s.Warmup:
		return s.Peak * (float64(step) / float64(s.Warmup))
	}
	step = min(step, s.Steps)
	last := s.Steps // it is at the floor at last
	shape := cosine
	switch s.Kind {
	case "constant":
		return peak
	case "linear":
		shape = linear
	case "wsd":
		shape = root
		first = max(first, s.Steps-max(1, int64(math.Round(wsdShare*float64(s.Steps)))))
		if step <= first {
			return peak
		}
	case "cosine-restarts":
		first, last = s.cycle(step)
	}
	if step >= last {
		return peak * floor
	}
	share := floor + (1-floor)*shape(float64(step-first)/float64(last-first))
	return peak * min(1, share)
}

// begin is the step with which the warmup ends, the second one where there is one.
func (s Schedule) begin() int64 {
	if s.Start > 0 {
		return s.Start + s.Climb
	}
	return s.Warmup
}

func cosine(t float64) float64 { return (1 + math.Cos(math.Pi*t)) / 2 }
func linear(t float64) float64 { return 1 - t }
func root(t float64) float64   { return 1 - math.Sqrt(t) }

// cycle returns the cycle of cosine-restarts that step is in: the rate leaves the peak after first, and is at the floor
// at last.
func (s Schedule) cycle(step int64) (first, last int64) {
	period := s.Period
	if period == 0 {
		period = min(s.Steps, longestCycle)
	}
	begin := s.begin()
	all := s.Steps - begin
	cycles := max(1, all/period)
	if rest := all - cycles*period; rest > 0 && rest >= period-rest {
		cycles++ // the rest is a shorter cycle of its own; a smaller rest makes the last cycle longer
	}
	n := min((step-begin-1)/period, cycles-1)
	first = begin + n*period
	last = first + period
	if n == cycles-1 {
		last = s.Steps
	}
	return first, last
}

// Restarts reports whether step begins a cycle of cosine-restarts other than the first, so that the rate jumps up.
func (s Schedule) Restarts(step int64) bool {
	if s.Kind != "cosine-restarts" || step <= s.begin()+1 || step > s.Steps {
		return false
	}
	first, _ := s.cycle(step)
	return step == first+1
}

// EndsCycle reports whether a cycle ends with step: the rate is at its floor, and jumps up behind it unless the run
// ends.
func (s Schedule) EndsCycle(step int64) bool {
	return s.LastRestart() != 0 && (step == s.Steps || s.Restarts(step+1))
}

// LastRestart returns the last step at which the rate jumps up, 0 if it never does.
func (s Schedule) LastRestart() int64 {
	if s.Kind != "cosine-restarts" || s.Steps <= s.begin() {
		return 0
	}
	if first, _ := s.cycle(s.Steps); first > s.begin() {
		return first + 1
	}
	return 0
}

// FirstOutside looks at the steps from, from+stride, … and steps. It returns the first of them at which rate is not in
// (0, limit], and that rate; step 0 where there is none. NaN is outside.
func FirstOutside(rate func(step int64) float64, from, steps, stride int64, limit float64) (step int64, lr float64) {
	for k := min(from, steps); ; k = min(k+stride, steps) {
		if lr := rate(k); !(lr > 0 && lr <= limit) {
			return k, lr
		}
		if k >= steps {
			return 0, 0
		}
	}
}

// check panics on a schedule that no configuration can make.
func (s Schedule) check() {
	switch {
	case !slices.Contains([]string{"cosine-restarts", "cosine", "linear", "wsd", "constant"}, s.Kind):
		panic("optim: unknown kind of schedule")
	case s.Steps < 1 || s.Warmup < 0 || s.Period < 0:
		panic("optim: negative length of schedule")
	case !(s.Peak > 0 && s.Peak <= math.MaxFloat64):
		panic("optim: peak learning rate is not positive and finite")
	case !(s.Floor > 0 && s.Floor <= 1):
		panic("optim: floor outside (0,1]")
	case s.Start > 0 && !(s.Climb >= 0 && s.From > 0 && s.To > 0 && s.From <= s.Peak && s.To <= s.Peak):
		panic("optim: a second warmup outside (0,peak]")
	}
}

// maxNudge is how far a learning rate may be raised that no range test has measured: three times by a tenth.
const maxNudge = 1.1 * 1.1 * 1.1

// MostNudge is the factor on the peak that no nudge of the guard may pass: up to limit, the rate at which the loss of
// the range test was least; 0: there was none.
func (s Schedule) MostNudge(limit float64) float64 {
	if limit == 0 {
		return maxNudge
	}
	return max(1, min(maxNudge, limit/s.Peak))
}

const (
	muchLower   = 2   // times: a rate that a run of the new length would have, from which there is a second warmup
	slowestPace = 500 // steps to the peak: no second warmup need be slower than the longest first one of a short run
)

// Extend returns the schedule of a run that has made at steps, at least one, and gets another number of steps, at least
// at. The rate never rises in one step, and what is left ends at the floor:
//
//   - where the next rate does not depend on the length of the run, nothing changes but its end;
//   - where a run of that length would have at least twice the rate here, a second warmup leads to that rate. It takes
//     as long as the first or a tenth of what is left, a quarter of it at most. It is not steeper than the first, and
//     its first step at most doubles the rate. Where that leaves no room for the rate, it stops below it;
//   - else what is left falls from where the rate stands.
//
// It is pure: a run that is resumed again computes the same.
func (s Schedule) Extend(at, steps int64) Schedule {
	long := s
	long.Steps = steps
	if at < s.Warmup && steps < s.Steps {
		long.Warmup, _ = Warmup(s.Warmup, steps, false)
	}
	if at >= steps || LR(long, at+1) == LR(s, at+1) {
		return long
	}
	planned := long // from the beginning
	planned.Start, planned.From, planned.Climb, planned.To = 0, 0, 0, 0
	from, aim, left := LR(s, at), LR(planned, at+1), steps-at
	long.Start, long.From, long.Climb, long.To = at, from, 0, from
	if aim >= muchLower*from {
		pace := min(s.Peak/float64(max(1, s.Warmup)), max(from, s.Peak/slowestPace))
		long.Climb, _ = Warmup(max(s.Warmup, left/10), left, false)
		long.To = min(aim, from+pace*float64(long.Climb))
	}
	return long
}

// AutoWarmup is the warmup of the rule auto: 10 % of the steps, or in a short run as many as WarmupPeak asks for. From
// 5,000 steps on the rule article is the same; for a shorter run its 500 steps are too many.
func AutoWarmup(steps int64, peak float64, muon bool) int64 {
	return max(1, steps/10, int64(math.Ceil(peak/warmupPace(muon))))
}

// ArticleWarmup is the warmup of the rule article: 10 % of the steps, at least 500.
func ArticleWarmup(steps int64) int64 { return max(500, steps/10) }

// TuneWarmup is the warmup of the rule finetune: 3 % of the steps, at least 10.
func TuneWarmup(steps int64) int64 { return max(10, steps*3/100) }

// Warmup returns the steps of warmup of a run that asks for want: want, but at most a quarter of the run's steps unless
// exact. capped reports that want was more, which belongs in the log.
func Warmup(want, steps int64, exact bool) (warmup int64, capped bool) {
	if ceiling := max(1, steps/4); want > ceiling && !exact {
		return ceiling, true
	}
	return want, false
}
