package data

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/corpus"
)

// Where nothing else would end in train, validation is cut out before the end.
func TestSplitBeforeEnd(t *testing.T) {
	for _, c := range []struct {
		lengths  []int
		f        float64
		start    string
		at, end  int64 // tokens of the first document that are held out
		val, eos int64 // labels of validation, and EOS of train
	}{
		{[]int{1000}, 0.1, "eos", 850, 950, 100, 1},
		{[]int{1000}, 0.1, "none", 850, 950, 100, 1},
		{[]int{0, 1000, 0}, 0.1, "eos", 850, 950, 100, 1},
		{[]int{1000}, 0.5, "eos", 250, 750, 500, 1},
		{[]int{3}, 0.1, "eos", 1, 2, 1, 1},
		{[]int{3}, 0.1, "none", 1, 2, 1, 1}, // the first token is no label: nothing before the cut
		{[]int{2}, 0.1, "eos", 0, 1, 1, 1},
		{[]int{1}, 0.1, "eos", 0, 1, 2, 0}, // nothing to share: all is held out, and training says so
		{[]int{1000, 10}, 0.1, "eos", 849, 950, 101, 2},
		{[]int{600, 500}, 0.5, "eos", 0, 325, 325, 2},
		{[]int{10, 1000}, 0.1, "eos", 0, 0, 102, 1}, // one ends in train: the end is held out, as ever
	} {
		var texts []string
		for _, n := range c.lengths {
			texts = append(texts, alphabet(n))
		}
		s := prepareTexts(t, texts, PrepareOptions{ValFraction: c.f, ValFrom: "before_end", Start: c.start})
		train, val, all := s.Train(8), s.Val(8), s.All(8)
		if val.Tokens() != c.val || train.EOS() != c.eos || train.Tokens()+val.Tokens() != all.Tokens() {
			t.Errorf("%v: train %d labels (%d EOS), val %d, all %d", c, train.Tokens(), train.EOS(), val.Tokens(),
				all.Tokens())
		}
		doc := slices.IndexFunc(c.lengths, func(n int) bool { return n > 0 })
		if lo, hi := s.part(doc, valSide, false); lo != c.at || hi != c.end {
			t.Errorf("%v: tokens %d to %d of the first document are held out", c, lo, hi)
		}
		if train.Documents() > all.Documents() || train.Chunked() > int64(train.Documents()) {
			t.Errorf("%v: %d documents, %d chunked", c, train.Documents(), train.Chunked())
		}
	}
}

// TestSplitEveryLabelOnce tries each kind of split with each start token: the sides together are the corpus, no label
// comes twice, and by name no document is on both sides.
func TestSplitEveryLabelOnce(t *testing.T) {
	r := random(t)
	kinds := map[string]int{}
	for round := range 60 {
		start := []string{"eos", "none"}[r.IntN(2)]
		context := 1 + r.IntN(32)
		s, texts := splitCorpus(t, r, PrepareOptions{Start: start, ValFraction: []float64{0.05, 0.5}[r.IntN(2)],
			ValFrom: []string{"end", "before_end"}[r.IntN(2)], shard: 1 + r.Int64N(200)})
		kinds[s.SplitBy]++
		o := newOracle(t, s, texts, start, context)
		train, val := s.Train(context), s.Val(context)
		both := epoch(train)
		for i := range val.Sequences() {
			val.Read(both, i)
		}
		if err := o.check(both); err != nil {
			t.Fatalf("round %d, split by %s (%s): %v", round, s.SplitBy, s.SplitNote, err)
		}
		docs := map[Ref]bool{}
		for k := range train.Parts() {
			ref, n := train.Document(k)
			docs[ref] = true
			text := s.tok.Decode(nil, train.AppendText(nil, k, 0, n))
			if ref != s.index.Ref(int(train.docs[k])) || int64(len(text)) != n {
				t.Fatalf("round %d: part %d is not what it says", round, k)
			}
		}
		for k := range val.Parts() {
			if ref, _ := val.Document(k); docs[ref] && s.SplitBy != "position" {
				t.Fatalf("round %d: %s is on both sides of a split by %s", round, s.Describe(ref), s.SplitBy)
			}
		}
	}
	if kinds["name"] == 0 || kinds["position"] == 0 || kinds["document"] == 0 {
		t.Errorf("tried %v", kinds)
	}
}

