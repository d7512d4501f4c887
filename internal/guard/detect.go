package guard

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Limits of detection. bench/guards/README.md says where they come from.
const (
	lossOutlier  = 8     // deviations of the loss above its trend, and
	lossExcess   = 0.05  // this share of the trend above it
	normOutlier  = 8     // deviations of ln(gradient norm) above its median, and either
	normExcess   = 3     // this many times the median norm with
	normWithLoss = 3     // this many deviations of the loss, or
	normAlone    = 100   // this many times the median norm and the early norm with any loss
	normAlone0   = 20    // the same by limits 0, times the median norm
	lossFloor    = 0.005 // least deviation, as a share of the median loss
	normFloor    = 0.03  // least deviation of ln(gradient norm)
	labelNoise   = 4     // nats: least deviation of the loss of one label
	ratioOutlier = 0.1   // median over the matrices of RMS(Δw)/RMS(w), with AdamW

	newestCount   = 32  // newest losses, whose median the trend is never below
	recentCount   = 5   // losses whose median is compared with the trend
	recentOutlier = 4   // deviations above it: something is wrong
	recentCalm    = 2   // at most so many: all is well
	divergeCount  = 50  // losses whose median is compared with the best
	divergeNats   = 1.0 // above the best: diverged
	divergeLeast  = 0.1 // above the best at least, where ln V is the limit

	manyOutliers  = 3 // in outlierSpan observations
	outlierSpan   = 10
	manyNonfinite = 2 // in nonfiniteSpan observations
	nonfiniteSpan = 100
	plannedRise   = 1.5 // times the smallest rate of the accepted losses
)

// comparison is one observation compared with the windows of accepted steps. A z is a distance in deviations. Numbers
// of a window that is not armed are NaN, and NaN fails every comparison that would refuse a step.
type comparison struct {
	rate                   float64 // of the update, with the guard's factor
	trend                  float64 // the loss that is expected next
	zLoss, zRecent, zNorm  float64 // zRecent: of the median of the last losses, refused ones included
	medianLoss, medianNorm float64
}

// compare compares an observation with the windows. s.Recent already holds it.
func (s *State) compare(o Observation) comparison {
	nan := math.NaN()
	v := comparison{o.LR * s.Scale(), nan, nan, nan, nan, nan, nan}
	if s.Losses.armed() {
		var scale float64
		v.trend, v.medianLoss, scale = s.lossLine()
		v.zLoss = (o.Loss - v.trend) / scale
		v.zRecent = (s.recentLoss() - v.trend) / scale
	}
	if s.Norms.armed() {
		mid, spread := medianAndSpread(s.Norms.values())
		v.medianNorm = math.Exp(mid)
		v.zNorm = (math.Log(o.GradNorm) - mid) / max(spread, normFloor, s.noise())
	}
	return v
}

// lossLine returns the loss that is expected next, the median of the accepted losses, and one deviation from the line
// through them. The line gives the expected loss, but not below the median of the newest losses: where a fast fall
// levels out, the line lags behind.
func (s *State) lossLine() (trend, mid, scale float64) {
	_, line, spread := fitLine(s.Losses.values())
	mid = windowMedian(s.Losses.values())
	newest := windowMedian(s.Losses.last(newestCount))
	return max(line, newest), mid, max(spread, lossFloor*math.Abs(mid), s.noise()+s.oddity())
}

// noise is the least deviation of a loss over as many labels as the last observation has: that of a mean.
func (s *State) noise() float64 {
	if s.Rules.Limits < 1 || s.Labels <= 0 {
		return 0
	}
	return labelNoise / math.Sqrt(float64(s.Labels))
}

// oddity is what one strange sequence adds to the loss of a batch so small that it is a good part of it.
func (s *State) oddity() float64 { return s.noise() * s.noise() * 2 }

// recentLoss is the median of the last losses, refused ones included; NaN before there are enough.
func (s *State) recentLoss() float64 {
	recent := s.Recent.last(recentCount)
	if len(recent) < recentCount {
		return math.NaN()
	}
	return windowMedian(recent)
}

// nonfinite names what in an observation is NaN or infinite, with the verb; "" if nothing is.
func nonfinite(o Observation) string {
	var bad []string
	for i, v := range []float64{o.Loss, o.GradNorm, o.UpdateRatio} {
		if !finite(v) {
			bad = append(bad, []string{"the loss", "the gradient norm", "the update"}[i])
		}
	}
	switch len(bad) {
	case 0:
		return ""
	case 1:
		return bad[0] + " is"
	}
	return strings.Join(bad, " and ") + " are"
}

