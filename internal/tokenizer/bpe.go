package tokenizer

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// noMerge is the entry of a pair that does not merge, above all others.
const noMerge = 1<<64 - 1

// pairTable is an open hash table, at most half full, from a pair of tokens to rank<<32 | id of its merge. Comparing
// entries compares ranks.
type pairTable struct {
	slots []pairSlot
	shift uint
}

type pairSlot struct{ key, entry uint64 } // a free slot has the key noMerge, which is no pair

func newPairTable(merges []merge) pairTable {
	size := 1 << max(4, bits.Len(uint(2*len(merges))))
	t := pairTable{slots: make([]pairSlot, size), shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i] = pairSlot{noMerge, noMerge}
	}
	for rank, m := range merges {
		key := pairKey(m.a, m.b)
		i := t.index(key)
		for t.slots[i].key != noMerge {
			i = (i + 1) & (size - 1)
		}
		t.slots[i] = pairSlot{key, uint64(rank)<<32 | uint64(uint32(m.id))}
	}
	return t
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (t *pairTable) index(key uint64) int {
	hi, lo := bits.Mul64(key^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return int((hi ^ lo) >> t.shift)
}

// get returns the entry of the pair a, b, or noMerge.
func (t *pairTable) get(a, b int32) uint64 {
	key := pairKey(a, b)
	mask := len(t.slots) - 1
	for i := t.index(key); ; i++ {
		s := &t.slots[i&mask]
		if s.key == key {
			return s.entry
		}
		if s.key == noMerge {
			return noMerge
		}
	}
}

// Pieces of at most cacheKey bytes and cacheIDs tokens are cached: most pieces of a text are short and come again.
const (
	cacheKey  = 15
	cacheIDs  = 4
	cacheBits = 14
	shortWord = 48 // longer pieces are merged with a heap
)

// cached is a slot of the cache: the bytes of a piece padded with zeros, its length in the last byte (so that no used
// slot is zero), and its tokens, ended by -1 if there are fewer than cacheIDs.
type cached struct {
	k0, k1 uint64
	ids    [cacheIDs]int32
}

// scratch is the memory of one encoding.
type scratch struct {
	cache []cached // (1 << cacheBits)
	word  longWord
}

func newScratch() *scratch { return &scratch{cache: make([]cached, 1<<cacheBits)} }

// longWord holds a piece while it is merged: a list linked by position and the candidates rank<<32 | position.
type longWord struct {
	ids        []int32
	prev, next []int32
	queue      []merging
	heap       heap[merging]
}

// merging is a pair that may merge: rank<<32 | position.
type merging uint64

func (m merging) before(n merging) bool { return m < n }

// appendPieces appends the tokens of text to dst and returns how many bytes of text they cover: all of them if final,
// otherwise those that no further text can change.
func (t *Tokenizer) appendPieces(dst []int32, s *scratch, text []byte, final bool) ([]int32, int) {
	if t.split == splitNone {
		for _, c := range text {
			dst = append(dst, t.byteID[c])
		}
		return dst, len(text)
	}
	safe := whole(text)
	p := 0
	for p < len(text) {
		rest := text[p:]
		n, look := t.split.next(window(rest, maxPiece))
		if !final && p+look >= safe && len(rest) <= maxPiece {
			break
		}
		dst = t.appendPiece(dst, s, rest, n)
		p += n
	}
	return dst, p
}

// appendPiece appends the tokens of the piece rest[:n] to dst. The bytes after it do not matter, but make loading
// cheap.
func (t *Tokenizer) appendPiece(dst []int32, s *scratch, rest []byte, n int) []int32 {
	if n > cacheKey {
		return t.appendWord(dst, s, rest[:n])
	}
	if n == 1 {
		return append(dst, t.byteID[rest[0]])
	}
	var k0, k1 uint64
	if len(rest) >= 16 {
		k0, k1 = binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint64(rest[8:16])
	} else {
		var buf [16]byte
		copy(buf[:], rest)
		k0, k1 = binary.LittleEndian.Uint64(buf[:]), binary.LittleEndian.Uint64(buf[8:])
	}
	if n < 8 {
		k0 &= 1<<(8*n) - 1
		k1 = 0
	} else {
		k1 &= 1<<(8*(n-8)) - 1
	}
	k1 |= uint64(n) << 56
	hi, lo := bits.Mul64(k0^0x9e3779b97f4a7c15, k1^0xd6e8feb86659fd93)
	c := &s.cache[(hi^lo)>>(64-cacheBits)]
	if c.k0 != k0 || c.k1 != k1 {
		have := len(dst)
		dst = t.appendWord(dst, s, rest[:n])
		if ids := dst[have:]; len(ids) <= cacheIDs {
			c.k0, c.k1 = k0, k1
			if copy(c.ids[:], ids) < cacheIDs {
				c.ids[len(ids)] = -1
			}
		}
		return dst
	}
	for _, id := range c.ids {
		if id < 0 {
			break
		}
		dst = append(dst, id)
	}
	return dst
}

// appendWord appends the tokens of the piece w to dst. If w is not a token itself, it starts with the bytes and merges
// the pair of lowest rank, the leftmost of equals, until none is left.
func (t *Tokenizer) appendWord(dst []int32, s *scratch, w []byte) []int32 {
	if id, ok := t.words[string(w)]; ok {
		return append(dst, id)
	}
	if len(w) > shortWord {
		return t.appendLong(dst, &s.word, w)
	}
	var ids [shortWord]int32
	var entries [shortWord]uint64 // of the pair ids[i], ids[i+1]
	n := len(w)
	for i, c := range w {
		ids[i] = t.byteID[c]
	}
	for i := range n - 1 {
		entries[i] = t.pairs.get(ids[i], ids[i+1])
	}
	for n > 1 {
		best, at := uint64(noMerge), 0
		for i, e := range entries[:n-1] {
			if e < best {
				best, at = e, i
			}
		}
		if best == noMerge {
			break
		}
		ids[at] = int32(uint32(best))
		copy(ids[at+1:n-1], ids[at+2:n])
		copy(entries[at:n-2], entries[at+1:n-1])
		n--
		if at > 0 {
			entries[at-1] = t.pairs.get(ids[at-1], ids[at])
		}
		if at < n-1 {
			entries[at] = t.pairs.get(ids[at], ids[at+1])
		}
	}
	return append(dst, ids[:n]...)
}

// appendLong is appendWord in O(n log n). Candidates wait in a sorted queue. New ones go to a heap, which becomes the
// next queue: they usually rank after the whole queue, and the heap is sorted already.
func (t *Tokenizer) appendLong(dst []int32, l *longWord, w []byte) []int32 {
	n := len(w)
	if cap(l.ids) < n {
		*l = longWord{ids: make([]int32, n), prev: make([]int32, n), next: make([]int32, n)}
	}
	ids, prev, next := l.ids[:n], l.prev[:n], l.next[:n]
	for i, c := range w {
		ids[i], prev[i], next[i] = t.byteID[c], int32(i-1), int32(i+1)
	}
	queue, h := l.queue[:0], l.heap[:0]
	for i := range n - 1 {
		if e := t.pairs.get(ids[i], ids[i+1]); e != noMerge {
			queue = append(queue, merging(e>>32<<32|uint64(i)))
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
		e := t.pairs.get(ids[i], ids[j])
		if e>>32 != uint64(top>>32) {
			continue // one of the two has merged meanwhile
		}
		ids[i], ids[j] = int32(uint32(e)), -1
		k := next[j]
		next[i] = k
		if q := prev[i]; q >= 0 {
			if e := t.pairs.get(ids[q], ids[i]); e != noMerge {
				h.push(merging(e>>32<<32 | uint64(q)))
			}
		}
		if int(k) < n {
			prev[k] = i
			if e := t.pairs.get(ids[i], ids[k]); e != noMerge {
				h.push(merging(e>>32<<32 | uint64(i)))
			}
		}
	}
	l.queue, l.heap = queue, h
	for i := int32(0); int(i) < n; i = next[i] {
		dst = append(dst, ids[i])
	}
	return dst
}
