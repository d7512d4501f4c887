package kernel

import "math"

// LayerNormRow sets dst = gain·(src-mean)·rstd + bias and returns mean and rstd = 1/√(variance+eps) of src. temp has
// src's length.
//
// Memory: overwrites dst.
// Numerics: the mean is summed in T, the squares of the centred elements in float64; bits depend on the values, the
// length and the tier only.
func LayerNormRow[T Float](x *Exec, dst Row[T], src, gain, bias []T, eps float64, temp []T) (mean, rstd T) {
	n := len(src)
	if f := x.bf16.fused.layerNorm; f != nil && n > 0 && len(dst.H) == n {
		mean, rstd := f(&dst.H[0], first(src, n), first(gain, n), first(bias, n), n, eps)
		return T(mean), T(rstd)
	}
	v := dst.Target(temp)
	mean = Sum(x, src) / T(n)
	Affine(x, v, src, 1, -mean)
	rstd = T(1 / math.Sqrt(SumSquares(x, v)/float64(n)+eps))
	Affine(x, v, v, rstd, 0)
	Mul(x, v, v, gain)
	Axpy(x, v, 1, bias)
	dst.Write(x, v)
	return mean, rstd
}

// LayerNormBackRow adds the gradients of a LayerNormRow to dx, dgain and dbias, given dy, the gradient of its output,
// and what it returned. temp has twice src's length.
//
// Formula: with x̂ = (src-mean)·rstd and g = gain·dy, dx += rstd·(g - mean(g) - x̂·mean(g·x̂)), dgain += dy·x̂, dbias
// += dy.
// Numerics: T; bits depend on the values, the length and the tier only.
func LayerNormBackRow[T Float](x *Exec, dx, dgain, dbias []T, dy Row[T], src, gain []T, mean, rstd T, temp []T) {
	n := len(src)
	if f := x.bf16.fused.layerNormBack; f != nil && n > 0 && len(dy.H) == n {
		f(first(dx, n), first(dgain, n), first(dbias, n), &dy.H[0], first(src, n), first(gain, n),
			float32(mean), float32(rstd), n)
		return
	}
	norm, g := temp[:n], temp[n:2*n]
	d := dy.Read(x, g)
	Affine(x, norm, src, rstd, -mean*rstd)
	MulAdd(x, dgain, d, norm)
	Axpy(x, dbias, 1, d)
	Mul(x, g, d, gain)
	shift, slope := Sum(x, g)/T(n), Dot(x, g, norm)/T(n)
	Axpy(x, dx, -rstd*slope, norm)
	Affine(x, g, g, rstd, -rstd*shift)
	Axpy(x, dx, 1, g)
}

// RMSNormRow sets dst = gain·src·rstd and returns rstd = 1/√(mean square of src + eps). temp has src's length.
//
// Memory: overwrites dst, which may be src.
// Numerics: as LayerNormRow's.
func RMSNormRow[T Float](x *Exec, dst Row[T], src, gain []T, eps float64, temp []T) (rstd T) {
	n := len(src)
	if f := x.bf16.fused.rmsNorm; f != nil && n > 0 && len(dst.H) == n {
		return T(f(&dst.H[0], first(src, n), first(gain, n), n, eps))
	}
	v := dst.Target(temp)
	rstd = T(1 / math.Sqrt(SumSquares(x, src)/float64(n)+eps))
	Affine(x, v, src, rstd, 0)
	Mul(x, v, v, gain)
	dst.Write(x, v)
	return rstd
}

// RMSNormBackRow adds the gradients of an RMSNormRow to dx and dgain, given dy, the gradient of its output, and what it
// returned. temp has src's length.
//
// Formula: with x̂ = src·rstd and g = gain·dy, dx += rstd·(g - x̂·mean(g·x̂)), dgain += dy·x̂.
// Numerics: as LayerNormBackRow's.
func RMSNormBackRow[T Float](x *Exec, dx, dgain []T, dy Row[T], src, gain []T, rstd T, temp []T) {
	n := len(src)
	if f := x.bf16.fused.rmsNormBack; f != nil && n > 0 && len(dy.H) == n {
		f(first(dx, n), first(dgain, n), &dy.H[0], first(src, n), first(gain, n), float32(rstd), n)
		return
	}
	g := temp[:n]
	Mul(x, g, dy.Read(x, g), src)
	Axpy(x, dgain, rstd, g)
	slope := Dot(x, g, gain) * rstd * rstd / T(n)
	Mul(x, g, dy.Read(x, g), gain)
	Axpy(x, dx, rstd, g)
	Axpy(x, dx, -rstd*slope, src)
}

// AddRow sets dst = src + (term+bias). bias may be nil. temp has term's length.
//
// Memory: overwrites dst, which may be src, and term.
func AddRow[T Float](x *Exec, dst, src []T, term Row[T], bias, temp []T) {
	if f, n := x.bf16.fused.add, len(term.H); f != nil && n > 0 {
		f(first(dst, n), first(src, n), &term.H[0], first(bias, n), n)
		return
	}
	v := term.Read(x, temp)
	if bias != nil {
		Axpy(x, v, 1, bias[:len(v)])
	}
	copy(dst[:len(v)], src)
	Axpy(x, dst, 1, v)
}

// RoundSumRow sets dst = src, rounded, and adds src to sum unless that is nil.
func RoundSumRow[T Float](x *Exec, dst Row[T], src, sum []T) {
	if f, n := x.bf16.fused.roundSum, len(dst.H); f != nil && n > 0 && sum != nil {
		f(&dst.H[0], first(src, n), first(sum, n), n)
		return
	}
	addTo(x, sum, src)
	dst.Write(x, src)
}
