//go:build !purego

package kernel

import (
	"unsafe"

	"gimbal/internal/cpu"
)

// avx512BF16 gains over float32 on AMD's CPUs only, as far as is known. VDPBF16PS makes twice the multiply-adds of
// VFMADD231PS: AMD's cores begin as many of either in a cycle, the Xeon of docs/kernels.md a quarter as many.
var avx512BF16 = bfTable{
	name: "avx512_bf16", faster: cpu.Vendor == "AuthenticAMD",
	panel: panelAVX512BF16, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512,
	packBlocks: packBlocksAVX512, packBlocksF32: packBlocksF32AVX512, packEdge: packEdgeAVX512,
	peak: peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 32, run: onBF16(peakAVX512BF16)},
}

var amxBF16 = bfTable{
	name: "amx", faster: true,
	panel: panelAMX, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512,
	packBlocks: packBlocksAVX512, packBlocksF32: packBlocksF32AVX512, packEdge: packEdgeAVX512,
	peak: peakLoop{operands: 4 * 256, sums: 4 * 256, flops: 4 * 2 * 16 * 16 * 32, run: onBF16(peakAMX)},
}

func packBlocksAVX512(kind packKind, dst *uint16, step int, src *uint16, stride, blocks int) {
	switch kind {
	case pairs:
		packPairsAVX512(dst, step, src, stride, blocks)
	case natural:
		packNaturalAVX512(dst, step, src, stride, blocks)
	default:
		transposeAVX512(dst, step, src, stride, blocks)
	}
}

func packEdgeAVX512(kind packKind, dst *uint16, step int, rows [tileSize]uint16) {
	packBlocksAVX512(kind, dst, step, &rows[0], tileSide, 1)
}

func packBlocksF32AVX512(kind packKind, dst *uint16, step int, src *float32, stride, blocks int) {
	if kind == pairs {
		packPairsF32AVX512(dst, step, src, stride, blocks)
	} else {
		packNaturalF32AVX512(dst, step, src, stride, blocks)
	}
}

// onBF16 makes run read operands of bfloat16. It overwrites the lower half of each float32 by the upper one: as a
// bfloat16 the lower half would be an arbitrary number.
func onBF16(run func(operands, sums []float32, turns int)) func(operands, sums []float32, turns int) {
	return func(operands, sums []float32, turns int) {
		words := unsafe.Slice((*uint16)(unsafe.Pointer(&operands[0])), 2*len(operands))
		for i := 0; i < len(words); i += 2 {
			words[i] = words[i+1]
		}
		run(operands, sums, turns)
	}
}

// The assembly. What Go calls directly has //go:noescape; see tiers_amd64.go for the rest.

func panelAMX(d *panel)
func panelAVX512BF16(d *panel)
func toBF16AVX512(dst []uint16, src []float32)
func fromBF16AVX512(dst []float32, src []uint16)
func peakAMX(operands, sums []float32, turns int)
func peakAVX512BF16(operands, sums []float32, turns int)

//go:noescape
func packPairsAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func packNaturalAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func transposeAVX512(dst *uint16, ldd int, src *uint16, stride, blocks int)

//go:noescape
func packPairsF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)

//go:noescape
func packNaturalF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)
