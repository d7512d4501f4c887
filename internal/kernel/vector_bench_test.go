package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkVector times the loops over vectors with one worker: on arrays that stay in a core's cache, and on arrays
// that no cache holds. A figure is what has to be read and written; the triad is the peak to compare it with.
func BenchmarkVector(b *testing.B) {
	x := benchExec(b)
	const row = 1024 // of softmax
	for _, n := range []int{32 << 10, 16 << 20} {
		var dst, up, a, c []float32
		half := make([]uint16, n)
		for _, v := range []struct {
			name  string
			bytes int // for each element
			run   func()
		}{
			{"triad", 12, func() { Mul(x, dst, a, c) }},
			{"sum of squares", 4, func() { SumSquares(x, a) }},
			{"exp", 8, func() { Exp(x, dst, a) }},
			{"softmax", 8, func() {
				for i := 0; i < n; i += row {
					d, s := dst[i:i+row], a[i:i+row]
					Affine(x, d, d, 1/ExpSub(x, d, s, Max(x, s)), 0)
				}
			}},
			{"gelu", 8, func() { GELU(x, dst, a) }},
			{"gelu backward", 12, func() { GELUBackward(x, dst, c, a) }},
			{"silu-mul", 12, func() { SiLUMul(x, dst, a, c) }},
			{"silu-mul backward", 20, func() { SiLUMulBackward(x, dst, up, c, a, c) }},
			{"to bf16", 6, func() { ToBF16(x, half, a) }},
		} {
			b.Run(fmt.Sprintf("%s/%d", v.name, n), func(b *testing.B) {
				if dst == nil {
					dst, up, a, c = randomMat(1, n).F, randomMat(1, n).F, randomMat(1, n).F, randomMat(1, n).F
				}
				b.SetBytes(int64(v.bytes * n))
				for b.Loop() {
					v.run()
				}
			})
		}
	}
}

// BenchmarkRefreshBF16 times what an update costs beside its arithmetic: the packed forms of a weight.
func BenchmarkRefreshBF16(b *testing.B) {
	x := benchExec(b)
	const out, in = 3072, 768
	w := NewWeightsBF16(randomMat(out, in).F, out, in)
	b.SetBytes(8 * out * in)
	for b.Loop() {
		w.Refresh(x)
	}
}

// BenchmarkPackPair times the packing of the values of a head, as columns of a wider matrix.
func BenchmarkPackPair(b *testing.B) {
	x := benchExec(b)
	const size, wide = 64, 2304
	for _, keys := range []int{256, 1024} {
		b.Run(fmt.Sprintf("%dx%d", keys, size), func(b *testing.B) {
			src, packed := NewOperand(keys, wide), make([]uint16, PackLen(keys, size))
			for i := range keys {
				ToBF16(x, src.RowH(i), randomMat(1, wide).F)
			}
			b.SetBytes(4 * int64(keys) * size)
			for b.Loop() {
				PackPair(x, packed, src.H, keys, size, src.Stride)
			}
		})
	}
}
