package data

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestSplitNeverMoves adds documents, reorders files and changes options: every old document stays on its side.
func TestSplitNeverMoves(t *testing.T) {
	r := random(t)
	var texts []string
	for i := range 300 {
		texts = append(texts, fmt.Sprintf("document %d %s", i, strings.Repeat("x", r.IntN(50))))
	}
	sides := func(texts []string, context int) map[string]bool {
		s := prepareTexts(t, texts, PrepareOptions{ValFraction: 0.2})
		if s.SplitBy != "document" {
			t.Fatalf("split by %s: %s", s.SplitBy, s.SplitNote)
		}
		val := map[string]bool{}
		for want, sp := range map[bool]*Split{false: s.Train(context), true: s.Val(context)} {
			for k := range sp.Documents() {
				_, n := sp.Document(k)
				text := string(s.tok.Decode(nil, sp.AppendText(nil, k, 0, n)))
				if was, ok := val[text]; ok && was != want {
					t.Errorf("copies of %q fall on both sides", text)
				}
				val[text] = want
			}
		}
		return val
	}
	before := sides(texts, 16)
	if len(before) != 300 {
		t.Fatalf("%d documents", len(before))
	}
	held := 0
	for _, val := range before {
		if val {
			held++
		}
	}
	// Binomial(300, 0.2) has mean 60 and sd 6.9; six of them are left by about two of 10^9 seeds.
	if held < 18 || held > 102 {
		t.Errorf("%d of 300 documents held out at 0.2", held)
	}
	more := append(slices.Clone(texts), texts[:40]...) // exact copies
	for i := range 100 {
		more = append(more, fmt.Sprintf("new document %d", i))
	}
	r.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] })
	after := sides(more, 7)
	for text, val := range before {
		if after[text] != val {
			t.Errorf("%q moved", text)
		}
	}
}

// alphabet returns a text of n bytes.
func alphabet(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + i%26)
	}
	return string(b)
}

func TestSplitByPosition(t *testing.T) {
	for _, c := range []struct {
		lengths    []int
		f          float64
		start      string
		train, val int64 // labels
		eos        int64 // of train
	}{
		{[]int{1000}, 0.1, "eos", 900, 101, 0},
		{[]int{1000}, 0.1, "none", 899, 101, 0},
		{[]int{1001}, 0.1, "eos", 900, 102, 0},           // floor(1001 × 0.9) = 900
		{[]int{1115394}, 0.1, "eos", 1003854, 111541, 0}, // nanoGPT's figures for its Shakespeare text: 1,003,854 and 111,540
		{[]int{50, 0, 50}, 0.5, "eos", 51, 51, 1},        // falls between documents: nothing is cut
		{[]int{50, 0, 50}, 0.5, "none", 50, 50, 1},
		{[]int{50, 50}, 0.25, "eos", 51 + 25, 26, 1},
		{[]int{1}, 0.5, "eos", 0, 2, 0}, // floor(0.5) = 0: all is held out, and training says so
		{[]int{2}, 0.5, "eos", 1, 2, 0},
		{[]int{2}, 0.5, "none", 0, 2, 0},
		{[]int{100}, 0, "eos", 101, 0, 1},
	} {
		var texts []string
		for _, n := range c.lengths {
			texts = append(texts, alphabet(n))
		}
		s := prepareTexts(t, texts, PrepareOptions{ValFraction: c.f, Start: c.start})
		train, val := s.Train(8), s.Val(8)
		if want := map[bool]string{true: "none", false: "position"}[c.f == 0]; s.SplitBy != want {
			t.Errorf("%v: split by %s", c, s.SplitBy)
		}
		if train.Tokens() != c.train || val.Tokens() != c.val || train.EOS() != c.eos {
			t.Errorf("%v: train %d labels (%d EOS), val %d", c, train.Tokens(), train.EOS(), val.Tokens())
		}
		if len(c.lengths) == 1 && c.train > 0 && c.val > 0 {
			a, b := epoch(train), epoch(val)
			if got, want := b.Tokens[0], a.Labels[len(a.Labels)-1]; got != want {
				t.Errorf("%v: validation opens with %d, training ended with %d", c, got, want)
			}
			if slices.Contains(a.Labels, s.tok.EOS()) || b.Labels[len(b.Labels)-1] != s.tok.EOS() {
				t.Errorf("%v: EOS on the wrong side of the cut", c)
			}
		}
		if c.f > 0 && !strings.Contains(s.SplitNote, "position") {
			t.Errorf("note %q", s.SplitNote)
		}
	}
}

// TestSplitFallsBack has enough documents, but one outweighs the rest, so that one side of a split by hash would
// starve.
func TestSplitFallsBack(t *testing.T) {
	var texts []string
	for i := range 40 {
		texts = append(texts, fmt.Sprint("short ", i))
	}
	found := map[bool]bool{}
	for i := 0; len(found) < 2; i++ {
		if i == 100 {
			t.Fatal("a hundred long documents fell on one side of 0.5")
		}
		long := fmt.Sprint(strings.Repeat("long ", 4000), i)
		s := prepareTexts(t, append(slices.Clone(texts), long), PrepareOptions{ValFraction: 0.5})
		held := s.heldOut(40)
		if found[held] {
			continue
		}
		found[held] = true
		want := map[bool]string{true: "leaves too little", false: "holds out too little"}[held]
		if s.SplitBy != "position" || !strings.Contains(s.SplitNote, want) {
			t.Errorf("long document held out %v: split by %s, %q", held, s.SplitBy, s.SplitNote)
		}
		total := s.Census().Tokens
		if got, want := epoch(s.Train(100)).Bytes, int64(math.Floor(float64(total)*0.5)); got != want {
			t.Errorf("train has %d of %d tokens, want %d", got, total, want)
		}
	}
}
