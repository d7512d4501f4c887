package data

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/tokenizer"
)

// pairLines writes preferences, three to each prompt.
func pairLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"prompt":"question %d","chosen":"good %d","rejected":"bad answer %d"}`+"\n", i/3, i, i)
	}
	return b.String()
}

func preparePairs(t *testing.T, lines string, opt PrepareOptions) *Set {
	t.Helper()
	c := discover(t, corpus.Options{Pairs: true, BadDocuments: "skip", BadShare: 1},
		write(t, t.TempDir(), "pairs.jsonl", lines))
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	return prepare(t, c, tok, opt)
}

// Each sequence is a pair of two documents; pairs of one prompt are on one side, and each comes once in an epoch.
func TestPairs(t *testing.T) {
	s := preparePairs(t, pairLines(300), PrepareOptions{ValFraction: 0.2})
	train, val := s.Train(256), s.Val(256)
	if train.Sequences()+val.Sequences() != 300 || val.Sequences() < 30 || s.Documents() != 600 {
		t.Fatalf("%d and %d pairs of %d documents", train.Sequences(), val.Sequences(), s.Documents())
	}
	side := map[string]int{}
	text := func(b *Batch, span Span) string {
		return string(s.tok.Decode(nil, b.Labels[span.Start:span.Start+span.Len]))
	}
	for i, sp := range []*Split{train, val} {
		var b Batch
		for k := range sp.Sequences() {
			b.Reset()
			sp.Read(&b, k)
			if len(b.Spans) != 2 || b.Spans[0].Index%2 != 0 || b.Spans[1].Index != b.Spans[0].Index+1 ||
				b.Spans[0].Doc != b.Spans[1].Doc {
				t.Fatalf("pair %d: %+v", k, b.Spans)
			}
			one, other := text(&b, b.Spans[0]), text(&b, b.Spans[1])
			prompt, answer, ok := strings.Cut(one, "good")
			if !ok || !strings.HasPrefix(other, prompt+"bad answer") {
				t.Fatalf("pair %d: %q and %q", k, one, other)
			}
			if before, ok := side[prompt]; ok && before != i {
				t.Errorf("%q is on both sides", prompt)
			}
			side[prompt] = i
			counted := 0
			for _, c := range b.Counts[:b.Spans[0].Len] {
				if c {
					counted++
				}
			}
			const ends = 2 // of the turn and of the document
			if want := len("good") + len(strings.TrimRight(answer, "\n")) + ends; counted != want {
				t.Errorf("%q counts %d tokens, want %d", one, counted, want)
			}
		}
	}
	l, err := NewLoader(train, 1, 512)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	seen := map[int]bool{}
	for cur := (Cursor{}); cur.Seq < train.Sequences(); {
		before := cur.Seq
		cur = l.Next(&b, cur)
		if len(b.Tokens) > 512 || len(b.Spans) == 0 || len(b.Spans)%2 != 0 {
			t.Fatalf("a batch of %d tokens, %d spans", len(b.Tokens), len(b.Spans))
		}
		for k := 0; k < len(b.Spans) && before+int64(k/2) < train.Sequences(); k += 2 {
			if seen[b.Spans[k].Index] {
				t.Fatal("a pair comes twice in an epoch")
			}
			seen[b.Spans[k].Index] = true
		}
	}
	if _, err := NewLoader(train, 1, 64); err == nil {
		t.Error("a batch without room for a pair")
	}
	var out bytes.Buffer
	if err := s.Show(&out, &b, 0, 2, PlainMarks); err != nil || !strings.Contains(out.String(), ", chosen: ") ||
		!strings.Contains(out.String(), ", rejected: ") {
		t.Errorf("%v, %s", err, out.String())
	}
	again := preparePairs(t, pairLines(300), PrepareOptions{ValFraction: 0.2, Workers: 3})
	if again.Hash != s.Hash {
		t.Error("another number of workers makes other tokens")
	}
}

// Where nothing is left, the error says why.
func TestAllPairsLeftOut(t *testing.T) {
	same := write(t, t.TempDir(), "a.jsonl", strings.Repeat(`{"prompt":"q","chosen":"a","rejected":"a"}`+"\n", 3))
	c := discover(t, corpus.Options{Pairs: true}, same)
	tok := tokenizer.NewBytes().WithSpecial(chat.RoleTokens...)
	_, err := Prepare(t.Context(), c, tok, PrepareOptions{CacheDir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "3 preferences of which both answers are the same") {
		t.Error(err)
	}
}

// What cannot be learned from is left out, and told.
func TestPairsLeftOut(t *testing.T) {
	lines := pairLines(60) + `{"prompt":"q","chosen":"a","rejected":"a"}` + "\n" +
		`{"prompt":"q","chosen":"` + strings.Repeat("long ", 40) + `","rejected":"a"}` + "\n" +
		`{"prompt":"question 0","chosen":"good 0","rejected":"bad answer 0"}` + "\n"
	s := preparePairs(t, lines, PrepareOptions{ValFraction: 0.2})
	train := s.Train(128)
	st, err := s.Stats(128)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, f := range append(s.Findings(), append(train.Findings(), s.Val(128).Findings()...)...) {
		told = append(told, f.Text)
	}
	for _, want := range []string{"1 of 63 preferences were skipped: chosen and rejected are the same",
		"left out: longer than the context of 128 tokens"} {
		if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q is not in %q", want, told)
		}
	}
	if st.Duplicates != 1 || st.Overlap != 0 {
		t.Errorf("%d copies, %d on both sides", st.Duplicates, st.Overlap)
	}
	if n := train.Sequences() + s.Val(128).Sequences(); n != 61 {
		t.Errorf("%d pairs", n)
	}

	few := preparePairs(t, pairLines(6), PrepareOptions{ValFraction: 0.2})
	if tr, val := few.Train(128), few.Val(128); tr.Sequences()+val.Sequences() != 6 || val.Sequences() == 0 {
		t.Errorf("%d and %d of six pairs: %s", tr.Sequences(), val.Sequences(), few.SplitNote)
	}

	text := discover(t, corpus.Options{Pairs: true}, write(t, t.TempDir(), "a.txt", "a text"))
	if _, err := Prepare(t.Context(), text, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir()}); err == nil ||
		!strings.Contains(err.Error(), "no preference") {
		t.Errorf("a text: %v", err)
	}
}

// A pair of which the template refuses one answer is left out whole, wherever that is.
func TestPairsRefused(t *testing.T) {
	format, err := chat.NewTemplate(chat.Source{Template: "{% for m in messages %}{% if 'no ' in m.content %}" +
		"{{ raise_exception('no') }}{% endif %}{{ m.role }}: {{ m.content }}\n{% endfor %}" +
		"{% if add_generation_prompt %}assistant: {% endif %}"})
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range []string{`{"prompt":"p","chosen":"no x","rejected":"y"}`,
		`{"prompt":"p","chosen":"y","rejected":"no x"}`} {
		s := preparePairs(t, pairLines(30)+refused+"\n"+pairLines(33)[len(pairLines(30)):],
			PrepareOptions{ValFraction: 0.2, Format: format})
		train, val := s.Train(256), s.Val(256)
		if n := train.Sequences() + val.Sequences(); n != 33 || s.Census().Read.Bad != 1 {
			t.Errorf("%s: %d pairs, %d broken", refused, n, s.Census().Read.Bad)
		}
		var b Batch
		train.Read(&b, train.Sequences()-1)
		last := string(s.tok.Decode(nil, b.Labels[b.Spans[1].Start:]))
		if !strings.Contains(last, "bad answer") {
			t.Errorf("%s: the other answer is %q", refused, last)
		}
	}
}
