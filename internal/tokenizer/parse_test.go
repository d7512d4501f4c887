package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/split"
)

func mustJSON(t testing.TB, tok *Tokenizer) []byte {
	t.Helper()
	data, err := tok.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// small are tokenizers of each kind and split.
func small(t testing.TB) []*Tokenizer {
	bpe, _ := mustTrain(t, TrainOptions{VocabSize: 270}, []byte("the cat, the mat; \"quoted\" \\ the \u2028 </script>"))
	return []*Tokenizer{
		NewBytes(), NewChars([]rune("\x00\n \"\\ab<&>é中\u2028\ufffd😀")), NewChars(nil), bpe,
		build(KindBPE, split.GPT2, vocabOf(bpe), bpe.merges, bpe.added),
		build(KindBPE, split.Llama3, vocabOf(bpe), bpe.merges, bpe.added),
	}
}

func TestParseOwn(t *testing.T) {
	for _, tok := range append(small(t), trained(t)) {
		data := mustJSON(t, tok)
		got, err := Parse(data)
		if err != nil {
			t.Fatalf("%s, split %p: %v", tok.Kind(), tok.split, err)
		}
		if got.Kind() != tok.Kind() || got.split != tok.split || got.EOS() != tok.EOS() ||
			got.VocabSize() != tok.VocabSize() || !slices.Equal(got.merges, tok.merges) {
			t.Errorf("%s: differs after a round trip", tok.Kind())
		}
		if !bytes.Equal(mustJSON(t, got), data) || got.Hash() != tok.Hash() || len(got.Hash()) != 64 {
			t.Errorf("%s: other bytes or hash after a round trip", tok.Kind())
		}
		if !json.Valid(data) {
			t.Errorf("%s: not JSON", tok.Kind())
		}
		var config map[string]any
		raw, err := tok.ConfigJSON(256, false, "{{ 'chat' }}\n")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &config); err != nil || config["eos_token"] != EndOfText ||
			config["bos_token"] != EndOfText || config["model_max_length"] != 256.0 ||
			config["chat_template"] != "{{ 'chat' }}\n" || config["tokenizer_class"] != "PreTrainedTokenizerFast" {
			t.Errorf("%s: configuration %s, error %v", tok.Kind(), raw, err)
		}
	}
}

// TestStableFile: the file of a fixed tokenizer never changes, since the hash names caches and checkpoints.
func TestStableFile(t *testing.T) {
	for kind, want := range map[string]string{
		KindBytes: "42063a49c713df0885968c9a60b72f73ba90b02a53ca8103910a4ede3716b5cc",
		KindChars: "dcd72a7114280289db2758c72d526e53e118dc85e4fb1222ea25e3a1ae318e1b",
		KindBPE:   "195d578cd292b7bdbbea08274b00900594ded3107aa921aca9f1d936c4b25b97",
	} {
		i := slices.IndexFunc(small(t), func(tok *Tokenizer) bool { return tok.Kind() == kind })
		if got := small(t)[i].Hash(); got != want {
			t.Errorf("%s: hash %s, want %s", kind, got, want)
		}
	}
}

func TestParseGPT2(t *testing.T) {
	tok := sharedTokenizer(t, "gpt2")
	if tok.VocabSize() != 50257 || tok.EOS() != 50256 || tok.Kind() != KindBPE || tok.split != split.GPT2 ||
		tok.Merges() != 50000 || tok.normal != nil {
		t.Fatalf("%d tokens, end of text %d, %d merges", tok.VocabSize(), tok.EOS(), tok.Merges())
	}
	back, err := Parse(tok.writeJSON()) // as our own files are written
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.merges, tok.merges) || !bytes.Equal(back.spell, tok.spell) || back.EOS() != tok.EOS() {
		t.Error("differs after a round trip")
	}
	checkVectors(t, tok, "gpt-2")
}

