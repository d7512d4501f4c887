//go:build !purego

package kernel

import "gimbal/internal/cpu"

// tiers are the assembly tiers of this CPU, best first.
var tiers = assemblyTiers()

func assemblyTiers() []table[float32] {
	var ts []table[float32]
	if cpu.AVX512 {
		ts = append(ts, table[float32]{
			tier: AVX512, mr: 14, nr: 32, tile: tileAVX512,
			lanes: 16, packT: packTAVX512, packN: packNAVX512, packRows: packRowsAVX512,
			vectors: vectors[float32]{
				exp:             expAVX512,
				gelu:            geluAVX512,
				expSub:          expSubAVX512,
				max:             maxAVX512,
				sum:             sumAVX512,
				dot:             dotAVX512,
				sumSquares:      sumSquaresAVX512,
				axpy:            axpyAVX512,
				affine:          affineAVX512,
				mul:             mulAVX512,
				mulAdd:          mulAddAVX512,
				geluBackward:    geluBackwardAVX512,
				siluMul:         siluMulAVX512,
				siluMulBackward: siluMulBackwardAVX512,
				rotate:          rotateAVX512,
				adamW:           adamWAVX512,
			},
		})
	}
	if amxAllowed { // vectors are those of AVX-512
		amx := ts[0]
		amx.tier = AMX
		ts = append([]table[float32]{amx}, ts...)
	}
	if cpu.AVX2FMA {
		ts = append(ts, table[float32]{
			tier: AVX2, mr: 6, nr: 16, tile: tileAVX2,
			lanes: 8, packT: packTAVX2, packN: packNAVX2,
			vectors: vectors[float32]{
				exp:             expAVX2,
				gelu:            geluAVX2,
				expSub:          expSubAVX2,
				max:             maxAVX2,
				sum:             sumAVX2,
				dot:             dotAVX2,
				sumSquares:      sumSquaresAVX2,
				axpy:            axpyAVX2,
				affine:          affineAVX2,
				mul:             mulAVX2,
				mulAdd:          mulAddAVX2,
				geluBackward:    geluBackwardAVX2,
				siluMul:         siluMulAVX2,
				siluMulBackward: siluMulBackwardAVX2,
				rotate:          rotateAVX2,
				adamW:           adamWAVX2,
			},
		})
	}
	return ts
}

//go:noescape
func tileAVX512(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTAVX512(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func packRowsAVX512(dst *float32, ldd int, src *float32, lds, rows, k int)

//go:noescape
func tileAVX2(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTAVX2(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func packNAVX512(dst *float32, ldd int, src *float32, lds, k, cols int)

//go:noescape
func packNAVX2(dst *float32, ldd int, src *float32, lds, k, cols int)

//go:noescape
func expAVX512(dst, src []float32)

//go:noescape
func geluAVX512(dst, src []float32)

//go:noescape
func expSubAVX512(dst, src []float32, m float32) float32

//go:noescape
func maxAVX512(src []float32) float32

//go:noescape
func sumAVX512(src []float32) float32

//go:noescape
func dotAVX512(a, b []float32) float32

//go:noescape
func sumSquaresAVX512(src []float32) float64

//go:noescape
func axpyAVX512(dst []float32, alpha float32, src []float32)

//go:noescape
func affineAVX512(dst, src []float32, scale, shift float32)

//go:noescape
func mulAVX512(dst, a, b []float32)

//go:noescape
func mulAddAVX512(dst, a, b []float32)

//go:noescape
func geluBackwardAVX512(dx, dy, src []float32)

//go:noescape
func siluMulAVX512(dst, gate, up []float32)

//go:noescape
func siluMulBackwardAVX512(dgate, dup, dy, gate, up []float32)

//go:noescape
func rotateAVX512(dst1, dst2, a, b, cos, sin []float32)

//go:noescape
func adamWAVX512(p, g, m, v []float32, c adamCoef[float32])

//go:noescape
func expAVX2(dst, src []float32)

//go:noescape
func geluAVX2(dst, src []float32)

//go:noescape
func expSubAVX2(dst, src []float32, m float32) float32

//go:noescape
func maxAVX2(src []float32) float32

//go:noescape
func sumAVX2(src []float32) float32

//go:noescape
func dotAVX2(a, b []float32) float32

//go:noescape
func sumSquaresAVX2(src []float32) float64

//go:noescape
func axpyAVX2(dst []float32, alpha float32, src []float32)

//go:noescape
func affineAVX2(dst, src []float32, scale, shift float32)

//go:noescape
func mulAVX2(dst, a, b []float32)

//go:noescape
func mulAddAVX2(dst, a, b []float32)

//go:noescape
func geluBackwardAVX2(dx, dy, src []float32)

//go:noescape
func siluMulAVX2(dst, gate, up []float32)

//go:noescape
func siluMulBackwardAVX2(dgate, dup, dy, gate, up []float32)

//go:noescape
func rotateAVX2(dst1, dst2, a, b, cos, sin []float32)

//go:noescape
func adamWAVX2(p, g, m, v []float32, c adamCoef[float32])
