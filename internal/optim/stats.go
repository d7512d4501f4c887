package optim

import (
	"math"
	"slices"

	"gimbal/internal/kernel"
)

// TensorGrad says what the gradient of one segment looks like. Elements that are not finite are counted and are in
// none of the other numbers.
type TensorGrad struct {
	MeanAbs, RMS, Max float64 // of absolute values
	NonFinite         int64
}

// TensorUpdate says what one update would do to one segment.
type TensorUpdate struct {
	RMS, Max  float64 // of the change; Max is NaN if any element would not be finite
	WeightRMS float64 // of the weights before it
	Unmoved   int64   // elements whose bits would stay as they are
	Len       int64
}

// Ratio is the relative size of the update, RMS(Δw)/RMS(w).
func (u TensorUpdate) Ratio() float64 { return u.RMS / u.WeightRMS }

// leastWeight is the RMS of weights below which a relative update says nothing: those of a tensor that began at zero.
const leastWeight = 1e-3

// piece is a range of a segment that is measured as one. Where pieces begin depends on the segments only.
type piece struct {
	segment, lo, hi int
}

// tally is what was measured of one piece; which fields mean what, the loops say.
type tally struct {
	abs, squares, weights, max float64
	count                      int64
}

// observer is the memory of Stats, Trial and Glance.
type observer[T kernel.Float] struct {
	a       *AdamW[T]
	pieces  []piece
	covered []int64 // elements of each segment that are in pieces
	tallies []tally
	scratch []T // (workers, 3, block): copies that a trial update may spoil
	ratios  []float64

	params, grads []T
	step          kernel.AdamWStep
	factors       []float64 // of ScaleSegments
}

// newObserver observes all of each segment, or the first piece of those that decay.
func newObserver[T kernel.Float](a *AdamW[T], all bool) observer[T] {
	o := observer[T]{a: a, covered: make([]int64, len(a.segments)),
		scratch: make([]T, a.x.Workers()*3*block), ratios: make([]float64, 0, len(a.segments))}
	for i, s := range a.segments {
		for lo := s.Lo; lo < s.Hi; lo += block {
			if all || s.Decay && lo == s.Lo {
				o.pieces = append(o.pieces, piece{i, lo, min(lo+block, s.Hi)})
				o.covered[i] += int64(min(lo+block, s.Hi) - lo)
			}
		}
	}
	o.tallies = make([]tally, len(o.pieces))
	return o
}

// Stats overwrites dst with what grads look like, segment by segment in the order of NewAdamW.
//
// Shapes: grads (n); dst (segments).
// Numerics: sums in float64 over pieces of fixed size, added in their order: the same bits for any number of workers.
func (a *AdamW[T]) Stats(grads []T, dst []TensorGrad) {
	if len(grads) != len(a.M) || len(dst) != len(a.segments) {
		panic("optim: slice of the wrong length")
	}
	o := &a.observer
	o.grads = grads
	a.x.Pool().Do(len(o.pieces), 1, (*gradStats[T])(o))
	o.grads = nil
	clear(dst)
	for i, p := range o.pieces {
		d, t := &dst[p.segment], &o.tallies[i]
		d.MeanAbs += t.abs
		d.RMS += t.squares
		d.Max = max(d.Max, t.max)
		d.NonFinite += t.count
	}
	for i, s := range a.segments {
		d := &dst[i]
		n := float64(max(1, int64(s.Hi-s.Lo)-d.NonFinite))
		d.MeanAbs, d.RMS = d.MeanAbs/n, math.Sqrt(d.RMS/n)
	}
}

// gradStats is the loop of Stats.
type gradStats[T kernel.Float] observer[T]

// Part measures the pieces [lo,hi).
func (o *gradStats[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		var abs, squares, top float64 // not fields: they stay in registers
		count := int64(0)
		for _, v := range o.grads[o.pieces[i].lo:o.pieces[i].hi] {
			if v-v != 0 {
				count++
				continue
			}
			g := math.Abs(float64(v))
			abs += g
			squares += g * g
			if g > top {
				top = g
			}
		}
		o.tallies[i] = tally{abs: abs, squares: squares, max: top, count: count}
	}
}

