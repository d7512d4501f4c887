package nn

import "gimbal/internal/kernel"

// HeadNorm is RMSNorm over the D channels of each head, all heads sharing one gain (QK-norm, before rotation).
//
// Source: Henry et al. 2020, arXiv:2010.04245; the form with a gain is that of Qwen3.
type HeadNorm[T kernel.Float] struct {
	x    *kernel.Exec
	sums *BlockSums[T]
	size int
	eps  float64

	dst, src kernel.Mat[T]
	rstd     []T
	gain     []T
	n        int
}

// NewHeadNorm returns the norm over heads of size channels; sums may be nil where Backward is not called.
func NewHeadNorm[T kernel.Float](x *kernel.Exec, sums *BlockSums[T], size int, eps float64) *HeadNorm[T] {
	return &HeadNorm[T]{x: x, sums: sums, size: size, eps: eps}
}

// Forward overwrites dst (N, heads·D) and saves rstd (N, heads). src (N, heads·D), gain (D).
func (l *HeadNorm[T]) Forward(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], gain []T, n int) {
	l.check(dst, rstd, src, gain, n)
	l.dst, l.rstd, l.src, l.gain = dst, rstd, src, gain
	l.x.Pool().Do(n, rowGrain, (*headNormForward[T])(l))
}

func (l *HeadNorm[T]) check(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], gain []T, n int) {
	if dst.Cols != src.Cols || src.Cols%l.size != 0 || len(gain) != l.size || len(rstd) < n*(src.Cols/l.size) {
		panic("nn: head norm: wrong shape")
	}
}

type headNormForward[T kernel.Float] HeadNorm[T]

func (l *headNormForward[T]) Part(_, lo, hi int) {
	heads := l.src.Cols / l.size
	for i := lo; i < hi; i++ {
		dst, src := row(l.dst, i), row(l.src, i)
		for h := range heads {
			l.rstd[i*heads+h] = rmsNormRow(l.x, dst[h*l.size:(h+1)*l.size], src[h*l.size:(h+1)*l.size], l.gain, l.eps)
		}
	}
}

// Backward turns dy (N, heads·D), the gradient of the output, into that of the input in place, and adds to dgain (D).
// rstd as Forward saved it, src (N, heads·D) its input.
func (l *HeadNorm[T]) Backward(dy kernel.Mat[T], dgain, rstd []T, src kernel.Mat[T], gain []T, n int) {
	l.check(dy, rstd, src, gain, n)
	l.dst, l.rstd, l.src, l.gain, l.n = dy, rstd, src, gain, n
	l.x.Pool().Do(blocksOf(n), 1, (*headNormBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
}

type headNormBackward[T kernel.Float] HeadNorm[T]

func (l *headNormBackward[T]) Part(worker, lo, hi int) {
	heads := l.src.Cols / l.size
	g := l.sums.temp(worker, l.size)
	for b := lo; b < hi; b++ {
		dgain, first, end := l.sums.block(b, l.n, l.size)
		for i := first; i < end; i++ {
			dy, src := row(l.dst, i), row(l.src, i)
			for h := range heads {
				headNormRowBack(l.x, dy[h*l.size:(h+1)*l.size], dgain, src[h*l.size:(h+1)*l.size], l.gain, g, l.rstd[i*heads+h])
			}
		}
	}
}

// headNormRowBack turns dy, one head of one position, into the gradient of src, and adds to dgain. temp is as long.
func headNormRowBack[T kernel.Float](x *kernel.Exec, dy, dgain, src, gain, temp []T, r T) {
	kernel.Mul(x, temp, dy, src)
	kernel.Axpy(x, dgain, r, temp)
	m := kernel.Dot(x, temp, gain) * r * r / T(len(src))
	kernel.Mul(x, dy, dy, gain)
	kernel.Affine(x, dy, dy, r, 0)
	kernel.Axpy(x, dy, -r*m, src)
}
