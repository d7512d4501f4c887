package tokenizer

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"

	"gimbal/internal/bpe"
)

// Most pieces of a text are short and come again, so that their tokens are cached: those of at most shortBytes and
// shortIDs tokens in lines that are cheap to compare, others of at most longBytes and longIDs in a second cache.
const (
	shortBytes, shortIDs, shortBits = 15, 4, 15
	longBytes, longIDs, longBits    = 30, 16, 14
)

// cached has the tokens of a piece: its key, which is never zero, and its tokens, with -1 behind them.
type cached struct {
	k0, k1 uint64
	ids    [shortIDs]int32
}

// cacheSet is what pieces of one hash share, in one cache line. The first is the newer.
type cacheSet [2]cached

// cachedLong is cached for others.
type cachedLong struct {
	bytes    [longBytes]byte
	len, num uint8
	ids      [longIDs]int32
}

// scratch is the memory of one encoding.
type scratch struct {
	short *[1 << shortBits]cacheSet  // 2 MiB
	long  *[1 << longBits]cachedLong // 1.5 MiB
	word  bpe.Word
	paths []reached
}

func newScratch() *scratch {
	return &scratch{short: new([1 << shortBits]cacheSet), long: new([1 << longBits]cachedLong)}
}

var seed = maphash.MakeSeed() // it decides what is cached, and not what is returned

// pieceMasks cut the 16 bytes at a piece to its length, and add that as the last byte.
var pieceMasks = func() (m [16]struct{ m0, m1, n uint64 }) {
	for n := range m {
		m[n].m0, m[n].m1, m[n].n = 1<<min(64, 8*n)-1, 1<<max(0, 8*n-64)-1, uint64(n)<<56
	}
	return m
}()

// appendPieces appends the tokens of text to dst and returns how many bytes of text they cover: all of them if final,
// otherwise those that no further text can change.
func (t *Tokenizer) appendPieces(dst []int32, s *scratch, text []byte, final bool) ([]int32, int) {
	if t.split == nil {
		for _, c := range text {
			dst = append(dst, t.byteID[c])
		}
		return dst, len(text)
	}
	cut := t.split.Cut(text, final)
	for {
		rest, n := cut.Next()
		switch {
		case n == 0:
			return dst, cut.At()
		case n == 1:
			dst = append(dst, t.one[rest[0]])
		case n > shortBytes:
			dst = t.appendNew(dst, s, rest[:n])
		default:
			dst = t.appendShort(dst, s, rest, n)
		}
	}
}

// pieceKey returns the bytes of a piece of at most shortBytes, padded with zeros, with its length in the last one. b
// has the piece and what follows it, which does not matter.
func pieceKey(b *[16]byte, n int) (k0, k1 uint64) {
	m := &pieceMasks[n&15]
	return binary.LittleEndian.Uint64(b[:8]) & m.m0, binary.LittleEndian.Uint64(b[8:])&m.m1 | m.n
}

func keyHash(k0, k1 uint64) uint64 {
	hi, lo := bits.Mul64(k0^0x9e3779b97f4a7c15, k1^0xd6e8feb86659fd93)
	return hi ^ lo
}

// sixteen returns the first bytes of b, in buf if there are fewer.
func sixteen(b []byte, buf *[16]byte) *[16]byte {
	if len(b) >= 16 {
		return (*[16]byte)(b)
	}
	copy(buf[:], b)
	return buf
}

// appendShort appends the tokens of the piece rest[:n], of at most shortBytes, to dst.
func (t *Tokenizer) appendShort(dst []int32, s *scratch, rest []byte, n int) []int32 {
	k0, k1 := pieceKey(sixteen(rest, new([16]byte)), n)
	set := &s.short[keyHash(k0, k1)>>(64-shortBits)]
	c := &set[0]
	if c.k0 != k0 || c.k1 != k1 {
		if c = &set[1]; c.k0 != k0 || c.k1 != k1 {
			have := len(dst)
			dst = t.appendNew(dst, s, rest[:n])
			if ids := dst[have:]; len(ids) <= shortIDs {
				set[1] = set[0]
				set[0] = cached{k0, k1, [shortIDs]int32{-1, -1, -1, -1}}
				copy(set[0].ids[:], ids)
			}
			return dst
		}
	}
	have := len(dst)
	if cap(dst)-have < shortIDs {
		dst = slices.Grow(dst, shortIDs)
	}
	// All are copied, so that their number costs no branch.
	*(*[shortIDs]int32)(dst[have : have+shortIDs]) = c.ids
	return dst[:have+shortIDs+int(c.ids[1]>>31+c.ids[2]>>31+c.ids[3]>>31)]
}

// appendNew appends the tokens of a piece that is not among the short ones.
func (t *Tokenizer) appendNew(dst []int32, s *scratch, w []byte) []int32 {
	if len(w) > longBytes {
		return t.appendWord(dst, s, w)
	}
	c := &s.long[maphash.Bytes(seed, w)>>(64-longBits)]
	if string(c.bytes[:c.len]) == string(w) {
		return append(dst, c.ids[:c.num]...)
	}
	have := len(dst)
	dst = t.appendWord(dst, s, w)
	if n := len(dst) - have; n <= longIDs && (n > shortIDs || len(w) > shortBytes) {
		c.len, c.num = uint8(copy(c.bytes[:], w)), uint8(copy(c.ids[:], dst[have:]))
	}
	return dst
}

// appendWord appends the tokens of a piece that is not cached: one that is it, or else what merges make of its
// characters or bytes.
func (t *Tokenizer) appendWord(dst []int32, s *scratch, w []byte) []int32 {
	if id, ok := t.words[string(w)]; ok {
		return append(dst, id)
	}
	if t.best != nil {
		return t.appendBest(dst, &s.paths, w)
	}
	have := len(dst)
	dst = t.symbols(dst, w)
	return dst[:have+len(t.pairs.Merge(dst[have:], &s.word))]
}
