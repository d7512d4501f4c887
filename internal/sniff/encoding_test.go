package sniff

import (
	"encoding/json"
	"fmt"
	"gimbal/internal/testseed"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"
)

// encode writes a text in another encoding.
func encode(t testing.TB, name, text string) string {
	t.Helper()
	e, err := find(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return s
}

// samples are texts by the encoding that is to be guessed. The tests of corpus have them, too.
var samples = readSamples()

func readSamples() (texts map[string]string) {
	raw, err := os.ReadFile("testdata/samples.json")
	if err == nil {
		err = json.Unmarshal(raw, &texts)
	}
	if err != nil {
		panic(err)
	}
	return texts
}

func TestGuess(t *testing.T) {
	for name, text := range samples {
		if got := Guess([]byte(encode(t, name, text))); got != name {
			t.Errorf("%s is taken for %q", name, got)
		}
		// A guess from the middle of a text that is ASCII for most of it.
		mixed := strings.Repeat("an English line in between\n", 500) + encode(t, name, text)
		if got := Guess([]byte(mixed)); got != name {
			t.Errorf("%s behind ASCII is taken for %q", name, got)
		}
	}
	if got := Guess([]byte(randomBytes(9000))); got != "" {
		t.Errorf("random bytes are taken for %s", got)
	}
	for _, order := range wideEncodings {
		for _, text := range []string{"plain words\r\nin lines\r\n", samples["gbk"], samples["windows-1251"]} {
			if got := wideEncoding([]byte(encode(t, order, text))); got != order {
				t.Errorf("%s %.10q is taken for %q", order, text, got)
			}
		}
	}
}

func TestDecoded(t *testing.T) {
	text := strings.Repeat("a\uFFFD\uFFFDbc\uFFFD", 50)
	for step := 1; step < 9; step++ {
		var d Decoded
		for rest := []byte(text); len(rest) > 0; rest = rest[min(step, len(rest)):] {
			fmt.Fprintf(&d, "%s", rest[:min(step, len(rest))])
		}
		if d.Lost != 3*150 || d.Bytes != int64(len(text)) {
			t.Errorf("in steps of %d: %d of 150, %d bytes", step, d.Lost/3, d.Bytes)
		}
	}
}

func TestScripts(t *testing.T) {
	for _, s := range scripts {
		if _, err := htmlindex.Get(s.encoding); err != nil {
			t.Errorf("%s is guessed and not known", s.encoding)
		}
	}
}

func naiveInvalid(s string) (n int64) {
	for len(s) > 0 {
		r, w := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && w == 1 {
			n++
		}
		s = s[w:]
	}
	return n
}

func TestInvalidCounter(t *testing.T) {
	r := testseed.Rand(t)
	alphabet := []string{"a", "é", "中", "😀", "\xff", "\xe4", "\xe4\xb8", "\xf0\x9f\x98", "\x80", "\xed\xa0\x80",
		"\xc0\x80"}
	for range 2000 {
		var s strings.Builder
		for range r.IntN(12) {
			s.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		text := s.String()
		var c InvalidUTF8
		for rest := []byte(text); len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			c.Write(rest[:n])
			rest = rest[n:]
		}
		if got, want := c.End(), naiveInvalid(text); got != want || c.End() != 0 {
			t.Fatalf("%q: %d, want %d", text, got, want)
		}
	}
}