func TestParseQwen3(t *testing.T) {
	tok := sharedTokenizer(t, "qwen3")
	if tok.VocabSize() != 151669 || tok.EOS() != 151643 || tok.split != split.Qwen2 || tok.Merges() != 151387 ||
		tok.normal == nil {
		t.Fatalf("%d tokens, end of text %d, %d merges", tok.VocabSize(), tok.EOS(), tok.Merges())
	}
	checkVectors(t, tok, "qwen2") // the same vocabulary, but for added tokens
}

// checkVectors compares with the reference ids of test strings.
func checkVectors(t *testing.T, tok *Tokenizer, name string) {
	t.Helper()
	inputs := strings.Split(string(readShared(t, "tokenizers/"+name+".inp")), "\n__ggml_vocab_test__\n")
	outputs := strings.Split(strings.TrimSuffix(string(readShared(t, "tokenizers/"+name+".out")), "\n"), "\n")
	if len(outputs) < 40 || len(inputs) < len(outputs) {
		t.Fatalf("%d inputs, %d outputs", len(inputs), len(outputs))
	}
	for i, line := range outputs {
		var want []int32
		for _, f := range strings.Fields(line) {
			var id int32
			if err := json.Unmarshal([]byte(f), &id); err != nil {
				t.Fatal(err)
			}
			want = append(want, id)
		}
		if got := mustAppend(t, tok, []byte(inputs[i])); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", inputs[i], got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	bpe := string(mustJSON(t, small(t)[3]))
	chars := string(mustJSON(t, NewChars([]rune("ab"))))
	eos := fmt.Sprintf(`"id": %d, `, small(t)[3].EOS())
	added := `{` + eos + `"content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}`
	for _, c := range []struct {
		name, file, old, new string
		want                 string // part of the message
		unsupported          bool
	}{
		{"empty", "", "", "", "the text ends early", false},
		{"array", "[]", "", "", "not an object", false},
		{"cut", bpe[:len(bpe)/2], "", "", "byte", false},
		{"trailing data", bpe + "{}", "", "", "more data", false},
		{"not UTF-8", bpe, `"h e"`, "\"h \xff\"", "UTF-8", false},
		{"not UTF-8 after the end", bpe + "\xff", "", "", "more data", false},
		{"half a surrogate pair", bpe, `"!": 0`, `"\ud800": 0`, "surrogate", false},
		{"unknown key", bpe, `"version"`, `"Version"`, "Version", true},
		{"double key", bpe, `"truncation": null`, `"version": "1.0"`, "twice", false},
		{"version", bpe, `"1.0"`, `"2.0"`, "version", true},
		{"normalizer", bpe, `"normalizer": null`, `"normalizer": {"type": "Nmt"}`, "Nmt", true},
		{"normalizer of chars", chars, `"normalizer": null`, `"normalizer": {"type": "NFC"}`, "normalizer", true},
		{"normalizer with more", bpe, `"normalizer": null`, `"normalizer": {"type": "NFC", "left": true}`,
			"normalizer.left", true},
		{"normalizers", bpe, `"normalizer": null`,
			`"normalizer": {"type": "Sequence", "normalizers": [{"type": "Nmt"}]}`,
			"normalizers[0].type = \"Nmt\"", true},
		{"nested normalizers", bpe, `"normalizer": null`,
			`"normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}]}`,
			"normalizers[0].type = \"Sequence\"", true},
		{"growing replacements", bpe, `"normalizer": null`, `"normalizer": {"type": "Sequence", "normalizers": [` +
			strings.Repeat(`{"type": "Replace", "pattern": {"String": "a"}, "content": "aaa"}, `, 2) +
			`{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}]}`, "normalizers[2].content = \"aa\"", true},
		{"empty replacement", bpe, `"normalizer": null`,
			`"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "a"}`, "pattern.String", true},
		{"long prefix", bpe, `"normalizer": null`,
			`"normalizer": {"type": "Prepend", "prepend": "` + strings.Repeat("a", 2000) + `"}`, "normalizer", true},
		{"many cuts", bpe, `"pretokenizers": [`, `"pretokenizers": [` +
			strings.Repeat(`{"type": "Digits", "individual_digits": true}, `, 9), "more than 7 parts", true},
		{"prefix behind a cut", bpe, `"add_prefix_space": false, "trim_offsets": true, "use_regex": false`,
			`"add_prefix_space": true`, "pretokenizers[1].add_prefix_space", true},
		{"split behind bytes", bpe, `"pretokenizers": [`,
			`"pretokenizers": [{"type": "ByteLevel", "add_prefix_space": false}, `,
			"behind a ByteLevel", true},
		{"hostile pattern", bpe, `"Regex": "(?i:`, `"Regex": "(a+)+$(?i:`, "(a+)+$", true},
		{"pattern by string", bpe, `"Regex"`, `"String"`, "String", true},
		{"behavior", bpe, `"Isolated"`, `"Removed"`, "behavior", true},
		{"split only", bpe, `"type": "Sequence"`, `"type": "Metaspace"`, "pretokenizers", true},
		{"prefix space", bpe, `"add_prefix_space": false`, `"add_prefix_space": true`, "add_prefix_space", true},
		{"no type", bpe, `"type": "Sequence", `, ``, "no type", false},
		{"post processor", bpe, `"post_processor": null`, `"post_processor": {"type": "BertProcessing"}`, "BertProcessing",
			true},
		{"decoder", bpe, `"decoder": {"type": "ByteLevel"`, `"decoder": {"type": "WordPiece"`, "WordPiece", true},
		{"decoder of chars", bpe, `"decoder": {"type": "ByteLevel"`, `"decoder": {"type": "Fuse"`, "Fuse", true},
		{"model type", bpe, `"type": "BPE"`, `"type": "Unigram"`, "Unigram", true},
		{"dropout", bpe, `"dropout": null`, `"dropout": 0.1`, "dropout", true},
		{"byte fallback", bpe, `"byte_fallback": false`, `"byte_fallback": true`, "byte_fallback", true},
		{"template of two", bpe, `"post_processor": null`,
			`"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}]}`,
			"single[0].Sequence = \"B\"", true},
		{"template with more", bpe, `"post_processor": null`,
			`"post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "x": 1}}]}`, "Sequence.x",
			true},
		{"template of unknown", bpe, `"post_processor": null`,
			`"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [[{}]], "special_tokens": {}}`, "<s>", false},
		{"nested processors", bpe, `"post_processor": null`,
			`"post_processor": {"type": "Sequence", "processors": [{"type": "Sequence", "processors": []}]}`, "processors",
			true},
		{"unknown token", bpe, `"unk_token": null`, `"unk_token": "?"`, "unk_token", true},
		{"model key", bpe, `"unk_token"`, `"unknown"`, "unknown", true},
		{"gap", bpe, `"!": 0`, `"!": 270`, "270", false},
		{"far id", bpe, `"!": 0`, `"!": 2147483647`, "2147483647", false},
		{"huge id", bpe, `"!": 0`, `"!": 2147483648`, "not a token id", false},
		{"negative id", bpe, `"!": 0`, `"!": -1`, "not a token id", false},
		{"fraction", bpe, `"!": 0`, `"!": 0.0`, "not a token id", false},
		{"text id", bpe, `"!": 0`, `"!": "0"`, "not a token id", false},
		{"double id", bpe, `"!": 0`, `"!": 1`, "share the id 1", false},
		{"double token", bpe, `"!": 0`, `"\"": 0`, "twice", false},
		{"no byte", bpe, `"!": 0`, `"\u0001": 0`, "no byte", false},
		{"no byte of bytes", string(mustJSON(t, NewBytes())), `"!": 33`, `"中": 33`, "no byte", false},
		{"merge of unknown", bpe, `"h e"`, `"h z"`, "merges[0]", false},
		{"merge of one", bpe, `"h e"`, `"he"`, "two tokens", false},
		{"merge of three", bpe, `"h e"`, `"h e e"`, "two tokens", false},
		{"merge of numbers", bpe, `"h e"`, `[1, 2]`, "two tokens", false},
		{"long merge", bpe, `"h e"`, `["h", "e", "e"]`, "two tokens", false},
		{"merge twice", bpe, `"h e"`, `"h e", "h e"`, "twice", false},
		{"merges by bytes", string(mustJSON(t, NewBytes())), `"merges": []`, `"merges": ["! !"]`, "merges", true},
		{"no end", bpe, added, ``, EndOfText, true},
		{"not special among chars", chars, `"content": "<|endoftext|>"`,
			`"content": "x", "single_word": false, "special": false}, {"id": 3, "content": "<|endoftext|>"`, "not special",
			true},
		{"end is not special", bpe, `"special": true`, `"special": false`, EndOfText, true},
		{"added key", bpe, `"lstrip": false`, `"left": false`, "left", true},
		{"added without id", bpe, eos, ``, "lacks", false},
		{"added twice", bpe, added, added + "," + strings.Replace(added, eos, `"id": 299, `, 1), "twice", false},
		{"added elsewhere", bpe, `"!": 0`, `"!": 0, "<|endoftext|>": 3`, "3", false},
		{"long char", chars, `"a": 0`, `"aa": 0`, "one character", false},
		{"no model", `{"version": "1.0"}`, "", "", "no model", false},
		{"deep", strings.Repeat("[", 1e6), "", "", "not an object", false},
		{"deep normalizer", bpe, `"normalizer": null`, `"normalizer": ` + strings.Repeat("[", 1e6), "normalizer", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := c.file
			if c.old != "" {
				if !strings.Contains(file, c.old) {
					t.Fatalf("the file lacks %s", c.old)
				}
				file = strings.Replace(file, c.old, c.new, 1)
			}
			_, err := Parse([]byte(file))
			var u *UnsupportedError
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &u) != c.unsupported ||
				errors.Is(err, ErrFormat) == c.unsupported {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("a message of %d bytes", len(err.Error()))
			}
		})
	}
	if _, err := Parse(make([]byte, MaxFile+1)); !errors.Is(err, ErrFormat) {
		t.Errorf("too large: %v", err)
	}
}

