// Package nfc brings text that arrives in parts into normalization form C, as Hugging Face's tokenizers do. The call
// is Append. The package knows no token.
//
// The tables and the fast paths are x/text's. That library also breaks up runs of more than 30 combining marks
// (stream-safe text), and the reference does not: such runs are composed here.
package nfc

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Longest bounds a segment, which is a character and what may combine with it: a longer one is cut, as it could not be
// normalized in bounded memory otherwise.
const Longest = 1 << 20

// fewMarks combining marks are never broken up, even if each of them and the character before them decompose into
// three.
const fewMarks = 8

// Append appends the NFC of text to dst and returns how many bytes of text it stands for: all of them if final,
// otherwise those that no further text can change. A byte that is not part of valid UTF-8 stays as it is.
func Append(dst, text []byte, final bool) ([]byte, int) {
	end := len(text)
	if !final {
		end = lastSegment(text[:Whole(text)])
	}
	done := 0
	for done < end {
		rest := text[done:end]
		n := norm.NFC.QuickSpan(rest)
		if n == 0 {
			n = firstSegment(rest)
			dst = appendSegment(dst, rest[:n])
		} else {
			dst = append(dst, rest[:n]...)
		}
		done += n
	}
	return dst, done
}

// firstSegment returns the length of the segment at the start of b, which is not empty.
func firstSegment(b []byte) int {
	_, i := utf8.DecodeRune(b)
	for i < len(b) {
		p := norm.NFC.Properties(b[i:])
		if p.BoundaryBefore() {
			break
		}
		if i+p.Size() > Longest {
			break
		}
		i += p.Size()
	}
	return i
}

// lastSegment returns where the last segment of b begins, which may go on. One longer than Longest begins where it is
// cut.
func lastSegment(b []byte) int {
	i := len(b)
	for i > 0 {
		_, w := utf8.DecodeLastRune(b[:i])
		i -= w
		if norm.NFC.Properties(b[i:]).BoundaryBefore() {
			break
		}
	}
	for len(b)-i > Longest {
		i += firstSegment(b[i:])
	}
	return i
}

// newMarks are the combining characters that Unicode 15 has, whose tables x/text uses, and Unicode 9 has not, whose
// tables the reference uses: it leaves them where they are, and nothing moves or composes past them.
var newMarks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x7fd, 0x7fd, 1}, {0x898, 0x89f, 1}, {0x8ca, 0x8d3, 1}, {0x9fe, 0x9fe, 1}, {0xc3c, 0xc3c, 1},
		{0xd3b, 0xd3c, 1}, {0xeba, 0xeba, 1}, {0x1715, 0x1715, 1}, {0x1abf, 0x1ace, 1}, {0x1df6, 0x1dfa, 1},
		{0xa82c, 0xa82c, 1},
	},
	R32: []unicode.Range32{
		{0x10d24, 0x10d27, 1}, {0x10eab, 0x10eac, 1}, {0x10efd, 0x10eff, 1}, {0x10f46, 0x10f50, 1},
		{0x10f82, 0x10f85, 1}, {0x11070, 0x11070, 1}, {0x1133b, 0x1133b, 1}, {0x1145e, 0x1145e, 1},
		{0x11839, 0x1183a, 1}, {0x11930, 0x11930, 1}, {0x11935, 0x11935, 1}, {0x11938, 0x11938, 1},
		{0x1193d, 0x1193e, 1}, {0x11943, 0x11943, 1}, {0x119e0, 0x119e0, 1}, {0x11a34, 0x11a34, 1},
		{0x11a47, 0x11a47, 1}, {0x11a99, 0x11a99, 1}, {0x11d42, 0x11d42, 1}, {0x11d44, 0x11d45, 1},
		{0x11d97, 0x11d97, 1}, {0x11f41, 0x11f42, 1}, {0x16ff0, 0x16ff1, 1}, {0x1e08f, 0x1e08f, 1},
		{0x1e130, 0x1e136, 1}, {0x1e2ae, 0x1e2ae, 1}, {0x1e2ec, 0x1e2ef, 1}, {0x1e4ec, 0x1e4ef, 1},
	},
}

// appendSegment appends the NFC of one segment.
func appendSegment(dst, seg []byte) []byte {
	marks, start := 0, 0
	part := func(b []byte) {
		if marks <= fewMarks {
			dst = append(dst, norm.NFC.Bytes(b)...)
		} else {
			dst = appendComposed(dst, b)
		}
		marks = 0
	}
	for i := 0; i < len(seg); {
		r, w := utf8.DecodeRune(seg[i:])
		if norm.NFC.Properties(seg[i:]).CCC() != 0 {
			marks++
		}
		if unicode.Is(newMarks, r) {
			part(seg[start:i])
			dst = append(dst, seg[i:i+w]...)
			start = i + w
		}
		i += w
	}
	part(seg[start:])
	return dst
}

type combining struct {
	r   rune
	ccc uint8
}

// appendComposed is appendSegment by the definition: decompose, order by combining class, compose.
//
// Source: The Unicode Standard, version 15, section 3.11, D108 to D117.
func appendComposed(dst, seg []byte) []byte {
	var all []combining
	for len(seg) > 0 {
		r, w := utf8.DecodeRune(seg)
		if r == utf8.RuneError && w == 1 { // it can only stand first
			dst = append(dst, seg[0])
			seg = seg[1:]
			continue
		}
		for _, d := range string(norm.NFD.Bytes(seg[:w])) {
			all = append(all, combining{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
		seg = seg[w:]
	}
	for i := 0; i < len(all); {
		j := i + 1
		for j < len(all) && all[i].ccc != 0 && all[j].ccc != 0 {
			j++
		}
		slices.SortStableFunc(all[i:j], func(a, b combining) int { return int(a.ccc) - int(b.ccc) })
		i = j
	}
	out := all[:0]
	starter := -1
	for _, c := range all {
		// c is blocked from the starter if something between them is a starter or has a class that is not lower.
		if starter >= 0 && (len(out) == starter+1 || out[len(out)-1].ccc < c.ccc) {
			if r, ok := compose(out[starter].r, c.r); ok {
				out[starter].r = r
				continue
			}
		}
		if c.ccc == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	for _, c := range out {
		dst = utf8.AppendRune(dst, c.r)
	}
	return dst
}

// compose returns the character that the pair a, b composes to.
func compose(a, b rune) (rune, bool) {
	s := norm.NFC.String(string([]rune{a, b}))
	r, w := utf8.DecodeRuneInString(s)
	return r, w == len(s)
}

// Whole returns the length of b without a character that its end may cut.
func Whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i > len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
