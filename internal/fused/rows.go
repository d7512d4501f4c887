package fused

import (
	"math"

	"gimbal/internal/kernel"
)

// Softmax sets dst = exp(src-top), rounded to bfloat16, with top = kernel.Max(src), and returns top and the sum of the
// exponentials before rounding: softmax without the division.
//
// Memory: overwrites dst and src.
// Numerics: exp within 2 ulp; bits depend on the values, the length and the tier
// only. The sum is NaN if there is a NaN.
func Softmax(x *kernel.Exec, dst []uint16, src []float32) (top, sum float32) {
	dst = dst[:len(src)]
	if f := loopsOf(x).softmax; f != nil && len(src) > 0 {
		return f(&dst[0], &src[0], len(src))
	}
	top = kernel.Max(x, src)
	sum = kernel.ExpSub(x, src, src, top)
	kernel.ToBF16(x, dst, src)
	return top, sum
}

// SoftmaxBack recomputes a row of probabilities, or a column of them, and the gradients of its scores: p =
// exp(score-lse), dscore = p·(dp-delta), both rounded to bfloat16. p is not rounded before it is multiplied.
//
// Shapes: all slices as long as score.
// Memory: overwrites p, dscore, score and dp.
func SoftmaxBack(x *kernel.Exec, p, dscore []uint16, score, dp, lse, delta []float32) {
	n := len(score)
	p, dscore, dp, lse, delta = p[:n], dscore[:n], dp[:n], lse[:n], delta[:n]
	if f := loopsOf(x).softmaxBack; f != nil && n > 0 {
		f(&p[0], &dscore[0], &score[0], &dp[0], &lse[0], &delta[0], n)
		return
	}
	kernel.Axpy(x, score, -1, lse)
	kernel.Exp(x, score, score)
	kernel.Axpy(x, dp, -1, delta)
	kernel.Mul(x, dp, dp, score)
	kernel.ToBF16(x, p, score)
	kernel.ToBF16(x, dscore, dp)
}

// GELU sets dst = gelu(src+bias); see kernel.GELU. bias may be nil. temp has src's length.
//
// Memory: overwrites dst, which may be src.
// Numerics: error before rounding at most 2e-4 times (the result's size + 0.001);
// an element's bits do not depend on its position.
func GELU[T kernel.Float](x *kernel.Exec, dst, src kernel.Row[T], bias, temp []T) {
	if f, n := loopsOf(x).gelu, len(src.H); f != nil && n > 0 && len(dst.H) == n {
		f(&dst.H[0], &src.H[0], first(bias, n), n)
		return
	}
	v, in := dst.Target(temp), biased(x, src, bias, temp)
	kernel.GELU(x, v, in)
	dst.Write(x, v)
}

