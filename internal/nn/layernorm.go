package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// LayerNorm centres each position, divides by its standard deviation, multiplies by a gain and adds a bias.
//
// Formula: x̂ = (x−mean)·r with r = 1/√(var+eps), y = gain·x̂ + bias.
// Source: Ba et al. 2016, arXiv:1607.06450.
type LayerNorm[T kernel.Float] struct {
	x     *kernel.Exec
	sums  *BlockSums[T]
	stage *Stage[T]
	width int
	eps   float64

	dst, dy    kernel.Mat[T]
	mean, rstd []T
	src, dx    []T
	gain, bias []T
	n          int
}

// NewLayerNorm returns the norm over width channels; sums (at least 2·width wide) may be nil where Backward is not called.
func NewLayerNorm[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int, eps float64) *LayerNorm[T] {
	return &LayerNorm[T]{x: x, stage: stage, sums: sums, width: width, eps: eps}
}

// Forward overwrites dst (N, C) and saves mean and rstd (N). src (N, C); gain and bias (C).
//
// Numerics: the variance is that of the centred values, summed in float64.
func (l *LayerNorm[T]) Forward(dst kernel.Mat[T], mean, rstd, src, gain, bias []T, n int) {
	if dst.Cols != l.width || len(gain) != l.width || len(bias) != l.width || len(src) < n*l.width || len(rstd) < n || len(mean) < n {
		panic("nn: layernorm: wrong shape")
	}
	l.dst, l.mean, l.rstd, l.src, l.gain, l.bias = dst, mean, rstd, src, gain, bias
	l.x.Pool().Do(n, rowGrain, (*layerNormForward[T])(l))
}

type layerNormForward[T kernel.Float] LayerNorm[T]

func (l *layerNormForward[T]) Part(worker, lo, hi int) {
	temp := l.stage.take(worker, l.width)
	for i := lo; i < hi; i++ {
		src := l.src[i*l.width : (i+1)*l.width]
		if l.dst.H != nil {
			mean, r := kernel.LayerNormRow(l.x, row16(l.dst, i), float32s(src), float32s(l.gain), float32s(l.bias), l.eps, float32s(temp))
			l.mean[i], l.rstd[i] = T(mean), T(r)
			continue
		}
		dst := row(l.dst, i)
		mean := kernel.Sum(l.x, src) / T(l.width)
		kernel.Affine(l.x, dst, src, 1, -mean)
		r := T(1 / math.Sqrt(kernel.SumSquares(l.x, dst)/float64(l.width)+l.eps))
		kernel.Affine(l.x, dst, dst, r, 0)
		kernel.Mul(l.x, dst, dst, l.gain)
		kernel.Axpy(l.x, dst, 1, l.bias)
		l.mean[i], l.rstd[i] = mean, r
	}
}

// Backward adds to dx (N, C), dgain and dbias (C). mean and rstd (N) as Forward saved them, dy and src (N, C).
//
// Formula: with g = gain·dy, dx += r·(g − mean(g) − x̂·mean(g·x̂)); dgain += Σ dy·x̂, dbias += Σ dy.
func (l *LayerNorm[T]) Backward(dx, dgain, dbias, mean, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	if dy.Cols != l.width || len(gain) != l.width || len(dgain) != l.width || len(dbias) != l.width || len(src) < n*l.width || len(dx) < n*l.width {
		panic("nn: layernorm: wrong shape")
	}
	l.dx, l.mean, l.rstd, l.dy, l.src, l.gain, l.n = dx, mean, rstd, dy, src, gain, n
	l.x.Pool().Do(blocksOf(n), 1, (*layerNormBackward[T])(l))
	l.sums.addTo(dgain, 0, n)
	l.sums.addTo(dbias, l.width, n)
}

type layerNormBackward[T kernel.Float] LayerNorm[T]

func (l *layerNormBackward[T]) Part(worker, lo, hi int) {
	temp := l.sums.temp(worker, 2*l.width)
	norm, g := temp[:l.width], temp[l.width:]
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, 2*l.width)
		dgain, dbias := sum[:l.width], sum[l.width:]
		for i := first; i < end; i++ {
			dx, src, r := l.dx[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width], l.rstd[i]
			if l.dy.H != nil {
				kernel.LayerNormBackRow(l.x, float32s(dx), float32s(dgain), float32s(dbias), row16(l.dy, i), float32s(src), float32s(l.gain),
					float32(l.mean[i]), float32(r), float32s(temp))
				continue
			}
			dy := row(l.dy, i)
			kernel.Affine(l.x, norm, src, r, -l.mean[i]*r)
			kernel.MulAdd(l.x, dgain, dy, norm)
			kernel.Axpy(l.x, dbias, 1, dy)
			kernel.Mul(l.x, g, dy, l.gain)
			mean := kernel.Sum(l.x, g) / T(l.width)
			m := kernel.Dot(l.x, g, norm) / T(l.width)
			kernel.Axpy(l.x, dx, -r*m, norm)
			kernel.Affine(l.x, g, g, r, -r*mean)
			kernel.Axpy(l.x, dx, 1, g)
		}
	}
}
