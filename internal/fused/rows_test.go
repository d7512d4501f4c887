package fused

import (
	"math"
	"slices"
	"testing"
	"unsafe"

	"gimbal/internal/kernel"
	"gimbal/internal/testmem"
)

// guardedBF16 returns n bfloat16 words to write inside others, and a check that the others are as they were.
func guardedBF16(n int) (inner []uint16, intact func() bool) {
	const guard, mark = 40, 0x1234
	outer := make([]uint16, n+2*guard)
	for i := range outer {
		outer[i] = mark
	}
	return outer[guard : guard+n : guard+n], func() bool {
		for i, v := range outer {
			if (i < guard || i >= guard+n) && v != mark {
				return false
			}
		}
		return true
	}
}

// bf is a row of bfloat16.
func bf(h []uint16) kernel.Row[float32] { return kernel.Row[float32]{H: h} }

// roundsTo reports whether h is what v may be rounded to, when v itself is known to a relative error of 1e-5.
func roundsTo(h uint16, v float64) bool {
	return math.Abs(float64(bf16Value(h))-v) <= math.Abs(v)*(1.0/256+1e-5)+1e-38
}

func TestSoftmaxRows(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for n := range 200 {
			src, dp, lse, delta := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
			for i := range src {
				src[i], dp[i], delta[i] = float32(5*r.NormFloat64()), float32(r.NormFloat64()), float32(r.NormFloat64())
				lse[i] = 8 + float32(r.NormFloat64())
			}
			if n > 3 {
				src[1] = -1e4
			}
			top, sum := float32(math.Inf(-1)), 0.0
			for _, v := range src {
				top = max(top, v)
			}
			want := make([]float64, n)
			for i, v := range src {
				want[i] = math.Exp(float64(v - top))
				sum += want[i]
			}
			dst, intact := guardedBF16(n)
			gotTop, gotSum := Softmax(x, dst, append([]float32(nil), src...))
			if gotTop != top || math.Abs(float64(gotSum)-sum) > 1e-5*sum || !intact() {
				t.Fatalf("%d elements: top %v, sum %v, want %v, %v; guards intact: %v",
					n, gotTop, gotSum, top, sum, intact())
			}
			for i, h := range dst {
				if !roundsTo(h, want[i]) {
					t.Fatalf("%d elements: exp[%d] is %v, want %v", n, i, bf16Value(h), want[i])
				}
			}
			p, intactP := guardedBF16(n)
			ds, intactDS := guardedBF16(n)
			SoftmaxBack(x, p, ds, append([]float32(nil), src...), append([]float32(nil), dp...), lse, delta)
			for i := range p {
				wantP := math.Exp(float64(src[i]) - float64(lse[i]))
				if wantDS := wantP * float64(dp[i]-delta[i]); !roundsTo(p[i], wantP) || !roundsTo(ds[i], wantDS) {
					t.Fatalf("%d elements: p[%d] is %v, ds %v; want %v, %v",
						n, i, bf16Value(p[i]), bf16Value(ds[i]), wantP, wantDS)
				}
			}
			if !intactP() || !intactDS() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
			if n > 0 { // NaN is not lost, wherever it is
				at := r.IntN(n)
				src[at] = float32(math.NaN())
				if _, sum := Softmax(x, dst, append([]float32(nil), src...)); sum == sum {
					t.Fatalf("NaN at %d of %d is lost from the sum", at, n)
				}
				SoftmaxBack(x, p, ds, src, dp, lse, delta)
				if v := bf16Value(ds[at]); v == v || bf16Value(p[at]) == bf16Value(p[at]) {
					t.Fatalf("NaN at %d of %d is lost", at, n)
				}
			}
		}
	})
}

// An element's bits must not depend on its place: the softmax of a padded row and its gradient have the same.
func TestSoftmaxRowsDoNotDependOnPosition(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		score, dp, lse, delta := make([]float32, 100), make([]float32, 100), make([]float32, 100), make([]float32, 100)
		for i := range score {
			score[i], dp[i], lse[i], delta[i] = float32(r.NormFloat64()), float32(r.NormFloat64()), 1,
				float32(r.NormFloat64())
		}
		p, ds := make([]uint16, 100), make([]uint16, 100)
		SoftmaxBack(x, p, ds, append([]float32(nil), score...), append([]float32(nil), dp...), lse, delta)
		for from := range 99 {
			p2, ds2 := make([]uint16, 100-from), make([]uint16, 100-from)
			SoftmaxBack(x, p2, ds2, append([]float32(nil), score[from:]...), append([]float32(nil), dp[from:]...),
				lse[from:], delta[from:])
			for i := range p2 {
				if p2[i] != p[from+i] || ds2[i] != ds[from+i] {
					t.Fatalf("element %d differs in a row that begins at %d", from+i, from)
				}
			}
		}
	})
}

