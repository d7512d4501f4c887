// Package bom knows the byte order marks with which a text may begin. It reads no files.
package bom

import "bytes"

// marks are in an order in which no mark hides a longer one.
var marks = []struct{ encoding, mark string }{
	{"utf-8", "\xEF\xBB\xBF"},
	{"utf-32le", "\xFF\xFE\x00\x00"},
	{"utf-32be", "\x00\x00\xFE\xFF"},
	{"utf-16le", "\xFF\xFE"},
	{"utf-16be", "\xFE\xFF"},
}

// MaxLen is the bytes that Find needs to see.
const MaxLen = 4

// Find returns the encoding that the mark at the start of a text names, and the bytes of the mark; "" and 0 if there
// is none. The encodings are utf-8, utf-16le, utf-16be, utf-32le and utf-32be.
func Find(text []byte) (encoding string, size int) {
	for _, m := range marks {
		if bytes.HasPrefix(text, []byte(m.mark)) {
			return m.encoding, len(m.mark)
		}
	}
	return "", 0
}

// Drop returns a text without the UTF-8 mark that it may begin with.
func Drop(text []byte) []byte { return bytes.TrimPrefix(text, []byte(marks[0].mark)) }
