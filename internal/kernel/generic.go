package kernel

import (
	"math"
	"unsafe"
)

// The generic twin is plain Go for every element type, and always compiled.

var (
	generic32 = genericTable[float32]()
	generic64 = genericTable[float64]()
)

func genericTable[T Float]() table[T] {
	return table[T]{
		mr: 4, nr: 4, lanesA: 4, tile: tileGo[T], packN: packNGo[T],
		vectors: vectors[T]{
			exp: expGo[T], gelu: geluGo[T], expSub: expSubGo[T],
			max: maxGo[T], sum: sumGo[T], dot: dotGo[T], sumSquares: sumSquaresGo[T],
			axpy: axpyGo[T], affine: affineGo[T], mul: mulGo[T], mulAdd: mulAddGo[T],
			geluBackward: geluBackwardGo[T],
			siluMul:      siluMulGo[T], siluMulBackward: siluMulBackwardGo[T],
			rotate: rotateGo[T], adamW: adamWGo[T],
		},
	}
}

// tileGo is the tile kernel of 4 by 4, two rows at a time: eight sums, four elements of B and two of A fit the sixteen
// registers of amd64.
func tileGo[T Float](rows, k int, a *T, rs, ks int, b *T, bs int, c *T, ldc, cols int, alpha T, add bool) {
	as := unsafe.Slice(a, (rows-1)*rs+(k-1)*ks+1)
	bm := unsafe.Slice(b, (k-1)*bs+4)
	for i := 0; i < rows; i += 2 {
		second := min(i+1, rows-1) * rs // an odd last row is computed twice
		var sum [2][4]T
		var s0, s1, s2, s3, t0, t1, t2, t3 T
		for ia, ib, l := i*rs, 0, 0; l < k; l++ {
			x, y := as[ia], as[ia+second-i*rs]
			bl := bm[ib : ib+4 : ib+4]
			s0 += x * bl[0]
			s1 += x * bl[1]
			s2 += x * bl[2]
			s3 += x * bl[3]
			t0 += y * bl[0]
			t1 += y * bl[1]
			t2 += y * bl[2]
			t3 += y * bl[3]
			ia += ks
			ib += bs
		}
		sum[0] = [4]T{s0, s1, s2, s3}
		sum[1] = [4]T{t0, t1, t2, t3}
		for r := range min(2, rows-i) {
			out := unsafe.Slice(c, (i+r)*ldc+cols)[(i+r)*ldc:]
			for j := range out {
				if add {
					out[j] += alpha * sum[r][j]
				} else {
					out[j] = alpha * sum[r][j]
				}
			}
		}
	}
}

func packNGo[T Float](dst *T, ldd int, src *T, lds, k, cols int) {
	for l := range k {
		d := unsafe.Slice(dst, l*ldd+ldd)[l*ldd:]
		clear(d[copy(d, unsafe.Slice(src, l*lds+cols)[l*lds:]):])
	}
}

func expGo[T Float](dst, src []T) {
	for i, v := range src {
		dst[i] = T(math.Exp(float64(v)))
	}
}

func expSubGo[T Float](dst, src []T, m T) T {
	for i, v := range src {
		dst[i] = T(math.Exp(float64(v - m)))
	}
	return sumGo(dst[:len(src)])
}

func maxGo[T Float](src []T) T {
	m := T(math.Inf(-1))
	for _, v := range src {
		m = max(m, v)
	}
	return m
}

func sumGo[T Float](src []T) T {
	var s0, s1, s2, s3 T
	n := len(src) &^ 3
	for i := 0; i < n; i += 4 {
		v := src[i : i+4 : i+4]
		s0 += v[0]
		s1 += v[1]
		s2 += v[2]
		s3 += v[3]
	}
	for _, v := range src[n:] {
		s0 += v
	}
	return (s0 + s1) + (s2 + s3)
}

