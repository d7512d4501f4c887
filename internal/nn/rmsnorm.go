package nn

import "gimbal/internal/kernel"

// RMSNorm divides each position by the root of its mean square and multiplies by a gain.
//
// Formula: r = 1/√(mean(x²)+eps), y = gain·x·r.
// Source: Zhang and Sennrich 2019, arXiv:1910.07467.
type RMSNorm[T kernel.Float] struct {
	rows[T]
	width int
	eps   float64

	dst, dy kernel.Mat[T]
	rstd    []T
	src, dx []T
	gain    []T
}

// NewRMSNorm returns the norm over width channels; sums may be nil where Backward is not called.
func NewRMSNorm[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int,
	eps float64) *RMSNorm[T] {
	return &RMSNorm[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, width: width, eps: eps}
}

// Forward overwrites dst (N, C) and saves rstd (N). src (N, C), gain (C).
//
// Numerics: the mean square is summed in float64.
func (l *RMSNorm[T]) Forward(dst kernel.Mat[T], rstd, src, gain []T, n int) {
	if dst.Cols != l.width || len(gain) != l.width || len(src) < n*l.width || len(rstd) < n {
		panic("nn: rmsnorm: wrong shape")
	}
	l.dst, l.rstd, l.src, l.gain = dst, rstd, src, gain
	l.each(n, (*rmsForward[T])(l))
}

type rmsForward[T kernel.Float] RMSNorm[T]

func (l *rmsForward[T]) row(worker, i int, _ []T) {
	src, temp := l.src[i*l.width:(i+1)*l.width], l.stage.take(worker, l.width)
	l.rstd[i] = kernel.RMSNormRow(l.x, l.dst.Row(i), src, l.gain, l.eps, temp)
}

// Backward adds to dx (N, C) and dgain (C). rstd (N) as Forward saved it, dy and src (N, C).
//
// Formula: dx += r·(gain·dy − x·r²·mean(gain·dy·x)), dgain += Σ dy·x·r.
func (l *RMSNorm[T]) Backward(dx, dgain, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	if dy.Cols != l.width || len(gain) != l.width || len(dgain) != l.width ||
		len(src) < n*l.width || len(dx) < n*l.width {
		panic("nn: rmsnorm: wrong shape")
	}
	l.dx, l.rstd, l.dy, l.src, l.gain = dx, rstd, dy, src, gain
	l.eachSummed(n, l.width, (*rmsBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
}

type rmsBackward[T kernel.Float] RMSNorm[T]

func (l *rmsBackward[T]) row(worker, i int, dgain []T) {
	dx, src := l.dx[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width]
	kernel.RMSNormBackRow(l.x, dx, dgain, l.dy.Row(i), src, l.gain, l.rstd[i], l.sums.temp(worker, l.width))
}
