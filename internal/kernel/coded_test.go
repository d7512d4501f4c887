package kernel

import (
	"fmt"
	"testing"
)

// codedShapes are sizes of W around the edges of panels, groups, blocks and tiles.
var codedShapes = [][2]int{{1, 1}, {5, 3}, {16, 32}, {31, 33}, {32, 64}, {33, 31}, {48, kBlock}, {65, kBlock + 4},
	{64, 2*kBlock + 7}, {100, kBlock - 1}, {47, 132}}

// TestCodedIsDecoded checks, bit for bit, that a product with coded weights is that with the values they stand for:
// on every tier, for any number of rows and workers.
func TestCodedIsDecoded(t *testing.T) {
	for _, tier := range Tiers() {
		for _, workers := range []int{1, 3} {
			x, r := newExec(t, workers, tier), newRand(t)
			for _, f := range []Format{FP32, BF16, Int8} {
				for _, s := range codedShapes {
					out, in := s[0], s[1]
					ar := &arena[float32]{r: r}
					w := ar.random("w", out*in, true)
					h := NewWeightsCoded(w, make([]byte, CodedLen(f, out, in)), f, out, in)
					h.Refresh(x)
					values := make([]float32, out*in)
					h.Decoded(values)
					plain := NewWeights(values, out, in)
					for _, n := range []int{1, 2, 7, 33, 70} {
						src := ar.random("src", n*in, true)
						got, want := ar.random("dst", n*out, false), make([]float32, n*out)
						h.Forward(x, Dense(got, n, out), Dense(src, n, in), n)
						// Rows of the wanted product among others, so that the tile kernel computes them.
						more := make([]float32, (n+40)*out)
						plain.Forward(x, Dense(more, n+40, out), Dense(append(append([]float32(nil), src...),
							make([]float32, 40*in)...), n+40, in), n+40)
						copy(want, more)
						what := fmt.Sprintf("%s, %d workers: format %d, W (%d, %d), %d rows", tier, workers, f, out, in, n)
						same(t, what, got, want)
						ar.check(t, what)
					}
				}
			}
		}
	}
}
