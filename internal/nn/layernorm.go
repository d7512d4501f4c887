package nn

import "gimbal/internal/kernel"

// LayerNorm centres each position, divides by its standard deviation, multiplies by a gain and adds a bias.
//
// Formula: x̂ = (x−mean)·r with r = 1/√(var+eps), y = gain·x̂ + bias.
// Source: Ba et al. 2016, arXiv:1607.06450.
type LayerNorm[T kernel.Float] struct {
	rows[T]
	width int
	eps   float64

	dst, dy    kernel.Mat[T]
	mean, rstd []T
	src, dx    []T
	gain, bias []T
}

// NewLayerNorm returns the norm over width channels; sums (at least 2·width wide) may be nil where Backward is not
// called.
func NewLayerNorm[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int,
	eps float64) *LayerNorm[T] {
	return &LayerNorm[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, width: width, eps: eps}
}

// Forward overwrites dst (N, C) and saves mean and rstd (N). src (N, C); gain and bias (C).
//
// Numerics: the variance is that of the centred values, summed in float64.
func (l *LayerNorm[T]) Forward(dst kernel.Mat[T], mean, rstd, src, gain, bias []T, n int) {
	if dst.Cols != l.width || len(gain) != l.width || len(bias) != l.width ||
		len(src) < n*l.width || len(rstd) < n || len(mean) < n {
		panic("nn: layernorm: wrong shape")
	}
	l.dst, l.mean, l.rstd, l.src, l.gain, l.bias = dst, mean, rstd, src, gain, bias
	l.each(n, (*layerNormForward[T])(l))
}

type layerNormForward[T kernel.Float] LayerNorm[T]

func (l *layerNormForward[T]) row(worker, i int, _ []T) {
	src, temp := l.src[i*l.width:(i+1)*l.width], l.stage.take(worker, l.width)
	l.mean[i], l.rstd[i] = kernel.LayerNormRow(l.x, l.dst.Row(i), src, l.gain, l.bias, l.eps, temp)
}

// Backward adds to dx (N, C), dgain and dbias (C). mean and rstd (N) as Forward saved them, dy and src (N, C).
//
// Formula: with g = gain·dy, dx += r·(g − mean(g) − x̂·mean(g·x̂)); dgain += Σ dy·x̂, dbias += Σ dy.
func (l *LayerNorm[T]) Backward(dx, dgain, dbias, mean, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	if dy.Cols != l.width || len(gain) != l.width || len(dgain) != l.width || len(dbias) != l.width ||
		len(src) < n*l.width || len(dx) < n*l.width {
		panic("nn: layernorm: wrong shape")
	}
	l.dx, l.mean, l.rstd, l.dy, l.src, l.gain = dx, mean, rstd, dy, src, gain
	l.eachSummed(n, 2*l.width, (*layerNormBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
	l.sums.addTo(dbias, l.width, n)
}

type layerNormBackward[T kernel.Float] LayerNorm[T]

func (l *layerNormBackward[T]) row(worker, i int, sum []T) {
	dx, src := l.dx[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width]
	dgain, dbias, temp := sum[:l.width], sum[l.width:], l.sums.temp(worker, 2*l.width)
	kernel.LayerNormBackRow(l.x, dx, dgain, dbias, l.dy.Row(i), src, l.gain, l.mean[i], l.rstd[i], temp)
}
