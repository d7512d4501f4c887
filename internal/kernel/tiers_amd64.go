//go:build !purego

package kernel

import "gimbal/internal/cpu"

// tiers are the assembly tiers of this CPU, best first.
var tiers = assemblyTiers()

func assemblyTiers() []tierTable {
	var ts []tierTable
	if cpu.AVX512 {
		t := avx512
		if cpu.AVX512BF16 {
			t.bf16 = avx512BF16
		}
		ts = append(ts, t)
	}
	if amxAllowed { // all but the multiplies of bfloat16 is that of AVX-512
		amx := ts[0]
		amx.tier, amx.bf16 = AMX, amxBF16
		ts = append([]tierTable{amx}, ts...)
	}
	if cpu.AVX2FMA {
		ts = append(ts, avx2)
	}
	return ts
}

var avx512 = tierTable{
	tier: AVX512,
	table: table[float32]{
		mr: 14, nr: 32, tile: tileAVX512,
		lanes: 16, lanesA: 16, packT: packTAVX512, packN: packNAVX512, packRows: packRowsAVX512,
		dots: dotsAVX2, codedBF16: codedBF16AVX512, codedInt8: codedInt8AVX512,
		vectors: vectors[float32]{
			exp: expAVX512, gelu: geluAVX512, expSub: expSubAVX512,
			max: maxAVX512, sum: sumAVX512, dot: dotAVX512, sumSquares: sumSquaresAVX512,
			axpy: axpyAVX512, affine: affineAVX512, mul: mulAVX512, mulAdd: mulAddAVX512,
			geluBackward: geluBackwardAVX512,
			siluMul:      siluMulAVX512, siluMulBackward: siluMulBackwardAVX512,
			rotate: rotateAVX512, adamW: adamWAVX512,
		},
	},
	bf16: genericBF16,
	peak: peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 16, run: peakAVX512},
}

var avx2 = tierTable{
	tier: AVX2,
	table: table[float32]{
		mr: 6, nr: 16, tile: tileAVX2,
		lanes: 8, lanesA: 8, packT: packTAVX2, packN: packNAVX2, packRows: packRowsAVX2, packTerms: packTermsAVX2,
		dots: dotsAVX2, codedBF16: codedBF16AVX2, codedInt8: codedInt8AVX2,
		vectors: vectors[float32]{
			exp: expAVX2, gelu: geluAVX2, expSub: expSubAVX2,
			max: maxAVX2, sum: sumAVX2, dot: dotAVX2, sumSquares: sumSquaresAVX2,
			axpy: axpyAVX2, affine: affineAVX2, mul: mulAVX2, mulAdd: mulAddAVX2,
			geluBackward: geluBackwardAVX2,
			siluMul:      siluMulAVX2, siluMulBackward: siluMulBackwardAVX2,
			rotate: rotateAVX2, adamW: adamWAVX2,
		},
	},
	bf16: genericBF16,
	peak: peakLoop{operands: 6 * 8, sums: 10 * 8, flops: 2 * 20 * 8, run: peakAVX2},
}

// dot and expand serve AVX-512, too: one row waits for the memory.
var (
	codedBF16AVX2 = codedTable{expand: expandBF16AVX2, dot: dotBF16AVX2}
	codedInt8AVX2 = codedTable{expand: expandInt8AVX2, dot: dotInt8AVX2}

	codedBF16AVX512 = codedTable{expand: expandBF16AVX2, dot: dotBF16AVX2, tile: tileBF16AVX512}
	codedInt8AVX512 = codedTable{expand: expandInt8AVX2, dot: dotInt8AVX2, tile: tileInt8AVX512}
)

// The assembly. Calls go through the tables, where the compiler lets every pointer escape: //go:noescape would not
// help.

func tileAVX512(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)
func tileBF16AVX512(rows, k int, a *float32, rs int, src *byte,
	c *float32, ldc, cols int, alpha float32, add bool)
func tileInt8AVX512(rows, k int, a *float32, rs int, src *byte,
	c *float32, ldc, cols int, alpha float32, add bool)
func packNAVX512(dst *float32, ldd int, src *float32, lds, k, cols int)
func packTAVX512(dst *float32, ldd int, src *float32, lds, k int)
func packRowsAVX512(dst *float32, ldd int, src *float32, lds, rows, k int)

func tileAVX2(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)
func packNAVX2(dst *float32, ldd int, src *float32, lds, k, cols int)
func packTAVX2(dst *float32, ldd int, src *float32, lds, k int)
func packRowsAVX2(dst *float32, ldd int, src *float32, lds, rows, k int)
func packTermsAVX2(dst *float32, step int, src *float32, lds, k, panels int)

func dotsAVX2(c, w *float32, ldw int, x, next *float32, k int, add bool)
func dotBF16AVX2(c *float32, src *byte, x *float32, k int, add bool)
func dotInt8AVX2(c *float32, src *byte, x *float32, k int, add bool)
func expandBF16AVX2(dst *float32, ldd int, src *byte, col, k int)
func expandInt8AVX2(dst *float32, ldd int, src *byte, col, k int)

func expAVX512(dst, src []float32)
func geluAVX512(dst, src []float32)
func expSubAVX512(dst, src []float32, m float32) float32
func maxAVX512(src []float32) float32
func sumAVX512(src []float32) float32
func dotAVX512(a, b []float32) float32
func sumSquaresAVX512(src []float32) float64
func axpyAVX512(dst []float32, alpha float32, src []float32)
func affineAVX512(dst, src []float32, scale, shift float32)
func mulAVX512(dst, a, b []float32)
func mulAddAVX512(dst, a, b []float32)
func geluBackwardAVX512(dx, dy, src []float32)
func siluMulAVX512(dst, gate, up []float32)
func siluMulBackwardAVX512(dgate, dup, dy, gate, up []float32)
func rotateAVX512(dst1, dst2, a, b, cos, sin []float32)
func adamWAVX512(p, g, m, v []float32, c adamCoef[float32])

func expAVX2(dst, src []float32)
func geluAVX2(dst, src []float32)
func expSubAVX2(dst, src []float32, m float32) float32
func maxAVX2(src []float32) float32
func sumAVX2(src []float32) float32
func dotAVX2(a, b []float32) float32
func sumSquaresAVX2(src []float32) float64
func axpyAVX2(dst []float32, alpha float32, src []float32)
func affineAVX2(dst, src []float32, scale, shift float32)
func mulAVX2(dst, a, b []float32)
func mulAddAVX2(dst, a, b []float32)
func geluBackwardAVX2(dx, dy, src []float32)
func siluMulAVX2(dst, gate, up []float32)
func siluMulBackwardAVX2(dgate, dup, dy, gate, up []float32)
func rotateAVX2(dst1, dst2, a, b, cos, sin []float32)
func adamWAVX2(p, g, m, v []float32, c adamCoef[float32])

func peakAVX512(operands, sums []float32, turns int)
func peakAVX2(operands, sums []float32, turns int)
