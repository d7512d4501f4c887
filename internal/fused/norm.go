package fused

import (
	"math"

	"gimbal/internal/kernel"
)

// LayerNorm sets dst = gain·(src-mean)·rstd + bias and returns mean and rstd = 1/√(variance+eps) of src. temp has
// src's length.
//
// Memory: overwrites dst.
// Numerics: the mean is summed in T, the squares of the centred elements in float64; bits depend on the values, the
// length and the tier only. Squares whose sum is no finite float32 make dst and rstd NaN.
func LayerNorm[T kernel.Float](x *kernel.Exec, dst kernel.Row[T], src, gain, bias []T, eps float64,
	temp []T) (mean, rstd T) {
	n := len(src)
	if f := loopsOf(x).layerNorm; f != nil && n > 0 && len(dst.H) == n {
		mean, rstd := f(&dst.H[0], first(src, n), first(gain, n), first(bias, n), n, eps)
		return T(mean), sound(x, dst, T(rstd), temp)
	}
	v := dst.Target(temp)
	mean = kernel.Sum(x, src) / T(n)
	kernel.Affine(x, v, src, 1, -mean)
	rstd = T(1 / math.Sqrt(kernel.SumSquares(x, v)/float64(n)+eps))
	kernel.Affine(x, v, v, rstd, 0)
	kernel.Mul(x, v, v, gain)
	kernel.Axpy(x, v, 1, bias)
	dst.Write(x, v)
	return mean, sound(x, dst, rstd, temp)
}

// sound returns rstd. If it is that of squares whose sum is no finite float32, it makes dst and the result NaN. A
// weight that broke would otherwise leave rows that look healthy, and gradients that vanish or explode some steps
// later. On a device such a sum overflows, so both see the same step fail.
func sound[T kernel.Float](x *kernel.Exec, dst kernel.Row[T], rstd T, temp []T) T {
	v := dst.Target(temp)
	if r := float64(rstd); r*r*math.MaxFloat32 >= float64(len(v)) {
		return rstd
	}
	nan := T(math.NaN())
	for i := range v {
		v[i] = nan
	}
	dst.Write(x, v)
	return nan
}

// LayerNormBack adds the gradients of a LayerNorm to dx, dgain and dbias, given dy, the gradient of its output,
// and what it returned. temp has twice src's length.
//
// Formula: with x̂ = (src-mean)·rstd and g = gain·dy, dx += rstd·(g - mean(g) - x̂·mean(g·x̂)), dgain += dy·x̂, dbias
// += dy.
// Numerics: T; bits depend on the values, the length and the tier only.
func LayerNormBack[T kernel.Float](x *kernel.Exec, dx, dgain, dbias []T, dy kernel.Row[T], src, gain []T,
	mean, rstd T, temp []T) {
	n := len(src)
	if f := loopsOf(x).layerNormBack; f != nil && n > 0 && len(dy.H) == n {
		f(first(dx, n), first(dgain, n), first(dbias, n), &dy.H[0], first(src, n), first(gain, n),
			float32(mean), float32(rstd), n)
		return
	}
	norm, g := temp[:n], temp[n:2*n]
	d := dy.Read(x, g)
	kernel.Affine(x, norm, src, rstd, -mean*rstd)
	kernel.MulAdd(x, dgain, d, norm)
	kernel.Axpy(x, dbias, 1, d)
	kernel.Mul(x, g, d, gain)
	shift, slope := kernel.Sum(x, g)/T(n), kernel.Dot(x, g, norm)/T(n)
	kernel.Axpy(x, dx, -rstd*slope, norm)
	kernel.Affine(x, g, g, rstd, -rstd*shift)
	kernel.Axpy(x, dx, 1, g)
}

// RMSNorm sets dst = gain·src·rstd and returns rstd = 1/√(mean square of src + eps). temp has src's length.
//
// Memory: overwrites dst, which may be src.
// Numerics: as LayerNorm's.
func RMSNorm[T kernel.Float](x *kernel.Exec, dst kernel.Row[T], src, gain []T, eps float64, temp []T) (rstd T) {
	n := len(src)
	if f := loopsOf(x).rmsNorm; f != nil && n > 0 && len(dst.H) == n {
		return sound(x, dst, T(f(&dst.H[0], first(src, n), first(gain, n), n, eps)), temp)
	}
	v := dst.Target(temp)
	rstd = T(1 / math.Sqrt(kernel.SumSquares(x, src)/float64(n)+eps))
	kernel.Affine(x, v, src, rstd, 0)
	kernel.Mul(x, v, v, gain)
	dst.Write(x, v)
	return sound(x, dst, rstd, temp)
}

// RMSNormBack adds the gradients of an RMSNorm to dx and dgain, given dy, the gradient of its output, and what it
// returned. temp has src's length.
//
// Formula: with x̂ = src·rstd and g = gain·dy, dx += rstd·(g - x̂·mean(g·x̂)), dgain += dy·x̂.
// Numerics: as LayerNormBack's.
func RMSNormBack[T kernel.Float](x *kernel.Exec, dx, dgain []T, dy kernel.Row[T], src, gain []T, rstd T, temp []T) {
	n := len(src)
	if f := loopsOf(x).rmsNormBack; f != nil && n > 0 && len(dy.H) == n {
		f(first(dx, n), first(dgain, n), &dy.H[0], first(src, n), first(gain, n), float32(rstd), n)
		return
	}
	g := temp[:n]
	kernel.Mul(x, g, dy.Read(x, g), src)
	kernel.Axpy(x, dgain, rstd, g)
	slope := kernel.Dot(x, g, gain) * rstd * rstd / T(n)
	kernel.Mul(x, g, dy.Read(x, g), gain)
	kernel.Axpy(x, dx, rstd, g)
	kernel.Axpy(x, dx, -rstd*slope, src)
}

// Add sets dst = src + (term+bias). bias may be nil. temp has term's length.
//
// Memory: overwrites dst, which may be src, and term.
func Add[T kernel.Float](x *kernel.Exec, dst, src []T, term kernel.Row[T], bias, temp []T) {
	if f, n := loopsOf(x).add, len(term.H); f != nil && n > 0 {
		f(first(dst, n), first(src, n), &term.H[0], first(bias, n), n)
		return
	}
	v := term.Read(x, temp)
	if bias != nil {
		kernel.Axpy(x, v, 1, bias[:len(v)])
	}
	copy(dst[:len(v)], src)
	kernel.Axpy(x, dst, 1, v)
}

// RoundSum sets dst = src, rounded, and adds src to sum unless that is nil.
func RoundSum[T kernel.Float](x *kernel.Exec, dst kernel.Row[T], src, sum []T) {
	if f, n := loopsOf(x).roundSum, len(dst.H); f != nil && n > 0 && sum != nil {
		f(&dst.H[0], first(src, n), first(sum, n), n)
		return
	}
	addTo(x, sum, src)
	dst.Write(x, src)
}
