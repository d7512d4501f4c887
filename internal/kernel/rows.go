package kernel

import "math"

// The functions on rows are what layers do with one position, forward and backward. They take rows of either kind, run
// on the calling goroutine and are safe for concurrent use. A tier may have a fused loop, which reads a row of bfloat16
// once. Without it, and in full precision, the functions on slices follow one another. Rounding, and bounds on errors
// before rounding, concern rows of bfloat16; in full precision the errors are those of the functions on slices. temp is
// scratch memory.

// SoftmaxRow sets dst = exp(src-top), rounded to bfloat16, with top = Max(src), and returns top and the sum of the
// exponentials before rounding: softmax without the division.
//
// Memory: overwrites dst and src.
// Numerics: exp within 2 ulp; bits depend on the values, the length and the tier
// only. The sum is NaN if there is a NaN.
func SoftmaxRow(x *Exec, dst []uint16, src []float32) (top, sum float32) {
	dst = dst[:len(src)]
	if f := x.bf16.fused.softmax; f != nil && len(src) > 0 {
		return f(&dst[0], &src[0], len(src))
	}
	top = Max(x, src)
	sum = ExpSub(x, src, src, top)
	ToBF16(x, dst, src)
	return top, sum
}

// SoftmaxBackRow recomputes a row of probabilities, or a column of them, and the gradients of its scores: p =
// exp(score-lse), dscore = p·(dp-delta), both rounded to bfloat16. p is not rounded before it is multiplied.
//
// Shapes: all slices as long as score.
// Memory: overwrites p, dscore, score and dp.
func SoftmaxBackRow(x *Exec, p, dscore []uint16, score, dp, lse, delta []float32) {
	n := len(score)
	p, dscore, dp, lse, delta = p[:n], dscore[:n], dp[:n], lse[:n], delta[:n]
	if f := x.bf16.fused.softmaxBack; f != nil && n > 0 {
		f(&p[0], &dscore[0], &score[0], &dp[0], &lse[0], &delta[0], n)
		return
	}
	Axpy(x, score, -1, lse)
	Exp(x, score, score)
	Axpy(x, dp, -1, delta)
	Mul(x, dp, dp, score)
	ToBF16(x, p, score)
	ToBF16(x, dscore, dp)
}

// GELURow sets dst = gelu(src+bias); see GELU. bias may be nil. temp has src's length.
//
// Memory: overwrites dst, which may be src.
// Numerics: error before rounding at most 2e-4 times (the result's size + 0.001);
// an element's bits do not depend on its position.
func GELURow[T Float](x *Exec, dst, src Row[T], bias, temp []T) {
	if f, n := x.bf16.fused.gelu, len(src.H); f != nil && n > 0 && len(dst.H) == n {
		f(&dst.H[0], &src.H[0], first(bias, n), n)
		return
	}
	v, in := dst.Target(temp), src.biased(x, bias, temp)
	GELU(x, v, in)
	dst.Write(x, v)
}

