package kernel

// Rows of attention: loops that would otherwise pass over a row of scores four
// or five times. They run on the calling goroutine and are safe for concurrent
// use.

// SoftmaxRow sets dst = exp(src-top), rounded to bfloat16, with top = Max(src),
// and returns top and the sum of the exponentials before rounding: softmax but
// for the division.
//
// Memory: overwrites dst; src is used up.
// Numerics: exp within 2 ulp; bits depend on the values, the length and the tier
// only. The sum is NaN if there is a NaN.
func SoftmaxRow(x *Exec, dst []uint16, src []float32) (top, sum float32) {
	dst = dst[:len(src)]
	if len(src) > 0 && rowsSIMD(x) {
		return softmaxRow(&dst[0], &src[0], len(src))
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
	if n > 0 && rowsSIMD(x) {
		softmaxBackRow(&p[0], &dscore[0], &score[0], &dp[0], &lse[0], &delta[0], n)
		return
	}
	Axpy(x, score, -1, lse)
	Exp(x, score, score)
	Axpy(x, dp, -1, delta)
	Mul(x, dp, dp, score)
	ToBF16(x, p, score)
	ToBF16(x, dscore, dp)
}
