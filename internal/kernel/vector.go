package kernel

import "math"

// The functions on slices run on the calling goroutine with the tier of x and are safe for concurrent use. The length
// is that of the first source; the other slices must be at least as long. Element-wise functions may work in place:
// dst may be the same slice as a source, but not overlap it otherwise. An element's bits do not depend on its
// position or on the length. Accuracies hold on every tier for float32; the generic tier, and float64, use the
// functions of package math.

// Exp sets dst = exp(src).
//
// Numerics: within 2 ulp, denormal results included; exp of NaN is NaN.
func Exp[T Float](x *Exec, dst, src []T) {
	of[T](x).exp(dst[:len(src)], src)
}

// ExpSub sets dst = exp(src-m) and returns the sum of dst: with m = Max(src), softmax without the division.
func ExpSub[T Float](x *Exec, dst, src []T, m T) T {
	return of[T](x).expSub(dst[:len(src)], src, m)
}

// Max returns the largest element, or -Inf for an empty slice. With a NaN in src the result is unspecified; ExpSub's
// sum is NaN in any case.
func Max[T Float](x *Exec, src []T) T { return of[T](x).max(src) }

// Sum returns the sum of src, added in T.
func Sum[T Float](x *Exec, src []T) T { return of[T](x).sum(src) }

// Dot returns the dot product of a and b, added in T.
func Dot[T Float](x *Exec, a, b []T) T { return of[T](x).dot(a, b[:len(a)]) }

// SumSquares returns the sum of the squares, squared and added in float64: it neither overflows nor loses small
// terms, and is NaN or Inf if and only if an element is (for float32).
func SumSquares[T Float](x *Exec, src []T) float64 { return of[T](x).sumSquares(src) }

// Axpy adds alpha·src to dst.
func Axpy[T Float](x *Exec, dst []T, alpha T, src []T) {
	of[T](x).axpy(dst[:len(src)], alpha, src)
}

// Affine sets dst = scale·src + shift.
func Affine[T Float](x *Exec, dst, src []T, scale, shift T) {
	of[T](x).affine(dst[:len(src)], src, scale, shift)
}

// Mul sets dst = a·b, element by element.
func Mul[T Float](x *Exec, dst, a, b []T) {
	of[T](x).mul(dst[:len(a)], a, b[:len(a)])
}

// MulAdd adds a·b to dst, element by element.
func MulAdd[T Float](x *Exec, dst, a, b []T) {
	of[T](x).mulAdd(dst[:len(a)], a, b[:len(a)])
}

// GELU sets dst = gelu(src) in the tanh form of GPT-2, x/2·(1 + tanh(√(2/π)(x + 0.044715·x³))).
//
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
// Numerics: error at most 1e-6 times (the result's size + 0.001). Far below zero the result is smaller than that.
func GELU[T Float](x *Exec, dst, src []T) {
	of[T](x).gelu(dst[:len(src)], src)
}

// GELUBackward sets dx = dy·gelu'(src), the derivative of GELU.
//
// Numerics: absolute error of gelu' at most 1e-6.
func GELUBackward[T Float](x *Exec, dx, dy, src []T) {
	n := len(src)
	of[T](x).geluBackward(dx[:n], dy[:n], src)
}

// SiLUMul sets dst = silu(gate)·up with silu(x) = x·σ(x), as SwiGLU does.
//
// Source: Shazeer 2020, arXiv:2002.05202.
// Numerics: relative error at most 1e-6 for |gate| <= 80; beyond, silu is gate or vanishes.
func SiLUMul[T Float](x *Exec, dst, gate, up []T) {
	n := len(gate)
	of[T](x).siluMul(dst[:n], gate, up[:n])
}

// SiLUMulBackward sets dgate and dup to the gradients of SiLUMul's inputs, given dy, the gradient of its output.
//
// Formula: with s = σ(gate), dgate = dy·up·s·(1+gate·(1-s)), dup = dy·gate·s.
// Memory: overwrites dgate and dup; either may be one of the sources.
// Numerics: absolute error of the factors at most 1e-6 of their size plus 1.
func SiLUMulBackward[T Float](x *Exec, dgate, dup, dy, gate, up []T) {
	n := len(gate)
	of[T](x).siluMulBackward(dgate[:n], dup[:n], dy[:n], gate, up[:n])
}

// Rotate turns the pairs (a, b) by angles given as cos and sin, as rotary position embedding does: dst1 = a·cos -
// b·sin, dst2 = b·cos + a·sin. dst1 may be a and dst2 b.
func Rotate[T Float](x *Exec, dst1, dst2, a, b, cos, sin []T) {
	n := len(a)
	of[T](x).rotate(dst1[:n], dst2[:n], a, b[:n], cos[:n], sin[:n])
}

// AdamWStep holds the numbers of one update that are the same for all elements.
type AdamWStep struct {
	LR           float64 // learning rate of this step
	Beta1, Beta2 float64
	Eps          float64
	Decay        float64 // weight decay; it is multiplied by LR
	Scale        float64 // factor on the gradient, for clipping
	Correction1  float64 // 1 - Beta1^t
	Correction2  float64 // 1 - Beta2^t
}

// adamCoef is an AdamWStep arranged for the loop; assembly knows its layout.
type adamCoef[T Float] struct {
	scale, beta1, rest1, beta2, rest2 T
	rootCorrection2                   T // 1/√Correction2
	eps, step, decay                  T // step = LR/Correction1, decay = LR·Decay
}

// AdamW updates parameters p and moments m, v with the gradient g, which it only reads.
//
// Formula: g' = Scale·g; m = β1·m + (1-β1)·g'; v = β2·v + (1-β2)·g'²;
// p -= LR·((m/Correction1) / (√(v/Correction2) + Eps) + Decay·p).
// Source: Loshchilov and Hutter 2017, arXiv:1711.05101, as PyTorch does it.
// Numerics: error within 6 rounding units of the sizes that enter it.
func AdamW[T Float](x *Exec, p, g, m, v []T, s AdamWStep) {
	n := len(p)
	c := adamCoef[T]{
		scale: T(s.Scale),
		beta1: T(s.Beta1), rest1: T(1 - s.Beta1),
		beta2: T(s.Beta2), rest2: T(1 - s.Beta2),
		rootCorrection2: T(1 / math.Sqrt(s.Correction2)),
		eps:             T(s.Eps), step: T(s.LR / s.Correction1), decay: T(s.LR * s.Decay),
	}
	of[T](x).adamW(p, g[:n], m[:n], v[:n], c)
}
