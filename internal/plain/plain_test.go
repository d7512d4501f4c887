package plain

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const hostile = "a\x1b[2Jb\rc\u009bd\u202ee\u2066f\u200fg\xffh\x00i\u2028j\x7f"

func TestEscape(t *testing.T) {
	const want = `a\u001b[2Jb\u000dc\u009bd\u202ee\u2066f\u200fg\xffh\u0000i\u2028j\u007f`
	if got := Escape(hostile); got != want {
		t.Errorf("%q", got)
	}
	if got := Text("x\ty\n" + hostile); got != "x\ty\n"+want {
		t.Errorf("%q", got)
	}
	if got := Escape("Grüße, 世界 🙂 می\u200cخواهم"); got != "Grüße, 世界 🙂 می\u200cخواهم" {
		t.Errorf("%q", got)
	}
}

// However the bytes come, what passes is the text, and nothing in it acts.
func FuzzWriter(f *testing.F) {
	f.Add(hostile, 1)
	f.Add("Grüße 🙂\xf0\x9f", 2)
	f.Fuzz(func(t *testing.T, s string, n int) {
		var b strings.Builder
		w := NewWriter(&b)
		for rest := s; rest != ""; {
			k := min(len(rest), max(1, n))
			if wrote, err := w.Write([]byte(rest[:k])); wrote != k || err != nil {
				t.Fatal(wrote, err)
			}
			rest = rest[k:]
		}
		w.Flush()
		if b.String() != Text(s) || !utf8.ValidString(b.String()) {
			t.Fatalf("%q, want %q", b.String(), Text(s))
		}
		for _, r := range b.String() {
			if acts(r) && r != '\n' && r != '\t' {
				t.Fatalf("%q passes", r)
			}
		}
	})
}
