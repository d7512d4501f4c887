package fused

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/testmem"
)

// normOracle returns the mean of src, 1/its standard deviation, and src normed.
func normOracle(src []float32, eps float64) (mean, rstd float64, norm []float64) {
	for _, v := range src {
		mean += float64(v) / float64(len(src))
	}
	for _, v := range src {
		rstd += (float64(v) - mean) * (float64(v) - mean) / float64(len(src))
	}
	rstd = 1 / math.Sqrt(rstd+eps)
	for _, v := range src {
		norm = append(norm, (float64(v)-mean)*rstd)
	}
	return mean, rstd, norm
}

// TestLayerNormRows compares with the definitions at every length, with guard words around everything.
func TestLayerNormRows(t *testing.T) {
	const eps = 1e-5
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for n := 1; n < 200; n++ {
			ar := testmem.NewArena[float32](r)
			src, gain, bias := ar.Random("src", n, true), ar.Random("gain", n, true), ar.Random("bias", n, true)
			dx, dgain, dbias := ar.Random("dx", n, false), ar.Random("dgain", n, false), ar.Random("dbias", n, false)
			temp := make([]float32, 2*n)
			dst, intact := guardedBF16(n)
			mean, rstd := LayerNorm(x, bf(dst), src, gain, bias, eps, temp)
			wantMean, wantR, norm := normOracle(src, eps)
			near := func(what string, got float32, want, size float64) {
				t.Helper()
				if !(math.Abs(float64(got)-want) <= size*2e-6) {
					t.Fatalf("%d elements: %s is %v, want %v", n, what, got, want)
				}
			}
			near("mean", mean, wantMean, 1)
			near("1/deviation", rstd, wantR, wantR*(1+wantR))
			for i, h := range dst {
				want := norm[i]*float64(gain[i]) + float64(bias[i])
				size := (1 + wantR) * (1 + math.Abs(norm[i])) * (1 + math.Abs(float64(gain[i])))
				if !(math.Abs(float64(bf16Value(h))-want) <= math.Abs(want)/256+2e-5*size) {
					t.Fatalf("%d elements: element %d is %v, want %v", n, i, bf16Value(h), want)
				}
			}
			dy, d := make([]uint16, n), make([]float32, n)
			for i := range d {
				d[i] = float32(r.NormFloat64())
			}
			kernel.ToBF16(x, dy, d)
			kernel.FromBF16(x, d, dy)
			before := widen([][]float32{dx, dgain, dbias})
			LayerNormBack(x, dx, dgain, dbias, bf(dy), src, gain, mean, rstd, temp)
			g, gx := 0.0, 0.0
			for i := range n {
				g += float64(d[i]*gain[i]) / float64(n)
				gx += float64(d[i]*gain[i]) * norm[i] / float64(n)
			}
			for i := range n {
				size := 20 * (1 + wantR) * (1 + wantR) * (1 + math.Abs(norm[i])) * (1 + math.Abs(g) + math.Abs(gx) +
					math.Abs(float64(d[i])))
				near(fmt.Sprintf("dx[%d]", i), dx[i], before[0][i]+wantR*(float64(d[i])*float64(gain[i])-g-norm[i]*gx),
					size)
				near(fmt.Sprintf("dgain[%d]", i), dgain[i], before[1][i]+float64(d[i])*norm[i], size)
				near(fmt.Sprintf("dbias[%d]", i), dbias[i], before[2][i]+float64(d[i]), size)
			}
			ar.Check(t, fmt.Sprintf("%d elements", n))
			if !intact() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
			in := append([]float32(nil), src...) // NaN is not lost, wherever it is
			in[r.IntN(n)] = float32(math.NaN())
			if _, rstd := LayerNorm(x, bf(dst), in, gain, bias, eps, temp); rstd == rstd ||
				bf16Value(dst[0]) == bf16Value(dst[0]) {
				t.Fatalf("%d elements: NaN is lost", n)
			}
		}
	})
}

// A constant far from zero must not drown what varies: the variance is that of the centred elements.
func TestLayerNormRowIsCentred(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		src, ones, zeros := make([]float32, 100), make([]float32, 100), make([]float32, 100)
		for i := range src {
			src[i], ones[i] = 4096+float32(i%2), 1
		}
		dst := make([]uint16, 100)
		mean, rstd := LayerNorm(x, bf(dst), src, ones, zeros, 0, make([]float32, 100))
		if mean != 4096.5 || rstd != 2 || bf16Value(dst[0]) != -1 || bf16Value(dst[99]) != 1 {
			t.Errorf("mean %v, 1/deviation %v, elements %v and %v; want 4096.5, 2, -1, 1",
				mean, rstd, bf16Value(dst[0]), bf16Value(dst[99]))
		}
	})
}

