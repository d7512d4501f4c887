package tokenizer

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/normal"
)

// normalizing returns a tokenizer that normalizes and has added tokens of all
// sorts: special or not, looked for in the text as it is or as normalized.
func normalizing(t testing.TB) *Tokenizer {
	t.Helper()
	data := string(mustJSON(t, trained(t)))
	end := strings.Index(data, "\n  ],\n  \"normalizer\"")
	if end < 0 {
		t.Fatal("the file has another form")
	}
	data = data[:end] + `,
    {"id": 1500, "content": "<think>", "special": false, "normalized": false},
    {"id": 1501, "content": "<thinking>", "special": false, "normalized": false},
    {"id": 1502, "content": "<|im_end|>", "special": true, "normalized": false},
    {"id": 1503, "content": "caf` + "e\u0301" + `", "special": false, "normalized": true}` + data[end:]
	data = strings.Replace(data, `"normalizer": null`, `"normalizer": {"type": "NFC"}`, 1)
	tok, err := Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestAddedTokens(t *testing.T) {
	tok := normalizing(t)
	for _, c := range []struct {
		text           string
		plain, special []int32 // the added tokens that are found
	}{
		{"a <think> b <thinking> <think", []int32{1500, 1501}, []int32{1500, 1501}},
		{"<|im_end|><|endoftext|>", nil, []int32{1502, 1499}},
		{"a caf\u00e9, a cafe\u0301, a cafe", []int32{1503, 1503}, []int32{1503, 1503}},
		{"<think>\u0301", []int32{1500}, []int32{1500}}, // not normalized: the mark does not count
		{"cafe\u0301\u0323", nil, nil},                  // normalized: another letter
		{"", nil, nil},
	} {
		for _, special := range []bool{false, true} {
			ids, err, want := mustAppend(t, tok, []byte(c.text)), error(nil), c.plain
			if special {
				ids, err = tok.AppendSpecial(nil, []byte(c.text))
				want = c.special
			}
			found := slices.DeleteFunc(slices.Clone(ids), func(id int32) bool { return id < 1499 })
			if err != nil || !slices.Equal(found, want) {
				t.Errorf("%q, special %v: found %v, %v, want %v", c.text, special, found, err, want)
			}
		}
	}
	if id, ok := tok.Added("<|im_end|>"); id != 1502 || !ok {
		t.Errorf("Added: %d, %v", id, ok)
	}
	if _, ok := tok.Added("<|im_start|>"); ok {
		t.Error("Added finds what is not there")
	}
	chars := NewChars([]rune("ab\n"))
	_, err := chars.AppendSpecial(nil, []byte("a\n"+EndOfText+"b?"))
	var unseen *UnseenCharError
	if !errors.As(err, &unseen) || unseen.Offset != 16 || unseen.Line != 2 {
		t.Errorf("the place of an unseen character behind a special token: %+v", unseen)
	}
}

// TestStages: text in parts gives the ids of the whole, whatever stands at the seams.
func TestStages(t *testing.T) {
	tok := normalizing(t)
	r := newRand(t)
	parts := append([]string{"<think>", "<thinking>", "<think", "caf", "e", "\u0301", "\u0323", "\u1100", "\u1161",
		"\u11a8", "\u00e9", "caf\u00e9",
		"<|im_end|>", "\xcc", "\x81", "\xff", "\u07fd", strings.Repeat("\u0301", 40), "a\u0344"}, hardParts...)
	for range 400 {
		var b []byte
		for range r.IntN(40) {
			b = append(b, parts[r.IntN(len(parts))]...)
		}
		whole := mustAppend(t, tok, b)
		if got := encodeInParts(t, tok.NewEncoder(), b, 1+r.IntN(20), r); !slices.Equal(got, whole) {
			t.Fatalf("%q in parts gives %v, at once %v", b, got, whole)
		}
		// What is spelled is the text in its normal form, added tokens aside.
		want, _ := normal.NFC(nil, b, true)
		if again, _ := normal.NFC(nil, want, true); !bytes.Equal(again, want) {
			t.Fatalf("%q: the normal form %q becomes %q", b, want, again)
		}
		if bytes.Contains(b, []byte("<")) || bytes.Contains(want, []byte("caf\u00e9")) {
			continue
		}
		if got := tok.Decode(nil, whole); !bytes.Equal(got, want) {
			t.Fatalf("%q is spelled %q, its normal form is %q", b, got, want)
		}
	}
}

// TestLongMarks: runs of marks that never end take linear time and give the same ids in parts.
func TestLongMarks(t *testing.T) {
	tok := normalizing(t)
	text := []byte("e" + strings.Repeat("\u0323\u0301", 700_000))
	var whole, parts []int32
	ratio, ok := linear(text, func(text []byte) {
		whole, _ = tok.Append(whole[:0], text)
		e := tok.NewEncoder()
		parts = parts[:0]
		for rest := text; len(rest) > 0; rest = rest[min(len(rest), 5000):] {
			parts, _ = e.Write(parts, rest[:min(len(rest), 5000)])
		}
		parts, _ = e.Flush(parts)
	})
	if !ok {
		t.Errorf("eight times the marks take %.0f times as long", ratio)
	}
	if len(whole) == 0 || !slices.Equal(whole, parts) {
		t.Errorf("%d tokens in parts, %d at once", len(parts), len(whole))
	}
}

func TestRoles(t *testing.T) {
	data := mustJSON(t, normalizing(t))
	tok, err := ParseAs(data, Roles{EOS: 1502, BOS: 1499, Size: 1600})
	if err != nil {
		t.Fatal(err)
	}
	if bos, ok := tok.BOS(); tok.EOS() != 1502 || bos != 1499 || !ok || tok.VocabSize() != 1600 {
		t.Errorf("end of text %d, beginning %d, %v, %d tokens", tok.EOS(), bos, ok, tok.VocabSize())
	}
	if len(tok.Bytes(1599)) != 0 || string(tok.Bytes(1501)) != "<thinking>" || !bytes.Equal(mustJSON(t, tok), data) {
		t.Errorf("token 1599 spells %q, 1501 %q", tok.Bytes(1599), tok.Bytes(1501))
	}
	config, err := tok.ConfigJSON(64, true, "")
	if err != nil || !strings.Contains(string(config), `"eos_token": "<|im_end|>"`) ||
		!strings.Contains(string(config), `"bos_token": "<|endoftext|>"`) {
		t.Errorf("%s, %v", config, err)
	}
	for _, c := range []struct {
		roles Roles
		want  string
	}{
		{Roles{EOS: 3, BOS: -1}, "special token"},
		{Roles{EOS: 1500, BOS: -1}, `"<think>"`},
		{Roles{EOS: 1504, BOS: -1}, "there is no token 1504"},
		{Roles{EOS: -1, BOS: 7}, "special token"},
		{Roles{EOS: -1, BOS: -1, Size: 1503}, "more than the 1503"},
	} {
		_, err := ParseAs(data, c.roles)
		var role *RoleError
		if !errors.As(err, &role) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.roles, err)
		}
	}
}

