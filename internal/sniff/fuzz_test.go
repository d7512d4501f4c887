package sniff

import (
	"testing"
	"unicode/utf8"
)

// FuzzSniff wants kinds that fit the bytes and encodings that are known, of any bytes.
func FuzzSniff(f *testing.F) {
	for name, text := range samples {
		f.Add([]byte(encode(f, name, text)), int64(0))
	}
	for _, m := range formats {
		f.Add(append(make([]byte, m.at), m.magic+"\x00"...), int64(1000))
	}
	f.Add([]byte(ids(2, 80, 50257)), int64(160))
	f.Fuzz(func(t *testing.T, text []byte, size int64) {
		for _, name := range []string{Guess(text), wideEncoding(text)} {
			if name != "" && Decoder(name) == nil {
				t.Fatalf("%q is guessed", name)
			}
		}
		kind := Kind(text, size)
		if Wide(kind) && kind != Binary && Advice(kind) == "" {
			t.Fatalf("%s has no advice", kind)
		}
		var invalid InvalidUTF8
		invalid.Write(text)
		if utf8.Valid(text) != (invalid.End() == 0) {
			t.Fatalf("%q: valid UTF-8 or not", text)
		}
	})
}
