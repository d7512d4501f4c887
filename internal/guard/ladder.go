package guard

import (
	"fmt"
	"math"
)

// Limits of the response. docs/guards.md says where they come from.
const (
	manyRewinds = 3 // in rewindSpan observations
	rewindSpan  = 1000
	leastFactor = 1.0 / 16
	calmSpan    = 50 // observations without an E event that make a checkpoint something to come back to
)

// findings are what is wrong with one observation, in the order of the ladder, and what is done about it.
type findings struct {
	action Action
	data   bool    // the data may be the reason
	before float64 // factor on the rate before it
	n      int
	found  [2]finding // a step that is refused, and what it leads to
}

type finding struct{ code, text string }

func (f *findings) add(a Action, code, text string) {
	f.action = a
	f.found[f.n] = finding{code, text}
	f.n++
}

// detect finds what is wrong with an observation, decides how far the response must go, and updates what is
// remembered.
func (s *State) detect(o Observation, v comparison) findings {
	f := findings{action: Apply, before: s.factor()}
	if s.Rules.MaxRate > 0 && !(o.LR > 0 && o.LR <= s.Rules.MaxRate) {
		f.add(Stop, CodeRate, fmt.Sprintf("the schedule gives the rate %g, outside (0, %g]", o.LR, s.Rules.MaxRate))
	}
	if f.action == Apply {
		if bad := nonfinite(o); bad != "" {
			f.add(Skip, CodeNonfinite, fmt.Sprintf("%s is not finite (loss %v, gradient norm %v, update %v)",
				bad, o.Loss, o.GradNorm, o.UpdateRatio))
			s.Nonfinite++
			remember(s.Nonfinites[:], s.Checked)
		} else if why, data := outlier(o, v); why != "" {
			f.add(Skip, CodeOutlier, why)
			f.data = data
			s.Outlier++
			remember(s.Outliers[:], s.Checked)
		}
	}
	if f.action == Skip {
		s.Refused++
	}
	if f.action != Stop {
		s.escalate(v, &f)
	}
	if f.action != Apply {
		s.LastError = s.Checked
	}
	if f.action == Stop {
		s.Stopped++
	}
	return f
}

// escalate decides whether the observation is a matter of one step, and sets the rate back.
func (s *State) escalate(v comparison, f *findings) {
	if why := s.diverged(); why != "" {
		f.add(Stop, CodeDiverged, why)
		return
	}
	if why := s.sustained(v); why != "" {
		s.Sustained++
		remember(s.Rewinds[:], s.Checked)
		s.Halvings++
		s.forget()
		if s.Rewinds[0] > 0 && s.Checked-s.Rewinds[0] < rewindSpan {
			f.add(Stop, CodeDiverged, fmt.Sprintf("%d rewinds in %d observations, the last because of %s",
				manyRewinds, s.Checked-s.Rewinds[0]+1, why))
			return
		}
		f.add(Rewind, CodeSustained, why)
	} else if f.action == Skip {
		s.halve()
	}
	if f.action != Apply && s.factor() < leastFactor {
		// It takes the place of the last finding where both have no room: a factor this small says more.
		f.n = min(f.n, len(f.found)-1)
		f.add(Stop, CodeDiverged, fmt.Sprintf("the rate is down to %g of the scheduled one, below 1/16", s.factor()))
	}
}

// forget empties everything that describes the weights which a rewind gives up.
func (s *State) forget() {
	s.Losses, s.Rates, s.Norms, s.Recent = ring{}, ring{}, ring{}, ring{}
	s.Best, s.HasBest = 0, false
	s.Outliers, s.Nonfinites = [manyOutliers]int64{}, [manyNonfinite]int64{}
	s.Refused = 0
	s.Dip, s.Calmed = 0, 0
}

// refuse tells what was found, and makes the decision of it. After a stop the account is a new one: what goes on
// after it does so because a person wanted it, or because the guard only records.
func (s *State) refuse(o Observation, v comparison, f findings) Decision {
	after := s.factor()
	d := Decision{Action: f.action, Scale: s.Scale(), Events: make([]Event, f.n)}
	for i, found := range f.found[:f.n] {
		what := "refuse the update"
		if i == f.n-1 {
			what = describeAction(f)
		}
		if !s.Rules.Act {
			what = "none; would " + what
		}
		d.Events[i] = Event{
			Code: found.code, Severity: "error", Action: what,
			Message: fmt.Sprintf("step %d: %s", o.Step, found.text),
			Numbers: numbers(o, v, f.before, after),
		}
	}
	d.Quarantine = f.data
	d.Diagnose = f.found[0].code == CodeNonfinite
	if f.action == Stop {
		s.forget()
		s.Halvings, s.Rewinds = 0, [manyRewinds]int64{}
	}
	if !s.Rules.Act {
		return Decision{Action: Apply, Scale: 1, Events: d.Events}
	}
	return d
}

// describeAction says what the action of the findings does, as logs have it.
func describeAction(f findings) string {
	switch {
	case f.action == Rewind:
		return "rewind to a healthy checkpoint, past this data, at half the rate for good"
	case f.action == Stop:
		return "stop before the update"
	case f.data:
		return "skip the update, leave its sequences out, halve the rate"
	}
	return "skip the update, halve the rate"
}

// numbers are what every error carries. NaN: the window was not armed.
func numbers(o Observation, v comparison, before, after float64) map[string]float64 {
	return map[string]float64{
		"loss": o.Loss, "grad_norm": o.GradNorm, "update_ratio": o.UpdateRatio, "lr": v.rate,
		"trend_loss": v.trend, "median_loss": v.medianLoss, "median_norm": v.medianNorm,
		"z_loss": v.zLoss, "z_norm": v.zNorm, "z_recent": v.zRecent,
		"scale_before": before, "scale_after": after,
	}
}

// remember puts a time into a history, oldest first.
func remember(history []int64, at int64) {
	copy(history, history[1:])
	history[len(history)-1] = at
}

// halve takes half of the rate away at once: for a while, or under the article's rule for good.
func (s *State) halve() {
	if s.Rules.StayHalved {
		s.Halvings++
		return
	}
	s.Dip, s.Calmed = 1-s.earned()/2, 0
}

// factor is what the scheduled rate is multiplied by, or would be by a guard that acts. It is in (0, MaxScale].
func (s *State) factor() float64 {
	most := s.Rules.MaxScale
	if !(most > 0 && finite(most)) {
		most = 1
	}
	base := 1.0
	for range s.Nudges {
		base *= nudgeFactor
	}
	return math.Ldexp(min(base, most), -int(s.Halvings)) * s.earned()
}

// earned is the share of the rate that a probation leaves.
func (s *State) earned() float64 {
	left := min(1, float64(probation+ramp-s.Calmed)/ramp)
	return 1 - float64(s.Dip*left)
}
