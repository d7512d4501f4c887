package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Rope rotates pairs of channels of each head by an angle that grows with the position.
//
// Formula: channels j and j+D/2 form a pair, turned by position·f(j) with f(j) = θ^(−2j/D), scaled where RopeScale says
// so (the half-split convention of Hugging Face).
// Source: Su et al. 2021, arXiv:2104.09864.
// Numerics: the tables are computed in float64 and rounded to T.
type Rope[T kernel.Float] struct {
	rows[T]
	size     int
	cos, sin []T // (context, D/2)

	m    kernel.Mat[T]
	pos  []int32
	back bool
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
func NewRope[T kernel.Float](x *kernel.Exec, context, size int, theta float64, scale RopeScale, cos, sin []T) *Rope[T] {
	if len(cos) != RopeLen(context, size) || len(sin) != len(cos) || size%2 != 0 {
		panic("nn: rope: wrong shape")
	}
	half := size / 2
	for j := range half {
		freq := scale.apply(math.Pow(theta, -2*float64(j)/float64(size)))
		for p := range context {
			s, c := math.Sincos(float64(p) * freq)
			cos[p*half+j], sin[p*half+j] = T(c), T(s)
		}
	}
	return &Rope[T]{rows: rows[T]{x: x}, size: size, cos: cos, sin: sin}
}

// Forward rotates the heads of n rows of m (N, heads·D) in place; pos (N) is each row's position in its sequence.
func (l *Rope[T]) Forward(m kernel.Mat[T], pos []int32, n int) { l.rotate(m, pos, n, false) }

// Backward turns the gradient of the rotated heads into that of the heads, in place: the rotation backwards.
func (l *Rope[T]) Backward(dm kernel.Mat[T], pos []int32, n int) { l.rotate(dm, pos, n, true) }

func (l *Rope[T]) rotate(m kernel.Mat[T], pos []int32, n int, back bool) {
	if m.Cols%l.size != 0 || len(pos) < n {
		panic("nn: rope: wrong shape")
	}
	l.m, l.pos, l.back = m, pos, back
	l.each(n, (*ropeRotate[T])(l))
}

type ropeRotate[T kernel.Float] Rope[T]

func (l *ropeRotate[T]) row(_, i int, _ []T) {
	cos, sin := (*Rope[T])(l).angles(l.pos[i])
	heads, half := l.m.RowF(i), l.size/2
	for at := 0; at < len(heads); at += l.size {
		a, b := heads[at:at+half], heads[at+half:at+l.size]
		if l.back { // the pair the other way round turns the other way
			a, b = b, a
		}
		kernel.Rotate(l.x, a, b, a, b, cos, sin)
	}
}

// angles returns the cosines and sines of a position, (D/2) each.
func (l *Rope[T]) angles(pos int32) (cos, sin []T) {
	half := l.size / 2
	at := int(pos) * half
	return l.cos[at : at+half], l.sin[at : at+half]
}
