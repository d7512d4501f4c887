package split

import (
	"unicode"
	"unicode/utf8"
)

// class is what the patterns distinguish of a character.
type class uint8

const (
	other    class = iota
	upper          // \p{Lu}, \p{Lt}
	lower          // \p{Ll}
	caseless       // \p{Lm}, \p{Lo}
	mark           // \p{M}
	number         // \p{N}
	punct          // \p{P}
	symbol         // \p{S}
	space          // \s but not newline
	newline        // [\r\n]
)

// set is a set of classes, a bit for each.
type set uint16

const (
	letters set = 1<<upper | 1<<lower | 1<<caseless
	marks   set = 1 << mark
	numbers set = 1 << number
	signs   set = 1<<punct | 1<<symbol
	blanks  set = 1<<space | 1<<newline
	others      = 1<<other | marks | signs // [^\s\p{L}\p{N}]
)

func (s set) has(c class) bool { return s>>c&1 != 0 }

// tableEnd is above the last character of a class, but for variation selectors.
const tableEnd = 0x32400

// classes holds the class of each character by Unicode 16, the version of the regular expression engine in Hugging
// Face's library.
var classes = func() (c [tableEnd]class) {
	for _, part := range []struct {
		class class
		table *unicode.RangeTable // Unicode 15
		newer [][2]rune           // what 15.1 and 16 added
	}{
		{upper, unicode.Lu, [][2]rune{{0x1c89, 0x1c89}, {0xa7cb, 0xa7cc}, {0xa7da, 0xa7da}, {0xa7dc, 0xa7dc},
			{0x10d50, 0x10d65}}},
		{upper, unicode.Lt, nil},
		{lower, unicode.Ll, [][2]rune{{0x1c8a, 0x1c8a}, {0xa7cd, 0xa7cd}, {0xa7db, 0xa7db}, {0x10d70, 0x10d85}}},
		{caseless, unicode.Lm, [][2]rune{{0x10d4e, 0x10d4e}, {0x10d6f, 0x10d6f}, {0x16d40, 0x16d42},
			{0x16d6b, 0x16d6c}}},
		{caseless, unicode.Lo, [][2]rune{{0x105c0, 0x105f3}, {0x10d4a, 0x10d4d}, {0x10d4f, 0x10d4f}, {0x10ec2, 0x10ec4},
			{0x11380, 0x11389}, {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113b7},
			{0x113d1, 0x113d1}, {0x113d3, 0x113d3}, {0x11bc0, 0x11be0}, {0x13460, 0x143fa}, {0x16100, 0x1611d},
			{0x16d43, 0x16d6a}, {0x18cff, 0x18cff}, {0x1e5d0, 0x1e5ed}, {0x1e5f0, 0x1e5f0}, {0x2ebf0, 0x2ee5d}}},
		{mark, unicode.M, [][2]rune{{0x897, 0x897}, {0x10d69, 0x10d6d}, {0x10efc, 0x10efc}, {0x113b8, 0x113c0},
			{0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d0}, {0x113d2, 0x113d2},
			{0x113e1, 0x113e2}, {0x11f5a, 0x11f5a}, {0x1611e, 0x1612f}, {0x1e5ee, 0x1e5ef}}},
		{number, unicode.N, [][2]rune{{0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x16130, 0x16139},
			{0x16d70, 0x16d79}, {0x1ccf0, 0x1ccf9}, {0x1e5f1, 0x1e5fa}}},
		{punct, unicode.P, [][2]rune{{0x1b4e, 0x1b4f}, {0x1b7f, 0x1b7f}, {0x10d6e, 0x10d6e}, {0x113d4, 0x113d5},
			{0x113d7, 0x113d8}, {0x11be1, 0x11be1}, {0x16d6d, 0x16d6f}, {0x1e5ff, 0x1e5ff}}},
		{symbol, unicode.S, [][2]rune{{0x2427, 0x2429}, {0x2ffc, 0x2fff}, {0x31e4, 0x31e5}, {0x31ef, 0x31ef},
			{0x10d8e, 0x10d8f}, {0x1cc00, 0x1ccef}, {0x1cd00, 0x1ceb3}, {0x1f8b2, 0x1f8bb}, {0x1f8c0, 0x1f8c1},
			{0x1fa89, 0x1fa89}, {0x1fa8f, 0x1fa8f}, {0x1fabe, 0x1fabe}, {0x1fac6, 0x1fac6}, {0x1fadc, 0x1fadc},
			{0x1fadf, 0x1fadf}, {0x1fae9, 0x1fae9}, {0x1fbcb, 0x1fbef}}},
		{space, unicode.White_Space, nil},
	} {
		fill := func(lo, hi, stride int) {
			for x := lo; x <= min(hi, tableEnd-1); x += stride {
				c[x] = part.class
			}
		}
		for _, r := range part.table.R16 {
			fill(int(r.Lo), int(r.Hi), int(r.Stride))
		}
		for _, r := range part.table.R32 {
			fill(int(r.Lo), int(r.Hi), int(r.Stride))
		}
		for _, r := range part.newer {
			fill(int(r[0]), int(r[1]), 1)
		}
	}
	c['\n'], c['\r'] = newline, newline
	return c
}()

// classOf returns the class of a character.
func classOf(r rune) class {
	if int(r) < len(classes) {
		return classes[r]
	}
	return farClass(r)
}

func farClass(r rune) class {
	if 0xe0100 <= r && r <= 0xe01ef { // variation selectors
		return mark
	}
	return other
}

// at returns the class and the width of the character at b[i]. i must be less than len(b).
func at(b []byte, i int) (class, int) {
	if b[i] < utf8.RuneSelf {
		return classes[b[i]], 1
	}
	r, w := utf8.DecodeRune(b[i:]) // a bad byte reads as U+FFFD, a symbol
	if int(r) < len(classes) {
		return classes[r], w
	}
	return farClass(r), w
}

// run returns the end of the run of characters of a set from b[i] on.
func run(b []byte, i int, s set) int {
	for i < len(b) {
		c, w := at(b, i)
		if !s.has(c) {
			break
		}
		i += w
	}
	return i
}
