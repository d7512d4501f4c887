// Package testmem makes memory in which a test sees what touches it beyond its edges. Only tests import it.
package testmem

import (
	"math/rand/v2"
	"testing"
)

// Arena hands out slices surrounded by guard words, so that a vector that runs over an edge is seen, and remembers
// inputs to check that they stay unchanged.
type Arena[T float32 | float64] struct {
	r       *rand.Rand
	outer   [][]T
	inner   []int
	frozen  [][]T
	guarded []string
}

// NewArena returns an arena that draws from r.
func NewArena[T float32 | float64](r *rand.Rand) *Arena[T] { return &Arena[T]{r: r} }

const (
	guardWords = 40
	guardValue = -12345.678
)

// Random returns n normal numbers between guard words. An input must still hold them at Check.
func (a *Arena[T]) Random(name string, n int, input bool) []T {
	offset := guardWords + a.r.IntN(16) // any alignment
	o := make([]T, offset+n+guardWords)
	for i := range o {
		o[i] = guardValue
	}
	s := o[offset : offset+n : offset+n]
	for i := range s {
		s[i] = T(a.r.NormFloat64())
	}
	a.outer, a.inner, a.guarded = append(a.outer, o), append(a.inner, offset), append(a.guarded, name)
	var copied []T
	if input {
		copied = append(copied, s...)
	}
	a.frozen = append(a.frozen, copied)
	return s
}

// Check fails the test if a guard word or an input changed.
func (a *Arena[T]) Check(t testing.TB, what string) {
	t.Helper()
	for i, o := range a.outer {
		n := len(o) - a.inner[i] - guardWords
		for j, v := range o {
			if (j < a.inner[i] || j >= a.inner[i]+n) && v != T(guardValue) {
				t.Fatalf("%s: guard word %d of %s (length %d) overwritten", what, j-a.inner[i], a.guarded[i], n)
			}
		}
		for j, v := range a.frozen[i] {
			if w := o[a.inner[i]+j]; w != v && (w == w || v == v) {
				t.Fatalf("%s: input %s[%d] changed from %g to %g", what, a.guarded[i], j, v, w)
			}
		}
	}
}
