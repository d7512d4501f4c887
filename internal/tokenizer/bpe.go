package tokenizer

import (
	"math/bits"
	"slices"
)

// noMerge is the rank of a pair that does not merge, above all others.
const noMerge = 1<<32 - 1

// pairTable finds the ranks of pairs of tokens.
type pairTable struct {
	merges []merge
	bytes  *[256][256]uint32 // ranks of the pairs of two bytes

	// Of all pairs: an open hash table, at most half full, of the upper half of the hash and the rank. A free slot has
	// the rank noMerge. The merges tell pairs with the same half apart.
	slots []uint64
	shift uint
}

func newPairTable(merges []merge, byteID *[256]int32) pairTable {
	size := 1 << max(4, bits.Len(uint(2*len(merges))))
	t := pairTable{merges: merges, bytes: new([256][256]uint32), slots: make([]uint64, size),
		shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i] = noMerge
	}
	for rank, m := range merges {
		h := pairHash(m.a, m.b)
		i := int(h >> t.shift)
		for uint32(t.slots[i]) != noMerge {
			i = (i + 1) & (size - 1)
		}
		t.slots[i] = h>>32<<32 | uint64(rank)
	}
	for a := range 256 {
		for b := range 256 {
			t.bytes[a][b] = t.rank(byteID[a], byteID[b])
		}
	}
	return t
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func pairHash(a, b int32) uint64 {
	hi, lo := bits.Mul64(pairKey(a, b)^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return hi ^ lo
}

// rank returns the rank of the pair a, b, or noMerge.
func (t *pairTable) rank(a, b int32) uint32 {
	h := pairHash(a, b)
	for i := int(h >> t.shift); ; i++ {
		s := t.slots[i&(len(t.slots)-1)]
		if uint32(s) == noMerge {
			return noMerge
		}
		if s>>32 == h>>32 {
			if m := &t.merges[uint32(s)]; m.a == a && m.b == b {
				return uint32(s)
			}
		}
	}
}

const shortWord = 48 // bytes; longer pieces are merged with a heap

// longWord holds a piece while it is merged: a list linked by position and the candidates rank<<32 | position.
type longWord struct {
	ids        []int32
	prev, next []int32
	queue      []merging
	heap       heap[merging]
}

// merging is a pair that may merge: rank<<32 | position.
type merging uint64

func newMerging(rank uint32, at int32) merging { return merging(uint64(rank)<<32 | uint64(at)) }

func (m merging) before(n merging) bool { return m < n }

// appendWord appends the tokens of the piece w to dst. If w is not a token itself, it starts with the bytes and merges
// the pair of lowest rank, the leftmost of equals, until none is left.
func (t *Tokenizer) appendWord(dst []int32, s *scratch, w []byte) []int32 {
	if id, ok := t.words[string(w)]; ok {
		return append(dst, id)
	}
	if len(w) > shortWord {
		return t.appendLong(dst, &s.word, w)
	}
	// A list linked by place. Of a place whose token went into the one before, only the rank is looked at.
	var ids [shortWord]int32
	var ranks [shortWord]uint32 // of the token at this place and the next
	var prev, next [64]uint8
	n := len(t.symbols(ids[:0], w))
	for i := range n {
		prev[i], next[i] = uint8(i-1), uint8(i+1)
		if i > 0 && t.byChar {
			ranks[i-1] = t.pairs.rank(ids[i-1], ids[i])
		} else if i > 0 {
			ranks[i-1] = t.pairs.bytes[w[i-1]][w[i]]
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
		ids[i], ranks[j], next[i], prev[k&63] = t.pairs.merges[best>>6].id, noMerge, k, uint8(i)
		if i > 0 {
			h := prev[i]
			ranks[h] = t.pairs.rank(ids[h], ids[i])
		}
		ranks[i] = noMerge
		if int(k) < n {
			ranks[i] = t.pairs.rank(ids[i], ids[k])
		}
	}
	for i := 0; i < n; i = int(next[i]) {
		dst = append(dst, ids[i])
	}
	return dst
}

// appendLong is appendWord in O(n log n). Candidates wait in a sorted queue. New ones go to a heap, which becomes the
// next queue: they usually rank after the whole queue, and the heap is sorted already.
func (t *Tokenizer) appendLong(dst []int32, l *longWord, w []byte) []int32 {
	n := len(w)
	if cap(l.ids) < n {
		*l = longWord{ids: make([]int32, n), prev: make([]int32, n), next: make([]int32, n)}
	}
	ids, prev, next := l.ids[:n], l.prev[:n], l.next[:n]
	n = len(t.symbols(ids[:0], w))
	for i := range n {
		prev[i], next[i] = int32(i-1), int32(i+1)
	}
	queue, h := l.queue[:0], l.heap[:0]
	for i := range n - 1 {
		if r := t.pairs.rank(ids[i], ids[i+1]); r != noMerge {
			queue = append(queue, newMerging(r, int32(i)))
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
		rank := t.pairs.rank(ids[i], ids[j])
		if rank != uint32(top>>32) {
			continue // one of the two has merged meanwhile
		}
		ids[i], ids[j] = t.pairs.merges[rank].id, -1
		k := next[j]
		next[i] = k
		if q := prev[i]; q >= 0 {
			if r := t.pairs.rank(ids[q], ids[i]); r != noMerge {
				h.push(newMerging(r, q))
			}
		}
		if int(k) < n {
			prev[k] = i
			if r := t.pairs.rank(ids[i], ids[k]); r != noMerge {
				h.push(newMerging(r, i))
			}
		}
	}
	l.queue, l.heap = queue, h
	for i := int32(0); int(i) < n; i = next[i] {
		dst = append(dst, ids[i])
	}
	return dst
}
