package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lacking returns a tokenizer without the bytes that names stand for in its file.
func lacking(t testing.TB, names ...string) *Tokenizer {
	t.Helper()
	file := string(mustJSON(t, small(t)[3]))
	for i, c := range names { // another token takes the id
		file = strings.Replace(file, fmt.Sprintf("%q: ", c), fmt.Sprintf("%q: ", strings.Repeat("!", i+2)), 1)
	}
	tok, err := Parse([]byte(file))
	if err != nil || !tok.gaps {
		t.Fatalf("%v, a byte is lacking: %t", err, err == nil)
	}
	return tok
}

// TestGaps: a byte-level BPE that was trained without the whole alphabet lacks bytes. Text without them has the same
// tokens as ever, whatever the parts in which it comes; other text is refused, with the place.
func TestGaps(t *testing.T) {
	whole := small(t)[3]
	unused := lacking(t, "À", "Á", "ÿ") // no UTF-8 has these bytes
	if notes := unused.Notes(); len(notes) > 0 {
		t.Errorf("told %q", notes)
	}
	signs := lacking(t, "z", "ð", "Ċ") // z, 0xf0, line feed
	if notes := signs.Notes(); len(notes) != 1 || !strings.Contains(notes[0], "3 of the 256 bytes (0x0a, 0x7a, 0xf0)") {
		t.Errorf("told %q", notes)
	}
	r := newRand(t)
	for range 200 {
		text := bytes.Map(func(r rune) rune {
			if r == 'z' || r == '\n' || r > 0xffff || r == 0xfffd {
				return 'a'
			}
			return r
		}, mixedText(r, r.IntN(500)))
		want := mustAppend(t, whole, text)
		for _, tok := range []*Tokenizer{unused, signs} {
			if got := mustAppend(t, tok, text); !slices.Equal(got, want) {
				t.Fatalf("%q: %v, want %v", text, got, want)
			}
			if got := encodeInParts(t, tok.NewEncoder(), text, 7, r); !slices.Equal(got, want) {
				t.Fatalf("%q in parts: %v, want %v", text, got, want)
			}
		}
	}
	for _, c := range []struct {
		tok    *Tokenizer
		text   string
		fault  string
		before string // is encoded
	}{
		{signs, "ab\ncd", `character '\n' (U+000A) at byte 2, line 1`, "ab"},
		{signs, "中 z", `character 'z' (U+007A) at byte 4, line 1`, "中 "},
		{signs, "é😀", `character '😀' (U+1F600) at byte 2, line 1`, "é"},
		{signs, "a\xf0\x9f", "byte 0xf0 at byte 1, line 1", "a"},
		{unused, "a\nb\xc0\x80", "byte 0xc0 at byte 3, line 2", "a\nb"},
		{unused, "\xff", "byte 0xff at byte 0, line 1", ""},
	} {
		for most := range 4 {
			var got []int32
			var err error
			if most == 0 {
				got, err = c.tok.Append(nil, []byte(c.text))
			} else {
				e := c.tok.NewEncoder()
				for part := range slices.Chunk([]byte(c.text), most) {
					got, _ = e.Write(got, part)
				}
				got, err = e.Flush(got)
			}
			if err == nil || !strings.Contains(err.Error(), c.fault) || string(c.tok.Decode(nil, got)) != c.before {
				t.Errorf("%q in parts of %d: %q, then %v, want %q, then %s", c.text, most, c.tok.Decode(nil, got), err, c.before,
					c.fault)
			}
		}
	}
}

// TestNormalizers: a Sequence of nothing normalizes nothing, and one of NFC is NFC.
func TestNormalizers(t *testing.T) {
	for list, nfc := range map[string]bool{`[]`: false, `[{"type": "NFC"}]`: true} {
		file := bytes.Replace(mustJSON(t, small(t)[3]), []byte(`"normalizer": null`),
			[]byte(`"normalizer": {"type": "Sequence", "normalizers": `+list+`}`), 1)
		tok, err := Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		want := "e\u0301"
		if nfc {
			want = "é"
		}
		if got := tok.Decode(nil, mustAppend(t, tok, []byte("e\u0301"))); string(got) != want {
			t.Errorf("%s: %q, want %q", list, got, want)
		}
	}
}