// GELUBack sets dsrc = dy·gelu'(src+bias) and adds it, before rounding, to
// sum; see kernel.GELUBackward. bias and sum may be nil. temp has twice src's length.
//
// Memory: overwrites dsrc, which may be dy; adds to sum.
// Numerics: absolute error of gelu' before rounding at most 1e-4; an element's bits do not depend on its position.
func GELUBack[T kernel.Float](x *kernel.Exec, dsrc, dy, src kernel.Row[T], bias, sum, temp []T) {
	if f, n := loopsOf(x).geluBack, len(src.H); f != nil && n > 0 && len(dsrc.H) == n && len(dy.H) == n {
		f(&dsrc.H[0], &dy.H[0], &src.H[0], first(bias, n), first(sum, n), n)
		return
	}
	in := biased(x, src, bias, temp)
	temp = temp[len(in):]
	v := dsrc.Target(temp)
	kernel.GELUBackward(x, v, dy.Read(x, temp), in)
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// SwiGLU sets dst = silu(gate)·up with the gate in the first half of src+bias
// and up in the second; see kernel.SiLUMul. bias may be nil. temp has src's length.
//
// Memory: overwrites dst.
// Numerics: relative error before rounding at most 2e-4 for gate >= -60; below,
// silu vanishes. An element's bits do not depend on its position.
func SwiGLU[T kernel.Float](x *kernel.Exec, dst, src kernel.Row[T], bias, temp []T) {
	if f, n := loopsOf(x).swiglu, len(dst.H); f != nil && n > 0 && len(src.H) == 2*n && bias == nil {
		f(&dst.H[0], &src.H[0], &src.H[n], n)
		return
	}
	v, in := dst.Target(temp), biased(x, src, bias, temp)
	kernel.SiLUMul(x, v, in[:len(v)], in[len(v):])
	dst.Write(x, v)
}

// SwiGLUBack sets dsrc to the gradient of SwiGLU's src, given dy, the gradient of its output. It adds dsrc,
// before rounding, to sum; see kernel.SiLUMulBackward. bias and sum may be nil. temp has five times dy's length.
//
// Memory: overwrites dsrc; adds to sum.
// Numerics: error of the factors before rounding at most 2e-4 of their size plus
// 1; an element's bits do not depend on its position.
func SwiGLUBack[T kernel.Float](x *kernel.Exec, dsrc, dy, src kernel.Row[T], bias, sum, temp []T) {
	f, n := loopsOf(x).swigluBack, len(dy.H)
	if f != nil && n > 0 && len(dsrc.H) == 2*n && len(src.H) == 2*n && bias == nil && sum == nil {
		f(&dsrc.H[0], &dsrc.H[n], &dy.H[0], &src.H[0], &src.H[n], n)
		return
	}
	in := biased(x, src, bias, temp)
	n = len(in) / 2
	v, d := dsrc.Target(temp[2*n:]), dy.Read(x, temp[4*n:])
	kernel.SiLUMulBackward(x, v[:n], v[n:], d, in[:n], in[n:])
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// GEGLU sets dst = gelu(gate)·up, as SwiGLU does with silu.
func GEGLU[T kernel.Float](x *kernel.Exec, dst, src kernel.Row[T], bias, temp []T) {
	v, in := dst.Target(temp), biased(x, src, bias, temp)
	kernel.GELU(x, v, in[:len(v)])
	kernel.Mul(x, v, v, in[len(v):])
	dst.Write(x, v)
}

// GEGLUBack is SwiGLUBack for GEGLU.
func GEGLUBack[T kernel.Float](x *kernel.Exec, dsrc, dy, src kernel.Row[T], bias, sum, temp []T) {
	in := biased(x, src, bias, temp)
	n := len(in) / 2
	v, d := dsrc.Target(temp[2*n:]), dy.Read(x, temp[4*n:])
	kernel.GELU(x, v[n:], in[:n])
	kernel.Mul(x, v[n:], v[n:], d)
	kernel.Mul(x, v[:n], d, in[n:])
	kernel.GELUBackward(x, v[:n], v[:n], in[:n])
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// GELUExact is GELU without the approximation: x·Φ(x), with the distribution function Φ of the normal law. It is
// the same on every tier, in float64 and rounded.
func GELUExact[T kernel.Float](x *kernel.Exec, dst, src kernel.Row[T], bias, temp []T) {
	v, in := dst.Target(temp), biased(x, src, bias, temp)
	for i, z := range in {
		v[i] = T(float64(z) * phi(float64(z)))
	}
	dst.Write(x, v)
}

// GELUExactBack is GELUBack for GELUExact.
func GELUExactBack[T kernel.Float](x *kernel.Exec, dsrc, dy, src kernel.Row[T], bias, sum, temp []T) {
	in := biased(x, src, bias, temp)
	temp = temp[len(in):]
	v, d := dsrc.Target(temp), dy.Read(x, temp)
	for i, e := range in {
		z := float64(e)
		v[i] = T(float64(d[i]) * (phi(z) + z*math.Exp(-z*z/2)/math.Sqrt(2*math.Pi)))
	}
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

func phi(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// ReLU sets dst = max(src+bias, 0). bias may be nil. temp has src's length.
func ReLU[T kernel.Float](x *kernel.Exec, dst, src kernel.Row[T], bias, temp []T) {
	v, in := dst.Target(temp), biased(x, src, bias, temp)
	for i, z := range in {
		v[i] = max(z, 0)
	}
	dst.Write(x, v)
}

// ReLUBack is GELUBack for ReLU: dy where src+bias is above 0.
func ReLUBack[T kernel.Float](x *kernel.Exec, dsrc, dy, src kernel.Row[T], bias, sum, temp []T) {
	in := biased(x, src, bias, temp)
	temp = temp[len(in):]
	v, d := dsrc.Target(temp), dy.Read(x, temp)
	for i, z := range in {
		if v[i] = d[i]; z <= 0 {
			v[i] = 0
		}
	}
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// Scale sets dst = scale·src, rounded. temp has src's length, and may be src.
//
// Memory: overwrites dst, which may share the beginning of src's memory.
func Scale[T kernel.Float](x *kernel.Exec, dst kernel.Row[T], src []T, scale T, temp []T) {
	if f, n := loopsOf(x).scale, len(dst.H); f != nil && n > 0 {
		f(&dst.H[0], first(src, n), float32(scale), n)
		return
	}
	v := dst.Target(temp)
	kernel.Affine(x, v, src, scale, 0)
	dst.Write(x, v)
}

// Dot returns the dot product of two rows of bfloat16, added in float32. temp has twice a's length.
//
// Numerics: the bits depend on the values, the length and the tier only.
func Dot(x *kernel.Exec, a, b []uint16, temp []float32) float32 {
	n := len(a)
	b = b[:n]
	if f := loopsOf(x).dot; f != nil && n > 0 {
		return f(&a[0], &b[0], n)
	}
	kernel.FromBF16(x, temp[:n], a)
	kernel.FromBF16(x, temp[n:2*n], b)
	return kernel.Dot(x, temp[:n], temp[n:2*n])
}