// FuzzParse: no panic, no memory out of proportion, and what is accepted comes back the same.
func FuzzParse(f *testing.F) {
	for _, tok := range small(f) {
		f.Add(mustJSON(f, tok))
	}
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]},"decoder":{"type":"Fuse"}}`))
	f.Add([]byte(`{"added_tokens":[{"id":2147483647,"content":"<|endoftext|>","special":true}],"model":{"vocab":{}},"decoder":{"type":"Fuse"}}`))
	f.Add([]byte(`{"model":{"vocab":{"":0}}}`))
	f.Add(mustJSON(f, normalizing(f)))
	all := readKinds(f)
	for _, one := range all.Kinds {
		f.Add(all.file(f, one))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		tok, err := Parse(data)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100*len(data)+1<<20); got > most {
			t.Fatalf("%d bytes allocated for %d", got, len(data))
		}
		if err != nil {
			return
		}
		if kept := mustJSON(t, tok); !bytes.Equal(kept, data) {
			t.Fatal("the file is not kept")
		}
		again := tok
		known := []*split.Split{nil, split.GPT2, split.Qwen2, split.Llama3}
		edges := slices.ContainsFunc(tok.added, func(a added) bool { return a.edges != 0 })
		if tok.normal == nil && tok.cut == nil && tok.words == nil && !edges && slices.Contains(known, tok.split) {
			// what our own files can say
			if again, err = Parse(tok.writeJSON()); err != nil {
				t.Fatalf("its own file is refused: %v", err)
			}
		}
		for id := range int32(tok.VocabSize()) {
			if !bytes.Equal(tok.Bytes(id), again.Bytes(id)) {
				t.Fatalf("token %d: %q, then %q", id, tok.Bytes(id), again.Bytes(id))
			}
		}
		text := []byte("the cat, 中 \xff\n")
		changes := tok.normal != nil || tok.cut != nil || tok.byChar
		if ids, err := tok.Append(nil, text); err == nil && !bytes.Equal(tok.Decode(nil, ids), text) &&
			tok.Kind() != KindChars && !changes {
			t.Fatal("the text does not come back")
		}
	})
}
