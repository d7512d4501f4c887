package optim

import (
	"math"
	"slices"

	"gimbal/internal/kernel"
)

// TensorState describes the gradient of one segment, and the update that would be made of it.
type TensorState struct {
	Grad   TensorGrad
	Update TensorUpdate
}

// TensorGrad describes the gradient of one segment. Elements that are not finite are counted and left out of the other
// numbers.
type TensorGrad struct {
	MeanAbs, RMS, Max float64 // of absolute values
	NonFinite         int64
}

// TensorUpdate describes what one update would do to one segment.
type TensorUpdate struct {
	RMS, Max  float64 // of the change; Max is NaN if any element would not be finite
	WeightRMS float64 // of the weights before the update
	Unmoved   int64   // elements whose bits would not change
}

// SampleLen is how many elements of each matrix UpdateRatio looks at.
const SampleLen = block

// leastWeight is the RMS of weights below which a relative update says nothing: those tensors began at zero.
const leastWeight = 1e-3

// piece is a range of a segment that is measured as one. Where pieces begin depends on the segments only.
type piece struct {
	segment, lo, hi int
}

// tally is what a loop measured of one piece.
type tally struct {
	abs, squares, weights, max float64
	count                      int64
}

// observer is the memory of SegmentNorms, ScaleSegments, Stats, Trial and UpdateRatio.
type observer[T kernel.Float] struct {
	a       *Optimizer[T]
	pieces  []piece
	covered []int64 // elements of each segment that are in pieces
	tallies []tally
	scratch []T // (workers, 3, block): copies that a trial update overwrites
	ratios  []float64
	factors []float64 // of ScaleSegments
}

