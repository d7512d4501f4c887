package guard

import (
	"fmt"
	"math"
	"strings"
)

// Limits of detection. docs/guards.md says where they come from.
const (
	lossOutlier  = 8     // deviations of the loss above its trend …
	lossExcess   = 0.05  // … and this share of the trend
	normOutlier  = 8     // deviations of ln(gradient norm) above its median …
	normExcess   = 3     // … and this many times the median norm …
	normWithLoss = 3     // … and so many deviations of the loss,
	normAlone    = 20    // or this many times the median norm, whatever the loss says
	lossFloor    = 0.005 // least deviation, as a share of the median loss
	normFloor    = 0.03  // least deviation of ln(gradient norm)
	ratioOutlier = 0.1   // median over the matrices of RMS(Δw)/RMS(w)

	newestCount   = 32 // losses that the trend is not below
	recentCount   = 5  // losses whose median is compared with the trend
	recentOutlier = 4  // deviations above it: something is wrong
	recentCalm    = 2  // at most so many: all is well
	divergeCount  = 50 // losses whose median is compared with the best
	divergeNats   = 1.0
	divergeLeast  = 0.1 // where ln V is nearer than that

	manyOutliers  = 3 // in outlierSpan observations
	outlierSpan   = 10
	manyNonfinite = 2 // in nonfiniteSpan observations
	nonfiniteSpan = 100
	plannedRise   = 1.5 // times the smallest rate of the accepted losses
)

// comparison is one observation against the windows of accepted steps. What a window that is not armed cannot say is
// NaN, and NaN fails every comparison that would refuse a step.
type comparison struct {
	rate       float64 // the rate the update would be made at
	trend      float64 // where the line through the accepted losses goes on
	zLoss      float64
	zRecent    float64 // of the median of the last losses, refused ones included
	medianLoss float64
	medianNorm float64
	zNorm      float64
}

// compare compares an observation with the windows. The last losses already hold it.
func (s *State) compare(o Observation) comparison {
	nan := math.NaN()
	v := comparison{rate: o.LR * s.Scale(), trend: nan, zLoss: nan, zRecent: nan, medianLoss: nan, medianNorm: nan,
		zNorm: nan}
	if s.Losses.armed() {
		var scale float64
		v.trend, v.medianLoss, scale = s.lossLine()
		v.zLoss = (o.Loss - v.trend) / scale
		v.zRecent = (s.recentLoss() - v.trend) / scale
	}
	if s.Norms.armed() {
		mid, spread := medianAndSpread(s.Norms.values())
		v.medianNorm = math.Exp(mid)
		v.zNorm = (math.Log(o.GradNorm) - mid) / max(spread, normFloor)
	}
	return v
}

// lossLine returns where the accepted losses go on, their median, and what counts as one deviation from the line
// through them. They go on with the line, but not below the newest of them: where a loss that fell fast levels out,
// the line does not know of it yet.
func (s *State) lossLine() (trend, mid, scale float64) {
	_, line, spread := fitLine(s.Losses.values())
	mid = windowMedian(s.Losses.values())
	newest := windowMedian(s.Losses.last(newestCount))
	return max(line, newest), mid, max(spread, lossFloor*math.Abs(mid))
}

// recentLoss is the median of the last losses, refused ones included; NaN before there are enough.
func (s *State) recentLoss() float64 {
	recent := s.Recent.last(recentCount)
	if len(recent) < recentCount {
		return math.NaN()
	}
	return windowMedian(recent)
}

// nonfinite names what of an observation is NaN or infinite; "" if nothing is.
func nonfinite(o Observation) string {
	var bad []string
	for _, x := range []struct {
		name  string
		value float64
	}{{"the loss", o.Loss}, {"the gradient norm", o.GradNorm}, {"the update", o.UpdateRatio}} {
		if !finite(x.value) {
			bad = append(bad, x.name)
		}
	}
	return strings.Join(bad, " and ")
}

// outlier says why one step is far outside the accepted ones, and whether its data may be the reason; "" if it is not.
func outlier(o Observation, v comparison) (why string, data bool) {
	var all []string
	if v.zLoss > lossOutlier && o.Loss > v.trend+lossExcess*math.Abs(v.trend) {
		all = append(all, fmt.Sprintf("loss %.4g is %.3g deviations above its trend of %.4g (limit %d)",
			o.Loss, v.zLoss, v.trend, lossOutlier))
	}
	if v.zNorm > normOutlier && (o.GradNorm > normAlone*v.medianNorm ||
		o.GradNorm > normExcess*v.medianNorm && v.zLoss > normWithLoss) {
		all = append(all, fmt.Sprintf("gradient norm %.4g is %.3g times its median of %.4g (%.3g deviations, "+
			"limit %d; the loss is at %.3g)",
			o.GradNorm, o.GradNorm/v.medianNorm, v.medianNorm, v.zNorm, normOutlier, v.zLoss))
	}
	data = len(all) > 0
	if o.UpdateRatio > ratioOutlier {
		all = append(all, fmt.Sprintf("the update would move the median matrix by %.3g of its size (limit %g): "+
			"the learning rate is too high or the warmup too short", o.UpdateRatio, ratioOutlier))
	}
	return strings.Join(all, "; "), data
}

// sustained says why more than one step is wrong; "" if none of the reasons holds. The histories already hold the
// observation.
func (s *State) sustained(v comparison) string {
	switch {
	case s.Outliers[0] > 0 && s.Checked-s.Outliers[0] < outlierSpan:
		return fmt.Sprintf("%d outliers in %d observations", manyOutliers, s.Checked-s.Outliers[0]+1)
	case s.Nonfinites[0] > 0 && s.Checked-s.Nonfinites[0] < nonfiniteSpan:
		return fmt.Sprintf("%d observations that are not finite in %d", manyNonfinite, s.Checked-s.Nonfinites[0]+1)
	case s.Refused > s.budget():
		return fmt.Sprintf("%d observations refused since the last rewind, more than the %d of the budget",
			s.Refused, s.budget())
	case v.zRecent > recentOutlier:
		return fmt.Sprintf("the median of the last %d losses is %.3g deviations above the trend of %.4g (limit %d)",
			recentCount, v.zRecent, v.trend, recentOutlier)
	}
	return ""
}

// budget is the largest number of refused observations between two rewinds.
func (s *State) budget() int64 { return max(10, s.Rules.Steps/100) }

// diverged says why the run as a whole is worse than it was, and keeps the best level it had.
func (s *State) diverged() string {
	if s.Recent.n < divergeCount {
		return ""
	}
	mid := windowMedian(s.Recent.values())
	if !s.HasBest || mid < s.Best {
		s.Best, s.HasBest = mid, true
		return ""
	}
	limit := s.Best + divergeNats
	// divergeLeast is a little more than the noise of a median: a run that begins at ln V stays there for a while.
	if ln := s.Rules.LossLimit; s.Best < ln {
		limit = min(limit, max(ln, s.Best+divergeLeast))
	}
	if mid > limit {
		return fmt.Sprintf("the median of the last %d losses is %.4g, above %.4g; it has been %.4g",
			divergeCount, mid, limit, s.Best)
	}
	return ""
}

// rises reports whether the rate goes up by plan, and not by a little, against that of the accepted losses: a restart,
// a second warmup, the end of a probation, a longer schedule after a resume. The first warmup is not one: its rates
// are not entered.
func (s *State) rises(o Observation) bool {
	rate := o.LR * s.Scale()
	for _, r := range s.Rates.values() {
		if r > 0 && rate > plannedRise*r {
			return true
		}
	}
	return false
}
