package data

import (
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// TestAnswers finds every answer of a conversation, without the mark that ends it. Marks of plain text belong to it,
// and so does what follows: a model writes on.
func TestAnswers(t *testing.T) {
	plain := tokenizer.NewBytes()
	for _, tok := range []*tokenizer.Tokenizer{plain, plain.WithSpecial(chat.RoleTokens...)} {
		s := prepare(t, discover(t, corpus.Options{}, chatLines(t, t.TempDir(), "a.jsonl", [][]turn{
			{{"user", "q"}, {"assistant", "first"}, {"user", "r"}, {"assistant", ""}, {"assistant", "last"}},
			{{"", "a text"}},
			{{"assistant", "alone"}, {"user", "x"}},
		})), tok, PrepareOptions{})
		sp := s.All(1000)
		var got []string
		for k := range sp.Documents() {
			for _, a := range sp.Answers(k) {
				got = append(got, string(tok.Decode(nil, sp.AppendText(nil, k, a[0], a[1]))))
			}
		}
		want := []string{"first", "", "last", "alone"}
		if tok == plain {
			const end = "<|im_end|>"
			user, turn := end+"\n<|im_start|>user\n", end+"\n<|im_start|>assistant\n"
			last := "last" + end
			want = []string{"first" + user + "r" + turn + turn + last, turn[:len(end)] + turn[len(end):] + last, last,
				"alone" + user + "x" + end}
		}
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestCutAnswers counts the answers that are learned without the beginning of their conversation, at every context, and
// compares with what the sequences have.
func TestCutAnswers(t *testing.T) {
	r := random(t)
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	cut := false
	for range 20 {
		path := chatLines(t, t.TempDir(), "a.jsonl", randomChats(r, 1+r.IntN(30)))
		for _, start := range []string{"eos", "none"} {
			s := prepare(t, discover(t, corpus.Options{}, path), tok, PrepareOptions{Start: start})
			context := 1 + r.IntN(60)
			sp := s.All(context)
			whole, late := int64(0), int64(0)
			for k := range sp.Documents() {
				for _, a := range sp.Answers(k) {
					first := int64(1)
					if start == "none" {
						first = 2
					}
					whole++
					if lastLabel := a[1] + 1; lastLabel >= first+int64(context) { // of its turn's end
						late++
					}
				}
			}
			n := sp.sums
			if n.Answers != whole || n.Cut != late {
				t.Fatalf("context %d, start %s: %d of %d answers are cut, want %d of %d", context, start, n.Cut, n.Answers,
					late, whole)
			}
			f := sp.Findings()
			if (len(f) == 1) != (late > 0) || late > 0 && !strings.Contains(f[0].Text, "without the beginning of their") {
				t.Fatalf("%+v", f)
			}
			cut = cut || late > 0 && late < whole
		}
	}
	if !cut {
		t.Error("no case in which some answers are cut")
	}
}
