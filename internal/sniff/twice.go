package sniff

import (
	"bytes"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Twice counts what looks encoded twice: UTF-8 that a program read as Windows-1252, Latin-1 or Windows-1251 and encoded
// again, such as "â€™" for "’". Texts are added with Look.
type Twice struct {
	Runs  int64 // of characters beyond ASCII
	Found int64 // of them, those that are UTF-8 in one of these encodings

	Text, Meant string // the first that was found, and what it was before

	west, east []byte // the run that is looked at in these encodings, as far as they have its characters
}

// mostShown is the most bytes of Text.
const mostShown = 48

// Look counts the runs of a text. One that the text cuts is two.
func (t *Twice) Look(text []byte) {
	for len(text) > 0 {
		if text[0] < utf8.RuneSelf {
			text = text[1:]
			continue
		}
		n := t.run(text)
		text = text[n:]
	}
}

// run looks at the run that a text begins with, and returns its length in bytes.
func (t *Twice) run(text []byte) (n int) {
	t.west, t.east = t.west[:0], t.east[:0]
	inWest, inEast := true, true
	for n < len(text) && text[n] >= utf8.RuneSelf {
		r, size := utf8.DecodeRune(text[n:])
		n += size
		if inWest {
			var b byte
			b, inWest = western(r)
			t.west = append(t.west, b)
		}
		if inEast {
			var b byte
			b, inEast = charmap.Windows1251.EncodeRune(r)
			t.east = append(t.east, b)
		}
	}
	t.Runs++
	var before []byte
	switch {
	case inWest && len(t.west) > 1 && utf8.Valid(t.west):
		before = t.west
	case inEast && len(t.east) > 1 && utf8.Valid(t.east) && bytes.IndexFunc(t.east, notRussian) < 0:
		before = t.east
	default:
		return n
	}
	if t.Found++; t.Found == 1 && n <= mostShown {
		t.Text, t.Meant = string(text[:n]), string(before)
	}
	return n
}

// notRussian reports a character that a text in Windows-1251 does not have. Some words of Ukrainian are UTF-8 by
// chance, but of such characters.
func notRussian(r rune) bool {
	_, ok := charmap.Windows1251.EncodeRune(r)
	return !ok
}

// western returns the byte of a character beyond ASCII in Windows-1252, or in Latin-1 where that has none.
func western(r rune) (b byte, ok bool) {
	if b, ok = charmap.Windows1252.EncodeRune(r); !ok && r <= 0xff {
		return byte(r), true
	}
	return b, ok
}
