package optim

import "math"

// Constants of the range test of the rule probe. Memory, stop and divisor belong together; bench/lr shows how they were
// measured against sweeps, and what a longer memory or a later stop gives.
const (
	ProbeShare = 0.05 // of a run's steps, at most
	ProbeLeast = 150  // steps; with fewer than 30 a decade the loss lags too far behind the rate

	probeMost = 400  // steps; the noise of batches hides what more would resolve
	probeLow  = 1e-5 // first rate, below what any model needed
	probeHigh = 1.0  // last rate, which few tests reach

	probeMemory = 0.9  // decay of the smoothed loss
	probeStop   = 1.05 // times the least smoothed loss: the test ends above it
	probeBlind  = 0.2  // of the steps: at their low rates a rise of the loss is only noise
	probeDivide = 2    // the peak is the argmin divided by this
)

// ProbeSteps returns the length of the range test of a run, 0 where the run is too short for one.
func ProbeSteps(steps int64) int64 {
	n := min(probeMost, int64(ProbeShare*float64(steps)))
	if n < ProbeLeast {
		return 0
	}
	return n
}

// RangeTest is a learning-rate range test: the rate rises exponentially from 1e-5 to 1, one update a step, until the
// smoothed loss has risen above its least value. It holds numbers only; the caller makes the updates.
//
// Source: Smith 2015, arXiv:1506.01186. It stops early: with QK-norm the loss falls a second time at much higher rates,
// to a plateau from which nothing is learned.
type RangeTest struct {
	Steps    int64     // planned length
	Rates    []float64 // of the updates so far
	Losses   []float64 // before each of them
	Smoothed []float64 // exponential mean of Losses, with the bias of its start removed
	Diverged bool      // the loss rose above its least by a twentieth, or was not finite

	mean float64
	best int // index of the least of Smoothed
}

// NewRangeTest returns a range test of at most steps updates. Panics if steps < 1.
func NewRangeTest(steps int64) *RangeTest {
	if steps < 1 {
		panic("optim: range test without a step")
	}
	return &RangeTest{Steps: steps}
}

// LR returns the rate of the next update: 10^(-5+5k/(n-1)) for the k-th of n, counted from 0.
func (r *RangeTest) LR() float64 {
	share := float64(len(r.Rates)) / float64(max(1, r.Steps-1))
	return probeLow * math.Pow(probeHigh/probeLow, share)
}

// Observe takes the loss before the next update and reports whether to make that update: the test has not ended and the
// loss has not diverged. A loss that is not finite has diverged, and is not averaged.
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

// Argmin returns the rate at the least smoothed loss, and that loss. ok is false where one of the lowest rates, which
// learn nothing, had the least loss: the test then says nothing.
func (r *RangeTest) Argmin() (rate, loss float64, ok bool) {
	if len(r.Rates) == 0 || r.blind(r.best+1) {
		return 0, math.NaN(), false
	}
	return r.Rates[r.best], r.Smoothed[r.best], true
}

// Peak returns the peak learning rate that the test recommends: half of the argmin, at most Sizes.MaxLR.
//
// The steepest point, which others take, lies six times below the best peak of small decoders.
func (r *RangeTest) Peak(s Sizes) (lr float64, ok bool) {
	rate, _, ok := r.Argmin()
	return min(s.MaxLR(), rate/probeDivide), ok
}