// FuzzStages: in two parts as in one, whatever the text.
func FuzzStages(f *testing.F) {
	for _, s := range []string{"e\u0301<think>", "caf", "<thinkin", "\u1100\u1161\u11a8", "\xcc",
		strings.Repeat("\u0323\u0301", 20), "a\u0344\u07fd\u0301"} {
		f.Add([]byte(s+s), uint16(len(s)))
	}
	tok := normalizing(f)
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		whole := mustAppend(t, tok, text)
		k := min(int(cut), len(text))
		e := tok.NewEncoder()
		got, _ := e.Write(nil, text[:k])
		got, _ = e.Write(got, text[k:])
		if got, _ = e.Flush(got); !slices.Equal(got, whole) {
			t.Fatalf("%q in two parts gives %v, at once %v", text, got, whole)
		}
	})
}

// TestConcurrentStages: the pools of encoders keep nothing of a text.
func TestConcurrentStages(t *testing.T) {
	tok := normalizing(t)
	text := []byte("caf\u00e9 <think> e\u0301<|im_end|> x")
	plain := mustAppend(t, tok, text)
	special, err := tok.AppendSpecial(nil, text)
	if err != nil || slices.Equal(plain, special) {
		t.Fatalf("%v, %v, %v", plain, special, err)
	}
	done := make(chan bool)
	for i := range 4 {
		go func() {
			defer func() { done <- true }()
			r := rand.New(rand.NewPCG(uint64(i), 0))
			for range 200 {
				if r.IntN(2) == 0 {
					if got, _ := tok.Append(nil, text); !slices.Equal(got, plain) {
						t.Errorf("plain: %v", got)
					}
				} else if got, _ := tok.AppendSpecial(nil, text); !slices.Equal(got, special) {
					t.Errorf("special: %v", got)
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
}
