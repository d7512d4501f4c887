package fused

import (
	"fmt"
	"math"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/testmem"
)

// headOracle computes one head in float64 and returns its output, and what Backward makes of the gradient g of it.
func headOracle(h *Heads[float32], at int, src []uint16, g []float64) (y, dv, dgain []float64, r float64) {
	n, half := h.Size, h.Size/2
	v, w, ss := make([]float64, n), make([]float64, n), 0.0
	for i := range v {
		v[i] = float64(bf16Value(src[at+i]))
		if h.Bias != nil {
			v[i] += float64(h.Bias[at+i])
		}
		ss += v[i] * v[i]
	}
	copy(w, v)
	if h.Gain != nil {
		r = 1 / math.Sqrt(ss/float64(n)+h.Eps)
		for i := range w {
			w[i] *= r * float64(h.Gain[i])
		}
	}
	y, dv, dgain = append([]float64(nil), w...), append([]float64(nil), g...), make([]float64, n)
	for j := range half {
		if h.Cos == nil {
			break
		}
		c, s := float64(h.Cos[j]), float64(h.Sin[j])
		y[j], y[half+j] = w[j]*c-w[half+j]*s, w[half+j]*c+w[j]*s
		dv[j], dv[half+j] = g[j]*c+g[half+j]*s, g[half+j]*c-g[j]*s
	}
	for i := range y {
		y[i] *= float64(h.Scale)
	}
	if h.Gain != nil {
		m := 0.0
		for i := range v {
			m += dv[i] * v[i] * float64(h.Gain[i]) / float64(n)
			dgain[i] = r * dv[i] * v[i]
		}
		for i := range v {
			dv[i] = r*float64(h.Gain[i])*dv[i] - r*r*r*m*v[i]
		}
	}
	return y, dv, dgain, r
}

// TestHeadsRows compares with the definition for every choice, sizes of whole blocks and others, with guard words
// around everything that is written.
func TestHeadsRows(t *testing.T) {
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		r := newRand(t)
		for _, size := range []int{2, 6, 32, 64, 80, 96, 128} {
			for choice := range 32 {
				heads, group := 1+r.IntN(3), 1+choice>>4*2
				ar := testmem.NewArena[float32](r)
				n := heads * size
				h := &Heads[float32]{Size: size, Scale: 0.125, Eps: 1e-6}
				if choice&1 != 0 {
					h.Bias = ar.Random("bias", n, true)
				}
				if choice&2 != 0 {
					h.Gain = ar.Random("gain", size, true)
				}
				if choice&4 != 0 {
					h.Cos, h.Sin = ar.Random("cos", size/2, true), ar.Random("sin", size/2, true)
				}
				rstd, dgain, sum := ar.Random("rstd", heads, false), ar.Random("dgain", size, false),
					ar.Random("sum", n, false)
				if choice&8 == 0 {
					sum = nil
				}
				before := widen([][]float32{dgain, sum})
				draw := func(n int) []uint16 {
					f, s := make([]float32, n), make([]uint16, n)
					for i := range f {
						f[i] = float32(r.NormFloat64())
					}
					kernel.ToBF16(x, s, f)
					return s
				}
				src, dy := draw(n), draw(n*group)
				temp := make([]float32, (3+group)*n)
				dst, intact := guardedBF16(n)
				ddst, dintact := guardedBF16(n)
				h.Forward(x, 0, bf(dst), bf(src), rstd, temp)
				h.Backward(x, 0, bf(ddst), bf(dy), group, bf(src), rstd, dgain, sum, temp)
				what := fmt.Sprintf("%d heads of %d, choice %d", heads, size, choice)
				wantGain := make([]float64, size)
				near := func(name string, got, want, size float64) {
					t.Helper()
					if !(math.Abs(got-want) <= size) {
						t.Fatalf("%s: %s is %v, want %v", what, name, got, want)
					}
				}
				for head := range heads {
					at, g, most := head*size, make([]float64, size), 0.0
					for i := range g {
						for j := range group {
							g[i] += float64(bf16Value(dy[(head*group+j)*size+i]))
						}
					}
					y, dv, dg, r := headOracle(h, at, src, g)
					for i := range size {
						most = max(most, math.Abs(y[i]), math.Abs(dv[i]))
					}
					for i := range size {
						near(fmt.Sprintf("y[%d]", at+i), float64(bf16Value(dst[at+i])), y[i],
							math.Abs(y[i])/256+1e-5*most)
						near(fmt.Sprintf("dv[%d]", at+i), float64(bf16Value(ddst[at+i])), dv[i],
							math.Abs(dv[i])/256+1e-5*most)
						if sum != nil {
							near(fmt.Sprintf("sum[%d]", at+i), float64(sum[at+i]), before[1][at+i]+dv[i], 1e-5*(most+1))
						}
						wantGain[i] += dg[i]
					}
					if h.Gain != nil {
						near("rstd", float64(rstd[head]), r, 1e-6*r)
					}
				}
				for i := range wantGain {
					near(fmt.Sprintf("dgain[%d]", i), float64(dgain[i]), before[0][i]+wantGain[i],
						1e-4*(1+math.Abs(wantGain[i])))
				}
				ar.Check(t, what)
				if !intact() || !dintact() {
					t.Fatalf("%s: written beyond the row", what)
				}
			}
		}
	})
}
