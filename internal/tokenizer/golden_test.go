package tokenizer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"gimbal/internal/normal"
	"gimbal/internal/split"
)

// The golden values are what the Python library `tokenizers` made of the files
// that this test writes with -write; testdata/golden.py records them.
var writeFlag = flag.String("write", "", "write the tokenizers of TestGolden to this folder, for testdata/golden.py")

type golden struct {
	Library string
	Ids     []struct {
		Tokenizer, Text string
		Tokens          int
		Hash            string // of the ids as little-endian int32
	}
	Merges []struct {
		Text      string
		VocabSize int `json:"vocab_size"`
		Merges    int
		Hash      string // of the merges as written in files, one per line
	}
	Hard []struct {
		Tokenizer, Text string
		Plain, Special  []int32
	}
	NFC     [][2]string
	NFCHash string `json:"nfc_hash"` // see TestGoldenNFC
	Splits  []struct {
		Pattern string
		Cases   [][]string // pieces; together they are the text
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// goldenTokenizer makes a tokenizer by the name it has in golden.json.
func goldenTokenizer(t *testing.T, name string) *Tokenizer {
	t.Helper()
	switch name {
	case "bytes":
		return NewBytes()
	case "gpt2", "qwen3":
		return sharedTokenizer(t, name)
	}
	kind, text, _ := strings.Cut(name, ":")
	doc := sharedText(t, text)
	if kind == KindChars {
		alphabet, err := CollectChars(docsOf(doc))
		if err != nil {
			t.Fatal(err)
		}
		return NewChars(alphabet)
	}
	tok, _, err := TrainBPE(context.Background(), docsOf(doc), TrainOptions{VocabSize: 4096})
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case "bpe-gpt2":
		tok = build(KindBPE, split.GPT2, vocabOf(tok), tok.merges, tok.added)
	case "bpe-llama3":
		tok = build(KindBPE, split.Llama3, vocabOf(tok), tok.merges, tok.added)
	}
	return tok
}

func vocabOf(t *Tokenizer) [][]byte {
	vocab := make([][]byte, t.VocabSize())
	for i := range vocab {
		vocab[i] = t.Bytes(int32(i))
	}
	return vocab
}

func hashIDs(ids []int32) string {
	h := sha256.New()
	var b [4]byte
	for _, id := range ids {
		binary.LittleEndian.PutUint32(b[:], uint32(id))
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestGolden compares ids with those of Hugging Face's library.
func TestGolden(t *testing.T) {
	if *writeFlag != "" {
		for _, name := range []string{"bytes", "chars:tinyshakespeare.txt", "bpe:tinyshakespeare.txt",
			"bpe-gpt2:tinyshakespeare.txt", "bpe-llama3:tinyshakespeare.txt", "bpe:sotu.jsonl.gz"} {
			data, err := goldenTokenizer(t, name).JSON()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*writeFlag, name+".json"), data, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	g := readGolden(t)
	if len(g.Ids) == 0 {
		t.Fatal("testdata/golden.json holds no ids")
	}
	made := map[string]*Tokenizer{}
	for _, c := range g.Ids {
		t.Run(c.Tokenizer+"/"+c.Text, func(t *testing.T) {
			text := sharedText(t, c.Text)
			tok := made[c.Tokenizer]
			if tok == nil {
				tok = goldenTokenizer(t, c.Tokenizer)
				made[c.Tokenizer] = tok
			}
			ids, err := tok.Append(nil, text)
			if err != nil {
				t.Fatal(err)
			}
			if len(ids) != c.Tokens || hashIDs(ids) != c.Hash {
				t.Errorf("got %d tokens with hash %s, the library %d with %s", len(ids), hashIDs(ids), c.Tokens, c.Hash)
			}
			if tok.normal != nil {
				text, _ = normal.NFC(nil, text, true)
			}
			if got := tok.Decode(nil, ids); string(got) != string(text) {
				t.Error("the text does not come back")
			}
		})
	}
}

// TestGoldenHard compares hard texts, with and without their special tokens, in one piece and in many.
func TestGoldenHard(t *testing.T) {
	g := readGolden(t)
	if len(g.Hard) == 0 {
		t.Fatal("testdata/golden.json holds no hard texts")
	}
	made := map[string]*Tokenizer{}
	r := newRand(t)
	for _, c := range g.Hard {
		tok := made[c.Tokenizer]
		if tok == nil {
			if tok = goldenTokenizer(t, c.Tokenizer); c.Tokenizer == "bpe-llama3:tinyshakespeare.txt" {
				tok = likeLlama3(t, tok)
			}
			made[c.Tokenizer] = tok
		}
		if got := mustAppend(t, tok, []byte(c.Text)); !slices.Equal(got, c.Plain) {
			t.Errorf("%s, %q: got %v, the library %v", c.Tokenizer, c.Text, got, c.Plain)
		}
		if got, err := tok.AppendSpecial(nil, []byte(c.Text)); err != nil || !slices.Equal(got, c.Special) {
			t.Errorf("%s, %q with special tokens: got %v, %v, the library %v", c.Tokenizer, c.Text, got, err, c.Special)
		}
		for range 3 {
			if got := encodeInParts(t, tok.NewEncoder(), []byte(c.Text), 12, r); !slices.Equal(got, c.Plain) {
				t.Errorf("%s, %q in parts: got %v, the library %v", c.Tokenizer, c.Text, got, c.Plain)
			}
		}
	}
}

// likeLlama3 gives a tokenizer what Llama 3's has and ours has not, as golden.py does.
func likeLlama3(t *testing.T, tok *Tokenizer) *Tokenizer {
	n := int(tok.EOS())
	data := string(mustJSON(t, tok))
	for _, edit := range [][2]string{
		{`"ignore_merges": false`, `"ignore_merges": true`},
		{fmt.Sprintf(`"id": %d, "content": "<|endoftext|>"`, n), fmt.Sprintf(`"id": %d, "content": "<|endoftext|>"`, n+2)},
		{"\n    },\n    \"merges\"", fmt.Sprintf(",\"\u0120thou\u0120art\": %d, \"qzqz\": %d\n    },\n    \"merges\"", n,
			n+1)},
		{`"post_processor": null`, `"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
			{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}]}`},
	} {
		if !strings.Contains(data, edit[0]) {
			t.Fatalf("the file lacks %s", edit[0])
		}
		data = strings.Replace(data, edit[0], edit[1], 1)
	}
	tok, err := Parse([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	if bos, ok := tok.BOS(); !ok || bos != tok.EOS() {
		t.Errorf("the template begins with <|endoftext|>, and BOS is %d, %v", bos, ok)
	}
	return tok
}

// TestGoldenNFC compares normalization: hard runs of marks, and every character
// among marks (by the hash of all results).
func TestGoldenNFC(t *testing.T) {
	g := readGolden(t)
	if len(g.NFC) == 0 {
		t.Fatal("testdata/golden.json holds no normal forms")
	}
	for _, c := range g.NFC {
		if got, _ := normal.NFC(nil, []byte(c[0]), true); string(got) != c[1] {
			t.Errorf("%+q: got %+q, the library %+q", c[0], got, c[1])
		}
	}
	if testing.Short() {
		t.Skip("every character takes seconds")
	}
	h := sha256.New()
	var got []byte
	for c := range rune(unicode.MaxRune + 1) {
		if utf8.ValidRune(c) {
			s := string(c)
			got, _ = normal.NFC(got[:0], []byte("a"+s+"\u0323\u0301"+s+"\u0315"+s), true)
			h.Write(append(got, '\n'))
		}
	}
	if sum := hex.EncodeToString(h.Sum(nil)); sum != g.NFCHash {
		t.Errorf("the hash of all normal forms is %s, the library's %s", sum, g.NFCHash)
	}
}

// TestGoldenMerges compares training with that of Hugging Face's library.
func TestGoldenMerges(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	g := readGolden(t)
	if len(g.Merges) == 0 {
		t.Fatal("testdata/golden.json holds no merges")
	}
	for _, c := range g.Merges {
		t.Run(c.Text, func(t *testing.T) {
			tok, r, err := TrainBPE(context.Background(), docsOf(sharedText(t, c.Text)), TrainOptions{VocabSize: c.VocabSize})
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			for _, m := range tok.merges {
				h.Write([]byte(tok.name(m.A) + " " + tok.name(m.B) + "\n"))
			}
			if got := hex.EncodeToString(h.Sum(nil)); r.Merges != c.Merges || got != c.Hash {
				t.Errorf("got %d merges with hash %s, the library %d with %s", r.Merges, got, c.Merges, c.Hash)
			}
		})
	}
}

// TestGoldenSplits compares pieces with those of the patterns run by the
// regular expression engine of Hugging Face's library.
func TestGoldenSplits(t *testing.T) {
	g := readGolden(t)
	if len(g.Splits) != 3 {
		t.Fatalf("testdata/golden.json holds %d patterns", len(g.Splits))
	}
	for _, p := range g.Splits {
		s := split.Pattern(p.Pattern)
		if s == nil || len(p.Cases) == 0 {
			t.Fatalf("pattern %s: unknown or without cases", p.Pattern)
		}
		for _, want := range p.Cases {
			text := []byte(strings.Join(want, ""))
			var got []string
			cut := s.Cut(text, true)
			for rest, n := cut.Next(); n > 0; rest, n = cut.Next() {
				got = append(got, string(rest[:n]))
			}
			if !slices.Equal(got, want) {
				t.Errorf("pattern %s, text %q:\ngot  %q\nwant %q", p.Pattern, text, got, want)
			}
		}
	}
}
