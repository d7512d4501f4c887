package judge

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/tokenizer"
)

// documents is a corpus in memory.
type documents [][]int32

func (d documents) Documents() int  { return len(d) }
func (d documents) Len(k int) int64 { return int64(len(d[k])) }
func (d documents) Append(dst []int32, k int, lo, hi int64) []int32 {
	return append(dst, d[k][lo:hi]...)
}

// corpora are human text. Those from ../shared/data are skipped if that is missing.
var corpora = []struct {
	name, file, field string
	limit             int // bytes that are read
}{
	{"speeches", "sotu.jsonl.gz", "text", 400 << 10},
	{"poems-zh", "tang-poems-zh.jsonl.gz", "text", 400 << 10},
	{"plays", "tinyshakespeare.txt", "", 400 << 10},
	{"problems", "gsm8k-test.jsonl", "question", 400 << 10},
	{"go", "", "", 400 << 10},
}

// readCorpus returns the documents of a corpus; none where the file is not there.
func readCorpus(t *testing.T, file, field string, limit int) (texts []string) {
	t.Helper()
	if file == "" {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		paths, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src", "[a-n]*", "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for i, path := range paths {
			if raw, err := os.ReadFile(path); err == nil && i%3 == 0 && limit > 0 {
				texts = append(texts, string(raw))
				limit -= len(raw)
			}
		}
		return texts
	}
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "data", file))
	if err != nil {
		return nil
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err != nil {
		t.Fatal(err)
	}
	if field == "" {
		return []string{string(raw)}
	}
	lines := strings.Split(string(raw), "\n")
	for _, line := range lines[:len(lines)-1] { // the last one may be cut
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, doc[field].(string))
	}
	return texts
}

// split holds out every sixth document, or the last sixth of a single one.
func split(texts []string) (train, held []string) {
	if len(texts) == 1 {
		cut := len(texts[0]) * 5 / 6
		return []string{texts[0][:cut]}, []string{texts[0][cut:]}
	}
	for i, s := range texts {
		if i%6 == 5 {
			held = append(held, s)
		} else {
			train = append(train, s)
		}
	}
	return train, held
}

