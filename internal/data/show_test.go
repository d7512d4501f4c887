package data

import (
	"bytes"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestShow looks at a batch as a person would: marks where they belong, and nothing that moves a terminal's cursor.
func TestShow(t *testing.T) {
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	path := chatLines(t, t.TempDir(), "a.jsonl", [][]turn{
		{{"user", "a\x1b[2Jb"}, {"assistant", "c\xffd\r\n\u0085é"}, {"user", "e"}},
		{{"", "plain text that is longer than the context"}},
	})
	s := prepare(t, discover(t, corpus.Options{}, path), tok, PrepareOptions{})
	b := epoch(s.All(20))
	var plain, colour bytes.Buffer
	for out, marks := range map[*bytes.Buffer]Marks{&plain: PlainMarks, &colour: ColourMarks} {
		if err := s.Show(out, b, 0, len(b.Spans), marks); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"--- 1: " + path + ", line 1, byte 0",
		": 20 tokens, 0 counted\n(<|endoftext|>)[[<|im_start|>user\na\\u001b[2Jb<|im_end|>\n<|im_start|>assis]](cut)\n",
		", from its token 20 on: 20 tokens, 12 counted\n[[tant\n]]c",
		"\\u000d\n\\u0085é<|im_end|>[[\n<|im_start|>u]](cut)\n",
		"[[ser\ne<|im_end|><|endoftext|>]]\n",
		"(<|endoftext|>)plain text that is l(cut)\n", "counted\nonger than the conte(cut)\n", "3 counted\nxt<|endoftext|>\n",
	} {
		if !strings.Contains(plain.String(), want) {
			t.Errorf("%q is missing in\n%s", want, plain.String())
		}
	}
	if strings.ContainsAny(plain.String(), "\x1b\r") {
		t.Error("control characters in plain text")
	}
	for _, line := range strings.Split(colour.String(), "\x1b")[1:] {
		if !strings.HasPrefix(line, "[0m") && !strings.HasPrefix(line, "[2m") && !strings.HasPrefix(line, "[1m") &&
			!strings.HasPrefix(line, "[1;35m") && !strings.HasPrefix(line, "[36m") {
			t.Errorf("an escape that is no mark: %q", line)
		}
	}
	if strings.Count(colour.String(), "\x1b[0m") == 0 ||
		!strings.HasSuffix(strings.TrimSpace(colour.String()), "\x1b[0m") {
		t.Error("a colour that does not end")
	}
	var ids bytes.Buffer
	if err := s.ShowIDs(&ids, b, 0, 2, PlainMarks); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--- 1: " + path,
		"\n    256   (\"<|endoftext|>\")\n    257   \"<|im_start|>\"\n    117   \"u\"\n",
		"\n     27   \"\\x1b\"\n", "\n     99 * \"c\"\n", "\n     13 * \"\\r\"\n", "\n    258 * \"<|im_end|>\"\n"} {
		if !strings.Contains(ids.String(), want) {
			t.Errorf("%q is missing in\n%s", want, ids.String())
		}
	}
	var out bytes.Buffer
	escapeText(&out, []byte("a\xff\u2028\tb\x00\xe4\xb8"))
	if got, want := out.String(), "a\\xff\\u2028\tb\\u0000\\xe4\\xb8"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
