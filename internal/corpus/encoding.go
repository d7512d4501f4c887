package corpus

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode/utf32"
)

// rawEncoding keeps the bytes of every file as they are, whatever they are.
const rawEncoding = "raw"

// findEncoding returns the encoding with a name; nil for UTF-8 and raw. The names are those of the web, then those of
// IANA, and those of UTF-32.
func findEncoding(name string) (encoding.Encoding, error) {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "", "utf-8", "utf8", rawEncoding:
		return nil, nil
	case "utf-32", "utf-32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM), nil
	case "utf-32be":
		return utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM), nil
	case "utf-16": // the web takes it for little-endian
		name = "utf-16le"
	}
	e, err := htmlindex.Get(name)
	if err != nil || e == encoding.Replacement {
		e, err = ianaindex.IANA.Encoding(name)
	}
	if err != nil || e == nil {
		return nil, &Error{What: fmt.Sprintf("data.encoding is %q", name),
			Advice: "use a name such as gbk, shift_jis, windows-1252 or utf-16le, or raw for bytes as they are"}
	}
	return e, nil
}

// decoder returns the decoder of an encoding that Options.check has seen; nil where there is nothing to decode.
func decoder(name string) *encoding.Decoder {
	e, err := findEncoding(name)
	if err != nil {
		panic("corpus: an encoding that was not checked")
	}
	if e == nil {
		return nil
	}
	return e.NewDecoder()
}

// InvalidUTF8 counts the bytes of a text that belong to no valid UTF-8 sequence, across writes.
type InvalidUTF8 struct {
	n    int64
	tail []byte // start of a character whose end has not come yet
}

// Write takes the next bytes of the text.
func (c *InvalidUTF8) Write(p []byte) {
	for len(c.tail) > 0 && (len(p) > 0 || utf8.FullRune(c.tail)) {
		if !utf8.FullRune(c.tail) {
			c.tail, p = append(c.tail, p[0]), p[1:]
			continue
		}
		r, w := utf8.DecodeRune(c.tail)
		if c.tail = append(c.tail[:0], c.tail[w:]...); r == utf8.RuneError && w == 1 {
			c.n++
		}
	}
	end := len(p) // of the last whole character
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if last := p[len(p)-i:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				end -= i
			}
			break
		}
	}
	c.tail = append(c.tail, p[end:]...)
	if p = p[:end]; utf8.Valid(p) { // the common case, eight bytes at a time
		return
	}
	for len(p) > 0 {
		if p[0] < utf8.RuneSelf {
			p = p[1:]
			continue
		}
		r, w := utf8.DecodeRune(p)
		if p = p[w:]; r == utf8.RuneError && w == 1 {
			c.n++
		}
	}
}

// End returns the count, with the bytes of an unfinished character, and makes the counter ready for the next text.
func (c *InvalidUTF8) End() int64 {
	n := c.n + int64(len(c.tail))
	c.n, c.tail = 0, c.tail[:0]
	return n
}

// replaced counts the bytes that are written to it, and the characters that a decoder put where it could not decode.
type replaced struct {
	bytes, n int64
	tail     []byte // may begin such a character
}

var replacement = []byte(string(utf8.RuneError))

func (r *replaced) Write(p []byte) (int, error) {
	r.bytes += int64(len(p))
	r.tail = append(r.tail, p[:min(len(p), len(replacement)-1)]...)
	r.n += int64(bytes.Count(r.tail, replacement) + bytes.Count(p, replacement))
	r.tail = append(r.tail[:0], r.tail[max(0, len(r.tail)-len(replacement)+1):]...)
	if len(p) >= len(replacement)-1 {
		r.tail = append(r.tail[:0], p[len(p)-len(replacement)+1:]...)
	}
	return len(p), nil
}
