package nn

import (
	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Norm is RMSNorm, which divides each position by the root of its mean square and multiplies by a gain, or LayerNorm,
// which centres the position first and adds a bias.
//
// Formula: RMSNorm: r = 1/√(mean(x²)+eps), y = gain·x·r.
// LayerNorm: r = 1/√(var+eps), y = gain·(x−mean)·r + bias.
// Source: Zhang and Sennrich 2019, arXiv:1910.07467; Ba et al. 2016, arXiv:1607.06450.
type Norm[T kernel.Float] struct {
	rows[T]
	width int
	eps   float64

	dst, dy    kernel.Mat[T]
	mean, rstd []T
	src, dx    []T
	gain, bias []T
}

// NewNorm returns the norm over width channels; sums (at least 2·width wide) may be nil where Backward is not called.
func NewNorm[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int, eps float64) *Norm[T] {
	return &Norm[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, width: width, eps: eps}
}

// Forward overwrites dst (N, C) and saves rstd (N), and for LayerNorm mean (N). src (N, C), gain (C), bias (C); a bias
// that is nil makes it RMSNorm.
//
// Numerics: the squares are summed in float64, for LayerNorm those of the centred values.
func (l *Norm[T]) Forward(dst kernel.Mat[T], mean, rstd, src, gain, bias []T, n int) {
	require(dst.Cols == l.width && len(gain) == l.width && len(src) >= n*l.width && len(rstd) >= n &&
		(bias == nil || len(bias) == l.width && len(mean) >= n), "nn: norm: wrong shape")
	l.dst, l.mean, l.rstd, l.src, l.gain, l.bias = dst, mean, rstd, src, gain, bias
	l.each(n, (*normForward[T])(l))
}

type normForward[T kernel.Float] Norm[T]

func (l *normForward[T]) row(worker, i int, _ []T) {
	dst, src, temp := l.dst.Row(i), l.src[i*l.width:(i+1)*l.width], l.stage.take(worker, l.width)
	if l.bias == nil {
		l.rstd[i] = fused.RMSNorm(l.x, dst, src, l.gain, l.eps, temp)
	} else {
		l.mean[i], l.rstd[i] = fused.LayerNorm(l.x, dst, src, l.gain, l.bias, l.eps, temp)
	}
}

// Backward adds to dx (N, C) and dgain (C), and for LayerNorm to dbias (C); either may be nil where nobody asks for it.
// mean and rstd (N) as Forward saved them, dy and src (N, C). A mean that is nil makes it RMSNorm.
//
// Formula: with x̂ = x·r, or (x−mean)·r for LayerNorm, and g = gain·dy: dx += r·(g − x̂·mean(g·x̂)), for LayerNorm less
// r·mean(g); dgain += Σ dy·x̂, dbias += Σ dy.
func (l *Norm[T]) Backward(dx, dgain, dbias, mean, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	require(dy.Cols == l.width && len(gain) == l.width && (dgain == nil || len(dgain) == l.width) &&
		len(src) >= n*l.width && len(dx) >= n*l.width && (dbias == nil || len(dbias) == l.width && mean != nil),
		"nn: norm: wrong shape")
	l.dx, l.mean, l.rstd, l.dy, l.src, l.gain = dx, mean, rstd, dy, src, gain
	sums := l.width
	if mean != nil {
		sums *= 2
	}
	l.eachSummed(n, sums, (*normBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
	l.sums.addTo(dbias, l.width, n)
}

type normBackward[T kernel.Float] Norm[T]

func (l *normBackward[T]) row(worker, i int, sum []T) {
	dx, dy, src := l.dx[i*l.width:(i+1)*l.width], l.dy.Row(i), l.src[i*l.width:(i+1)*l.width]
	dgain, dbias, temp := sum[:l.width], sum[l.width:], l.sums.temp(worker, 2*l.width)
	if l.mean == nil {
		fused.RMSNormBack(l.x, dx, dgain, dy, src, l.gain, l.rstd[i], temp)
	} else {
		fused.LayerNormBack(l.x, dx, dgain, dbias, dy, src, l.gain, l.mean[i], l.rstd[i], temp)
	}
}
