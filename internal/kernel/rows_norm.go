package kernel

import "math"

// LayerNormRow sets dst = gain·(src-mean)·rstd + bias, rounded to bfloat16, and
// returns mean and rstd = 1/√(variance+eps) of src. temp is scratch memory of
// src's length.
//
// Memory: overwrites dst.
// Numerics: the mean is added in float32, the variance, that of the centred
// elements, in float64; bits depend on the values, the length and the tier only.
func LayerNormRow(x *Exec, dst []uint16, src, gain, bias []float32, eps float64, temp []float32) (mean, rstd float32) {
	n := len(src)
	dst, gain, bias = dst[:n], gain[:n], bias[:n]
	if f := x.bf16.fused.layerNorm; f != nil && n > 0 {
		return f(&dst[0], &src[0], &gain[0], &bias[0], n, eps)
	}
	temp = temp[:n]
	mean = Sum(x, src) / float32(n)
	Affine(x, temp, src, 1, -mean)
	rstd = float32(1 / math.Sqrt(SumSquares(x, temp)/float64(n)+eps))
	Affine(x, temp, temp, rstd, 0)
	Mul(x, temp, temp, gain)
	Axpy(x, temp, 1, bias)
	ToBF16(x, dst, temp)
	return mean, rstd
}

// LayerNormBackRow adds the gradients of a LayerNormRow to dx, dgain and dbias,
// given dy, that of its output, and what it returned. temp is scratch memory of
// twice src's length.
//
// Formula: with x̂ = (src-mean)·rstd and g = gain·dy, dx += rstd·(g - mean(g) -
// x̂·mean(g·x̂)), dgain += dy·x̂, dbias += dy.
// Numerics: float32; bits depend on the values, the length and the tier only.
func LayerNormBackRow(x *Exec, dx, dgain, dbias []float32, dy []uint16, src, gain []float32, mean, rstd float32, temp []float32) {
	n := len(src)
	dx, dgain, dbias, dy, gain = dx[:n], dgain[:n], dbias[:n], dy[:n], gain[:n]
	if f := x.bf16.fused.layerNormBack; f != nil && n > 0 {
		f(&dx[0], &dgain[0], &dbias[0], &dy[0], &src[0], &gain[0], mean, rstd, n)
		return
	}
	norm, g := temp[:n], temp[n:2*n]
	FromBF16(x, g, dy)
	Affine(x, norm, src, rstd, -mean*rstd)
	MulAdd(x, dgain, g, norm)
	Axpy(x, dbias, 1, g)
	Mul(x, g, g, gain)
	shift, slope := Sum(x, g)/float32(n), Dot(x, g, norm)/float32(n)
	Axpy(x, dx, -rstd*slope, norm)
	Affine(x, g, g, rstd, -rstd*shift)
	Axpy(x, dx, 1, g)
}

// RMSNormRow sets dst = gain·src·rstd, rounded to bfloat16, and returns rstd =
// 1/√(mean square of src + eps). temp is scratch memory of src's length.
//
// Memory: overwrites dst.
// Numerics: as LayerNormRow's.
func RMSNormRow(x *Exec, dst []uint16, src, gain []float32, eps float64, temp []float32) (rstd float32) {
	n := len(src)
	dst, gain = dst[:n], gain[:n]
	if f := x.bf16.fused.rmsNorm; f != nil && n > 0 {
		return f(&dst[0], &src[0], &gain[0], n, eps)
	}
	temp = temp[:n]
	rstd = float32(1 / math.Sqrt(SumSquares(x, src)/float64(n)+eps))
	Affine(x, temp, src, rstd, 0)
	Mul(x, temp, temp, gain)
	ToBF16(x, dst, temp)
	return rstd
}

// RMSNormBackRow adds the gradients of an RMSNormRow to dx and dgain, given dy,
// that of its output, and what it returned. temp is scratch memory of src's
// length.
//
// Formula: with x̂ = src·rstd and g = gain·dy, dx += rstd·(g - x̂·mean(g·x̂)),
// dgain += dy·x̂.
// Numerics: as LayerNormBackRow's.
func RMSNormBackRow(x *Exec, dx, dgain []float32, dy []uint16, src, gain []float32, rstd float32, temp []float32) {
	n := len(src)
	dx, dgain, dy, gain = dx[:n], dgain[:n], dy[:n], gain[:n]
	if f := x.bf16.fused.rmsNormBack; f != nil && n > 0 {
		f(&dx[0], &dgain[0], &dy[0], &src[0], &gain[0], rstd, n)
		return
	}
	g := temp[:n]
	FromBF16(x, g, dy)
	Mul(x, g, g, src)
	Axpy(x, dgain, rstd, g)
	slope := Dot(x, g, gain) * rstd * rstd / float32(n)
	FromBF16(x, g, dy)
	Mul(x, g, g, gain)
	Axpy(x, dx, rstd, g)
	Axpy(x, dx, -rstd*slope, src)
}

// AddRow sets dst = src + (term+bias) with term in bfloat16. bias may be nil.
// temp is scratch memory of term's length.
//
// Memory: overwrites dst, which may be src.
func AddRow(x *Exec, dst, src []float32, term []uint16, bias, temp []float32) {
	n := len(term)
	dst, src = dst[:n], src[:n]
	if f := x.bf16.fused.add; f != nil && n > 0 {
		f(&dst[0], &src[0], &term[0], first(bias, n), n)
		return
	}
	temp = temp[:n]
	FromBF16(x, temp, term)
	if bias != nil {
		Axpy(x, temp, 1, bias[:n])
	}
	copy(dst, src)
	Axpy(x, dst, 1, temp)
}

// RoundSumRow sets dst = src, rounded to bfloat16, and adds src to sum.
func RoundSumRow(x *Exec, dst []uint16, src, sum []float32) {
	n := len(src)
	dst, sum = dst[:n], sum[:n]
	if f := x.bf16.fused.roundSum; f != nil && n > 0 {
		f(&dst[0], &src[0], &sum[0], n)
		return
	}
	Axpy(x, sum, 1, src)
	ToBF16(x, dst, src)
}