// GELUBackRow sets dsrc = dy·gelu'(src+bias) and adds it, before rounding, to
// sum; see GELUBackward. bias and sum may be nil. temp has twice src's length.
//
// Memory: overwrites dsrc, which may be dy; adds to sum.
// Numerics: absolute error of gelu' before rounding at most 1e-4; an element's bits do not depend on its position.
func GELUBackRow[T Float](x *Exec, dsrc, dy, src Row[T], bias, sum, temp []T) {
	if f, n := x.bf16.fused.geluBack, len(src.H); f != nil && n > 0 && len(dsrc.H) == n && len(dy.H) == n {
		f(&dsrc.H[0], &dy.H[0], &src.H[0], first(bias, n), first(sum, n), n)
		return
	}
	in := src.biased(x, bias, temp)
	temp = temp[len(in):]
	v := dsrc.Target(temp)
	GELUBackward(x, v, dy.Read(x, temp), in)
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// SwiGLURow sets dst = silu(gate)·up with the gate in the first half of src+bias
// and up in the second; see SiLUMul. bias may be nil. temp has src's length.
//
// Memory: overwrites dst.
// Numerics: relative error before rounding at most 2e-4 for gate >= -60; below,
// silu vanishes. An element's bits do not depend on its position.
func SwiGLURow[T Float](x *Exec, dst, src Row[T], bias, temp []T) {
	if f, n := x.bf16.fused.swiglu, len(dst.H); f != nil && n > 0 && len(src.H) == 2*n && bias == nil {
		f(&dst.H[0], &src.H[0], &src.H[n], n)
		return
	}
	v, in := dst.Target(temp), src.biased(x, bias, temp)
	SiLUMul(x, v, in[:len(v)], in[len(v):])
	dst.Write(x, v)
}

// SwiGLUBackRow sets dsrc to the gradient of SwiGLURow's src, given dy, the gradient of its output. It adds dsrc,
// before rounding, to sum; see SiLUMulBackward. bias and sum may be nil. temp has five times dy's length.
//
// Memory: overwrites dsrc; adds to sum.
// Numerics: error of the factors before rounding at most 2e-4 of their size plus
// 1; an element's bits do not depend on its position.
func SwiGLUBackRow[T Float](x *Exec, dsrc, dy, src Row[T], bias, sum, temp []T) {
	f, n := x.bf16.fused.swigluBack, len(dy.H)
	if f != nil && n > 0 && len(dsrc.H) == 2*n && len(src.H) == 2*n && bias == nil && sum == nil {
		f(&dsrc.H[0], &dsrc.H[n], &dy.H[0], &src.H[0], &src.H[n], n)
		return
	}
	in := src.biased(x, bias, temp)
	n = len(in) / 2
	v, d := dsrc.Target(temp[2*n:]), dy.Read(x, temp[4*n:])
	SiLUMulBackward(x, v[:n], v[n:], d, in[:n], in[n:])
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// GEGLURow sets dst = gelu(gate)·up, as SwiGLURow does with silu.
func GEGLURow[T Float](x *Exec, dst, src Row[T], bias, temp []T) {
	v, in := dst.Target(temp), src.biased(x, bias, temp)
	GELU(x, v, in[:len(v)])
	Mul(x, v, v, in[len(v):])
	dst.Write(x, v)
}

// GEGLUBackRow is SwiGLUBackRow for GEGLURow.
func GEGLUBackRow[T Float](x *Exec, dsrc, dy, src Row[T], bias, sum, temp []T) {
	in := src.biased(x, bias, temp)
	n := len(in) / 2
	v, d := dsrc.Target(temp[2*n:]), dy.Read(x, temp[4*n:])
	GELU(x, v[n:], in[:n])
	Mul(x, v[n:], v[n:], d)
	Mul(x, v[:n], d, in[n:])
	GELUBackward(x, v[:n], v[:n], in[:n])
	addTo(x, sum, v)
	dsrc.Write(x, v)
}

// GELUExactRow is GELURow without the approximation: x·Φ(x), with the distribution function Φ of the normal law. It is
// the same on every tier, in float64 and rounded.
func GELUExactRow[T Float](x *Exec, dst, src Row[T], bias, temp []T) {
	v, in := dst.Target(temp), src.biased(x, bias, temp)
	for i, z := range in {
		v[i] = T(float64(z) * phi(float64(z)))
	}
	dst.Write(x, v)
}

// GELUExactBackRow is GELUBackRow for GELUExactRow.
func GELUExactBackRow[T Float](x *Exec, dsrc, dy, src Row[T], bias, sum, temp []T) {
	in := src.biased(x, bias, temp)
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

// ReLURow sets dst = max(src+bias, 0). bias may be nil. temp has src's length.
func ReLURow[T Float](x *Exec, dst, src Row[T], bias, temp []T) {
	v, in := dst.Target(temp), src.biased(x, bias, temp)
	for i, z := range in {
		v[i] = max(z, 0)
	}
	dst.Write(x, v)
}

// ReLUBackRow is GELUBackRow for ReLURow: dy where src+bias is above 0.
func ReLUBackRow[T Float](x *Exec, dsrc, dy, src Row[T], bias, sum, temp []T) {
	in := src.biased(x, bias, temp)
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

// ScaleRow sets dst = scale·src, rounded. temp has src's length, and may be src.
//
// Memory: overwrites dst, which may share the beginning of src's memory.
func ScaleRow[T Float](x *Exec, dst Row[T], src []T, scale T, temp []T) {
	if f, n := x.bf16.fused.scale, len(dst.H); f != nil && n > 0 {
		f(&dst.H[0], first(src, n), float32(scale), n)
		return
	}
	v := dst.Target(temp)
	Affine(x, v, src, scale, 0)
	dst.Write(x, v)
}

// DotRow returns the dot product of two rows of bfloat16, added in float32. temp has twice a's length.
//
// Numerics: the bits depend on the values, the length and the tier only.
func DotRow(x *Exec, a, b []uint16, temp []float32) float32 {
	n := len(a)
	b = b[:n]
	if f := x.bf16.fused.dot; f != nil && n > 0 {
		return f(&a[0], &b[0], n)
	}
	FromBF16(x, temp[:n], a)
	FromBF16(x, temp[n:2*n], b)
	return Dot(x, temp[:n], temp[n:2*n])
}

// addTo adds v to sum unless that is nil.
func addTo[T Float](x *Exec, sum, v []T) {
	if sum != nil {
		Axpy(x, sum, 1, v)
	}
}

// first returns the address of the n elements of s, or nil. T is float32, as always with rows of bfloat16.
func first[T Float](s []T, n int) *float32 {
	if s == nil {
		return nil
	}
	return &float32s(s)[:n][0]
}
