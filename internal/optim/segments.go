package optim

import (
	"math"

	"gimbal/internal/kernel"
)

// SegmentNorms overwrites dst with the Euclidean norm of each segment of grads, in the order of NewAdamW.
//
// Shapes: grads (n); dst (segments).
// Numerics: squares and sums in float64 from pieces of fixed size, added in order: the same bits for any number of
// workers. NaN and Inf are returned as they come.
func (a *AdamW[T]) SegmentNorms(grads []T, dst []float64) {
	if len(grads) != len(a.M) || len(dst) != len(a.segments) {
		panic("optim: slice of the wrong length")
	}
	o := &a.observer
	o.grads = grads
	a.x.Pool().Do(len(o.pieces), 1, (*pieceSquares[T])(o))
	o.grads = nil
	clear(dst)
	for i, p := range o.pieces {
		dst[p.segment] += o.tallies[i].squares
	}
	for i := range dst {
		dst[i] = math.Sqrt(dst[i])
	}
}

// pieceSquares is the loop of SegmentNorms.
type pieceSquares[T kernel.Float] observer[T]

// Part sums the squares of the pieces [lo,hi).
func (o *pieceSquares[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		o.tallies[i].squares = kernel.SumSquares(o.a.x, o.grads[o.pieces[i].lo:o.pieces[i].hi])
	}
}

// ScaleSegments multiplies each segment of grads by its factor. A factor of 1 leaves its segment alone.
//
// Shapes: grads (n); factors (segments).
func (a *AdamW[T]) ScaleSegments(grads []T, factors []float64) {
	if len(grads) != len(a.M) || len(factors) != len(a.segments) {
		panic("optim: slice of the wrong length")
	}
	o := &a.observer
	o.grads, o.factors = grads, factors
	a.x.Pool().Do(len(o.pieces), 1, (*scalePieces[T])(o))
	o.grads, o.factors = nil, nil
}

// scalePieces is the loop of ScaleSegments.
type scalePieces[T kernel.Float] observer[T]

// Part multiplies the pieces [lo,hi) by the factors of their segments.
func (o *scalePieces[T]) Part(_, lo, hi int) {
	for _, p := range o.pieces[lo:hi] {
		if f := o.factors[p.segment]; f != 1 {
			g := o.grads[p.lo:p.hi]
			kernel.Affine(o.a.x, g, g, T(f), 0)
		}
	}
}
