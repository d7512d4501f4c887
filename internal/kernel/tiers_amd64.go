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
	},
	bf16: genericBF16,
	peak: peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 16, run: peakAVX512},
}

var avx2 = tierTable{
	tier: AVX2,
	table: table[float32]{
		mr: 6, nr: 16, tile: tileAVX2,
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
	},
	bf16: genericBF16,
	peak: peakLoop{operands: 6 * 8, sums: 10 * 8, flops: 2 * 20 * 8, run: peakAVX2},
}

// avx512BF16 gains over float32 on AMD's CPUs only, as far as is known. VDPBF16PS makes twice the multiply-adds of
// VFMADD231PS: AMD's cores begin as many of either in a cycle, the Xeon of docs/kernels.md a quarter as many.
var avx512BF16 = bfTable{
	name: "avx512_bf16", faster: cpu.Vendor == "AuthenticAMD",
	panel: panelAVX512BF16, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512,
	packBlocks: packBlocksAVX512, packBlocksF32: packBlocksF32AVX512, packEdge: packEdgeAVX512,
	fused: fusedAVX512,
	peak:  peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 32, run: onBF16(peakAVX512BF16)},
}

var amxBF16 = bfTable{
	name: "amx", faster: true,
	panel: panelAMX, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512,
	packBlocks: packBlocksAVX512, packBlocksF32: packBlocksF32AVX512, packEdge: packEdgeAVX512,
	fused: fusedAVX512,
	peak:  peakLoop{operands: 4 * 256, sums: 4 * 256, flops: 4 * 2 * 16 * 16 * 32, run: onBF16(peakAMX)},
}

// fusedAVX512 needs AVX-512 with bfloat16 conversions.
var fusedAVX512 = rowTable{
	softmax:       softmaxRow,
	softmaxBack:   softmaxBackRow,
	gelu:          geluRow,
	geluBack:      geluBackRow,
	swiglu:        swigluRow,
	swigluBack:    swigluBackRow,
	layerNorm:     layerNormRow,
	layerNormBack: layerNormBackRow,
	rmsNorm:       rmsNormRow,
	rmsNormBack:   rmsNormBackRow,
	heads:         func(a headsArgs) { headsRow(&a) },
	headsBack:     func(a headsArgs) { headsBackRow(&a) },
	add:           addRow,
	roundSum:      roundSumRow,
	scale:         scaleRow,
	dot:           dotRow,
}

//go:noescape
func tileAVX512(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTAVX512(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func packRowsAVX512(dst *float32, ldd int, src *float32, lds, rows, k int)

//go:noescape
func tileAVX2(rows, k int, a *float32, rs, ks int, b *float32, bs int,
	c *float32, ldc, cols int, alpha float32, add bool)

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

//go:noescape
func peakAVX512(operands, sums []float32, turns int)

//go:noescape
func peakAVX2(operands, sums []float32, turns int)

//go:noescape
func peakAVX512BF16(operands, sums []float32, turns int)
