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
	surelyRises = 3                   // standard errors of a rise that is no chance: a higher rate is no cure for it
	clipFalls   = 0.9                 // the clip scale of the second half of a window against the first
	slopeError  = 0.34641016151377546 // standard error of the fall, in spreads: n·√(12/n³) at n = 100
)

// nudge raises the rate by a tenth where the loss falls slowly and calmly early in the run. After any halving, and
// after a restart, slowness says something else and nothing is raised.
func (s *State) nudge(o Observation, events []Event) []Event {
	since := o.Step - s.Rules.Warmup
	if since <= 0 || since%nudgeSpan != 0 || o.Step > max(nudgeUntil, s.Rules.Warmup+nudgeMargin) ||
		s.LastError > 0 || s.Rises > 0 || s.Nudges >= mostNudges || s.Nudges > 0 && o.Step-s.NudgedAt < nudgeGap ||
		s.RatioHigh > 0 && s.Checked-s.RatioHigh < nudgeSpan {
		return events
	}
	window, norms := s.Losses.last(nudgeSpan), s.Norms.last(nudgeSpan)
	if len(window) < nudgeSpan || len(norms) < nudgeSpan {
		return events
	}
	slope, _, spread := fitLine(window)
	mid := windowMedian(window)
	fall, errorOfFall := -nudgeSpan*slope, slopeError*spread
	slow := fall < max(slowShare*mid, 2*errorOfFall) && fall > -surelyRises*errorOfFall
	calm := spread < calmShare*mid && !(s.clipTrend(norms) < clipFalls)
	if !slow || !calm {
		return events
	}
	before := s.factor()
	s.Nudges++
	after := s.factor()
	if !(after > before) {
		s.Nudges--
		return events
	}
	s.NudgedAt = o.Step
	n := map[string]float64{
		"loss": o.Loss, "median_loss": mid, "fall": fall, "fall_error": errorOfFall, "spread": spread,
		"lr": o.LR * s.Scale(), "scale_before": before, "scale_after": after,
	}
	what := "raise the rate by a tenth"
	if !s.Rules.Act {
		what = "none; would " + what
	}
	events = append(events, Event{
		Code: CodeNudge, Severity: "info", Action: what,
		Message: fmt.Sprintf("step %d: the loss fell by %.3g ± %.2g nats in %d steps, with a spread of %.2g "+
			"%% around the line: slow and calm",
			o.Step, fall, errorOfFall, nudgeSpan, 100*spread/mid),
		Numbers: n,
	})
	if s.Nudges == mostNudges {
		events = append(events, Event{
			Code: CodePeakLow, Severity: "warning", Action: "none",
			Message: fmt.Sprintf("step %d: the rate was raised %d times and the loss is still slow and calm: "+
				"the peak rate is probably too low; run the range test (optim.lr = \"probe\")",
				o.Step, mostNudges),
			Numbers: n,
		})
	}
	return events
}

// clipTrend is the clip scale of the second half of a window over that of the first. Where it falls, the gradients
// grow and the run is not calm. Norms are logarithms.
func (s *State) clipTrend(norms []float64) float64 {
	if !(s.Rules.Clip > 0) {
		return 1
	}
	half := len(norms) / 2
	first := windowMedian(norms[:half])
	second := windowMedian(norms[half:])
	scale := func(y float64) float64 { return min(1, s.Rules.Clip/math.Exp(y)) }
	return scale(second) / scale(first)
}
