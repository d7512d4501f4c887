package nn

import (
	"math"

	"gimbal/internal/kernel"
	"gimbal/internal/rng"
)

// Dropout zeroes a share of the channels and scales the others so that the expectation stays.
//
// A mask is a function of (key of the sequence, position in the sequence, channel): recomputing it in the backward
// pass, or meeting the sequence in another micro-batch, gives the same one.
// Source: Srivastava et al. 2014, JMLR 15. The share is rounded to a multiple of 2⁻¹⁶.
type Dropout[T kernel.Float] struct {
	threshold uint16 // a channel is dropped where its 16 random bits are below
	scale     T
}

// NewDropout returns dropout of a share in [0, 1).
func NewDropout[T kernel.Float](share float64) Dropout[T] {
	require(share >= 0 && share < 1, "nn: dropout outside [0,1)")
	threshold := math.Min(math.Round(share*65536), 65535)
	return Dropout[T]{threshold: uint16(threshold), scale: T(65536 / (65536 - threshold))}
}

// Masks says which mask a position gets. The zero value, and a share of zero, mean none.
type Masks struct {
	Keys []rng.Key // (S) one per sequence, for one place of the model
	Span []int32   // (N) the sequence of a position
	Pos  []int32   // (N) the position in it
}

// From returns the masks of the positions from lo on.
func (m Masks) From(lo int) Masks {
	if m.Keys != nil {
		m.Span, m.Pos = m.Span[lo:], m.Pos[lo:]
	}
	return m
}

// active reports whether anything is dropped.
func (d Dropout[T]) active(m Masks) bool { return d.threshold > 0 && m.Keys != nil }

// apply masks the values of position i in place.
func (d Dropout[T]) apply(values []T, m Masks, i int) {
	key := m.Keys[m.Span[i]]
	// 128 random bits serve 8 channels.
	blocks := uint64(len(values)+7) / 8
	at := uint64(m.Pos[i]) * blocks
	for c := 0; c < len(values); c += 8 {
		lo, hi := key.Block(at)
		at++
		for j := c; j < min(c+8, len(values)); j++ {
			if uint16(lo) < d.threshold {
				values[j] = 0
			} else {
				values[j] *= d.scale
			}
			lo, hi = lo>>16|hi<<48, hi>>16
		}
	}
}
