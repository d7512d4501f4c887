package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"gimbal/internal/nfc"
)

// anySpace is \s of the patterns; in Go's regexp \s is ASCII without \v.
const anySpace = `\t-\r \x{85}\p{Z}`

// oracle is a split by Go's regexp, which lacks only the look-ahead: the
// alternatives before it, and then its own in plain code.
func oracle(s split) func(b []byte) int {
	if s == splitDigits { // GPT-2's between the numbers
		between := oracle(splitGPT2)
		return func(b []byte) int {
			for i := 0; i < len(b); {
				k, w := at(b, i)
				if k == number {
					if i == 0 {
						return w
					}
					return between(b[:i])
				}
				i += w
			}
			return between(b)
		}
	}
	pattern, _, _ := strings.Cut(patterns[s], `|\s+(?!\S)`)
	pattern = strings.ReplaceAll(pattern, `[^\s`, `[^`+anySpace)
	pattern = strings.ReplaceAll(pattern, `\s`, `[`+anySpace+`]`)
	for _, class := range []struct {
		name string
		more [][2]rune
	}{{`\p{L}`, newLetters}, {`\p{N}`, newNumbers}} {
		var ranges strings.Builder
		ranges.WriteString(class.name)
		for _, r := range class.more {
			ranges.WriteString(regexp.QuoteMeta(string(r[0])) + "-" + regexp.QuoteMeta(string(r[1])))
		}
		// Bare classes need brackets, those in brackets do not.
		pattern = strings.ReplaceAll(pattern, class.name+"+", "["+class.name+"]+")
		pattern = strings.ReplaceAll(pattern, class.name+"{", "["+class.name+"]{")
		pattern = strings.ReplaceAll(pattern, "|"+class.name+"|", "|["+class.name+"]|")
		pattern = strings.ReplaceAll(pattern, class.name, ranges.String())
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

// hardParts are strings at the edges of the patterns, some of them not UTF-8.
var hardParts = strings.Split(" | | |\n|\n|\r|\t|\v|\u0085|\u00a0|\u2003|\u2028|'|'|s|S|t|re|VE|ll|L|r|v|l|e|d|m|\u017f|a|Z|é|e\u0301|中|س|\U00020000|1|23|½|\u0664|Ⅷ|.|!|--|\u200d|\ufeff|😀|\ufffd|\x00|\u1c89|\U00010d40|\xff|\xc3|\xe4\xb8|\xe2\x80|\xf0\x9f\x98|\x80", "|")

func hardText(r *rand.Rand, parts int) []byte {
	var b []byte
	for range parts {
		b = append(b, hardParts[r.IntN(len(hardParts))]...)
	}
	return b
}

func TestSplitAgainstRegexp(t *testing.T) {
	r := newRand(t)
	for _, s := range []split{splitGPT2, splitQwen2, splitLlama3, splitDigits} {
		want := oracle(s)
		for range 3000 {
			text := hardText(r, 1+r.IntN(12))
			for rest := text; len(rest) > 0; {
				n, look := s.next(rest)
				if w := want(rest); n != w || look < n && s != splitNone {
					t.Fatalf("split %d of %q at %q: length %d (looked at %d), want %d", s, text, rest, n, look, w)
				}
				rest = rest[n:]
			}
		}
	}
}

// TestASCIIAgainstSplit: what nextASCII cuts is what the scanners cut, whatever text follows, and it cuts most of a
// text in ASCII.
func TestASCIIAgainstSplit(t *testing.T) {
	r := newRand(t)
	const often = "etaoinSH  \t\n\r\v.,;'\"(){}_@[`~0123456789\x00\x7f"
	for _, s := range []split{splitQwen2, splitLlama3} {
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
			n := nextASCII(text, s.digits())
			if all++; n == 0 {
				continue
			}
			cut++
			want, look := s.next(text)
			if n != want {
				t.Fatalf("split %d: %q is cut after %d bytes, want %d", s, text, n, want)
			}
			for _, more := range hardParts {
				if want, _ := s.next(append(text[:look+1:look+1], more...)); n != want {
					t.Fatalf("split %d: %q, cut after %d bytes, is cut after %d before %q", s, text, n, want, more)
				}
			}
		}
		if cut < all/2 {
			t.Errorf("split %d: only %d of %d pieces are cut in ASCII", s, cut, all)
		}
	}
}

// TestLookIsEnough: what next calls decided stays so whatever text follows. All
// texts of one or two parts with all parts behind them, and longer ones.
func TestLookIsEnough(t *testing.T) {
	r := newRand(t)
	for _, s := range []split{splitGPT2, splitQwen2, splitLlama3, splitDigits} {
		check := func(text []byte, more string) {
			n, look := s.next(text)
			if look >= nfc.Whole(text) {
				return // not decided
			}
			long := append(text[:len(text):len(text)], more...)
			if n2, _ := s.next(long); n2 != n {
				t.Fatalf("split %d: %q has a first piece of %d bytes, but %q of %d", s, text, n, long, n2)
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

// TestDigits has pieces as the tokenizers library (0.23.3) makes them with Digits before ByteLevel.
func TestDigits(t *testing.T) {
	for text, want := range map[string]string{
		"in 2024,  15 of them":   "in| |2|0|2|4|,|  |1|5| of| them",
		"a1b 22\n\n 3.5x":        "a|1|b| |2|2|\n\n |3|.|5|x",
		"½ and Ⅷ, 3rd's '7's ٤٥": "½| and| |Ⅷ|,| |3|rd|'s| '|7|'s| |٤|٥",
	} {
		var got []string
		for rest := []byte(text); len(rest) > 0; {
			n, _ := splitDigits.next(rest)
			got, rest = append(got, string(rest[:n])), rest[n:]
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q is cut into %q, want %q", text, got, want)
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
		if got := len(window([]byte(c.text), 4)); got != c.want {
			t.Errorf("window(%q, 4) has %d bytes, want %d", c.text, got, c.want)
		}
	}
}

// TestLinear: texts that a backtracking matcher or a naive merge loop would take
// hours for: a million bytes take less than a second.
func TestLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tok := trained(t)
	r := newRand(t)
	random, letters := make([]byte, 1e6), make([]byte, 1e6)
	for i := range random {
		random[i], letters[i] = byte(r.Uint32()), byte('a'+r.IntN(26))
	}
	const n = 1_000_000
	for name, text := range map[string][]byte{
		"a":        bytes.Repeat([]byte("a"), n),
		"spaces":   bytes.Repeat([]byte(" "), n),
		"newlines": bytes.Repeat([]byte("\n"), n),
		"digits":   bytes.Repeat([]byte("7"), n),
		"quotes":   bytes.Repeat([]byte("'"), n),
		"cjk":      bytes.Repeat([]byte("中文字"), n/9),
		"indents":  bytes.Repeat([]byte("\n   "), n/4),
		"break":    append([]byte("\n"), bytes.Repeat([]byte(" "), n)...),
		"random":   random,
		"letters":  letters,
	} {
		var ids []int32
		if ratio, ok := linear(text, func(text []byte) { ids, _ = tok.Append(ids[:0], text) }); !ok {
			t.Errorf("%s: eight times the text takes %.0f times as long", name, ratio)
		}
		if got := tok.Decode(nil, ids); !bytes.Equal(got, text) {
			t.Errorf("%s: the text does not come back", name)
		}
	}
}
