package guard

import (
	"fmt"
	"math"
)

const (
	nudgeFactor = 1.1
	mostNudges  = 3
	nudgeSpan   = 100 // steps of a window
	nudgeGap    = 200 // steps between two nudges
	nudgeUntil  = 1000
	nudgeMargin = 500 // steps after the warmup that there are at least

	calmShare   = 0.03                // spread of the losses, as a share of their median
	slowShare   = 0.005               // fall over a window, as a share of the median
	surelyRises = 3                   // standard errors of a rise that is not chance: a higher rate would not help
	clipFalls   = 0.9                 // clip scale of the second half of a window over that of the first
	slopeError  = 0.34641016151377546 // standard error of the fall, in spreads: n·√(12/n³) at n = 100
)

// nudge raises the rate by a tenth where the loss falls slowly and calmly early in the run. After any halving, and
// after a restart, slowness has other causes and nothing is raised.
func (s *State) nudge(o Observation) []Event {
	since := o.Step - s.Rules.Warmup
	if since <= 0 || since%nudgeSpan != 0 || o.Step > max(nudgeUntil, s.Rules.Warmup+nudgeMargin) ||
		s.LastError > 0 || s.Rises > 0 || s.Nudges >= mostNudges || s.Nudges > 0 && o.Step-s.NudgedAt < nudgeGap ||
		s.RatioHigh > 0 && s.Checked-s.RatioHigh < nudgeSpan {
		return nil
	}
	window, norms := s.Losses.last(nudgeSpan), s.Norms.last(nudgeSpan)
	if len(window) < nudgeSpan || len(norms) < nudgeSpan {
		return nil
	}
	slope, _, spread := fitLine(window)
	mid := windowMedian(window)
	fall, errorOfFall := -nudgeSpan*slope, slopeError*spread
	slow := fall < max(slowShare*mid, 2*errorOfFall) && fall > -surelyRises*errorOfFall
	calm := spread < calmShare*mid && !(s.clipTrend(norms) < clipFalls)
	if !slow || !calm {
		return nil
	}
	before := s.factor()
	s.Nudges++
	after := s.factor()
	if !(after > before) {
		s.Nudges--
		return nil
	}
	s.NudgedAt = o.Step
	n := map[string]float64{
		"loss": o.Loss, "median_loss": mid, "fall": fall, "fall_error": errorOfFall, "spread": spread,
		"lr": o.LR * s.Scale(), "scale_before": before, "scale_after": after,
	}
	events := []Event{{Code: CodeNudge, Severity: "info", Action: s.would("raise the rate by a tenth"), Numbers: n,
		Message: fmt.Sprintf("step %d: the loss fell by %.3g ± %.2g nats in %d steps, with a spread of %.2g %% around "+
			"the line: slow and calm", o.Step, fall, errorOfFall, nudgeSpan, 100*spread/mid)}}
	if s.Nudges == mostNudges {
		events = append(events, warning(CodePeakLow, o.Step, n, "the rate was raised %d times and the loss is still "+
			"slow and calm: the peak rate is probably too low; run the range test (optim.lr = \"probe\")", mostNudges))
	}
	return events
}

// clipTrend is the clip scale of the second half of a window over that of the first. If it is below 1 the gradients
// grow, and the run is not calm. Norms are logarithms.
func (s *State) clipTrend(norms []float64) float64 {
	if !(s.Rules.Clip > 0) {
		return 1
	}
	half := len(norms) / 2
	scale := func(part []float64) float64 { return min(1, s.Rules.Clip/math.Exp(windowMedian(part))) }
	return scale(norms[half:]) / scale(norms[:half])
}