func dotGo[T Float](a, b []T) T {
	var s0, s1, s2, s3 T
	b = b[:len(a)]
	n := len(a) &^ 3
	for i := 0; i < n; i += 4 {
		v, w := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += v[0] * w[0]
		s1 += v[1] * w[1]
		s2 += v[2] * w[2]
		s3 += v[3] * w[3]
	}
	for i := n; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return (s0 + s1) + (s2 + s3)
}

func sumSquaresGo[T Float](src []T) float64 {
	var s0, s1, s2, s3 float64
	n := len(src) &^ 3
	for i := 0; i < n; i += 4 {
		v := src[i : i+4 : i+4]
		s0 += float64(v[0]) * float64(v[0])
		s1 += float64(v[1]) * float64(v[1])
		s2 += float64(v[2]) * float64(v[2])
		s3 += float64(v[3]) * float64(v[3])
	}
	for _, v := range src[n:] {
		s0 += float64(v) * float64(v)
	}
	return (s0 + s1) + (s2 + s3)
}

func axpyGo[T Float](dst []T, alpha T, src []T) {
	for i, v := range src {
		dst[i] += alpha * v
	}
}

func affineGo[T Float](dst, src []T, scale, shift T) {
	for i, v := range src {
		dst[i] = scale*v + shift
	}
}

func mulGo[T Float](dst, a, b []T) {
	for i, v := range a {
		dst[i] = v * b[i]
	}
}

func mulAddGo[T Float](dst, a, b []T) {
	for i, v := range a {
		dst[i] += v * b[i]
	}
}

// Constants of GELU in its tanh form: with u = √(2/π)(x + geluCubic·x³) it is x·(1+tanh u)/2 = x·σ(2u).
const (
	geluTwice = 1.5957691216057308 // 2·√(2/π)
	geluCubic = 0.044715
	// Beyond these bounds σ is 0 or 1 to within float64's precision, or its product with x vanishes beside any other
	// activation; clamping its argument keeps exp from overflowing and from slow denormal numbers.
	geluBound = 9
	siluBound = 80
)

func clamp[T Float](x, bound T) T { return max(min(x, bound), -bound) }

func geluGo[T Float](dst, src []T) {
	for i, x := range src {
		z := clamp(x, geluBound)
		e := T(math.Exp(float64(-geluTwice * (z + geluCubic*z*z*z))))
		dst[i] = x / (1 + e)
	}
}

func geluBackwardGo[T Float](dx, dy, src []T) {
	for i, x := range src {
		z := clamp(x, geluBound)
		e := T(math.Exp(float64(-geluTwice * (z + geluCubic*z*z*z))))
		s := 1 / (1 + e)
		slope := geluTwice * (1 + 3*geluCubic*z*z)
		dx[i] = dy[i] * (s + z*s*(e*s)*slope) // e·s = 1-s without cancellation
	}
}

func siluMulGo[T Float](dst, gate, up []T) {
	for i, x := range gate {
		e := T(math.Exp(float64(-clamp(x, siluBound))))
		dst[i] = x / (1 + e) * up[i]
	}
}

func siluMulBackwardGo[T Float](dgate, dup, dy, gate, up []T) {
	for i, x := range gate {
		z := clamp(x, siluBound)
		e := T(math.Exp(float64(-z)))
		s := 1 / (1 + e)
		d, u := dy[i], up[i]
		dgate[i] = d * u * (s + z*s*(e*s))
		dup[i] = d * (x * s)
	}
}

func rotateGo[T Float](dst1, dst2, a, b, cos, sin []T) {
	for i, x := range a {
		y, c, s := b[i], cos[i], sin[i]
		dst1[i] = x*c - y*s
		dst2[i] = y*c + x*s
	}
}

func adamWGo[T Float](p, g, m, v []T, c adamCoef[T]) {
	for i, gi := range g {
		gi *= c.scale
		m[i] = c.beta1*m[i] + c.rest1*gi
		v[i] = c.beta2*v[i] + c.rest2*(gi*gi)
		denom := T(math.Sqrt(float64(v[i])))*c.rootCorrection2 + c.eps
		p[i] -= c.step*m[i]/denom + c.decay*p[i]
	}
}
