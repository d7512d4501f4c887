package optim

import "math"

// The range test of the rule probe. Its ends span what any model was seen to want. Memory, stop and divisor belong
// together; bench/lr shows how they were measured against sweeps, and what a longer memory or a later stop gives.
const (
	ProbeShare = 0.05 // of a run's steps, at most
	ProbeMost  = 400  // steps; more resolve nothing that the noise of batches leaves
	ProbeLeast = 150  // steps; on fewer than 30 a decade the loss lags too far behind the ramp
	ProbeLow   = 1e-5 // first rate
	ProbeHigh  = 1.0  // last rate, which few ramps reach

	probeMemory = 0.9  // decay of the smoothed loss
	probeStop   = 1.05 // times the least smoothed loss so far: it leads nowhere from here
	probeBlind  = 0.2  // of the ramp, whose rates are too low for a rise to be more than noise
	probeDivide = 2    // the peak is the argmin by this
)

// ProbeSteps returns the length of the range test of a run, 0 where the run is too short for one.
func ProbeSteps(steps int64) int64 {
	n := min(ProbeMost, int64(ProbeShare*float64(steps)))
	if n < ProbeLeast {
		return 0
	}
	return n
}

// RangeTest is a learning-rate range test in progress: the rate rises exponentially from ProbeLow to ProbeHigh, one
// update a step, until the smoothed loss leaves its least value behind. It holds numbers only; the caller makes the
// updates.
//
// Source: Smith 2015, arXiv:1506.01186. The stop is an early one: with QK-norm the loss of ever higher rates falls a
// second time, to a plateau from which nothing is learned.
type RangeTest struct {
	Steps    int64     // planned length
	Rates    []float64 // of the updates so far
	Losses   []float64 // before each of them
	Smoothed []float64 // exponential mean of Losses, without the bias of its start
	Diverged bool      // the loss rose above its least by a twentieth, or was not finite

	mean float64
	best int // index of the least of Smoothed
}

// NewRangeTest returns a range test of so many updates, at least one.
func NewRangeTest(steps int64) *RangeTest {
	if steps < 1 {
		panic("optim: range test without a step")
	}
	return &RangeTest{Steps: steps}
}

// LR returns the rate of the next update, ProbeLow·(ProbeHigh/ProbeLow)^(k/(n-1)) for the k-th of n, counted from 0.
func (r *RangeTest) LR() float64 {
	share := float64(len(r.Rates)) / float64(max(1, r.Steps-1))
	return ProbeLow * math.Pow(ProbeHigh/ProbeLow, share)
}

// Observe takes the loss before the next update and reports whether to make it: the ramp has not ended and the loss has
// not diverged. A loss that is not finite has, and enters no mean.
func (r *RangeTest) Observe(loss float64) (more bool) {
	if r.Diverged || int64(len(r.Rates)) >= r.Steps {
		return false
	}
	if !(math.Abs(loss) <= math.MaxFloat64) {
		r.Diverged = true
		return false
	}
	r.mean = probeMemory*r.mean + (1-probeMemory)*loss
	smoothed := r.mean / (1 - math.Pow(probeMemory, float64(len(r.Rates)+1)))
	r.Rates, r.Losses, r.Smoothed = append(r.Rates, r.LR()), append(r.Losses, loss), append(r.Smoothed, smoothed)
	if smoothed < r.Smoothed[r.best] {
		r.best = len(r.Smoothed) - 1
	}
	r.Diverged = !r.blind(len(r.Rates)) && !(smoothed <= probeStop*r.Smoothed[r.best])
	return !r.Diverged
}

// blind reports whether the first n rates are all too low to tell anything.
func (r *RangeTest) blind(n int) bool { return float64(n) < probeBlind*float64(r.Steps) }

// Argmin returns the rate at the least smoothed loss, and that loss. ok is false where the loss was least among the
// lowest rates, which learn nothing: the test then says nothing.
func (r *RangeTest) Argmin() (rate, loss float64, ok bool) {
	if len(r.Rates) == 0 || r.blind(r.best+1) {
		return 0, math.NaN(), false
	}
	return r.Rates[r.best], r.Smoothed[r.best], true
}

// Peak returns the peak learning rate that the test recommends, half of the argmin and at most MaxAutoLR.
//
// The steepest point, which is often read off instead, lies six times below the best peak of small decoders.
func (r *RangeTest) Peak() (lr float64, ok bool) {
	rate, _, ok := r.Argmin()
	return min(MaxAutoLR, rate/probeDivide), ok
}
