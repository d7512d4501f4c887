package fused

import (
	"fmt"
	"math"
	"testing"

	"gimbal/internal/kernel"
)

// A row is NaN, and so is what is saved of it, exactly if the sum of its squares is no finite float32: with and without
// assembly, in float32 and in bfloat16, in norms and in heads.
func TestSquaresThatOverflow(t *testing.T) {
	const n, eps = 64, 1e-5
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	norms := map[string]func(x *kernel.Exec, dst, src kernel.Row[float32], v, temp []float32) float32{
		"RMSNorm": func(x *kernel.Exec, dst, _ kernel.Row[float32], v, temp []float32) float32 {
			return RMSNorm(x, dst, v, ones, eps, temp)
		},
		"LayerNorm": func(x *kernel.Exec, dst, _ kernel.Row[float32], v, temp []float32) float32 {
			_, rstd := LayerNorm(x, dst, v, ones, make([]float32, n), eps, temp)
			return rstd
		},
		"heads": func(x *kernel.Exec, dst, src kernel.Row[float32], _, temp []float32) float32 {
			h, rstd := Heads[float32]{Size: n, Gain: ones, Scale: 1, Eps: eps}, make([]float32, 1)
			h.Forward(x, 0, dst, src, rstd, temp)
			return rstd[0]
		},
	}
	eachTier(t, func(t *testing.T, x *kernel.Exec) {
		for name, norm := range norms {
			for _, large := range []float32{1, 1e12, 1e18, 1.8e19, 1.9e19, 1e30, math.MaxFloat32, float32(math.Inf(1))} {
				for _, rounded := range []bool{false, true} {
					t.Run(fmt.Sprint(name, large, rounded), func(t *testing.T) {
						v, temp := make([]float32, n), make([]float32, n)
						for i := range v {
							v[i] = float32(i%7) - 3
						}
						v[n/2] = large
						dst, src := kernel.Row[float32]{F: make([]float32, n)}, kernel.Row[float32]{F: v}
						if rounded {
							dst, src = bf(make([]uint16, n)), bf(make([]uint16, n))
							src.Write(x, v)
						}
						rstd := norm(x, dst, src, v, temp)
						broken := !(float64(large)*float64(large) < math.MaxFloat32)
						for i, got := range append(dst.Read(x, temp), rstd) {
							if got != got != broken {
								t.Fatalf("element %d is %v, the sum of squares overflows: %v", i, got, broken)
							}
						}
					})
				}
			}
		}
	})
}
