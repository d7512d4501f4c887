package tokenizer

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

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