// TestSumRows compares the sums with their definitions, which are exact to the last bit, at every length.
func TestSumRows(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for n := range 140 {
			ar := testmem.NewArena[float32](r)
			dst, src, bias := ar.Random("dst", n, false), ar.Random("src", n, true), ar.Random("bias", n, true)
			sum, temp := ar.Random("sum", n, false), make([]float32, n)
			term, wide := make([]uint16, n), make([]float32, n)
			kernel.ToBF16(x, term, bias)
			kernel.FromBF16(x, wide, term)
			if n%2 == 0 {
				bias = nil
			}
			Add(x, dst, src, bf(term), bias, temp)
			before := append([]float32(nil), sum...)
			rounded, intact := guardedBF16(n)
			RoundSum(x, bf(rounded), src, sum)
			for i := range n {
				added := wide[i]
				if bias != nil {
					added += bias[i]
				}
				if want := src[i] + added; dst[i] != want {
					t.Fatalf("%d elements: the sum [%d] is %v, want %v", n, i, dst[i], want)
				}
				if want := before[i] + src[i]; sum[i] != want || rounded[i] != roundBF16(src[i]) {
					t.Fatalf("%d elements: the partial sum [%d] is %v, want %v; the element %v of %v",
						n, i, sum[i], want, bf16Value(rounded[i]), src[i])
				}
			}
			ar.Check(t, fmt.Sprintf("%d elements", n))
			if !intact() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
			want := append([]float32(nil), dst...)
			for i := range want {
				want[i] += wide[i]
			}
			if Add(x, dst, dst, bf(term), nil, temp); !slices.Equal(dst, want) {
				t.Fatalf("%d elements: in place the sums are %v, not %v", n, dst, want)
			}
		}
	})
}

// TestGELURowSweep checks the documented bounds at every bfloat16 between the limits, and the limits.
func TestGELURowSweep(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		var src []uint16
		for h := range 1 << 16 {
			if v := bf16Value(uint16(h)); v-v == 0 {
				src = append(src, uint16(h))
			}
		}
		n := len(src)
		ones, dst, slope, temp := make([]uint16, n), make([]uint16, n), make([]float32, n), make([]float32, 2*n)
		for i := range ones {
			ones[i] = 0x3f80
		}
		GELU(x, bf(dst), bf(src), nil, temp)
		GELUBack(x, bf(make([]uint16, n)), bf(ones), bf(src), nil, slope, temp)
		worst := 0.0
		for i, h := range src {
			v := float64(bf16Value(h))
			// What remains below is not zero on all tiers; x² may overflow in the oracle's float64 too.
			if v < -1e10 || v > 1e10 {
				if got := float64(slope[i]); !(math.Abs(got-max(0, math.Copysign(1, v))) <= 1e-4) {
					t.Fatalf("gelu'(%g) is %g", v, got)
				}
				continue
			}
			worst = max(worst, math.Abs(float64(slope[i])-geluSlopeOracle(v)))
			if want := geluOracle(v); math.Abs(float64(bf16Value(dst[i]))-want) > math.Abs(want)*(1.0/256+2e-4)+2e-7 {
				t.Fatalf("gelu(%g) is %g, want %g", v, bf16Value(dst[i]), want)
			}
		}
		t.Logf("worst error of gelu' %.2g", worst)
		if !(worst <= 1e-4) {
			t.Errorf("the error of gelu' is %g", worst)
		}
	})
}

