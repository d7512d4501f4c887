package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestStats has a corpus small enough to count by hand.
func TestStats(t *testing.T) {
	unique := func(n, k int) string { // letters that repeat nowhere else
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('a' + (i*i+7*k+i*k*k)%26)
		}
		return string(b)
	}
	texts := []string{unique(100, 1), unique(100, 1), "", "x", unique(40, 2), unique(100, 1), ""}
	s := prepareTexts(t, texts, PrepareOptions{})
	st, err := s.Stats(64)
	if err != nil {
		t.Fatal(err)
	}
	if st.Duplicates != 2 || st.DuplicateTokens != 200 || st.Overlap != 0 || st.Runs != 0 || st.SplitBy != "none" {
		t.Errorf("%+v", st)
	}
	if st.Train != (SideStats{Documents: 5, Sequences: 3*2 + 2, Labels: 341 + 5, Counted: 346, EOS: 5, Chunked: 3}) {
		t.Errorf("training %+v", st.Train)
	}
	letters := map[byte]bool{}
	for _, text := range texts {
		for _, c := range []byte(text) {
			letters[c] = true
		}
	}
	if st.VocabSize != 257 || st.Unused != int64(256-len(letters)) || s.files.Uses('x') < 1 || s.files.Uses(0) != 0 {
		t.Errorf("%d tokens unused, %d letters", st.Unused, len(letters))
	}

	// By position: the end of one text is held out, and says what its beginning said.
	again := unique(320, 3)
	s = prepareTexts(t, []string{again + strings.Repeat("-", 1280) + again}, PrepareOptions{ValFraction: 1 / 6.})
	if st, err = s.Stats(64); err != nil {
		t.Fatal(err)
	}
	if st.SplitBy != "position" || st.Val.Labels != 321 || st.Runs != 10 || st.SharedRuns != 10 || st.Scanned != 1600 ||
		st.ValSample != 1 {
		t.Errorf("%+v", st)
	}
	s = prepareTexts(t, []string{unique(320, 4) + strings.Repeat("-", 1280) + again}, PrepareOptions{ValFraction: 1 / 6.})
	if st, err = s.Stats(64); err != nil || st.Runs != 10 || st.SharedRuns != 0 {
		t.Errorf("%+v, %v", st, err)
	}
	// Documents that are both in training and held out: a copy behind the cut.
	docs := []string{again, strings.Repeat("-", 1280), again}
	if st, err = prepareTexts(t, docs, PrepareOptions{ValFraction: 1 / 6.}).Stats(64); err != nil || st.Overlap != 1 ||
		st.Duplicates != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	page := st.String()
	for _, want := range []string{"3 documents in 1 file",
		"exact copies: 1 document (16.67 % of the tokens); in validation and training both: 1 document",
		"validation in training: 10 of 10 runs of 32 tokens", "never used", "split: validation is the last"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}

// TestLongDocument cuts a text for several encoders. The tokens are those of the whole text, for every split that
// there is.
func TestLongDocument(t *testing.T) {
	r := random(t)
	words := []string{"the ", "line\n", "end!\n", "\n\n", " \n", "a\n", "B\nc", "größer\n", "中文\n", "x\r\n", "'s\n",
		"12\n3", "\tz", "don't ", "\n", "e\u0301\n", "  "}
	var text strings.Builder
	for text.Len() < 24*pieceBytes {
		text.WriteString(words[r.IntN(len(words))])
	}
	dir := t.TempDir()
	c := discover(t, corpus.Options{}, write(t, dir, "a.txt", text.String()), write(t, dir, "b.txt", "short"),
		write(t, dir, "c.txt", strings.Repeat("no place to cut ", 3*pieceBytes/8)))
	bpe, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()), tokenizer.TrainOptions{VocabSize: 700})
	if err != nil {
		t.Fatal(err)
	}
	toks := map[string]*tokenizer.Tokenizer{"bytes": tokenizer.NewBytes(), "qwen2": bpe}
	for name, pattern := range map[string]string{
		"gpt2": `{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}`,
		"llama3": `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}` +
			`| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
	} {
		raw, err := bpe.JSON()
		if err != nil {
			t.Fatal(err)
		}
		file := string(raw)
		from := strings.Index(file, `"pre_tokenizer": `) + len(`"pre_tokenizer": `)
		to := strings.Index(file, ",\n  \"post_processor\"")
		if name == "gpt2" {
			file = file[:from] + pattern + file[to:]
		} else {
			lo := strings.Index(file, `{"Regex": "`) + len(`{"Regex": "`)
			file = file[:lo] + pattern + file[lo+strings.Index(file[lo:], `"}`):]
		}
		if toks[name], err = tokenizer.Parse([]byte(file)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	texts, _ := readAll(t, c)
	for name, tok := range toks {
		var first map[string]string
		for _, workers := range []int{1, 6} {
			s := prepare(t, c, tok, PrepareOptions{Workers: workers})
			for d, text := range texts {
				want, err := tok.Append(nil, []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if got := s.text(nil, d, 1, s.index.Tokens(d)+1); !slices.Equal(got, want) ||
					spelledBytes(s, d) != int64(len(text)) {
					t.Fatalf("%s, %d workers: document %d differs", name, workers, d)
				}
			}
			if got := contents(t, s.Dir); first == nil {
				first = got
			} else if fmt.Sprint(got) != fmt.Sprint(first) {
				t.Errorf("%s: %d workers make another cache", name, workers)
			}
		}
	}
	// The test says nothing unless the text is cut.
	if at := safeCut([]byte(text.String()[:pieceBytes])); at == 0 {
		t.Error("no place to cut")
	}
	for text, want := range map[string]int{"....a\nb": 6, "....\n\nb": 0, ".... \nb": 0, "....a\n b": 0, "....a\r\nb": 0,
		"....a\nö": 0, "....ö\nb": 0, "....a\n1": 0, "": 0, "a\nb": 2, "\nb": 0} {
		if got := safeCut([]byte(text)); got != want {
			t.Errorf("%q is cut at %d, want %d", text, got, want)
		}
	}
}
