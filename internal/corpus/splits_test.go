package corpus

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplitName(t *testing.T) {
	for name, want := range map[string]struct {
		of   string
		side side
	}{
		"train.jsonl":                  {"", trainSide},
		"Train.JSONL":                  {"", trainSide},
		"train.jsonl.gz":               {"", trainSide},
		"train-00000-of-00002.parquet": {"", trainSide},
		"train-00000-of-00001-a09b74b3ef9c3b56.parquet": {"", trainSide},
		"test-00000-of-00001":                           {"", testSide},
		"validation_0.jsonl":                            {"", valSide},
		"valid.jsonl":                                   {"", valSide},
		"val.csv":                                       {"", valSide},
		"dev.tsv":                                       {"", valSide},
		"eval.json":                                     {"", valSide},
		"test1.jsonl.zst":                               {"", testSide},
		"test_part_3.jsonl":                             {"", testSide},
		"wiki.train.tokens":                             {"wiki", trainSide},
		"ptb.valid.txt":                                 {"ptb", valSide},
		"TinyStoriesV2-GPT4-valid.txt":                  {"tinystoriesv2-gpt4", valSide},
		"c4-validation.00000-of-00008.json.gz":          {"c4", valSide},
		"gsm8k-test.jsonl":                              {"gsm8k", testSide},
		"latest.jsonl":                                  {"", unnamed},
		"contest.txt":                                   {"", unnamed},
		"trains.txt":                                    {"", unnamed},
		"testament.txt":                                 {"", unnamed},
		"development.jsonl":                             {"", unnamed},
		"test-results.jsonl":                            {"", unnamed},
		"training-notes.md":                             {"", unnamed},
		"":                                              {"", unnamed},
		"\xff.jsonl":                                    {"", unnamed},
		strings.Repeat("a-", 200) + "test-" + "00001.jsonl": {strings.Repeat("a-", 199) + "a", testSide},
	} {
		if of, side := splitName(name, true); of != want.of || side != want.side {
			t.Errorf("%q: split %d of %q, want %d of %q", name, side, of, want.side, want.of)
		}
	}
}

// TestSplitsByName has what people split, and what only looks like it. A file is marked v where it is held out for
// validation, and is gone where it is a test.
func TestSplitsByName(t *testing.T) {
	const record = `{"text":"x"}`
	for name, c := range map[string]struct{ files, want string }{
		"records":               {"train.jsonl valid.jsonl test.jsonl", "train.jsonl v:valid.jsonl"},
		"no validation":         {"train.jsonl test.jsonl", "train.jsonl"},
		"no test":               {"train.jsonl dev.jsonl", "v:dev.jsonl train.jsonl"},
		"others beside them":    {"extra.jsonl train.jsonl test.jsonl", "extra.jsonl train.jsonl"},
		"shards":                {"train-0.jsonl train-1.jsonl test-00000-of-00001.jsonl", "train-0.jsonl train-1.jsonl"},
		"no train":              {"data.jsonl test.jsonl", "data.jsonl test.jsonl"},
		"only a test":           {"test.jsonl", "test.jsonl"},
		"texts":                 {"train.txt val.txt test.txt", "train.txt v:val.txt"},
		"named corpus":          {"wiki.train.tokens wiki.test.tokens", "wiki.train.tokens"},
		"another corpus":        {"wiki.train.tokens ptb.test.tokens", "ptb.test.tokens wiki.train.tokens"},
		"texts without a train": {"notes.txt test.txt dev.txt", "dev.txt notes.txt test.txt"},
		"folders":               {"train/a.txt val/b.txt test/c.txt", "train/a.txt v:val/b.txt"},
		"folder beside a file":  {"train.jsonl test/c.jsonl", "train.jsonl"},
		"folders without train": {"dev/a.txt test/b.txt notes/c.txt", "dev/a.txt notes/c.txt test/b.txt"},
		"code":                  {"train.py test.py eval.py", "eval.py test.py train.py"},
		"folders of code":       {"train/a.py test/a.py test/b.py test/c.md", "test/a.py test/b.py test/c.md train/a.py"},
		"scripts":               {"train test", "test train"},
		"records below":         {"data/train.jsonl data/test.jsonl README.md", "README.md data/train.jsonl"},
		"folders below":         {"en/train/0.jsonl en/test/0.jsonl", "en/train/0.jsonl"},
		"texts below":           {"me/train/a.txt me/test/b.txt", "me/test/b.txt me/train/a.txt"},
		"a test within train": {"train/a.jsonl train/test.jsonl train/train.jsonl val/b.jsonl",
			"train/a.jsonl train/train.jsonl v:val/b.jsonl"},
		"a fixture in code": {"src/a.go src/train.jsonl src/test.jsonl", "src/a.go src/train.jsonl"},
	} {
		dir := filepath.Join(t.TempDir(), "train") // the name of the given folder says nothing
		for f := range strings.FieldsSeq(c.files) {
			write(t, dir, f, record)
		}
		for _, opt := range []Options{{Splits: true}, {}} {
			found := discover(t, opt, dir)
			got := paths(found, dir)
			for i, s := range found.Sources {
				if s.Held {
					got[i] = "v:" + got[i]
				}
			}
			want := strings.Fields(c.want)
			if !opt.Splits {
				want = strings.Fields(c.files)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, splits %v: %q, want %q", name, opt.Splits, got, want)
			}
		}
	}
}

