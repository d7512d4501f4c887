package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// RopeScale divides slow frequencies by Factor; the zero value leaves all as they are. See config.RopeScale.
type RopeScale struct {
	Factor, Low, High float64
	Original          int
}

// apply scales a frequency, in radians for each position.
//
// Formula: with n = Original·f/2π turns within the original context: f/Factor where n < Low, f where n > High, and
// between them ((1−s)/Factor + s)·f with s = (n−Low)/(High−Low).
// Source: Grattafiori et al. 2024 (Llama 3), arXiv:2407.21783; rope type "llama3" of Hugging Face transformers.
func (s RopeScale) apply(f float64) float64 {
	turns := float64(s.Original) * f / (2 * math.Pi)
	switch {
	case s.Factor == 0 || turns > s.High:
		return f
	case turns < s.Low:
		return f / s.Factor
	}
	smooth := (turns - s.Low) / (s.High - s.Low)
	return ((1-smooth)/s.Factor + smooth) * f
}

// RopeLen is the number of elements of each of the two tables of RopeTables.
func RopeLen(context, size int) int { return context * size / 2 }

// RopeFrequency is f(j) of RopeTables, in radians for each position.
func RopeFrequency(j, size int, theta float64, scale RopeScale) float64 {
	return scale.apply(math.Pow(theta, -2*float64(j)/float64(size)))
}

// RopeTables overwrites cos and sin (context, D/2) by those of the angles by which Heads rotates pairs of channels.
//
// Formula: channels j and j+D/2 form a pair, turned by position·f(j) with f(j) = θ^(−2j/D), scaled where RopeScale says
// so (the half-split convention of Hugging Face).
// Source: Su et al. 2021, arXiv:2104.09864.
// Numerics: computed in float64 and rounded to T.
func RopeTables[T kernel.Float](cos, sin []T, context, size int, theta float64, scale RopeScale) {
	require(len(cos) == RopeLen(context, size) && len(sin) == len(cos) && size%2 == 0, "nn: rope: wrong shape")
	half := size / 2
	for j := range half {
		freq := RopeFrequency(j, size, theta, scale)
		for p := range context {
			s, c := math.Sincos(float64(p) * freq)
			cos[p*half+j], sin[p*half+j] = T(c), T(s)
		}
	}
}
