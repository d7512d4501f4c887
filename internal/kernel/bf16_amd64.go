//go:build !purego

package kernel

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
