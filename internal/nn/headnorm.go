package nn

import "gimbal/internal/kernel"

// HeadNorm is RMSNorm over the D channels of each head, all heads sharing one gain (QK-norm, before rotation).
//
// Source: Henry et al. 2020, arXiv:2010.04245; the form with a gain is that of Qwen3.
type HeadNorm[T kernel.Float] struct {
	rows[T]
	size int
	eps  float64

	dst, src kernel.Mat[T]
	rstd     []T
	gain     []T
}

// NewHeadNorm returns the norm over heads of size channels; sums may be nil where Backward is not called.
func NewHeadNorm[T kernel.Float](x *kernel.Exec, sums *BlockSums[T], size int, eps float64) *HeadNorm[T] {
	return &HeadNorm[T]{rows: rows[T]{x: x, sums: sums}, size: size, eps: eps}
}

// Forward overwrites dst (N, heads·D) and saves rstd (N, heads). src (N, heads·D), gain (D).
func (l *HeadNorm[T]) Forward(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], gain []T, n int) {
	l.check(dst, rstd, src, gain, n)
	l.dst, l.rstd, l.src, l.gain = dst, rstd, src, gain
	l.each(n, (*headNormForward[T])(l))
}

func (l *HeadNorm[T]) check(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], gain []T, n int) {
	if dst.Cols != src.Cols || src.Cols%l.size != 0 || len(gain) != l.size || len(rstd) < n*(src.Cols/l.size) {
		panic("nn: head norm: wrong shape")
	}
}

type headNormForward[T kernel.Float] HeadNorm[T]

func (l *headNormForward[T]) row(_, i int, _ []T) {
	dst, src, d := l.dst.Row(i), l.src.RowF(i), l.size
	rstd := l.rstd[i*len(src)/d:]
	for at := 0; at < len(src); at += d {
		rstd[at/d] = kernel.RMSNormRow(l.x, dst.Slice(at, at+d), src[at:at+d], l.gain, l.eps, nil)
	}
}

// Backward turns dy (N, heads·D), the gradient of the output, into that of the input in place, and adds to dgain (D).
// rstd as Forward saved it, src (N, heads·D) its input.
func (l *HeadNorm[T]) Backward(dy kernel.Mat[T], dgain, rstd []T, src kernel.Mat[T], gain []T, n int) {
	l.check(dy, rstd, src, gain, n)
	l.dst, l.rstd, l.src, l.gain = dy, rstd, src, gain
	l.eachSummed(n, l.size, (*headNormBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
}

type headNormBackward[T kernel.Float] HeadNorm[T]

func (l *headNormBackward[T]) row(worker, i int, dgain []T) {
	dy, src, d := l.dst.RowF(i), l.src.RowF(i), l.size
	rstd, temp := l.rstd[i*len(src)/d:], l.sums.temp(worker, d)
	for at := 0; at < len(src); at += d {
		kernel.HeadNormBackRow(l.x, dy[at:at+d], dgain, src[at:at+d], l.gain, temp, rstd[at/d])
	}
}
