package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Probe measures what a block's forward pass over one short sequence has stored. It changes nothing.
type Probe[T kernel.Float] struct {
	x                    *kernel.Exec
	heads, kvHeads, size int
	rows                 int
	scratch              []T // (workers, probeWidth)
	tops                 []T // (F): the largest activation of each unit

	dst    []HeadFocus
	q, k   kernel.Mat[T]
	scores Scores
	n      int

	src kernel.Mat[T]
}

// HeadFocus says how sharply one query head attends.
type HeadFocus struct {
	Logit float64 // largest size of a score q·k/√D

	// Entropy is the mean of H(p)/ln(keys) over the queries that have 8 before them: 1 where all keys get the same
	// weight. NaN if there is no such query.
	Entropy float64
}

// firstFocused is the first query whose entropy counts: with few keys it means nothing.
const firstFocused = 8

// A unit is dead if its largest activation is below deadBelow and below deadShare of the root mean square of its
// block's: in a block of small weights all activations are small.
const (
	deadBelow = 1e-3
	deadShare = 0.01
)

// probeColumns is the number of units whose activations are looked at together.
const probeColumns = 512

// ProbeLen is the number of elements of scratch that NewProbe needs for sequences of at most rows positions, and units
// in the hidden layer.
func ProbeLen(workers, rows, size, units int) int { return workers*probeWidth(rows, size) + units }

// probeWidth holds all keys of a head, a query and its scores twice, or a row of activations.
func probeWidth(rows, size int) int { return stageWidth(max(rows*size+size+2*rows, probeColumns)) }

// NewProbe returns measurements of sequences of at most rows positions. scratch has
// ProbeLen(x.Workers(), rows, size, units) elements.
func NewProbe[T kernel.Float](x *kernel.Exec, heads, kvHeads, size, units, rows int, scratch []T) *Probe[T] {
	require(len(scratch) == ProbeLen(x.Workers(), rows, size, units), "nn: probe: wrong shape")
	return &Probe[T]{x: x, heads: heads, kvHeads: kvHeads, size: size, rows: rows,
		scratch: scratch[units:], tops: scratch[:units]}
}

// Focus overwrites dst (H). q (n, H·D) and k (n, KV·D) are as attention reads them. The scale of scores is 1 where the
// queries are scaled.
//
// Numerics: scores and softmax in T, entropies in float64. A score that is not finite makes its head's numbers not
// finite.
func (l *Probe[T]) Focus(dst []HeadFocus, q, k kernel.Mat[T], scores Scores, n int) {
	require(len(dst) == l.heads && q.Cols == l.heads*l.size && k.Cols == l.kvHeads*l.size && n <= l.rows,
		"nn: probe: wrong shape")
	l.dst, l.q, l.k, l.scores, l.n = dst, q, k, scores, n
	l.x.Pool().Do(l.heads, 1, (*probeFocus[T])(l))
}

type probeFocus[T kernel.Float] Probe[T]

func (l *probeFocus[T]) Part(worker, lo, hi int) {
	width, d := probeWidth(l.rows, l.size), l.size
	temp := l.scratch[worker*width:][:width]
	keys, query := temp[:l.n*d], temp[l.n*d:(l.n+1)*d]
	scores, weights := temp[(l.n+1)*d:(l.n+1)*d+l.n], temp[(l.n+1)*d+l.n:(l.n+1)*d+2*l.n]
	for h := lo; h < hi; h++ {
		g := h / (l.heads / l.kvHeads)
		for j := range l.n {
			l.k.Row(j).Slice(g*d, (g+1)*d).Load(l.x, keys[j*d:(j+1)*d])
		}
		focus := HeadFocus{Entropy: math.NaN()}
		entropy := 0.0
		for i := range l.n {
			l.q.Row(i).Slice(h*d, (h+1)*d).Load(l.x, query)
			from := l.scores.first(i)
			s, e := scores[from:i+1], weights[from:i+1]
			for j := range s {
				s[j] = T(l.scores.Scale) * kernel.Dot(l.x, query, keys[(from+j)*d:(from+j+1)*d])
			}
			softCap(s, l.scores.Cap)
			top, low := s[0], s[0]
			for _, v := range s {
				top, low = max(top, v), min(low, v)
			}
			focus.Logit = max(focus.Logit, math.Abs(float64(top)), math.Abs(float64(low))) // NaN stays
			if i < firstFocused {
				continue
			}
			kernel.Affine(l.x, s, s, 1, -top)
			sum := float64(kernel.ExpSub(l.x, e, s, 0))
			entropy += (math.Log(sum) - float64(kernel.Dot(l.x, e, s))/sum) / math.Log(float64(len(s)))
		}
		if l.n > firstFocused {
			focus.Entropy = entropy / float64(l.n-firstFocused)
		}
		l.dst[h] = focus
	}
}

// Dead returns the number of units, columns of the activations src (n, F), that are silent at all positions.
func (l *Probe[T]) Dead(src kernel.Mat[T], n int) (dead int) {
	require(src.Cols == len(l.tops), "nn: probe: wrong shape")
	l.src, l.n = src, n
	clear(l.tops)
	l.x.Pool().Do(src.Cols, probeColumns, (*probeTops[T])(l))
	usual := math.Sqrt(kernel.SumSquares(l.x, l.tops) / float64(len(l.tops)))
	limit := T(min(deadBelow, deadShare*usual))
	for _, v := range l.tops {
		if v == 0 || v < limit {
			dead++
		}
	}
	return dead
}

type probeTops[T kernel.Float] Probe[T]

func (l *probeTops[T]) Part(worker, lo, hi int) {
	temp := l.scratch[worker*probeWidth(l.rows, l.size):][:probeColumns]
	for ; lo < hi; lo += probeColumns {
		cols := min(probeColumns, hi-lo)
		tops := l.tops[lo : lo+cols]
		for i := range l.n {
			for j, v := range l.src.Row(i).Slice(lo, lo+cols).Read(l.x, temp) {
				if v < 0 {
					v = -v
				}
				if !(v <= tops[j]) { // NaN is not dead
					tops[j] = v
				}
			}
		}
	}
}
