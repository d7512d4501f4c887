package kernel

import (
	"fmt"
	"math"
	"testing"

	"gimbal/internal/testmem"
)

// fma32 is a·b + c rounded once: the sum is rounded to odd in float64, which
// has enough bits more for the second rounding to be right.
func fma32(a, b, c float32) float32 {
	p, d := float64(a)*float64(b), float64(c)
	s := p + d
	v := s - p
	if e := (p - (s - v)) + (d - v); e != 0 && math.Float64bits(s)&1 == 0 {
		s = math.Nextafter(s, math.Inf(int(math.Copysign(1, e))))
	}
	return float32(s)
}

func TestFMA32(t *testing.T) {
	eps := float32(1.0 / (1 << 23))
	// 1 + 2^-24 lies half way between two numbers; what is far smaller decides.
	for _, c := range []struct{ a, b, c, want float32 }{
		{1, 1, eps / 2, 1},
		{1, 1 + eps, eps / 2, 1 + 2*eps},
		{1 - eps/2, eps / 2, 1, 1},
		{1 + eps, eps / 2, 1, 1 + eps},
		{eps / 2, -(1 + eps), 1 + eps, 1},
		{3, 5, -15, 0},
	} {
		if got := fma32(c.a, c.b, c.c); got != c.want {
			t.Errorf("fma32(%g, %g, %g) = %g, want %g", c.a, c.b, c.c, got, c.want)
		}
	}
}

// TestChain checks, bit for bit, that assembly computes an element as one chain of fused multiply-adds over ascending
// terms in each block, for every number of rows and columns a tile may have, and A stored either way.
func TestChain(t *testing.T) {
	for _, tier := range Tiers() {
		if tier == Generic {
			continue // the compiler may fuse or not
		}
		t.Run(tier.String(), func(t *testing.T) {
			x := newExec(t, 1, tier)
			r := newRand(t)
			for m := 1; m <= x.f32.mr+1; m++ {
				for n := 1; n <= x.f32.nr+1; n++ {
					k := []int{1, 5, 40, kBlock + 3}[(m+n)%4]
					for _, trans := range []bool{false, true} {
						ar := testmem.NewArena[float32](r)
						a, b, c := ar.Random("a", m*k, true), ar.Random("b", k*n, true), ar.Random("c", m*n, false)
						lda, rs, ks := k, k, 1
						if trans {
							lda, rs, ks = m, 1, m
						}
						want := append([]float32(nil), c...)
						for i := range want {
							for l0 := 0; l0 < k; l0 += kBlock {
								var s float32
								for l := l0; l < min(l0+kBlock, k); l++ {
									s = fma32(a[i/n*rs+l*ks], b[l*n+i%n], s)
								}
								want[i] = fma32(1.25, s, want[i])
							}
						}
						what := fmt.Sprintf("m %d n %d k %d trans %v", m, n, k, trans)
						Gemm(x, 0, trans, false, m, n, k, 1.25, a, lda, b, n, 1, c, n)
						same(t, what, c, want)
						ar.Check(t, what)
					}
				}
			}
		})
	}
}

// TestPacking compares the copies into panels with the twin, guard words around source and destination.
func TestPacking(t *testing.T) {
	for _, tier := range Tiers() {
		if tier == Generic {
			continue
		}
		t.Run(tier.String(), func(t *testing.T) {
			e, r := &newExec(t, 1, tier).f32, newRand(t)
			for cols := 1; cols <= e.nr; cols++ {
				for _, k := range []int{1, 2, packStep} {
					for _, ldd := range []int{e.lanesA, e.nr} {
						if cols > ldd {
							continue
						}
						ar, lds := testmem.NewArena[float32](r), cols+r.IntN(20)
						src, dst := ar.Random("src", (k-1)*lds+cols, true), ar.Random("dst", k*ldd, false)
						want := make([]float32, len(dst))
						packNGo(&want[0], ldd, &src[0], lds, k, cols)
						e.packN(&dst[0], ldd, &src[0], lds, k, cols)
						what := fmt.Sprintf("packN: %d columns, %d rows of %d", cols, k, ldd)
						same(t, what, dst, want)
						ar.Check(t, what)
					}
				}
			}
			for k := 1; k <= 40 && e.packRows != nil; k++ {
				ar, rows := testmem.NewArena[float32](r), 1+r.IntN(e.mr)
				lds, ldd := k+r.IntN(20), k+r.IntN(20)
				src, dst := ar.Random("src", (rows-1)*lds+k, true), ar.Random("dst", (rows-1)*ldd+k, false)
				want := append([]float32(nil), dst...)
				for i := range rows {
					copy(want[i*ldd:][:k], src[i*lds:])
				}
				what := fmt.Sprintf("packRows: %d rows of %d", rows, k)
				e.packRows(&dst[0], ldd, &src[0], lds, rows, k)
				same(t, what, dst, want)
				ar.Check(t, what)
			}
			for panels := 1; panels <= 5 && e.packTerms != nil; panels++ {
				k, cols := 1+r.IntN(20), panels*e.mr+e.lanesA-e.mr
				ar, lds, step := testmem.NewArena[float32](r), cols+r.IntN(20), k*e.lanesA+r.IntN(20)
				src := ar.Random("src", (k-1)*lds+cols, true)
				dst := ar.Random("dst", (panels-1)*step+k*e.lanesA, false)
				want := append([]float32(nil), dst...)
				for i := range panels * k * e.lanesA {
					panel, l, row := i/e.lanesA/k, i/e.lanesA%k, i%e.lanesA
					want[panel*step+l*e.lanesA+row] = src[l*lds+panel*e.mr+row]
				}
				what := fmt.Sprintf("packTerms: %d rows to %d panels", k, panels)
				e.packTerms(&dst[0], step, &src[0], lds, k, panels)
				same(t, what, dst, want)
				ar.Check(t, what)
			}
			for k := 4; k <= 40; k += 4 {
				ar, lds := testmem.NewArena[float32](r), k+r.IntN(20)
				src, dst := ar.Random("src", (e.lanes-1)*lds+k, true), ar.Random("dst", (k-1)*e.nr+e.lanes, false)
				want := append([]float32(nil), dst...)
				for i := range k * e.lanes {
					want[i/e.lanes*e.nr+i%e.lanes] = src[i%e.lanes*lds+i/e.lanes]
				}
				what := fmt.Sprintf("packT: %d terms", k)
				e.packT(&dst[0], e.nr, &src[0], lds, k)
				same(t, what, dst, want)
				ar.Check(t, what)
			}
		})
	}
}
