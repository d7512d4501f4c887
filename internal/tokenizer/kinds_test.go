package tokenizer

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// kinds are tokenizer.json files of the kinds that decoders ship, and what the Python library `tokenizers` makes of
// texts with them; testdata/kinds.py records them.
type kinds struct {
	Models map[string]map[string]any
	Texts  []string
	Kinds  []kind
}

type kind struct {
	Name, Model string
	Set         map[string]any // in the model
	File        map[string]any // without the model
	Plain       [][]int32      // by text; null: not compared
	Special     map[int][]int32
	Decoded     map[int]string // where it is not the text
}

func readKinds(t testing.TB) (k kinds) {
	t.Helper()
	data, err := os.ReadFile("testdata/kinds.json")
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// file returns the tokenizer.json of a kind.
func (k kinds) file(t testing.TB, one kind) []byte {
	t.Helper()
	file, model := maps.Clone(one.File), maps.Clone(k.Models[one.Model])
	maps.Copy(model, one.Set)
	file["model"] = model
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(file); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestKinds compares the ids of each kind with those of the library, for plain texts, for prompts, and for texts that
// come in parts, and what they decode to.
func TestKinds(t *testing.T) {
	all := readKinds(t)
	if len(all.Kinds) < 25 || len(all.Texts) < 100 {
		t.Fatalf("%d kinds, %d texts", len(all.Kinds), len(all.Texts))
	}
	r := newRand(t)
	for _, one := range all.Kinds {
		t.Run(one.Name, func(t *testing.T) {
			tok, err := Parse(all.file(t, one))
			if err != nil {
				t.Fatal(err)
			}
			parts := tok.NewEncoder()
			for i, text := range all.Texts {
				want, both := one.Plain[i], one.Plain[i] != nil
				if got := mustAppend(t, tok, []byte(text)); both && !slices.Equal(got, want) {
					t.Errorf("%q: got %v, the library %v", text, got, want)
				}
				got := encodeInParts(t, parts, []byte(text), 9, r)
				if both && !slices.Equal(got, want) {
					t.Errorf("%q in parts: got %v, the library %v", text, got, want)
				}
				back, ok := one.Decoded[i]
				if !ok || strings.Contains(back, "\ufffd") && !strings.Contains(text, "\ufffd") {
					back = text // the library takes the é of an added token for the byte 0xe9
				}
				if got := string(tok.Decode(nil, want)); both && got != back {
					t.Errorf("%q: decoded as %q, by the library %q", text, got, back)
				}
				if special, ok := one.Special[i]; ok {
					want, both = special, special != nil
				}
				if got, err := tok.AppendSpecial(nil, []byte(text)); err != nil || both && !slices.Equal(got, want) {
					t.Errorf("%q with special tokens: got %v, %v, the library %v", text, got, err, want)
				}
			}
		})
	}
}

// FuzzKinds: every kind gives a text in two parts the ids of the whole, and what text spells is not lost where nothing
// changes it.
func FuzzKinds(f *testing.F) {
	all := readKinds(f)
	for i, text := range all.Texts {
		f.Add([]byte(text), uint16(i))
	}
	f.Add([]byte("\xe2\x96\xff a\xc3<word>\xcc\x81"), uint16(3))
	encoders, toks := map[string][2]*Encoder{}, map[string]*Tokenizer{}
	for _, one := range all.Kinds {
		tok, err := Parse(all.file(f, one))
		if err != nil {
			f.Fatal(err)
		}
		toks[one.Name] = tok
		encoders[one.Name] = [2]*Encoder{tok.newEncoder(tok.plain.stages), tok.newEncoder(tok.special.stages)}
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		k := min(int(cut)%(len(text)+1), len(text))
		for _, one := range all.Kinds[int(cut)%len(all.Kinds):][:1] { // all of them would take as long as all together
			name, tok := one.Name, toks[one.Name]
			for i, e := range encoders[name] {
				whole, err := tok.Append(nil, text)
				if i == 1 {
					whole, err = tok.AppendSpecial(nil, text)
				}
				if err != nil {
					t.Fatal(err)
				}
				got, _ := e.Write(nil, text[:k])
				got, _ = e.Write(got, text[k:])
				if got, _ = e.Flush(got); !slices.Equal(got, whole) {
					t.Fatalf("%s: %q cut at %d gives %v, at once %v", name, text, k, got, whole)
				}
				if i == 0 && len(tok.plain.stages) == 0 && string(tok.Decode(nil, whole)) != string(text) {
					t.Fatalf("%s: %q does not come back", name, text)
				}
			}
		}
	})
}

// TestKindsRefused: files of SentencePiece that cannot be read are refused by what is in the way.
func TestKindsRefused(t *testing.T) {
	all := readKinds(t)
	for _, c := range []struct{ kind, old, new, want string }{
		{"llama 2", `"<0x41>":`, `"<0x4z>":`, "byte_fallback = \"true without <0x41>\""},
		{"llama 2", `"merges":[`, `"merges":[["<0x41>","a"],`, "merges[0]"},
		{"llama 2", `{"type":"ByteFallback"},`, ``, "no ByteFallback"},
		{"llama 2", `{"type":"Fuse"},`, ``, "Strip before Fuse"},
		{"llama 2", `"start":1`, `"start":2`, "start = 2"},
		{"llama 2", `"ignore_merges":false`, `"ignore_merges":true`, "ignore_merges = true"},
		{"gemma", `"normalizer":{"content":"▁","pattern":{"String":" "},"type":"Replace"}`, `"normalizer":null`,
			"pre_tokenizer.pattern.String"},
		{"mistral", `"prepend_scheme":"first"`, `"prepend_scheme":"last"`, "prepend_scheme = \"last\""},
		{"mistral", `"replacement":"▁"`, `"replacement":"_"`, "replacement = \"_\""},
		{"unigram", `"split":true,"type":"Metaspace"},"truncation"`, `"split":false,"type":"Metaspace"},"truncation"`,
			"Unigram without"},
		{"unigram", `["aa",-4.5]`, `["aa",-4.5],["aa",-4]`, "not a new token"},
		{"unigram", `["aa",-4.5]`, `["aa","-4.5"]`, "not a new token"},
		{"unigram", `"unk_id":0`, `"unk_id":null`, "not a token id"},
	} {
		i := slices.IndexFunc(all.Kinds, func(k kind) bool { return k.Name == c.kind })
		one := all.Kinds[i]
		if c.old == `"ignore_merges":false` {
			one.Set = map[string]any{"ignore_merges": false}
		}
		file := string(all.file(t, one))
		if !strings.Contains(file, c.old) {
			t.Fatalf("%s lacks %s", c.kind, c.old)
		}
		if _, err := Parse([]byte(strings.Replace(file, c.old, c.new, 1))); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %s", c.kind, c.new, err, c.want)
		}
	}
	for _, name := range []string{"unknown", "unknown fused", "unigram"} {
		i := slices.IndexFunc(all.Kinds, func(k kind) bool { return k.Name == name })
		tok, err := Parse(all.file(t, all.Kinds[i]))
		if err != nil || len(tok.Notes()) != 1 || !strings.Contains(tok.Notes()[0], `becomes "<unk>"`) {
			t.Errorf("%s: told %q, %v", name, tok.Notes(), err)
		}
	}
}

// TestBehind: text behind a special token has the ids that it has there when the whole is encoded at once.
func TestBehind(t *testing.T) {
	all := readKinds(t)
	differ := 0
	for _, one := range all.Kinds {
		tok, err := Parse(all.file(t, one))
		if err != nil {
			t.Fatal(err)
		}
		end := tok.EOS()
		for _, text := range append(all.Texts, "word", "▁word", "two words") {
			if text == "" || strings.Contains(text, "<") || strings.TrimSpace(text[:1]) == "" {
				continue // it may hold special tokens, or white space that one takes
			}
			want, err := tok.AppendSpecial(nil, []byte(tok.Name(end)+text))
			if err != nil || want[0] != end {
				continue // a byte that is no token
			}
			got, err := tok.AppendBehind([]int32{end}, []byte(text))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %q: got %v, want %v, %v", one.Name, text, got, want, err)
			}
			if start := mustAppend(t, tok, []byte(text)); !slices.Equal(start, got[1:]) {
				differ++
			}
		}
	}
	if differ == 0 {
		t.Error("no kind tells the start of a text from what follows")
	}
}
