// Package bpe merges pairs of tokens, and learns which. It knows no text and no file: a piece of text is a list of
// tokens.
package bpe

import (
	"math/bits"
	"slices"
)

// Merge joins the tokens A and B into the token ID. Its rank is its index.
type Merge struct{ A, B, ID int32 }

// noMerge is the rank of a pair that does not merge, above all others.
const noMerge = 1<<32 - 1

// Table finds the ranks of pairs of tokens.
type Table struct {
	merges []Merge
	near   *[256][256]uint32 // ranks of the pairs of tokens below 256, which often are the bytes

	// Of all pairs: an open hash table, at most half full, of the upper half of the hash and the rank. A free slot has
	// the rank noMerge. The merges tell pairs with the same half apart.
	slots []uint64
	shift uint
}

// NewTable returns the table of merges, of which no two join the same pair.
func NewTable(merges []Merge) *Table {
	size := 1 << max(4, bits.Len(uint(2*len(merges))))
	t := &Table{merges: merges, near: new([256][256]uint32), slots: make([]uint64, size),
		shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i] = noMerge
	}
	for a := range t.near {
		for b := range t.near[a] {
			t.near[a][b] = noMerge
		}
	}
	for rank, m := range merges {
		h := pairHash(m.A, m.B)
		i := int(h >> t.shift)
		for uint32(t.slots[i]) != noMerge {
			i = (i + 1) & (size - 1)
		}
		t.slots[i] = h>>32<<32 | uint64(rank)
		if uint32(m.A|m.B) < 256 {
			t.near[m.A][m.B] = uint32(rank)
		}
	}
	return t
}

// PairKey is a number for the pair a, b, which sorts by a, then b.
func PairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func pairHash(a, b int32) uint64 {
	hi, lo := bits.Mul64(PairKey(a, b)^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return hi ^ lo
}

// rank returns the rank of the pair a, b, or noMerge.
func (t *Table) rank(a, b int32) uint32 {
	if uint32(a|b) < 256 {
		return t.near[a][b]
	}
	return t.search(a, b)
}

// search is rank for tokens that are not both near.
func (t *Table) search(a, b int32) uint32 {
	h := pairHash(a, b)
	for i := int(h >> t.shift); ; i++ {
		s := t.slots[i&(len(t.slots)-1)]
		if uint32(s) == noMerge {
			return noMerge
		}
		if s>>32 == h>>32 {
			if m := &t.merges[uint32(s)]; m.A == a && m.B == b {
				return uint32(s)
			}
		}
	}
}

const shortWord = 48 // tokens; longer pieces are merged with a heap

// Word holds a long piece while it is merged: a list linked by position and the candidates rank<<32 | position.
type Word struct {
	prev, next []int32
	queue      []merging
	heap       heap[merging]
}

// merging is a pair that may merge: rank<<32 | position.
type merging uint64

func newMerging(rank uint32, at int32) merging { return merging(uint64(rank)<<32 | uint64(at)) }

func (m merging) before(n merging) bool { return m < n }

// Merge merges the pair of lowest rank in ids, the leftmost of equals, until none is left, and returns ids with what
// came of it.
func (t *Table) Merge(ids []int32, l *Word) []int32 {
	n := len(ids)
	if n > shortWord {
		return t.mergeLong(ids, l)
	}
	if n == 0 {
		return ids
	}
	// A list linked by place. Of a place whose token went into the one before, only the rank is looked at.
	var ranks [shortWord]uint32 // of the token at this place and the next
	var prev, next [64]uint8
	for i := range n {
		prev[i], next[i] = uint8(i-1), uint8(i+1)
		if i > 0 {
			ranks[i-1] = t.rank(ids[i-1], ids[i])
		}
	}
	ranks[n-1] = noMerge
	for {
		best := uint64(noMerge) << 6 // rank and place: without a branch that nobody can predict
		for i, r := range ranks[:n] {
			best = min(best, uint64(r)<<6|uint64(i))
		}
		if best>>6 == noMerge {
			break
		}
		i := best & 63
		j := next[i]
		k := next[j]
		ids[i], ranks[j], next[i], prev[k&63] = t.merges[best>>6].ID, noMerge, k, uint8(i)
		if i > 0 {
			h := prev[i]
			ranks[h] = t.rank(ids[h], ids[i])
		}
		ranks[i] = noMerge
		if int(k) < n {
			ranks[i] = t.rank(ids[i], ids[k])
		}
	}
	out := ids[:0]
	for i := 0; i < n; i = int(next[i]) {
		out = append(out, ids[i])
	}
	return out
}

// mergeLong is Merge in O(n log n). Candidates wait in a sorted queue. New ones go to a heap, which becomes the next
// queue: they usually rank after the whole queue, and the heap is sorted already.
func (t *Table) mergeLong(ids []int32, l *Word) []int32 {
	n := len(ids)
	if cap(l.prev) < n {
		l.prev, l.next = make([]int32, n), make([]int32, n)
	}
	prev, next := l.prev[:n], l.next[:n]
	queue, h := l.queue[:0], l.heap[:0]
	for i := range n {
		prev[i], next[i] = int32(i-1), int32(i+1)
		if i+1 < n {
			if r := t.rank(ids[i], ids[i+1]); r != noMerge {
				queue = append(queue, newMerging(r, int32(i)))
			}
		}
	}
	slices.Sort(queue)
	for at := 0; ; {
		if at == len(queue) {
			if len(h) == 0 {
				break
			}
			queue, h, at = h, queue[:0], 0
			slices.Sort(queue)
		}
		top := queue[at]
		if len(h) > 0 && h[0] < top {
			top = h.pop()
		} else {
			at++
		}
		i := int32(uint32(top))
		j := next[i]
		if ids[i] < 0 || int(j) == n {
			continue
		}
		rank := t.rank(ids[i], ids[j])
		if rank != uint32(top>>32) {
			continue // one of the two has merged meanwhile
		}
		ids[i], ids[j] = t.merges[rank].ID, -1
		k := next[j]
		next[i] = k
		if q := prev[i]; q >= 0 {
			if r := t.rank(ids[q], ids[i]); r != noMerge {
				h.push(newMerging(r, q))
			}
		}
		if int(k) < n {
			prev[k] = i
			if r := t.rank(ids[i], ids[k]); r != noMerge {
				h.push(newMerging(r, i))
			}
		}
	}
	l.queue, l.heap = queue, h
	out := ids[:0]
	for i := int32(0); int(i) < n; i = next[i] {
		out = append(out, ids[i])
	}
	return out
}
