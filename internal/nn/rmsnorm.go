package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// RMSNorm divides each position by the root of its mean square and multiplies by a gain.
//
// Formula: r = 1/√(mean(x²)+eps), y = gain·x·r.
// Source: Zhang and Sennrich 2019, arXiv:1910.07467.
type RMSNorm[T kernel.Float] struct {
	x     *kernel.Exec
	sums  *BlockSums[T]
	stage *Stage[T]
	width int
	eps   float64

	dst, dy kernel.Mat[T]
	rstd    []T
	src, dx []T
	gain    []T
	n       int
}

// NewRMSNorm returns the norm over width channels; sums may be nil where Backward is not called.
func NewRMSNorm[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int, eps float64) *RMSNorm[T] {
	return &RMSNorm[T]{x: x, stage: stage, sums: sums, width: width, eps: eps}
}

// Forward overwrites dst (N, C) and saves rstd (N). src (N, C), gain (C).
//
// Numerics: the mean square is summed in float64.
func (l *RMSNorm[T]) Forward(dst kernel.Mat[T], rstd, src, gain []T, n int) {
	if dst.Cols != l.width || len(gain) != l.width || len(src) < n*l.width || len(rstd) < n {
		panic("nn: rmsnorm: wrong shape")
	}
	l.dst, l.rstd, l.src, l.gain = dst, rstd, src, gain
	l.x.Pool().Do(n, rowGrain, (*rmsForward[T])(l))
}

type rmsForward[T kernel.Float] RMSNorm[T]

func (l *rmsForward[T]) Part(worker, lo, hi int) {
	temp := l.stage.take(worker, l.width)
	for i := lo; i < hi; i++ {
		src := l.src[i*l.width : (i+1)*l.width]
		if l.dst.H != nil {
			l.rstd[i] = T(kernel.RMSNormRow(l.x, row16(l.dst, i), float32s(src), float32s(l.gain), l.eps, float32s(temp)))
			continue
		}
		l.rstd[i] = rmsNormRow(l.x, row(l.dst, i), src, l.gain, l.eps)
	}
}

// rmsNormRow overwrites dst with the norm of src and returns 1/rms.
func rmsNormRow[T kernel.Float](x *kernel.Exec, dst, src, gain []T, eps float64) T {
	r := T(1 / math.Sqrt(kernel.SumSquares(x, src)/float64(len(src))+eps))
	kernel.Affine(x, dst, src, r, 0)
	kernel.Mul(x, dst, dst, gain)
	return r
}

// Backward adds to dx (N, C) and dgain (C). rstd (N) as Forward saved it, dy and src (N, C).
//
// Formula: dx += r·(gain·dy − x·r²·mean(gain·dy·x)), dgain += Σ dy·x·r.
func (l *RMSNorm[T]) Backward(dx, dgain, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	if dy.Cols != l.width || len(gain) != l.width || len(dgain) != l.width || len(src) < n*l.width || len(dx) < n*l.width {
		panic("nn: rmsnorm: wrong shape")
	}
	l.dx, l.rstd, l.dy, l.src, l.gain, l.n = dx, rstd, dy, src, gain, n
	l.x.Pool().Do(blocksOf(n), 1, (*rmsBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
}

type rmsBackward[T kernel.Float] RMSNorm[T]

func (l *rmsBackward[T]) Part(worker, lo, hi int) {
	g := l.sums.temp(worker, l.width)
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, l.width)
		for i := first; i < end; i++ {
			dx, src, r := l.dx[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width], l.rstd[i]
			if l.dy.H != nil {
				kernel.RMSNormBackRow(l.x, float32s(dx), float32s(sum), row16(l.dy, i), float32s(src), float32s(l.gain), float32(r), float32s(g))
				continue
			}
			dy := row(l.dy, i)
			kernel.Mul(l.x, g, dy, src)
			kernel.Axpy(l.x, sum, r, g)
			m := kernel.Dot(l.x, g, l.gain) * r * r / T(l.width)
			kernel.Mul(l.x, g, dy, l.gain)
			kernel.Axpy(l.x, dx, r, g)
			kernel.Axpy(l.x, dx, -r*m, src)
		}
	}
}