// Trial overwrites dst with what Update would do with the same arguments, segment by segment, and returns the median of
// RMS(Δw)/RMS(w) over the segments that decay, which are the matrices; those with RMS(w) below 0.001 are left out.
// The median is NaN if an update would not be finite, and 0 if there is nothing to take it of.
//
// Shapes: params, grads (n); dst (segments).
// Memory: only reads params, grads, M and V. The update is made by the kernel of Update on copies, so what it says is
// what would happen, to the bit.
// Numerics: as Stats.
func (a *AdamW[T]) Trial(params, grads []T, step int64, lr, scale float64, dst []TensorUpdate) (median float64) {
	return a.observer.try(params, grads, a.stepAt(step, lr, scale), dst)
}

// Glance returns what Trial returns, from a sample: the first 4,096 elements of each matrix. It is cheap enough for
// every step.
func (a *AdamW[T]) Glance(params, grads []T, step int64, lr, scale float64) (median float64) {
	return a.glance.try(params, grads, a.stepAt(step, lr, scale), a.glanced)
}

// try is Trial and Glance.
func (o *observer[T]) try(params, grads []T, step kernel.AdamWStep, dst []TensorUpdate) (median float64) {
	a := o.a
	if len(params) != len(a.M) || len(grads) != len(a.M) || len(a.V) != len(a.M) || len(dst) != len(a.segments) {
		panic("optim: slice of the wrong length")
	}
	o.params, o.grads, o.step = params, grads, step
	a.x.Pool().Do(len(o.pieces), 1, (*trial[T])(o))
	o.params, o.grads = nil, nil
	clear(dst)
	for i, p := range o.pieces {
		d, t := &dst[p.segment], &o.tallies[i]
		d.RMS += t.squares
		d.WeightRMS += t.weights
		d.Max = max(d.Max, t.max) // NaN stays
		d.Unmoved += t.count
	}
	o.ratios = o.ratios[:0]
	for i, s := range a.segments {
		d := &dst[i]
		d.Len = o.covered[i]
		n := float64(max(1, d.Len))
		d.RMS, d.WeightRMS = math.Sqrt(d.RMS/n), math.Sqrt(d.WeightRMS/n)
		if d.Max-d.Max != 0 {
			median = math.NaN()
		}
		if s.Decay && d.WeightRMS >= leastWeight {
			o.ratios = append(o.ratios, d.Ratio())
		}
	}
	if median != median || len(o.ratios) == 0 {
		return median
	}
	slices.Sort(o.ratios)
	n := len(o.ratios)
	return (o.ratios[(n-1)/2] + o.ratios[n/2]) / 2
}

// trial is the loop of Trial and Glance.
type trial[T kernel.Float] observer[T]

// Part updates copies of the pieces [lo,hi) and measures the change.
func (o *trial[T]) Part(worker, lo, hi int) {
	a := o.a
	scratch := o.scratch[worker*3*block:][:3*block]
	for i := lo; i < hi; i++ {
		at := o.pieces[i]
		n, step := at.hi-at.lo, o.step
		if !a.segments[at.segment].Decay {
			step.Decay = 0
		}
		p, m, v := scratch[:n], scratch[block:block+n], scratch[2*block:2*block+n]
		before := o.params[at.lo:at.hi]
		copy(p, before)
		copy(m, a.M[at.lo:at.hi])
		copy(v, a.V[at.lo:at.hi])
		kernel.AdamW(a.x, p, o.grads[at.lo:at.hi], m, v, step)
		var squares, top float64
		count := int64(0)
		for j, old := range before {
			d := math.Abs(float64(p[j]) - float64(old))
			if d == 0 {
				count++
			}
			squares += d * d
			if !(d <= top) { // NaN and what follows it, too: the squares say so
				top = d
			}
		}
		if squares-squares != 0 {
			top = math.NaN()
		}
		o.tallies[i] = tally{squares: squares, weights: kernel.SumSquares(a.x, before), max: top, count: count}
	}
}
