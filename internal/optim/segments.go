package optim

import (
	"math"

	"gimbal/internal/kernel"
)

// SegmentNorms overwrites dst with the Euclidean norm of each segment of grads, in the order of NewAdamW.
//
// Shapes: grads (n); dst (segments).
// Numerics: as GlobalNorm.
func (a *AdamW[T]) SegmentNorms(grads []T, dst []float64) {
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
func (a *AdamW[T]) ScaleSegments(grads []T, factors []float64) {
	a.check(len(factors), grads)
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
