package split

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"gimbal/internal/normal"
	"gimbal/internal/testseed"
)

// anySpace is \s of the patterns; in Go's regexp \s is ASCII without \v.
const anySpace = `\t-\r \x{85}\p{Z}`

// oracle is a split by Go's regexp, which lacks only the look-ahead: the alternatives before it, and then its own in
// plain code.
func oracle(pattern string) func(b []byte) int {
	pattern, _, _ = strings.Cut(pattern, `|\s+(?!\S)`)
	pattern = strings.ReplaceAll(pattern, `[^\s`, `[^`+anySpace)
	pattern = strings.ReplaceAll(pattern, `\s`, `[`+anySpace+`]`)
	for _, name := range []string{"L", "Lu", "Lt", "Ll", "Lm", "Lo", "M", "N"} {
		var ranges strings.Builder
		for from := rune(0x80); from < tableEnd; from++ {
			if !unicode.Is(unicode.Categories[name], from) && inClass(name, from) { // newer than Go's tables
				fmt.Fprintf(&ranges, `\x{%x}`, from)
			}
		}
		// Bare classes need brackets, those in brackets do not.
		class := `\p{` + name + `}`
		for _, end := range []string{"+", "{", "|"} {
			for _, begin := range []string{" ?", "|", "]?"} {
				pattern = strings.ReplaceAll(pattern, begin+class+end, begin+"["+class+"]"+end)
			}
		}
		pattern = strings.ReplaceAll(pattern, class, class+ranges.String())
	}
	first := regexp.MustCompile(`\A(?:` + pattern + `)`)
	spaces := regexp.MustCompile(`\A[` + anySpace + `]+`)
	lastChar := regexp.MustCompile(`(?s).\z`)
	return func(b []byte) int {
		if m := first.Find(b); m != nil {
			return len(m)
		}
		m := spaces.Find(b)
		if len(m) == len(b) {
			return len(m)
		}
		if but := len(m) - len(lastChar.Find(m)); but > 0 {
			return but
		}
		return len(m)
	}
}

func inClass(name string, r rune) bool {
	c := classOf(r)
	switch name {
	case "L":
		return letters.has(c)
	case "Lu":
		return c == upper
	case "Ll":
		return c == lower
	case "M":
		return c == mark
	case "N":
		return c == number
	case "Lo": // and Lm, which is always beside it
		return c == caseless && !unicode.In(r, unicode.Lm)
	}
	return false
}

// hardParts are strings at the edges of the patterns, some of them not UTF-8.
var hardParts = strings.Split(" | | "+
	"|\n|\n|\r|\t|\v|\u0085|\u00a0|\u2003|\u2028|'|'|s|S|t|re|VE|ll|L|r|v|l|e|d|m|\u017f|a|Z|é|e\u0301|中|س|\U00020000|1|23|½|\u0664|Ⅷ|.|!|--|\u200d|\ufeff|😀|\ufffd|\x00|\u1c89|\U00010d40|\xff|\xc3|\xe4\xb8|\xe2\x80|\xf0\x9f\x98|\x80", "|")

func hardText(r *rand.Rand, parts int) []byte {
	var b []byte
	for range parts {
		b = append(b, hardParts[r.IntN(len(hardParts))]...)
	}
	return b
}

func TestSplitAgainstRegexp(t *testing.T) {
	r := testseed.Rand(t)
	for pattern, s := range patterns {
		if !s.covers || strings.Contains(pattern, "++") { // Go's regexp has no possessive repetition
			continue
		}
		want := oracle(pattern)
		for range 3000 {
			text := hardText(r, 1+r.IntN(12))
			for rest := text; len(rest) > 0; {
				n, look := s.scanners[0](rest)
				if w := want(rest); n != w || look < n {
					t.Fatalf("%s: %q at %q: length %d (looked at %d), want %d", pattern, text, rest, n, look, w)
				}
				rest = rest[n:]
			}
		}
	}
}

// TestASCIIAgainstSplit: what nextASCII cuts is what the scanners cut, whatever text follows, and it cuts most of a
// text in ASCII.
func TestASCIIAgainstSplit(t *testing.T) {
	r := testseed.Rand(t)
	const often = "etaoinSH  \t\n\r\v.,;'\"(){}_@[`~0123456789\x00\x7f"
	for _, s := range []*Split{Qwen2, Llama3} {
		cut, all := 0, 0
		for range 20000 {
			var text []byte
			for k := r.IntN(4); len(text) < 150; {
				switch {
				case r.IntN(30) == 0 && k == 0:
					text = append(text, hardParts[r.IntN(len(hardParts))]...)
				case r.IntN(10) == 0: // a run, up to beyond the limit
					text = append(text, bytes.Repeat([]byte{often[r.IntN(len(often))]}, 1<<r.IntN(8))...)
				default:
					text = append(text, often[r.IntN(len(often))])
				}
			}
			n := nextASCII(text, s.digits)
			if all++; n == 0 {
				continue
			}
			cut++
			want, look := s.scanners[0](text)
			if n != want {
				t.Fatalf("split of %d digits: %q is cut after %d bytes, want %d", s.digits, text, n, want)
			}
			for _, more := range hardParts {
				if want, _ := s.scanners[0](append(text[:look+1:look+1], more...)); n != want {
					t.Fatalf("split of %d digits: %q, cut after %d bytes, is cut after %d before %q", s.digits, text,
						n, want, more)
				}
			}
		}
		if cut < all/2 {
			t.Errorf("split of %d digits: only %d of %d pieces are cut in ASCII", s.digits, cut, all)
		}
	}
}

// TestLookIsEnough: what next calls decided stays so whatever text follows. All
// texts of one or two parts with all parts behind them, and longer ones.
func TestLookIsEnough(t *testing.T) {
	r := testseed.Rand(t)
	for pattern, s := range patterns {
		if !s.covers {
			continue // Cutter allows for them
		}
		check := func(text []byte, more string) {
			n, look := s.scanners[0](text)
			if look >= normal.Whole(text) {
				return // not decided
			}
			long := append(text[:len(text):len(text)], more...)
			if n2, _ := s.scanners[0](long); n2 != n {
				t.Fatalf("%s: %q has a first piece of %d bytes, but %q of %d", pattern, text, n, long, n2)
			}
		}
		for _, a := range hardParts {
			for _, b := range hardParts {
				for _, c := range hardParts {
					check([]byte(a), b+c)
					check([]byte(a+b), c)
				}
			}
		}
		check([]byte("  \xe2\x80"), "\x80") // a space cut in two
		for range 5000 {
			check(hardText(r, 1+r.IntN(8)), string(hardText(r, 3)))
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct {
		text string
		want int
	}{
		{"abcdef", 4}, {"abcd", 4}, {"abc中", 3}, {"ab中x", 2}, {"a中xy", 4}, {"a😀x", 1}, {"😀xy", 4},
		{"\x80\x80\x80\x80\x80", 4}, {"a\x80\x80\x80\x80", 4}, {"ab\xf0\x9f", 4}, {"abc\xf0\x9f", 3},
	} {
		if got := len(Window([]byte(c.text), 4)); got != c.want {
			t.Errorf("Window(%q, 4) has %d bytes, want %d", c.text, got, c.want)
		}
	}
}