// TestGELURows compares with the definitions, with and without bias and sum, at every length, in place too.
func TestGELURows(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		half := func(n int, scale float64) (h []uint16, f []float32) {
			h, f = make([]uint16, n), make([]float32, n)
			for i := range f {
				f[i] = float32(scale * r.NormFloat64())
			}
			kernel.ToBF16(x, h, f)
			kernel.FromBF16(x, f, h)
			return h, f
		}
		for n := range 140 {
			src, in := half(n, 4)
			dy, d := half(n, 1)
			var bias []float32
			if n%2 == 1 {
				_, bias = half(n, 1)
			}
			if n > 4 {
				src[3], in[3] = 0xc6fa, -32000 // far below
			}
			arg := func(i int) float64 {
				if bias == nil {
					return float64(in[i])
				}
				return float64(in[i] + bias[i])
			}
			temp := make([]float32, 2*n)
			dst, intact := guardedBF16(n)
			GELU(x, bf(dst), bf(src), bias, temp)
			for i, h := range dst {
				if want := geluOracle(arg(i)); math.Abs(float64(bf16Value(h))-want) > math.Abs(want)/256+1e-5 {
					t.Fatalf("%d elements: gelu(%v) is %v, want %v", n, arg(i), bf16Value(h), want)
				}
			}
			var sum []float32
			if n%3 != 1 {
				sum = make([]float32, n+20)
				for i := range sum {
					sum[i] = 2
				}
			}
			ds, intactDS := guardedBF16(n)
			GELUBack(x, bf(ds), bf(dy), bf(src), bias, sum, temp)
			for i, h := range ds {
				want := float64(d[i]) * geluSlopeOracle(arg(i))
				if math.Abs(float64(bf16Value(h))-want) > math.Abs(want)/256+1e-4*math.Abs(float64(d[i]))+1e-6 {
					t.Fatalf("%d elements: the gradient at %v is %v, want %v", n, arg(i), bf16Value(h), want)
				}
				if sum != nil && math.Abs(float64(sum[i])-2-want) > 1e-4*math.Abs(float64(d[i]))+1e-6 {
					t.Fatalf("%d elements: the sum at %v is %v, want %v", n, arg(i), sum[i], 2+want)
				}
			}
			for i := n; i < len(sum); i++ {
				if sum[i] != 2 {
					t.Fatalf("%d elements: the sum is written beyond the row", n)
				}
			}
			if !intact() || !intactDS() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
			GELUBack(x, bf(dy), bf(dy), bf(src), bias, nil, temp)
			GELU(x, bf(src), bf(src), bias, temp)
			for i := range n {
				if dy[i] != ds[i] || src[i] != dst[i] {
					t.Fatalf("%d elements: element %d differs in place", n, i)
				}
			}
			if n > 0 {
				at := r.IntN(n)
				src[at] = 0x7fc0
				GELU(x, bf(dst), bf(src), bias, temp)
				GELUBack(x, bf(ds), bf(dy), bf(src), bias, nil, temp)
				if v, w := bf16Value(dst[at]), bf16Value(ds[at]); v == v || w == w {
					t.Fatalf("NaN at %d of %d is lost", at, n)
				}
			}
		}
	})
}

// TestScaleAndDotRows compares with the definitions at every length: rounding to the bit, over the row's own memory
// too.
func TestScaleAndDotRows(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for n := range 140 {
			ar := testmem.NewArena[float32](r)
			src, temp := ar.Random("src", n, true), make([]float32, 2*n)
			dst, intact := guardedBF16(n)
			scale := float32(0.1 + r.Float64())
			Scale(x, bf(dst), src, scale, temp)
			for i, v := range src {
				if want := roundBF16(v * scale); dst[i] != want {
					t.Fatalf("%d elements: [%d] is %v, want %v", n, i, bf16Value(dst[i]), bf16Value(want))
				}
			}
			ar.Check(t, "Scale")
			if n > 0 {
				over := append([]float32(nil), src...)
				row := unsafe.Slice((*uint16)(unsafe.Pointer(&over[0])), n)
				if Scale(x, bf(row), over, scale, temp); !slices.Equal(row, dst) {
					t.Fatalf("%d elements: over its own memory the row is another", n)
				}
			}
			other, want, size := make([]uint16, n), 0.0, 0.0
			for i := range other {
				other[i] = roundBF16(float32(r.NormFloat64()))
				product := float64(bf16Value(dst[i])) * float64(bf16Value(other[i]))
				want, size = want+product, size+math.Abs(product)
			}
			if got := Dot(x, dst, other, temp); !(math.Abs(float64(got)-want) <= 1e-6*size) {
				t.Fatalf("%d elements: the product is %v, want %v", n, got, want)
			}
			if !intact() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
		}
	})
}