// Paths that are given one by one are splits of each other, unless they have weights.
func TestSplitsOfGivenPaths(t *testing.T) {
	dir := t.TempDir()
	train := write(t, dir, "train.jsonl", `{"text":"x"}`)
	test := write(t, dir, "test.jsonl", `{"text":"y"}`)
	if got := paths(discover(t, Options{Splits: true}, train, test), dir); !slices.Equal(got, []string{"train.jsonl"}) {
		t.Errorf("both given: %q", got)
	}
	if got := discover(t, Options{Splits: true}, test); len(got.Sources) != 1 {
		t.Error("a test that is given alone cannot be read")
	}
	weighted := discover(t, Options{Splits: true, Weights: []float64{1, 1}}, train, test)
	if f := weighted.Findings(); len(weighted.Sources) != 2 || len(f) != 1 ||
		f[0].Text != "test.jsonl: named like a held-out part and trained on, because data.weights gives it a share" {
		t.Errorf("a path with a weight: %d files, told %+v", len(weighted.Sources), f)
	}
	if got := discover(t, Options{Splits: true, Weights: []float64{1}}, dir); len(got.Sources) != 1 {
		t.Error("a folder with a weight was not split")
	}
}

// The run says what names decide, with the key that overrules it. A name that would do something to a terminal is
// quoted.
func TestSplitsAreTold(t *testing.T) {
	dir := t.TempDir()
	for _, f := range []string{"train.jsonl", "valid.jsonl", "test-0.jsonl", "test-1.jsonl", "test-2.jsonl"} {
		write(t, dir, f, `{"text":"x"}`)
	}
	c := discover(t, Options{Splits: true}, dir)
	f := c.Findings()
	if len(f) != 1 || f[0].Warn || !strings.Contains(f[0].Advice, "data.splits=ignore") ||
		f[0].Text != "split by name: valid.jsonl for validation; test-0.jsonl, test-1.jsonl and 1 more for neither "+
			"training nor validation" {
		t.Errorf("%+v", f)
	}
	if val, test := c.SplitNames(); val != "valid.jsonl" || test != "test-0.jsonl, test-1.jsonl and 1 more" {
		t.Errorf("%q, %q", val, test)
	}
	other := t.TempDir()
	write(t, other, "data.jsonl", `{"text":"x"}`)
	write(t, other, "test.jsonl", `{"text":"x"}`)
	f = discover(t, Options{Splits: true}, other).Findings()
	if len(f) != 1 || !strings.Contains(f[0].Text, "test.jsonl") || !strings.Contains(f[0].Text, "trained on") {
		t.Errorf("a test without a train beside it: %+v", f)
	}
	if got := names([]string{"a\x1b[2J"}); got != `"a\x1b[2J"` {
		t.Errorf("an escape sequence is told as %s", got)
	}
}

// Spelled counts a text once, wherever a document is cut to be looked through.
func TestSpelled(t *testing.T) {
	dir := t.TempDir()
	const mark = "<|end|>"
	var want int64
	var looked int
	var s strings.Builder
	for s.Len() < 300<<10 { // every place relative to the pieces
		s.WriteString(strings.Repeat("x", s.Len()%97) + mark + "<|en")
		want++
	}
	write(t, dir, "a.txt", s.String())
	write(t, dir, "b.jsonl", `{"text":"a<|end|>b"}`+"\n"+`{"text":"none"}`+"\n"+
		`{"messages":[{"role":"user","content":"q<|end|>"},{"role":"assistant","content":"a<|end|>"}]}`)
	found, err := discover(t, Options{}, dir).Spelled(t.Context(), []string{mark, "", "nowhere"},
		func(piece []byte) { looked += len(piece) })
	if err != nil {
		t.Fatal(err)
	}
	if looked < s.Len() || looked > s.Len()+100 {
		t.Errorf("%d bytes were looked at", looked)
	}
	if f := found[0]; f.Times != want+3 || f.Documents != 3 || f.Looked != 4 || !f.Plain {
		t.Errorf("%+v, want %d times", f, want+3)
	}
	if found[1].Times != 0 || found[2].Times != 0 {
		t.Errorf("%+v", found[1:])
	}
}

// FuzzSplitName looks for names that break the pattern, and for splits that their own name does not have.
func FuzzSplitName(f *testing.F) {
	for _, name := range []string{"train.jsonl", "wiki.test.tokens", "test-00000-of-00001", "c4-val.0.json.gz", "\xff"} {
		f.Add(name, true)
		f.Add(name, false)
	}
	f.Fuzz(func(t *testing.T, name string, file bool) {
		of, side := splitName(name, file)
		rest, ok := strings.CutPrefix(strings.ToLower(name), of)
		if side == unnamed && of != "" || !ok {
			t.Fatalf("%q is split %d of %q", name, side, of)
		}
		found := side == unnamed
		for word, s := range sides {
			found = found || s == side && strings.HasPrefix(strings.TrimLeft(rest, "-_."), word)
		}
		if !found {
			t.Fatalf("%q is split %d of %q, and does not say so", name, side, of)
		}
	})
}

// FuzzSpelled compares the count in pieces with the count in the whole.
func FuzzSpelled(f *testing.F) {
	const mark = "<|end|>"
	f.Add("a<|end|>b", uint16(3))
	f.Add(strings.Repeat("<|end|><|en", 20), uint16(9))
	f.Fuzz(func(t *testing.T, text string, size uint16) {
		l := lookout{found: []Spelling{{Text: mark}}, plain: make([]int64, 1), longest: len(mark), left: spelledBytes,
			also: func([]byte) {}}
		l.buf = make([]byte, len(mark)+1+int(size)%100)
		doc := Document{Text: strings.NewReader(text)}
		if err := l.document(&doc); err != nil {
			t.Fatal(err)
		}
		if want := int64(strings.Count(text, mark)); l.found[0].Times != want {
			t.Errorf("%d times in %q, want %d", l.found[0].Times, text, want)
		}
	})
}