// newObserver observes all of each segment, or the first piece of those that decay.
func newObserver[T kernel.Float](a *Optimizer[T], all bool) observer[T] {
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

// SegmentNorms overwrites dst with the Euclidean norm of each segment of grads, in the order of New.
//
// Shapes: grads (n); dst (segments).
// Numerics: as GlobalNorm.
func (a *Optimizer[T]) SegmentNorms(grads []T, dst []float64) {
	a.check(len(dst), grads)
	o := &a.all
	a.run((*normLoop[T])(o), len(o.pieces), 1, nil, grads)
	clear(dst)
	for i, p := range o.pieces {
		dst[p.segment] += o.tallies[i].squares
	}
	for i := range dst {
		dst[i] = math.Sqrt(dst[i])
	}
}

// normLoop is the loop of SegmentNorms.
type normLoop[T kernel.Float] observer[T]

// Part sums the squares of the pieces [lo,hi).
func (o *normLoop[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		o.tallies[i].squares = kernel.SumSquares(o.a.x, o.a.grads[o.pieces[i].lo:o.pieces[i].hi])
	}
}

// ScaleSegments multiplies each segment of grads by its factor. A factor of 1 leaves its segment alone.
//
// Shapes: grads (n); factors (segments).
func (a *Optimizer[T]) ScaleSegments(grads []T, factors []float64) {
	a.check(len(factors), grads)
	a.Changed()
	o := &a.all
	o.factors = factors
	a.run((*scaleLoop[T])(o), len(o.pieces), 1, nil, grads)
	o.factors = nil
}

// scaleLoop is the loop of ScaleSegments.
type scaleLoop[T kernel.Float] observer[T]

// Part multiplies the pieces [lo,hi) by the factors of their segments.
func (o *scaleLoop[T]) Part(_, lo, hi int) {
	for _, p := range o.pieces[lo:hi] {
		if f := o.factors[p.segment]; f != 1 {
			g := o.a.grads[p.lo:p.hi]
			kernel.Affine(o.a.x, g, g, T(f), 0)
		}
	}
}

// Stats describes grads: it overwrites Grad of dst, segment by segment in the order of New.
//
// Shapes: grads (n); dst (segments).
// Numerics: sums in float64 over pieces of fixed size, added in order: the same bits for any number of workers.
func (a *Optimizer[T]) Stats(grads []T, dst []TensorState) {
	a.check(len(dst), grads)
	o := &a.all
	a.run((*gradLoop[T])(o), len(o.pieces), 1, nil, grads)
	for i := range dst {
		dst[i].Grad = TensorGrad{}
	}
	for i, p := range o.pieces {
		d, t := &dst[p.segment].Grad, &o.tallies[i]
		d.MeanAbs += t.abs
		d.RMS += t.squares
		d.Max = max(d.Max, t.max)
		d.NonFinite += t.count
	}
	for i, s := range a.segments {
		d := &dst[i].Grad
		n := float64(max(1, int64(s.Hi-s.Lo)-d.NonFinite))
		d.MeanAbs, d.RMS = d.MeanAbs/n, math.Sqrt(d.RMS/n)
	}
}

// gradLoop is the loop of Stats.
type gradLoop[T kernel.Float] observer[T]

// Part measures the pieces [lo,hi).
func (o *gradLoop[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		var abs, squares, top float64 // not fields: they stay in registers
		count := int64(0)
		for _, v := range o.a.grads[o.pieces[i].lo:o.pieces[i].hi] {
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

// Trial describes what Update would do with the same arguments: it overwrites Update of dst, segment by segment. It
// returns the median of RMS(Δw)/RMS(w) over the segments that decay, which are the matrices, without those whose RMS(w)
// is below 0.001. The median is NaN if an update would not be finite, and 0 if there is nothing to take it of.
//
// Shapes: params, grads (n); dst (segments).
// Memory: only reads params, grads, M and V, but for Muon's directions, which it leaves in V for Update. The kernel of
// Update works on copies, so the result is exact.
// Numerics: as Stats.
func (a *Optimizer[T]) Trial(params, grads []T, step int64, lr, scale float64, dst []TensorState) (median float64) {
	return a.try(&a.all, params, grads, a.stepAt(step, lr, scale), dst)
}

// UpdateRatio returns what Trial returns, from a sample: the first 4,096 elements of each matrix. It is cheap enough
// for every step.
func (a *Optimizer[T]) UpdateRatio(params, grads []T, step int64, lr, scale float64) (median float64) {
	return a.try(&a.sample, params, grads, a.stepAt(step, lr, scale), a.sampled)
}

// try is Trial on the pieces of an observer.
func (a *Optimizer[T]) try(o *observer[T], params, grads []T, step kernel.AdamWStep,
	dst []TensorState) (median float64) {
	a.check(len(dst), params, grads, a.V)
	a.direct(grads, step.Scale)
	a.step = step
	a.run((*trialLoop[T])(o), len(o.pieces), 1, params, grads)
	for i := range dst {
		dst[i].Update = TensorUpdate{}
	}
	for i, p := range o.pieces {
		d, t := &dst[p.segment].Update, &o.tallies[i]
		d.RMS += t.squares
		d.WeightRMS += t.weights
		d.Max = max(d.Max, t.max) // NaN stays
		d.Unmoved += t.count
	}
	for i := range a.segments {
		d := &dst[i].Update
		n := float64(max(1, o.covered[i]))
		d.RMS, d.WeightRMS = math.Sqrt(d.RMS/n), math.Sqrt(d.WeightRMS/n)
	}
	return UpdateMedian(a.segments, dst, o.ratios)
}

// UpdateMedian returns what Trial returns, from its numbers. room is memory for a ratio of each segment, or nil.
func UpdateMedian(segments []Segment, states []TensorState, room []float64) (median float64) {
	ratios := room[:0]
	for i, s := range segments {
		d := &states[i].Update
		if d.Max-d.Max != 0 {
			return math.NaN()
		}
		if s.Decay && d.WeightRMS >= leastWeight {
			ratios = append(ratios, d.RMS/d.WeightRMS)
		}
	}
	if len(ratios) == 0 {
		return 0
	}
	slices.Sort(ratios)
	n := len(ratios)
	return (ratios[(n-1)/2] + ratios[n/2]) / 2
}

// trialLoop is the loop of Trial and UpdateRatio.
type trialLoop[T kernel.Float] observer[T]

// Part updates copies of the pieces [lo,hi) and measures the change.
func (o *trialLoop[T]) Part(worker, lo, hi int) {
	a := o.a
	scratch := o.scratch[worker*3*block:][:3*block]
	for i := lo; i < hi; i++ {
		at := o.pieces[i]
		n, s := at.hi-at.lo, a.segments[at.segment]
		p, m, v := scratch[:n], scratch[block:block+n], scratch[2*block:2*block+n]
		before := a.params[at.lo:at.hi]
		copy(p, before)
		if a.byMuon(s) {
			a.muonMove(p, a.V[at.lo:at.hi], s)
		} else {
			copy(m, a.M[at.lo:at.hi])
			copy(v, a.V[at.lo:at.hi])
			kernel.AdamW(a.x, p, a.grads[at.lo:at.hi], m, v, a.stepOf(s))
		}
		var squares, top float64
		count := int64(0)
		for j, old := range before {
			d := math.Abs(float64(p[j]) - float64(old))
			if d == 0 {
				count++
			}
			squares += d * d
			if !(d <= top) { // takes a NaN, too, and loses it with the next; the squares keep it
				top = d
			}
		}
		if squares-squares != 0 {
			top = math.NaN()
		}
		o.tallies[i] = tally{squares: squares, weights: kernel.SumSquares(a.x, before), max: top, count: count}
	}
}
