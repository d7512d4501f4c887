package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Rope is the angles by which Heads rotates pairs of channels of each head: they grow with the position.
//
// Formula: channels j and j+D/2 form a pair, turned by position·f(j) with f(j) = θ^(−2j/D), scaled where RopeScale says
// so (the half-split convention of Hugging Face).
// Source: Su et al. 2021, arXiv:2104.09864.
// Numerics: the tables are computed in float64 and rounded to T.
type Rope[T kernel.Float] struct {
	cos, sin []T // (context, D/2)
}

// RopeLen is the number of elements of each of the two tables.
func RopeLen(context, size int) int { return context * size / 2 }

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

// NewRope returns rotations for positions below context; cos and sin have RopeLen(context, size) elements each.
func NewRope[T kernel.Float](context, size int, theta float64, scale RopeScale, cos, sin []T) *Rope[T] {
	require(len(cos) == RopeLen(context, size) && len(sin) == len(cos) && size%2 == 0, "nn: rope: wrong shape")
	half := size / 2
	for j := range half {
		freq := scale.apply(math.Pow(theta, -2*float64(j)/float64(size)))
		for p := range context {
			s, c := math.Sincos(float64(p) * freq)
			cos[p*half+j], sin[p*half+j] = T(c), T(s)
		}
	}
	return &Rope[T]{cos: cos, sin: sin}
}
