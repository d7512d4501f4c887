package guard

import (
	"fmt"
	"math"
)

// Limits of the response. bench/guards/README.md says where they come from.
const (
	manyRewinds = 3 // in rewindSpan observations
	rewindSpan  = 1000
	leastFactor = 1.0 / 16
	calmSpan    = 50 // observations without an E event after which a checkpoint is healthy
)

// findings are what is wrong with one observation, and what is done about it.
type findings struct {
	action Action
	data   bool      // the data may be the reason
	before float64   // factor on the rate before it
	found  []finding // at most two: why the step is refused, and what follows from that
}

type finding struct{ code, text string }

func (f *findings) add(a Action, code, format string, args ...any) {
	f.action = a
	f.found = append(f.found, finding{code, fmt.Sprintf(format, args...)})
}

// detect finds what is wrong with an observation, decides how far the response must go, and updates the counters.
func (s *State) detect(o Observation, v comparison) findings {
	f := findings{action: Apply, before: s.factor()}
	if s.Rules.MaxRate > 0 && !(o.LR > 0 && o.LR <= s.Rules.MaxRate) {
		f.add(Stop, CodeRate, "the schedule gives the rate %g, outside (0, %g]", o.LR, s.Rules.MaxRate)
		s.LastError = s.Checked
		s.Stopped++
		return f
	}
	if bad := nonfinite(o); bad != "" {
		f.add(Skip, CodeNonfinite, "%s not finite (loss %.4g, gradient norm %.4g, update ratio %.3g)", bad, o.Loss,
			o.GradNorm, o.UpdateRatio)
		s.Nonfinite++
		remember(s.Nonfinites[:], s.Checked)
	} else if why, data := s.outlier(o, v); why != "" {
		f.add(Skip, CodeOutlier, "%s", why)
		f.data = data
		s.Outlier++
		remember(s.Outliers[:], s.Checked)
	}
	if f.action == Skip {
		s.Refused++
	}
	s.escalate(v, &f)
	if f.action != Apply {
		s.LastError = s.Checked
	}
	if f.action == Stop {
		s.Stopped++
	}
	return f
}

// escalate decides whether more than this step is bad, and lowers the rate.
func (s *State) escalate(v comparison, f *findings) {
	if why := s.diverged(); why != "" {
		f.add(Stop, CodeDiverged, "%s", why)
		return
	}
	if why := s.sustained(v); why != "" {
		s.Sustained++
		remember(s.Rewinds[:], s.Checked)
		s.Halvings++
		s.forget()
		if s.Rewinds[0] > 0 && s.Checked-s.Rewinds[0] < rewindSpan {
			f.add(Stop, CodeDiverged, "%d rewinds in %d observations, the last because of %s", manyRewinds,
				s.Checked-s.Rewinds[0]+1, why)
			return
		}
		f.add(Rewind, CodeSustained, "%s", why)
	} else if f.action == Skip {
		s.halve()
	}
	if f.action != Apply && s.factor() < leastFactor {
		// It replaces the second finding, for a factor this small says more.
		f.found = f.found[:min(1, len(f.found))]
		f.add(Stop, CodeDiverged, "the rate is down to %g of the scheduled one, below 1/16", s.factor())
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

// refuse makes the decision and the events. A stop resets the counters: if the run continues, a person wanted it, or
// the guard only records.
func (s *State) refuse(o Observation, v comparison, f findings) Decision {
	d := Decision{Action: f.action, Scale: s.Scale(), Quarantine: f.data, Diagnose: f.found[0].code == CodeNonfinite}
	after := s.factor()
	for i, found := range f.found {
		action := "refuse the update"
		if i == len(f.found)-1 {
			action = f.describe()
		}
		d.Events = append(d.Events, Event{Code: found.code, Severity: "error", Action: s.would(action),
			Message: fmt.Sprintf("step %d: %s", o.Step, found.text), Numbers: numbers(o, v, f.before, after)})
	}
	if f.action == Stop {
		s.forget()
		s.Halvings, s.Rewinds = 0, [manyRewinds]int64{}
	}
	if !s.Rules.Act {
		return Decision{Action: Apply, Scale: 1, Events: d.Events}
	}
	return d
}

// describe is the action as events have it.
func (f *findings) describe() string {
	switch {
	case f.action == Rewind:
		return "rewind to a healthy checkpoint, past this data, at half the rate"
	case f.action == Stop:
		return "stop before the update"
	case f.data:
		return "skip the update, leave its sequences out, halve the rate"
	}
	return "skip the update, halve the rate"
}

// numbers are what every error records. NaN: the window was not armed.
func numbers(o Observation, v comparison, before, after float64) map[string]float64 {
	return map[string]float64{
		"loss": o.Loss, "grad_norm": o.GradNorm, "update_ratio": o.UpdateRatio, "lr": v.rate,
		"trend_loss": v.trend, "median_loss": v.medianLoss, "median_norm": v.medianNorm,
		"z_loss": v.zLoss, "z_norm": v.zNorm, "z_recent": v.zRecent,
		"scale_before": before, "scale_after": after,
	}
}

// remember adds a time to a history, oldest first.
func remember(history []int64, at int64) {
	copy(history, history[1:])
	history[len(history)-1] = at
}

// halve takes half of the rate at once: for a while, or with guard.halve = "article" for good.
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
