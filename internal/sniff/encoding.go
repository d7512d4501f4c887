package sniff

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode/utf32"
)

// Check returns an error if no encoding has the name; "" is UTF-8. Names are those of the web, then those of IANA, and
// those of UTF-32.
func Check(name string) error {
	_, err := find(name)
	return err
}

// Decoder returns the decoder of an encoding; nil for UTF-8. The name must be one that Check knows.
func Decoder(name string) *encoding.Decoder {
	e, err := find(name)
	if err != nil {
		panic("sniff: an encoding that was not checked")
	}
	if e == nil {
		return nil
	}
	return e.NewDecoder()
}

// find returns nil for UTF-8.
func find(name string) (encoding.Encoding, error) {
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "", "utf-8", "utf8":
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
		return nil, fmt.Errorf("no encoding is called %q", name)
	}
	return e, nil
}

// LooksUTF8 reports whether a text begins with UTF-8 and has a character beyond ASCII.
func LooksUTF8(head []byte) bool {
	var invalid InvalidUTF8
	invalid.Write(head)
	return invalid.n == 0 && slices.ContainsFunc(head, func(b byte) bool { return b >= utf8.RuneSelf })
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

// Found reports whether a byte was invalid so far.
func (c *InvalidUTF8) Found() bool { return c.n > 0 }

// End returns the count, with the bytes of an unfinished character, and makes the counter ready for the next text.
func (c *InvalidUTF8) End() int64 {
	n := c.n + int64(len(c.tail))
	c.n, c.tail = 0, c.tail[:0]
	return n
}

// Decoded counts what a decoder writes to it: bytes, and of these the ones that stand for what could not be decoded.
type Decoded struct {
	Bytes, Lost int64
	tail        []byte // may begin a character that stands for something lost
}

// Replacement is the character that a decoder puts where it could not decode.
var Replacement = []byte(string(utf8.RuneError))

// Write implements io.Writer.
func (d *Decoded) Write(p []byte) (int, error) {
	d.Bytes += int64(len(p))
	d.tail = append(d.tail, p[:min(len(p), len(Replacement)-1)]...)
	d.Lost += int64(len(Replacement) * (bytes.Count(d.tail, Replacement) + bytes.Count(p, Replacement)))
	d.tail = append(d.tail[:0], d.tail[max(0, len(d.tail)-len(Replacement)+1):]...)
	if len(p) >= len(Replacement)-1 {
		d.tail = append(d.tail[:0], p[len(p)-len(Replacement)+1:]...)
	}
	return len(p), nil
}
