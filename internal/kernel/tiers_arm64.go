//go:build !purego

package kernel

// tiers are the assembly tiers of this CPU: every arm64 CPU has NEON.
var tiers = []tierTable{{
	tier: NEON,
	table: table[float32]{
		mr: 6, nr: 16, tile: tileNEON,
		lanes: 4, lanesA: 16, packT: packTNEON, packN: packNNEON,
		vectors: vectors[float32]{
			exp: expNEON, gelu: geluNEON, expSub: expSubNEON,
			max: maxNEON, sum: sumNEON, dot: dotNEON, sumSquares: sumSquaresNEON,
			axpy: axpyNEON, affine: affineNEON, mul: mulNEON, mulAdd: mulAddNEON,
			geluBackward: geluBackwardNEON,
			siluMul:      siluMulNEON, siluMulBackward: siluMulBackwardNEON,
			rotate: rotateNEON, adamW: adamWNEON,
		},
	},
	bf16: genericBF16,
	peak: peakGeneric,
}}

// The assembly. Calls go through the tables, where the compiler lets every pointer escape: //go:noescape would not
// help.

func tileNEON(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)
func packTNEON(dst *float32, ldd int, src *float32, lds, k int)
func packNNEON(dst *float32, ldd int, src *float32, lds, k, cols int)

func expNEON(dst, src []float32)
func geluNEON(dst, src []float32)
func expSubNEON(dst, src []float32, m float32) float32
func maxNEON(src []float32) float32
func sumNEON(src []float32) float32
func dotNEON(a, b []float32) float32
func sumSquaresNEON(src []float32) float64
func axpyNEON(dst []float32, alpha float32, src []float32)
func affineNEON(dst, src []float32, scale, shift float32)
func mulNEON(dst, a, b []float32)
func mulAddNEON(dst, a, b []float32)
func geluBackwardNEON(dx, dy, src []float32)
func siluMulNEON(dst, gate, up []float32)
func siluMulBackwardNEON(dgate, dup, dy, gate, up []float32)
func rotateNEON(dst1, dst2, a, b, cos, sin []float32)
func adamWNEON(p, g, m, v []float32, c adamCoef[float32])
