// Package normal changes text that arrives in parts, as the normalizers of Hugging Face's tokenizers do: normalization
// forms, small letters, no accents, one string for another. It knows no token.
//
// The tables and the fast paths of the normalization forms are x/text's. That library also breaks up runs of more than
// 30 combining marks (stream-safe text), and the reference does not: such runs are composed here.
package normal

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Form appends to dst what text becomes, and returns how many bytes of text that stands for: all of them if final,
// otherwise those that no further text can change. A byte that is not part of valid UTF-8 stays as it is.
type Form func(dst, text []byte, final bool) ([]byte, int)

// The normalization forms.
var (
	NFC  Form = form{norm.NFC, norm.NFD, true}.append
	NFD  Form = form{norm.NFD, norm.NFD, false}.append
	NFKC Form = form{norm.NFKC, norm.NFKD, true}.append
	NFKD Form = form{norm.NFKD, norm.NFKD, false}.append
)

// Longest bounds a segment, which is a character and what may combine with it: a longer one is cut, as it could not be
// normalized in bounded memory otherwise.
const Longest = 1 << 20

// fewMarks combining marks are never broken up, even if each of them and the character before them decompose into
// three.
const fewMarks = 8

// form is a normalization form: x/text's, that which decomposes alike, and whether it composes.
type form struct {
	whole, parts norm.Form
	composes     bool
}

func (f form) append(dst, text []byte, final bool) ([]byte, int) {
	end := len(text)
	if !final {
		end = f.lastSegment(text[:Whole(text)])
	}
	done := 0
	for done < end {
		rest := text[done:end]
		n := f.quickSpan(rest)
		if n == 0 {
			n = f.firstSegment(rest)
			dst = f.appendSegment(dst, rest[:n])
		} else {
			dst = append(dst, rest[:n]...)
		}
		done += n
	}
	return dst, done
}

// quickSpan returns the length of a beginning of b that the form does not change. x/text takes a byte near the end for
// the first of a character that is cut, whatever follows it, and looks no further: so the end is looked at once more,
// with spaces behind it.
func (f form) quickSpan(b []byte) int {
	const most = utf8.UTFMax - 1 // bytes of a character that is cut
	n, end := f.whole.QuickSpan(b), max(0, len(b)-most)
	if n < end {
		return n
	}
	var padded [2 * most]byte
	for i := range padded {
		padded[i] = ' '
	}
	copy(padded[:], b[end:])
	return min(n, end+f.whole.QuickSpan(padded[:]))
}

// firstSegment returns the length of the segment at the start of b, which is not empty.
func (f form) firstSegment(b []byte) int {
	_, i := utf8.DecodeRune(b)
	for i < len(b) {
		p := f.whole.Properties(b[i:])
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
func (f form) lastSegment(b []byte) int {
	i := len(b)
	for i > 0 {
		_, w := utf8.DecodeLastRune(b[:i])
		i -= w
		if f.whole.Properties(b[i:]).BoundaryBefore() {
			break
		}
	}
	for len(b)-i > Longest {
		i += f.firstSegment(b[i:])
	}
	return i
}

// appendSegment appends the form of one segment.
func (f form) appendSegment(dst, seg []byte) []byte {
	marks, start := 0, 0
	part := func(b []byte) {
		if marks <= fewMarks {
			dst = append(dst, f.whole.Bytes(b)...)
		} else {
			dst = f.appendComposed(dst, b)
		}
		marks = 0
	}
	for i := 0; i < len(seg); {
		r, w := utf8.DecodeRune(seg[i:])
		if f.whole.Properties(seg[i:]).CCC() != 0 {
			marks++
		}
		if unicode.Is(newMarks, r) || unicode.Is(newSigns, r) {
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
func (f form) appendComposed(dst, seg []byte) []byte {
	var all []combining
	for len(seg) > 0 {
		r, w := utf8.DecodeRune(seg)
		if r == utf8.RuneError && w == 1 { // it can only stand first
			dst = append(dst, seg[0])
			seg = seg[1:]
			continue
		}
		for _, d := range string(f.parts.Bytes(seg[:w])) {
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
		if f.composes && starter >= 0 && (len(out) == starter+1 || out[len(out)-1].ccc < c.ccc) {
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
