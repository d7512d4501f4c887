package kernel

// Rows: loops of bf16 mode that would otherwise pass over a row four or five
// times. They run on the calling goroutine and are safe for concurrent use.

// SoftmaxRow sets dst = exp(src-top), rounded to bfloat16, with top = Max(src),
// and returns top and the sum of the exponentials before rounding: softmax but
// for the division.
//
// Memory: overwrites dst; src is used up.
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

// SoftmaxBackRow recomputes a row of probabilities, or a column of them, and
// the gradients of its scores: p = exp(score-lse), dscore = p·(dp-delta), both
// rounded to bfloat16. p is not rounded before it is multiplied.
//
// Shapes: all slices as long as score.
// Memory: overwrites p and dscore; score and dp are used up.
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

// GELURow sets dst = gelu(src+bias), from and to bfloat16; see GELU. bias may be
// nil. temp is scratch memory of src's length.
//
// Memory: overwrites dst, which may be src.
// Numerics: error before rounding at most 2e-4 times (the result's size + 0.001);
// an element's bits do not depend on its position.
func GELURow(x *Exec, dst, src []uint16, bias, temp []float32) {
	n := len(src)
	dst = dst[:n]
	if f := x.bf16.fused.gelu; f != nil && n > 0 {
		f(&dst[0], &src[0], first(bias, n), n)
		return
	}
	temp = temp[:n]
	FromBF16(x, temp, src)
	if bias != nil {
		Axpy(x, temp, 1, bias[:n])
	}
	GELU(x, temp, temp)
	ToBF16(x, dst, temp)
}

// GELUBackRow sets dsrc = dy·gelu'(src+bias), from and to bfloat16, and adds it,
// before rounding, to sum; see GELUBackward. bias and sum may be nil. temp is
// scratch memory of twice src's length.
//
// Memory: overwrites dsrc, which may be dy; adds to sum.
// Numerics: absolute error of gelu' before rounding at most 1e-4; an element's
// bits do not depend on its position.
func GELUBackRow(x *Exec, dsrc, dy, src []uint16, bias, sum, temp []float32) {
	n := len(src)
	dsrc, dy = dsrc[:n], dy[:n]
	if f := x.bf16.fused.geluBack; f != nil && n > 0 {
		f(&dsrc[0], &dy[0], &src[0], first(bias, n), first(sum, n), n)
		return
	}
	in, d := temp[:n], temp[n:2*n]
	FromBF16(x, in, src)
	FromBF16(x, d, dy)
	if bias != nil {
		Axpy(x, in, 1, bias[:n])
	}
	GELUBackward(x, d, d, in)
	if sum != nil {
		Axpy(x, sum[:n], 1, d)
	}
	ToBF16(x, dsrc, d)
}

// SwiGLURow sets dst = silu(gate)·up with the gate in the first half of src and
// up in the second, from and to bfloat16; see SiLUMul. temp is scratch memory of
// src's length.
//
// Memory: overwrites dst.
// Numerics: relative error before rounding at most 2e-4 for gate >= -60; below,
// silu vanishes. An element's bits do not depend on its position.
func SwiGLURow(x *Exec, dst, src []uint16, temp []float32) {
	n := len(dst)
	src = src[:2*n]
	if f := x.bf16.fused.swiglu; f != nil && n > 0 {
		f(&dst[0], &src[0], &src[n], n)
		return
	}
	temp = temp[:2*n]
	FromBF16(x, temp, src)
	SiLUMul(x, temp[:n], temp[:n], temp[n:])
	ToBF16(x, dst, temp[:n])
}

// SwiGLUBackRow sets dsrc to the gradient of SwiGLURow's src, given dy, that of
// its output, from and to bfloat16; see SiLUMulBackward. temp is scratch memory
// of three times dy's length.
//
// Memory: overwrites dsrc.
// Numerics: error of the factors before rounding at most 2e-4 of their size plus
// 1; an element's bits do not depend on its position.
func SwiGLUBackRow(x *Exec, dsrc, dy, src []uint16, temp []float32) {
	n := len(dy)
	dsrc, src = dsrc[:2*n], src[:2*n]
	if f := x.bf16.fused.swigluBack; f != nil && n > 0 {
		f(&dsrc[0], &dsrc[n], &dy[0], &src[0], &src[n], n)
		return
	}
	in, d := temp[:2*n], temp[2*n:3*n]
	FromBF16(x, in, src)
	FromBF16(x, d, dy)
	SiLUMulBackward(x, in[:n], in[n:], d, in[:n], in[n:])
	ToBF16(x, dsrc, in)
}

// ScaleRow sets dst = scale·src, rounded to bfloat16. temp is scratch memory of
// src's length, and may be src.
//
// Memory: overwrites dst, which may lie over the beginning of src.
func ScaleRow(x *Exec, dst []uint16, src []float32, scale float32, temp []float32) {
	n := len(src)
	dst = dst[:n]
	if f := x.bf16.fused.scale; f != nil && n > 0 {
		f(&dst[0], &src[0], scale, n)
		return
	}
	Affine(x, temp[:n], src, scale, 0)
	ToBF16(x, dst, temp[:n])
}

// DotRow returns the scalar product of two rows of bfloat16, added in float32.
// temp is scratch memory of twice a's length.
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

// first returns the address of n elements, or nil.
func first(s []float32, n int) *float32 {
	if s == nil {
		return nil
	}
	return &s[:n][0]
}