// outlier says why one step is far outside the accepted ones, and whether its data may be the reason; "" if it is not.
func (s *State) outlier(o Observation, v comparison) (why string, data bool) {
	var all []string
	if v.zLoss > lossOutlier && o.Loss > v.trend+lossExcess*math.Abs(v.trend) {
		all = append(all, fmt.Sprintf("loss %.4g is %.3g deviations above its trend of %.4g (limit %d)",
			o.Loss, v.zLoss, v.trend, lossOutlier))
	}
	if v.zNorm > normOutlier && (o.GradNorm > s.largestNorm(v) ||
		o.GradNorm > normExcess*v.medianNorm && v.zLoss > normWithLoss) {
		all = append(all, fmt.Sprintf("gradient norm %.4g is %.3g times its median of %.4g: %.3g deviations "+
			"(limit %d), with a loss %.3g deviations above its trend",
			o.GradNorm, o.GradNorm/v.medianNorm, v.medianNorm, v.zNorm, normOutlier, v.zLoss))
	}
	data = len(all) > 0
	if _, limit := s.Rules.ratioLimits(); o.UpdateRatio > limit {
		all = append(all, fmt.Sprintf("the update would move the median matrix by %.3g of its size (limit %g): "+
			"the learning rate is too high or the warmup too short", o.UpdateRatio, limit))
	}
	return strings.Join(all, "; "), data
}

// largestNorm is the norm that is too large with any loss. Clipping and AdamW bound what a single large gradient does,
// so it lies far above what healthy runs reach.
func (s *State) largestNorm(v comparison) float64 {
	if s.Rules.Limits < 1 {
		return normAlone0 * v.medianNorm
	}
	return normAlone * max(v.medianNorm, s.EarlyNorm)
}

// sustained says why more than one step is bad; "" if no reason applies. The histories already hold the observation.
func (s *State) sustained(v comparison) string {
	switch {
	case s.Outliers[0] > 0 && s.Checked-s.Outliers[0] < outlierSpan:
		return fmt.Sprintf("%d outliers in %d observations", manyOutliers, s.Checked-s.Outliers[0]+1)
	case s.Nonfinites[0] > 0 && s.Checked-s.Nonfinites[0] < nonfiniteSpan:
		return fmt.Sprintf("%d steps that are not finite in %d observations", manyNonfinite, s.Checked-s.Nonfinites[0]+1)
	case s.Refused > s.budget():
		return fmt.Sprintf("%d steps refused since the last rewind, over the budget of %d", s.Refused, s.budget())
	case v.zRecent > recentOutlier:
		return fmt.Sprintf("the median of the last %d losses is %.3g deviations above the trend of %.4g (limit %d)",
			recentCount, v.zRecent, v.trend, recentOutlier)
	}
	return ""
}

// budget is the largest number of refused steps between two rewinds.
func (s *State) budget() int64 { return max(10, s.Rules.Steps/100) }

// diverged says why the run as a whole is worse than it was; "" if it is not. It also keeps the best level so far.
func (s *State) diverged() string {
	if s.Recent.n < divergeCount {
		return ""
	}
	mid := windowMedian(s.Recent.values())
	if !s.HasBest || mid < s.Best {
		s.Best, s.HasBest = mid, true
		return ""
	}
	limit := s.Best + divergeNats + s.noise() + s.oddity()
	// divergeLeast is just above the noise of a median: a run that begins at ln V stays there for a while.
	if ln := s.Rules.LossLimit; s.Best < ln {
		limit = min(limit, max(ln, s.Best+divergeLeast))
	}
	if mid > limit {
		return fmt.Sprintf("the median of the last %d losses is %.4g, above the limit of %.4g; its lowest was %.4g",
			divergeCount, mid, limit, s.Best)
	}
	return ""
}

// rises reports whether the schedule raises the rate far above that of the accepted losses: a restart, a second warmup,
// the end of a probation, a longer schedule after a resume. The first warmup does not count: its rates are not entered.
func (s *State) rises(o Observation) bool {
	rate := o.LR * s.Scale()
	return slices.ContainsFunc(s.Rates.values(), func(r float64) bool { return r > 0 && rate > plannedRise*r })
}
