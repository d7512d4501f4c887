//go:build !purego

package kernel

// peakFP32 is the loop of a tier's multiply-adds.
func peakFP32(t Tier) peakLoop {
	switch {
	case t >= AVX512:
		return peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 16, run: peakAVX512}
	case t == AVX2:
		return peakLoop{operands: 6 * 8, sums: 10 * 8, flops: 2 * 20 * 8, run: peakAVX2}
	}
	return peakGeneric
}

//go:noescape
func peakAVX512(operands, sums []float32, turns int)

//go:noescape
func peakAVX2(operands, sums []float32, turns int)

//go:noescape
func peakAVX512BF16(operands, sums []float32, turns int)