// TestRMSNormRows compares with the definitions at every length, with guard words around everything.
func TestRMSNormRows(t *testing.T) {
	const eps = 1e-5
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for n := 1; n < 200; n++ {
			ar := testmem.NewArena[float32](r)
			src, gain := ar.Random("src", n, true), ar.Random("gain", n, true)
			dx, dgain := ar.Random("dx", n, false), ar.Random("dgain", n, false)
			temp := make([]float32, n)
			dst, intact := guardedBF16(n)
			rstd := RMSNorm(x, bf(dst), src, gain, eps, temp)
			square := 0.0
			for _, v := range src {
				square += float64(v) * float64(v) / float64(n)
			}
			wantR := 1 / math.Sqrt(square+eps)
			if math.Abs(float64(rstd)/wantR-1) > 1e-6 || !intact() {
				t.Fatalf("%d elements: 1/rms is %v, want %v; guards intact: %v", n, rstd, wantR, intact())
			}
			for i, h := range dst {
				if want := float64(src[i]) * wantR * float64(gain[i]); !roundsTo(h, want) {
					t.Fatalf("%d elements: element %d is %v, want %v", n, i, bf16Value(h), want)
				}
			}
			dy, d := make([]uint16, n), make([]float32, n)
			for i := range d {
				d[i] = float32(r.NormFloat64())
			}
			kernel.ToBF16(x, dy, d)
			kernel.FromBF16(x, d, dy)
			before, m := widen([][]float32{dx, dgain}), 0.0
			for i := range n {
				m += float64(d[i]) * float64(gain[i]) * float64(src[i]) * wantR / float64(n)
			}
			RMSNormBack(x, dx, dgain, bf(dy), src, gain, rstd, temp)
			for i := range n {
				norm := float64(src[i]) * wantR
				wantX, wantGain := before[0][i]+wantR*(float64(d[i])*float64(gain[i])-norm*m),
					before[1][i]+float64(d[i])*norm
				size := 4e-5 * (1 + wantR) * (1 + math.Abs(norm)) * (1 + math.Abs(m) + math.Abs(float64(d[i])))
				if !(math.Abs(float64(dx[i])-wantX) <= size) || !(math.Abs(float64(dgain[i])-wantGain) <= size) {
					t.Fatalf("%d elements: dx[%d] is %v, dgain %v; want %v, %v", n, i, dx[i], dgain[i], wantX, wantGain)
				}
			}
			ar.Check(t, fmt.Sprintf("%d elements", n))
			in := append([]float32(nil), src...)
			in[r.IntN(n)] = float32(math.NaN())
			if rstd := RMSNorm(x, bf(dst), in, gain, eps, temp); rstd == rstd ||
				bf16Value(dst[0]) == bf16Value(dst[0]) {
				t.Fatalf("%d elements: NaN is lost", n)
			}
		}
	})
}

// TestSwiGLURows compares with the definitions at every length, with guard words around the results.
func TestSwiGLURows(t *testing.T) {
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
			src, in := half(2*n, 5)
			dy, d := half(n, 1)
			if n > 4 {
				src[3], in[3] = 0xc6fa, -32000 // far below
				src[4], in[4] = 0x46fa, 32000
			}
			temp := make([]float32, 5*n)
			dst, intact := guardedBF16(n)
			ds, intactDS := guardedBF16(2 * n)
			SwiGLU(x, bf(dst), bf(src), nil, temp)
			SwiGLUBack(x, bf(ds), bf(dy), bf(src), nil, nil, temp)
			near := func(what string, i int, h uint16, want, size float64) {
				t.Helper()
				if !(math.Abs(float64(bf16Value(h))-want) <= math.Abs(want)/256+2e-4*size) {
					t.Fatalf("%d elements: %s[%d] is %v, want %v", n, what, i, bf16Value(h), want)
				}
			}
			for i := range n {
				g, u, dv := float64(in[i]), float64(in[n+i]), float64(d[i])
				s := sigmoid(g)
				near("swiglu", i, dst[i], g*s*u, math.Abs(g*s*u)+1e-9)
				near("dgate", i, ds[i], dv*u*(s+g*s*(1-s)), math.Abs(dv*u))
				near("dup", i, ds[n+i], dv*g*s, math.Abs(dv*g*s)+1e-9)
			}
			if !intact() || !intactDS() {
				t.Fatalf("%d elements: written beyond the row", n)
			}
			if n > 0 {
				at := r.IntN(n)
				src[at] = 0x7fc0
				SwiGLU(x, bf(dst), bf(src), nil, temp)
				SwiGLUBack(x, bf(ds), bf(dy), bf(src), nil, nil, temp)
				if a, b, c := bf16Value(dst[at]), bf16Value(ds[at]), bf16Value(ds[n+at]); a == a || b == b || c == c {
					t.Fatalf("NaN at %d of %d is lost", at, n)
				}
			}
		}
	})
}
