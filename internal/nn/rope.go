package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// RopeLen is the number of elements of each of the two tables of RopeTables.
func RopeLen(context, size int) int { return context * size / 2 }

// RopeTables overwrites cos and sin (context, D/2) by those of the angles by which Heads rotates pairs of channels,
// times gain.
//
// Formula: channels j and j+D/2 form a pair, turned by position·frequencies[j] (the half-split convention of Hugging
// Face). D may be less than the channels of a head: the others stay.
// Source: Su et al. 2021, arXiv:2104.09864.
// Numerics: computed in float64 and rounded to T.
func RopeTables[T kernel.Float](cos, sin []T, context int, frequencies []float64, gain float64) {
	half := len(frequencies)
	require(len(cos) == RopeLen(context, 2*half) && len(sin) == len(cos), "nn: rope: wrong shape")
	for j, freq := range frequencies {
		for p := range context {
			s, c := math.Sincos(float64(p) * freq)
			cos[p*half+j], sin[p*half+j] = T(c*gain), T(s*gain)
		}
	}
}
