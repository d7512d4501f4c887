//go:build !purego

package kernel

import "unsafe"

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

// onBF16 is run on operands of bfloat16: the upper halves of the numbers, for a lower half is no useful one.
func onBF16(run func(operands, sums []float32, turns int)) func(operands, sums []float32, turns int) {
	return func(operands, sums []float32, turns int) {
		words := unsafe.Slice((*uint16)(unsafe.Pointer(&operands[0])), 2*len(operands))
		for i := 0; i < len(words); i += 2 {
			words[i] = words[i+1]
		}
		run(operands, sums, turns)
	}
}

//go:noescape
func panelAMX(d *panel)

//go:noescape
func panelAVX512BF16(d *panel)

//go:noescape
func packPairsAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func packNaturalAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func packPairsF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)

//go:noescape
func packNaturalF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)

//go:noescape
func transposeAVX512(dst *uint16, ldd int, src *uint16, stride, blocks int)

//go:noescape
func toBF16AVX512(dst []uint16, src []float32)

//go:noescape
func fromBF16AVX512(dst []float32, src []uint16)

//go:noescape
func peakAMX(operands, sums []float32, turns int)
