package guard

import (
	"fmt"
	"math"
)

const (
	probation = 20  // calm steps before the rate grows back …
	ramp      = 100 // … over so many

	ratioWarning = 0.05 // median over the matrices of RMS(Δw)/RMS(w)
	ratioQuiet   = 1000 // observations between two warnings

	clipSpan  = 200 // accepted steps over which the share of clipped ones is taken
	clipShare = 0.5
	clipQuiet = 0.4 // the share at which the warning may be said again
)

// accept lets an update through, enters it into the windows, and does what is due after a healthy step.
func (s *State) accept(o Observation, v comparison) Decision {
	d := Decision{Action: Apply, Scale: s.Scale()}
	s.Losses.push(o.Loss, ringSize)
	rate := 0.0
	if o.Step > s.Rules.Warmup && v.rate > 0 && finite(v.rate) {
		rate = v.rate
	}
	s.Rates.push(rate, ringSize)
	if y := math.Log(o.GradNorm); finite(y) {
		s.Norms.push(y, ringSize)
	}
	s.recover(v)
	d.Events = s.nudge(o, s.watchClip(o, s.watchRatio(o, nil)))
	return d
}

// recover gives the rate back after an E0 or E1: the first calm steps are a probation, and then it grows.
func (s *State) recover(v comparison) {
	if s.Dip == 0 || s.Calmed < probation && v.zRecent > recentCalm {
		return
	}
	if s.Calmed++; s.Calmed == probation+ramp {
		s.Dip, s.Calmed = 0, 0
	}
}

// watchRatio warns of updates that are large beside the weights, but not so large as to be refused.
func (s *State) watchRatio(o Observation, events []Event) []Event {
	if !(o.UpdateRatio > ratioWarning) {
		return events
	}
	s.RatioHigh = s.Checked
	if s.RatioTold > 0 && s.Checked-s.RatioTold < ratioQuiet {
		return events
	}
	s.RatioTold = s.Checked
	return append(events, Event{
		Code: CodeUpdateRatio, Severity: "warning", Action: "none",
		Message: fmt.Sprintf("step %d: the update moves the median matrix by %.3g of its size (above %g is much, "+
			"above %g is refused)",
			o.Step, o.UpdateRatio, ratioWarning, ratioOutlier),
		Numbers: map[string]float64{"update_ratio": o.UpdateRatio, "lr": o.LR * s.Scale()},
	})
}

// watchClip warns once when more than half of the updates are clipped: then clipping is no insurance any more but
// a second learning rate.
func (s *State) watchClip(o Observation, events []Event) []Event {
	if !(s.Rules.Clip > 0) {
		return events
	}
	s.ClipSteps++
	if o.GradNorm > s.Rules.Clip {
		s.Clipped++
	}
	if s.ClipSteps < clipSpan {
		return events
	}
	share := float64(s.Clipped) / clipSpan
	s.ClipSteps, s.Clipped = 0, 0
	if s.ClipRegime {
		s.ClipRegime = share > clipQuiet
		return events
	}
	if s.ClipRegime = share > clipShare; !s.ClipRegime {
		return events
	}
	return append(events, Event{
		Code: CodeClipRegime, Severity: "warning", Action: "none",
		Message: fmt.Sprintf("step %d: %.0f %% of the last %d updates were clipped to a norm of %g; clipping is the "+
			"rule here, not the exception",
			o.Step, 100*share, clipSpan, s.Rules.Clip),
		Numbers: map[string]float64{"clip_share": share, "clip": s.Rules.Clip, "grad_norm": o.GradNorm},
	})
}
