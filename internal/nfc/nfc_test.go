package nfc

import (
	"bytes"
	"testing"

	"golang.org/x/text/unicode/norm"

	"gimbal/internal/testseed"
)

// TestParts: the normal form of a text in parts is that of the whole, is its own normal form, and is the library's
// where there are few marks. Package tokenizer compares with Hugging Face's library; its golden file has the forms.
func TestParts(t *testing.T) {
	r := testseed.Rand(t)
	parts := []string{"a", "caf", "e", "\u0301", "\u0323", "\u0315", "\u1100", "\u1161", "\u11a8", "\u00e9",
		"a\u0344", "中", " ", "\n", "\xcc", "\x81", "\xff", "😀"}
	for range 3000 {
		var text, got, rest []byte
		for range r.IntN(20) {
			text = append(text, parts[r.IntN(len(parts))]...)
		}
		for left := text; len(left) > 0; {
			n := min(len(left), 1+r.IntN(5))
			rest, left = append(rest, left[:n]...), left[n:]
			var done int
			got, done = Append(got, rest, false)
			rest = rest[done:]
		}
		got, _ = Append(got, rest, true)
		whole, n := Append(nil, text, true)
		if !bytes.Equal(got, whole) || n != len(text) {
			t.Fatalf("%q: %q in parts, %q at once (%d bytes)", text, got, whole, n)
		}
		if again, _ := Append(nil, whole, true); !bytes.Equal(again, whole) {
			t.Fatalf("%q: the normal form %q becomes %q", text, whole, again)
		}
		if want := norm.NFC.Bytes(text); !bytes.Equal(whole, want) {
			t.Fatalf("%q: got %q, the library %q", text, whole, want)
		}
	}
}

func TestWhole(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"", 0}, {"a", 1}, {"中", 3}, {"a\xe4\xb8", 1}, {"a\xe4", 1}, {"\xf0\x9f\x98", 0}, {"😀", 4},
		{"a\x80", 2}, {"\x80\x80\x80\x80", 4}, {"a\xff", 2}, {"\xe4\x41", 2},
	} {
		if got := Whole([]byte(c.text)); got != c.want {
			t.Errorf("Whole(%q) = %d, want %d", c.text, got, c.want)
		}
	}
}
