//go:build !purego

package kernel

// tiers are the assembly tiers of this CPU: every arm64 CPU has NEON.
var tiers = []tierTable{{
	tier: NEON,
	table: table[float32]{
		mr: 6, nr: 16, tile: tileNEON,
		lanes: 4, packT: packTNEON, packN: packNNEON,
		vectors: vectors[float32]{
			exp:             expNEON,
			gelu:            geluNEON,
			expSub:          expSubNEON,
			max:             maxNEON,
			sum:             sumNEON,
			dot:             dotNEON,
			sumSquares:      sumSquaresNEON,
			axpy:            axpyNEON,
			affine:          affineNEON,
			mul:             mulNEON,
			mulAdd:          mulAddNEON,
			geluBackward:    geluBackwardNEON,
			siluMul:         siluMulNEON,
			siluMulBackward: siluMulBackwardNEON,
			rotate:          rotateNEON,
			adamW:           adamWNEON,
		},
	},
	bf16: genericBF16,
	peak: peakGeneric,
}}

//go:noescape
func tileNEON(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTNEON(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func packNNEON(dst *float32, ldd int, src *float32, lds, k, cols int)

//go:noescape
func expNEON(dst, src []float32)

//go:noescape
func geluNEON(dst, src []float32)

//go:noescape
func expSubNEON(dst, src []float32, m float32) float32

//go:noescape
func maxNEON(src []float32) float32

//go:noescape
func sumNEON(src []float32) float32

//go:noescape
func dotNEON(a, b []float32) float32

//go:noescape
func sumSquaresNEON(src []float32) float64

//go:noescape
func axpyNEON(dst []float32, alpha float32, src []float32)

//go:noescape
func affineNEON(dst, src []float32, scale, shift float32)

//go:noescape
func mulNEON(dst, a, b []float32)

//go:noescape
func mulAddNEON(dst, a, b []float32)

//go:noescape
func geluBackwardNEON(dx, dy, src []float32)

//go:noescape
func siluMulNEON(dst, gate, up []float32)

//go:noescape
func siluMulBackwardNEON(dgate, dup, dy, gate, up []float32)

//go:noescape
func rotateNEON(dst1, dst2, a, b, cos, sin []float32)

//go:noescape
func adamWNEON(p, g, m, v []float32, c adamCoef[float32])
