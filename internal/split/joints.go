package split

import (
	"bytes"
	"math/bits"
	"unicode/utf8"
)

// Joints cuts text where no token of a vocabulary goes: between two characters that stand side by side in none of
// them. Merges never cross such a place, so that text which a tokenizer merges as a whole can be cut there.
type Joints struct {
	near  [nearCodes * nearCodes]bool // pairs of near characters
	far   []uint64                    // a bit for the hash of each other pair: pairs that share one only cut less
	loose func(r rune) bool           // nil: never
	words bool
}

// Near characters are those of ASCII and the space of SentencePiece, which has the last code.
const nearCodes = utf8.RuneSelf + 1

// Blank is the character that SentencePiece writes for a space.
const Blank = '\u2581'

// NewJoints returns the joints inside the given tokens. Two characters for which loose is true join, too; nil is none.
// With words, a piece ends before each Blank.
func NewJoints(tokens []string, words bool, loose func(r rune) bool) *Joints {
	n := 0
	for _, t := range tokens {
		n += len(t)
	}
	j := &Joints{far: make([]uint64, 1<<bits.Len(uint(n/8))), loose: loose, words: words}
	for _, t := range tokens {
		last := rune(-1)
		for _, r := range t {
			if last >= 0 {
				if a, b := near(last), near(r); a >= 0 && b >= 0 {
					j.near[a*nearCodes+b] = true
				} else {
					h := j.hash(last, r)
					j.far[h/64] |= 1 << (h % 64)
				}
			}
			last = r
		}
	}
	return j
}

// Words cuts before each Blank.
var Words = one(func(b []byte) (n, look int) {
	_, n = utf8.DecodeRune(b)
	if i := bytes.Index(b[n:], []byte(string(Blank))); i >= 0 {
		return n + i, n + i
	}
	return len(b), len(b)
})

func near(r rune) int {
	switch {
	case r < utf8.RuneSelf: // -1 for a bad byte, which is not near
		return int(r)
	case r == Blank:
		return nearCodes - 1
	}
	return -1
}

func (j *Joints) hash(a, b rune) uint64 {
	return (uint64(a)<<32 | uint64(b)) * 0x9e3779b97f4a7c15 >> (64 - 6 - uint(bits.TrailingZeros(uint(len(j.far)))))
}

// Split returns the split at the places where nothing joins.
func (j *Joints) Split() *Split { return one(j.next) }

func (j *Joints) next(b []byte) (n, look int) {
	last, i := decode(b, 0)
	for i < len(b) {
		r, w := decode(b, i)
		if !j.join(last, r) {
			break
		}
		last, i = r, i+w
	}
	return i, i
}

// decode returns the character at b[i] and its width; -1 for a bad byte.
func decode(b []byte, i int) (rune, int) {
	if b[i] < utf8.RuneSelf {
		return rune(b[i]), 1
	}
	r, w := utf8.DecodeRune(b[i:])
	if w == 1 {
		return -1, 1
	}
	return r, w
}

func (j *Joints) join(a, b rune) bool {
	if j.words && b == Blank {
		return false
	}
	if x, y := near(a), near(b); x >= 0 && y >= 0 {
		if j.near[x*nearCodes+y] {
			return true
		}
	} else if h := j.hash(a, b); j.far[h/64]>>(h%64)&1 != 0 {
		return true
	}
	return j.loose != nil && j.loose(a) && j.loose(b)
}