// optionsFor returns options for a corpus.
func optionsFor(t *testing.T, texts []string, chars, isGo bool) Options {
	t.Helper()
	seq := func(yield func([]byte, error) bool) {
		for _, s := range texts {
			if !yield([]byte(s), nil) {
				return
			}
		}
	}
	var tok *tokenizer.Tokenizer
	if chars {
		alphabet, err := tokenizer.CollectChars(seq)
		if err != nil {
			t.Fatal(err)
		}
		tok = tokenizer.NewChars(alphabet)
	} else {
		var err error
		if tok, _, err = tokenizer.TrainBPE(context.Background(), seq, tokenizer.TrainOptions{VocabSize: 1024,
			Workers: 1}); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(texts []string) (all documents) {
		for _, s := range texts {
			d, err := tok.Append(nil, []byte(s))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		return all
	}
	a, b := split(texts)
	train, held := ids(a), ids(b)
	n := int64(0)
	for _, d := range train {
		n += int64(len(d))
	}
	return Options{
		Held: held, Plan: PlanFor(50, 2, 128, 255), Vocab: tok.VocabSize(), Chars: chars, Go: isGo, Own: true,
		Known: Known{Tokens: n, Labels: func() iter.Seq[[]int32] { return slices.Values([][]int32(train)) },
			Spell: tok.Decode},
	}
}

// continued are two neighbouring pieces of human text after each prompt of j, as if a model had written them.
func continued(j *Judge) (texts []Text) {
	for k := range int64(2) {
		for p, s := range j.spots[:j.plan.Prompts] {
			begin := s.at + int64(j.plan.PromptTokens)
			rest := j.opt.Held.Len(s.doc) - begin
			half := min(int64(j.plan.MaxTokens), rest/2)
			if half < int64(j.plan.MinTokens) { // a short document: its end, once
				if k == 0 {
					texts = append(texts, Text{p, j.opt.Held.Append(nil, s.doc, begin,
						min(begin+int64(j.plan.MaxTokens), j.opt.Held.Len(s.doc))), rest < int64(j.plan.MaxTokens)})
				}
				continue
			}
			texts = append(texts, Text{p, j.opt.Held.Append(nil, s.doc, begin+k*half, begin+(k+1)*half), rest <= 2*half &&
				k == 1})
		}
	}
	return texts
}

// Human text raises no alarm next to human text from elsewhere in the same corpus, and a repeating, a
// shuffled and a copying "model" do.
func TestPeopleRaiseNoAlarm(t *testing.T) {
	judged := 0
	for _, c := range corpora {
		texts := readCorpus(t, c.file, c.field, c.limit)
		if texts == nil {
			t.Logf("%s: skipped, ../shared/data/%s is not there", c.name, c.file)
			continue
		}
		for _, chars := range []bool{false, true} {
			if chars && c.name != "plays" && c.name != "poems-zh" {
				continue
			}
			opt := optionsFor(t, texts, chars, c.name == "go")
			judged++
			for seed := range uint64(2) {
				opt.Seed = seed
				j := New(opt)
				opt.Seed = 100 + seed
				other := New(opt)
				written := continued(j)
				j.human, j.spots, j.ref = other.human, other.spots, other.ref
				r := j.Measure(written)
				for _, a := range r.Alarms {
					if a.Metric == "finish_rate" || a.Metric == "parses" {
						continue // pieces are cut here, not ended, and the second does not follow its prompt
					}
					t.Errorf("%s, chars %v, seed %d: %s", c.name, chars, seed, a.Text)
				}
				if r.Counted < 40 {
					t.Errorf("%s, chars %v: only %d texts could be measured", c.name, chars, r.Counted)
				}
				if c.name == "go" { // the first pieces do
					for _, a := range j.Measure(written[:j.plan.Prompts]).Alarms {
						if a.Metric == "parses" {
							t.Errorf("seed %d: %s", seed, a.Text)
						}
					}
				}
				if seed == 0 {
					m := r.Metrics
					t.Logf("%s, chars %v: %d texts, rep4 %.3f (%.3f), C %.3f (%.3f), X %.3f (%.3f), topic %.3f (%.3f), "+
						"parses %.2f", c.name, chars, r.Counted, m["rep4"].Value, m["rep4"].Human,
						m["consistency"].Value, m["consistency"].Human, m["between"].Value, m["between"].Human,
						m["topic"].Value, m["topic"].Human, m["parses"].Value)
					planted(t, c.name, j, written)
				}
			}
		}
	}
	if judged == 0 {
		t.Fatal("no corpus at all")
	}
}

// planted corrupts human text in a known way and wants the named alarms.
func planted(t *testing.T, corpus string, j *Judge, written []Text) {
	for name, tt := range map[string]struct {
		change func(i int, text Text) []int32
		alarms []string
	}{
		"repeating": {func(_ int, text Text) []int32 {
			unit := text.Tokens[:max(1, len(text.Tokens)/4)]
			return slices.Repeat(unit, 4)
		}, []string{"rep3", "rep4"}},
		"constant": {func(int, Text) []int32 { return written[0].Tokens }, []string{"between", "distinct3", "compression",
			"self_bleu"}},
		"shuffled": {func(_ int, text Text) []int32 {
			ids := slices.Clone(text.Tokens)
			for i := range ids {
				k := int(mix(uint64(i)+uint64(len(ids))) % uint64(i+1))
				ids[i], ids[k] = ids[k], ids[i]
			}
			return ids
		}, []string{"ngram_nats"}},
		"copying": {func(i int, text Text) []int32 {
			for doc := range j.opt.Known.Labels() {
				if n := len(text.Tokens); len(doc) > n+i {
					return doc[i : i+n]
				}
			}
			return text.Tokens
		}, nil},
	} {
		var texts []Text
		for i, w := range written {
			texts = append(texts, Text{w.Prompt, tt.change(i, w), w.Ended})
		}
		r := j.Measure(texts)
		for _, want := range tt.alarms {
			if !slices.ContainsFunc(r.Alarms, func(a Alarm) bool { return a.Metric == want }) {
				t.Errorf("%s, planted %s: no alarm %s: %+v", corpus, name, want, r.Metrics[want])
			}
		}
		if m := r.Metrics["match"]; name == "copying" && m.Value < 0.8*r.Metrics["length"].Value && corpus != "poems-zh" {
			t.Errorf("%s, planted copying: the longest match is %.0f of %.0f tokens", corpus, m.Value, r.Metrics["length"].Value)
		}
	}
}
