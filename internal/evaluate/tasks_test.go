package evaluate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/param"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// harness is what testdata/harness.py recorded.
type harness struct {
	Tasks map[string]struct {
		Shots int
		Items []struct {
			Contexts, Rests []string
			LogLikelihoods  []float64
			Text            string
		}
		Metrics map[string]float64
	}
}

// asker returns an evaluator with the model and the tokenizer of the recording.
func asker(t *testing.T) *Evaluator {
	t.Helper()
	raw, err := os.ReadFile("testdata/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	a := config.Arch{Shape: "llama", Layers: 2, Width: 32, Heads: 4, KVHeads: 2, HeadSize: 8, MLP: 48, Vocab: 320,
		Context: 512, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu"}
	p := param.New[float32](a)
	views := slices.Clone(p.Views)
	slices.SortFunc(views, func(a, b param.View) int { return strings.Compare(a.Name, b.Name) })
	for i, v := range views {
		for k := range v.Len() {
			x := 0.3 * math.Sin(0.37*float64(k*k)+float64(i))
			if v.Kind == param.KindNorm {
				x++
			}
			p.Flat[v.Lo+k] = float32(x)
		}
	}
	var b bytes.Buffer
	if err := safetensors.Write(&b, param.Entries(p), nil, "F32"); err != nil {
		t.Fatal(err)
	}
	weights, err := safetensors.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	o, err := engine.CPU(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	e, err := o.Open(engine.Spec{Arch: a, MicroTokens: 600, Checkpointing: "block", Mode: "fp32", Forward: true})
	if err == nil {
		err = e.Set(weights, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return New(Options{Engine: e, MicroTokens: 600, Tok: tok, Start: tok.EOS()})
}

// Prompts, log-likelihoods, written answers and metrics are those of lm-evaluation-harness on the same items.
func TestTasksAsTheHarness(t *testing.T) {
	var want harness
	raw, err := os.ReadFile("testdata/harness.json")
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil || len(want.Tasks) != 5 {
		t.Fatal(err, len(want.Tasks))
	}
	e := asker(t)
	for name, w := range want.Tasks {
		file, _, _ := strings.Cut(name, "_")
		task, err := OpenTask(filepath.Join("testdata/tasks", file+".jsonl"), TaskOptions{Shots: w.Shots})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Task(t.Context(), task)
		if err != nil {
			t.Fatal(err)
		}
		if got.Items != len(w.Items) || got.Shots != w.Shots || got.Cut != 0 {
			t.Fatalf("%s: %d items, %d shots, %d cut; want %d items", name, got.Items, got.Shots, got.Cut, len(w.Items))
		}
		for i, item := range w.Items {
			own := task.Items[i]
			if own.Context != item.Contexts[0] {
				t.Errorf("%s, item %d: prompt %q, want %q", name, i, own.Context, item.Contexts[0])
			}
			for k, rest := range item.Rests {
				if own.delimiter+own.Choices[k] != rest {
					t.Errorf("%s, item %d: choice %q, want %q", name, i, own.delimiter+own.Choices[k], rest)
				}
				if a, b := got.Answers[i].LogLikelihoods[k], item.LogLikelihoods[k]; math.Abs(a-b) > 1e-3 {
					t.Errorf("%s, item %d, choice %d: log-likelihood %v, want %v", name, i, k, a, b)
				}
			}
			known := func(s string) string { return strings.ReplaceAll(s, "�", "") } // bytes that are no text
			if a, b := known(got.Answers[i].Text), known(item.Text); a != b {
				t.Errorf("%s, item %d: wrote %q, want %q", name, i, a, b)
			}
		}
		for _, m := range got.Metrics {
			key := m.Name + ",none"
			switch m.Name {
			case "exact_match":
				key = "exact_match,strict"
			case "flexible":
				key = "exact_match,flexible"
			}
			p, n := m.Value, float64(got.Items)
			if v, ok := w.Metrics[key]; !ok || math.Abs(v-p) > 1e-9 {
				t.Errorf("%s: %s is %v, want %v", name, m.Name, p, v)
			}
			if se := math.Sqrt(p * (1 - p) / (n - 1)); m.SE != se {
				t.Errorf("%s: the standard error of %s is %v, want %v", name, m.Name, m.SE, se)
			}
		}
		metrics := map[string]runlog.Float{}
		if got.Log(metrics); len(metrics) != 3*len(got.Metrics) {
			t.Errorf("%s: %v", name, metrics)
		}
	}
}

// White space at the end of a context is read with what follows; an empty context is the start token; what a tokenizer
// puts first comes once.
func TestEncodePair(t *testing.T) {
	tok := asker(t).opt.Tok
	whole := func(text string) []int32 {
		ids, err := tok.Append(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	for _, c := range [][2]string{{"How many", " legs"}, {"How many ", "legs"}, {"How many \n ", " legs"},
		{" ", "legs"}} {
		ids, from, err := encodePair(tok, 0, c[0], c[1])
		bare := len(whole(strings.TrimRight(c[0], " \n")))
		if err != nil || !slices.Equal(ids, whole(c[0]+c[1])) || from != bare {
			t.Errorf("%q: %v from %d, want %v from %d", c, ids, from, whole(c[0]+c[1]), bare)
		}
	}
	if ids, from, err := encodePair(tok, 0, "", "legs"); err != nil || from != 1 || ids[0] != 0 ||
		!slices.Equal(ids[1:], whole("legs")) {
		t.Errorf("%v from %d, %v", ids, from, err)
	}
}

// A question that is longer than the context loses its beginning; a pass is cut where it is full, and gives the same.
func TestTaskThatIsTooLong(t *testing.T) {
	e := asker(t)
	path := filepath.Join(t.TempDir(), "long task!.jsonl")
	line := func(context string) string {
		raw, _ := json.Marshal(map[string]any{"context": context, "choices": []string{"yes", "no, never", "so"},
			"label": 1})
		return string(raw) + "\n"
	}
	put(t, path, line("short")+"\n"+line(strings.Repeat("How many birds? ", 300))+line("another"))
	task, err := OpenTask(path, TaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := e.Task(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	if first.Name != "long-task-" || first.Cut != 1 || first.Items != 3 {
		t.Errorf("%s: %d items, %d cut", first.Name, first.Items, first.Cut)
	}
	e.opt.MicroTokens = 512
	second, err := e.Task(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range first.Answers {
		if !slices.Equal(a.LogLikelihoods, second.Answers[i].LogLikelihoods) || a.LogLikelihoods[0] >= 0 {
			t.Errorf("item %d: %v, in other passes %v", i, a.LogLikelihoods, second.Answers[i].LogLikelihoods)
		}
	}
}

// What is no task is refused with its file and line.
func TestTaskRefused(t *testing.T) {
	dir := t.TempDir()
	good := `{"goal": "a", "sol1": "b", "sol2": "c", "label": 1}` + "\n"
	arc := `{"question": "a", "answerKey": "A", "choices": `
	words := `{"question": "a", "context": "", "answer": 7}` + "\n"
	for want, text := range map[string]string{
		"x.jsonl, line 1: no JSON":                               "goal\n",
		`x.jsonl, line 2: its fields are "text"; a question has`: good + `{"text": "a"}`,
		"x.jsonl, line 2: its answer is empty":                   good + `{"goal": "a", "sol1": "", "sol2": "", "label": ""}`,
		`label "b" is no number`:                                 `{"goal": "a", "sol1": "b", "sol2": "c", "label": "b"}`,
		"the right answer is none of the 2":                      `{"goal": "a", "sol1": "b", "sol2": "c", "label": 2}`,
		"or an empty one":                                        `{"goal": "a", "sol1": "b", "sol2": "", "label": 0}`,
		"another kind than those before":                         good + `{"question": "a", "answer": "b"}`,
		"as many labels as choices":                              arc + `{"text": ["b"], "label": []}}`,
		"have the same label":                                    arc + `{"text": ["b", "c"], "label": ["A", "A"]}}`,
		"x.jsonl, line 1: its answer is empty":                   `{"question": "a", "answer": null}`,
		"line 3: its answer is empty":                            words + words + `{"question": "a", "answer": " "}`,
		"write one text":                                         `{"question": "a", "answer": ["b", "c"]}`,
		"shown its \"options\"":                                  `{"question": "a", "options": {"A": "b"}, "answer": "A"}`,
		"shown its \"context\"":                                  `{"question": "a", "context": "b", "answer": "c"}`,
		"choices, or an empty one":                               `{"context": "a", "choices": ["b", "  "], "label": 0}`,
		"has no questions":                                       "\n\n",
		"of the 2 that are to come":                              good,
	} {
		path := filepath.Join(dir, "x.jsonl")
		put(t, path, text)
		_, err := OpenTask(path, TaskOptions{Shots: 2})
		if !errors.Is(err, data.ErrUnusable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "gimbal", "tasks"), 0o777); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "gimbal", "tasks", "own.jsonl"), good)
	t.Setenv("XDG_DATA_HOME", dir)
	if task, err := OpenTask("own", TaskOptions{}); err != nil || task.Name != "own" {
		t.Errorf("by name: %v", err)
	}
	if _, err := OpenTask("other", TaskOptions{}); !errors.Is(err, data.ErrUnusable) {
		t.Errorf("no such task: %v", err)
	}
}

// No example gives the answer away, wherever examples come from and however often a question is there.
func TestNoExampleTellsTheAnswer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	question := func(n int) string { return fmt.Sprintf(`{"question": "q%d", "answer": "a%d"}`+"\n", n, n) }
	put(t, path, "\xef\xbb\xbf"+question(1)+question(2)+question(1)+question(3))
	for name, opt := range map[string]TaskOptions{"its own": {Shots: 2}, "the same file": {Shots: 2, ShotsFrom: path},
		"the first": {Shots: 2, Limit: 3}} {
		task, err := OpenTask(path, opt)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, i := range task.Items {
			if strings.Contains(i.Context, i.Answer) || strings.Count(i.Context, "Question:") != 3 {
				t.Errorf("%s: %q is asked behind %q", name, i.Answer, i.Context)
			}
		}
	}
	if _, err := OpenTask(path, TaskOptions{Shots: 3}); err == nil { // of four, two are one
		t.Error("three examples of two other questions")
	}
	if _, err := OpenTask(path, TaskOptions{Shots: -1}); err == nil {
		t.Error("-1 examples")
	}
}

// One space is between a context and its choices, however they are written; of equal choices each is right.
func TestPlainChoices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	put(t, path, `{"context": "a ", "choices": [" b", "c", "c"], "label": 2}`)
	task, err := OpenTask(path, TaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i := task.Items[0]
	if i.Context+i.delimiter+i.right() != "a c" || i.Choices[0] != "b" || i.Gold != 1 {
		t.Errorf("%+v", i)
	}
}

// Written answers are found as the harness finds them.
func TestWrittenAnswers(t *testing.T) {
	sums, err := OpenTask("testdata/tasks/sums.jsonl", TaskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	strict, flexible := sums.patterns[0], sums.patterns[1]
	for _, c := range []struct{ wrote, strict, flexible string }{
		{"3 + 4 = 7.\n#### 7", "7", "7"}, {"#### 1,200.\n", "1,200.", "1,200."}, {"it is $5, or 6", "[invalid]", "6"},
		{"none", "[invalid]", "[invalid]"}, {"#### -3 and #### 4", "-3", "4"}, {"a. ... b", "[invalid]", "..."},
	} {
		if a, b := strict.extract(c.wrote), flexible.extract(c.wrote); a != c.strict || b != c.flexible {
			t.Errorf("%q: %q and %q, want %q and %q", c.wrote, a, b, c.strict, c.flexible)
		}
	}
	for _, c := range []struct {
		answer, right string
		want          bool
	}{{"1,200.", "so many.\n#### 1200", true}, {"$7", "#### 7", true}, {"grass", "Grass.", true},
		{"[invalid]", "7", false}} {
		if matches(c.answer, c.right) != c.want {
			t.Errorf("%q is %q: %t", c.answer, c.right, !c.want)
		}
	}
	words, err := OpenTask("testdata/tasks/words.jsonl", TaskOptions{Limit: 2, Shots: 1})
	if err != nil || len(words.Items) != 2 || !strings.HasPrefix(words.Items[1].Context,
		"Question: What colour is snow?\nAnswer: white\n\nQuestion: What do cows") {
		t.Errorf("%+v, %v", words, err)
	}
}