// splitCorpus is a random corpus: one file, or what somebody has split. It returns the documents that are read.
func splitCorpus(t *testing.T, r *rand.Rand, opt PrepareOptions) (*Set, []string) {
	dir := t.TempDir()
	const long = "a document that is cut and ended, whatever the dice say: 0123456789"
	texts := append(randomTexts(r, r.IntN(40), 60), long)
	jsonLines(t, dir, "train.jsonl", texts)
	if r.IntN(2) == 0 {
		jsonLines(t, dir, "test.jsonl", randomTexts(r, 1+r.IntN(5), 60))
	}
	if r.IntN(2) == 0 {
		held := append(randomTexts(r, r.IntN(40), 60), long+" held out")
		jsonLines(t, dir, "valid.jsonl", held)
		texts = append(texts, held...)
	}
	return prepare(t, discover(t, corpus.Options{Splits: true}, dir), nil, opt), texts
}

// Names decide which documents are held out, and the hash of the text says so: a run does not go on after its files
// were renamed.
func TestSplitByName(t *testing.T) {
	dir, renamed := t.TempDir(), t.TempDir()
	train, val := make([]string, 30), []string{strings.Repeat("held out ", 40)}
	for i := range train {
		train[i] = fmt.Sprint("document ", i)
	}
	jsonLines(t, dir, "train.jsonl", train)
	jsonLines(t, dir, "valid.jsonl", val)
	jsonLines(t, dir, "test.jsonl", []string{"never read"})
	jsonLines(t, renamed, "train.jsonl", train)
	jsonLines(t, renamed, "zzz.jsonl", val)
	opt := PrepareOptions{ValFraction: 0.1}
	s := prepare(t, discover(t, corpus.Options{Splits: true}, dir), nil, opt)
	if s.SplitBy != "name" || s.Val(8).Documents() != 1 || s.Train(8).Documents() != 30 || len(s.Findings()) != 0 {
		t.Errorf("%s, %d held out, %+v", s.SplitNote, s.Val(8).Documents(), s.Findings())
	}
	for _, want := range []string{"valid.jsonl, by name", "test.jsonl is in neither part"} {
		if !strings.Contains(s.SplitNote, want) {
			t.Errorf("%q does not say %q", s.SplitNote, want)
		}
	}
	other := prepare(t, discover(t, corpus.Options{Splits: true}, renamed), nil, opt)
	if other.SplitBy != "document" || other.Hash == s.Hash {
		t.Errorf("after renaming: split by %s, the same hash: %v", other.SplitBy, other.Hash == s.Hash)
	}
	old := prepare(t, discover(t, corpus.Options{}, renamed), nil, opt)
	if old.Hash != other.Hash {
		t.Error("the hash of a text without named splits has changed")
	}
}

// A validation part in which nothing can be measured is not used; of a tiny one the run warns.
func TestSplitByNameOfLittle(t *testing.T) {
	for name, c := range map[string]struct {
		val  []string
		by   string
		told string
	}{
		"nothing": {[]string{""}, "document", "validation is cut from the rest"},
		"a word":  {[]string{"word"}, "name", "only 5 tokens"},
	} {
		dir := t.TempDir()
		var train []string
		for i := range 300 {
			train = append(train, fmt.Sprint("document ", i))
		}
		jsonLines(t, dir, "train.jsonl", train)
		jsonLines(t, dir, "valid.jsonl", c.val)
		s := prepare(t, discover(t, corpus.Options{Splits: true}, dir), nil, PrepareOptions{ValFraction: 0.1})
		var told []string
		for _, f := range s.Findings() {
			if f.Warn {
				told = append(told, f.Text)
			}
		}
		if s.SplitBy != c.by || len(told) != 1 || !strings.Contains(told[0], c.told) || s.Val(8).Counted() == 0 {
			t.Errorf("%s: split by %s, told %q", name, s.SplitBy, told)
		}
	}
}
