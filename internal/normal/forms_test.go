package normal

import (
	"bytes"
	"testing"

	"golang.org/x/text/unicode/norm"

	"gimbal/internal/testseed"
)

// TestParts: the form of a text in parts is that of the whole, is its own form, and is the library's where there are
// few marks. Package tokenizer compares with Hugging Face's library; its golden files have the forms.
func TestParts(t *testing.T) {
	r := testseed.Rand(t)
	parts := []string{"a", "caf", "e", "\u0301", "\u0323", "\u0315", "\u1100", "\u1161", "\u11a8", "\u00e9",
		"a\u0344", "中", " ", "\n", "\xcc", "\x81", "\xe2", "\xf2", "\xff", "😀", "\uff76", "\uff9e", "ﬁ",
		"²", "\ufdfa", "İ", "SS", "-->", "--"}
	for name, f := range map[string]struct {
		form, library Form
	}{
		"NFC": {NFC, library(norm.NFC)}, "NFD": {NFD, library(norm.NFD)}, "NFKC": {NFKC, library(norm.NFKC)},
		"NFKD": {NFKD, library(norm.NFKD)}, "Lowercase": {Lowercase, nil}, "StripAccents": {StripAccents, nil},
		"Replace": {Replace("-->", "="), nil},
	} {
		for range 2000 {
			var text, got, rest []byte
			for range r.IntN(20) {
				text = append(text, parts[r.IntN(len(parts))]...)
			}
			for left := text; len(left) > 0; {
				n := min(len(left), 1+r.IntN(5))
				rest, left = append(rest, left[:n]...), left[n:]
				var done int
				got, done = f.form(got, rest, false)
				rest = rest[done:]
			}
			got, _ = f.form(got, rest, true)
			whole, n := f.form(nil, text, true)
			if !bytes.Equal(got, whole) || n != len(text) {
				t.Fatalf("%s of %q: %q in parts, %q at once (%d bytes)", name, text, got, whole, n)
			}
			if f.library == nil {
				continue
			}
			if again, _ := f.form(nil, whole, true); !bytes.Equal(again, whole) {
				t.Fatalf("%s of %q: %q becomes %q", name, text, whole, again)
			}
			if want, _ := f.library(nil, text, true); !bytes.Equal(whole, want) {
				t.Fatalf("%s of %q: got %q, the library %q", name, text, whole, want)
			}
		}
	}
}

// library is the library's form of a text behind which more comes: at the end it leaves characters as they are behind a
// byte that looks like the first of a longer one.
func library(f norm.Form) Form {
	const more = "    "
	return func(dst, text []byte, _ bool) ([]byte, int) {
		return append(dst, bytes.TrimSuffix(f.Bytes(append(bytes.Clone(text), more...)), []byte(more))...), len(text)
	}
}

// TestSimple has what Hugging Face's library makes of single characters that Go's tables have otherwise.
func TestSimple(t *testing.T) {
	for _, c := range []struct {
		form       Form
		text, want string
	}{
		{Lowercase, "ÄßẞΣİ\u1c89\ua7cb\ua7dc\U00010d50\U00016ea0",
			"äßßσi\u0307\u1c8a\u0264\u019b\U00010d70\U00016ebb"},
		{StripAccents, "e\u0301\u1cf2\u07fd\u0898x", "e\u07fd\u0898x"},
		{NFKC, "ﬁ²\u32ff\U0001fbf0\uff76\uff9e", "fi2\u32ff\U0001fbf0ガ"},
		{NFD, "é\U00011938", "e\u0301\U00011938"},
		{Replace(" ", "▁"), " a  b", "▁a▁▁b"},
	} {
		if got, _ := c.form(nil, []byte(c.text), true); string(got) != c.want {
			t.Errorf("%+q: got %+q, want %+q", c.text, got, c.want)
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
