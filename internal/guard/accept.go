package guard

import (
	"fmt"
	"math"
)

const (
	probation = 20  // calm steps before the rate grows back
	ramp      = 100 // accepted steps over which it grows back
	// regainAfter is the healthy steps after which a halving of a rewind is given back, times the rewinds so far: the
	// span over which rewinds are counted, so that what comes after it is trouble of its own.
	regainAfter = rewindSpan

	ratioQuiet = 1000 // observations between two warnings

	clipSpan  = 200 // accepted steps over which the share of clipped ones is computed
	clipFrom  = 200 // steps, and the warmup if that is longer, in which gradients are usually large
	clipShare = 0.5 // share above which a warning is given
	clipQuiet = 0.4 // share at or below which another warning may follow
)

// accept applies an update, enters it into the windows, and does what is due after a healthy step.
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
	if s.Rules.Limits >= 1 && s.EarlyNorm == 0 && s.Norms.armed() {
		if m := math.Exp(windowMedian(s.Norms.values())); finite(m) {
			s.EarlyNorm = m
		}
	}
	s.recover(v)
	d.Events = append(append(s.watchRatio(o), s.watchClip(o)...), append(s.nudge(o), s.regain(o)...)...)
	return d
}

// regain gives a halving of a rewind back after enough healthy steps. The rate grows over ramp accepted steps.
func (s *State) regain(o Observation) []Event {
	need := regainAfter * max(1, s.Sustained)
	healthy := s.Checked - max(s.LastError, s.Regained)
	if s.Rules.Limits < 1 || s.Rules.StayHalved || s.Halvings == 0 || s.Dip > 0 || healthy < need {
		return nil
	}
	before := s.factor()
	s.Regained = s.Checked
	s.Halvings--
	s.Dip, s.Calmed = 0.5, probation // the same factor, from which it grows
	return []Event{{Code: CodeRegain, Severity: "info", Action: s.would("let the rate grow to twice as much"),
		Message: fmt.Sprintf("step %d: %d steps without an error: a halving of the rate is given back over %d steps",
			o.Step, healthy, ramp),
		Numbers: map[string]float64{"healthy": float64(healthy), "lr": o.LR * s.Scale(), "scale_before": before,
			"scale_after": 2 * before}}}
}

// recover gives the rate back after an E0 or E1: it stays low for a probation of calm steps, and then grows.
func (s *State) recover(v comparison) {
	if s.Dip == 0 || s.Calmed < probation && v.zRecent > recentCalm {
		return
	}
	if s.Calmed++; s.Calmed == probation+ramp {
		s.Dip, s.Calmed = 0, 0
	}
}

// watchRatio warns of updates that are large compared with the weights, but not so large as to be refused.
func (s *State) watchRatio(o Observation) []Event {
	limit, outlier := s.Rules.ratioLimits()
	if !(o.UpdateRatio > limit) {
		return nil
	}
	s.RatioHigh = s.Checked
	if s.RatioTold > 0 && s.Checked-s.RatioTold < ratioQuiet {
		return nil
	}
	s.RatioTold = s.Checked
	return []Event{warning(CodeUpdateRatio, o.Step,
		map[string]float64{"update_ratio": o.UpdateRatio, "lr": o.LR * s.Scale()},
		"the update moves the median matrix by %.3g of its size; above %g is a warning, above %g is refused",
		o.UpdateRatio, limit, outlier)}
}

// watchClip warns once when more than half of the updates are clipped: then clipping acts as a second learning rate.
func (s *State) watchClip(o Observation) []Event {
	beginning := s.Rules.Limits >= 2 && o.Step <= max(clipFrom, s.Rules.Warmup)
	if !(s.Rules.Clip > 0) || beginning {
		return nil
	}
	s.ClipSteps++
	if o.GradNorm > s.Rules.Clip {
		s.Clipped++
	}
	if s.ClipSteps < clipSpan {
		return nil
	}
	share, limit := float64(s.Clipped)/clipSpan, clipShare
	s.ClipSteps, s.Clipped = 0, 0
	told := s.ClipRegime
	if told {
		limit = clipQuiet
	}
	if s.ClipRegime = share > limit; told || !s.ClipRegime {
		return nil
	}
	return []Event{warning(CodeClipRegime, o.Step,
		map[string]float64{"clip_share": share, "clip": s.Rules.Clip, "grad_norm": o.GradNorm},
		"%.0f %% of the last %d updates were clipped to a norm of %g; clipping should be the exception",
		100*share, clipSpan, s.Rules.Clip)}
}
