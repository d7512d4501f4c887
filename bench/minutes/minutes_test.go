package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gimbal/internal/config"
)

// TestSteps checks what a budget buys: two cores for its time.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		budget time.Duration
		cpu    float64
		want   int64
	}{{short, 0.3, 1000}, {long, 0.3, 4000}, {short, 0.299, 1003}, {time.Second, 100, 1}} {
		if got := steps(c.budget, c.cpu); got != c.want {
			t.Errorf("%s at %g s: %d steps, want %d", c.budget, c.cpu, got, c.want)
		}
	}
}

// TestSplit checks that the two files hold every document once, and that split returns the size of the held-out one.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	const n = 400
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, "{\"text\": \"document %d: 春眠不覺曉 <&>\"}\n", i)
	}
	one := strings.Repeat("春眠不覺曉\n", 100)
	for name, text := range map[string]string{"many.jsonl": lines.String(), "one.txt": one} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f, err := split(context.Background(), text{name: "many", file: "many.jsonl"}, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	train, _ := readTexts(t, filepath.Join(f.dir, "train.jsonl"))
	valid, bytes := readTexts(t, filepath.Join(f.dir, "valid.jsonl"))
	if bytes != f.valBytes || len(valid) < n/100 || len(valid) > n/10 {
		t.Errorf("%d documents of %d bytes are held out; told were %d bytes", len(valid), bytes, f.valBytes)
	}
	all := slices.Concat(train, valid)
	slices.Sort(all)
	if len(slices.Compact(all)) != n {
		t.Errorf("%d and %d documents, want each of %d once", len(train), len(valid), n)
	}

	if f, err = split(context.Background(), text{name: "one", file: "one.txt"}, dir, dir); err != nil {
		t.Fatal(err)
	}
	head, err1 := os.ReadFile(filepath.Join(f.dir, "train.txt"))
	tail, err2 := os.ReadFile(filepath.Join(f.dir, "valid.txt"))
	if err1 != nil || err2 != nil || string(head)+string(tail) != one || int64(len(tail)) != f.valBytes ||
		!strings.HasPrefix(string(tail), "春") && !strings.ContainsAny(string(tail[:3]), "眠不覺曉\n") {
		t.Errorf("%d and %d bytes of %d, told were %d: %v %v", len(head), len(tail), len(one), f.valBytes, err1, err2)
	}
}

func readTexts(t *testing.T, path string) (texts []string, bytes int64) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var d struct{ Text string }
		if err := json.Unmarshal(lines.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		texts, bytes = append(texts, d.Text), bytes+int64(len(d.Text))
	}
	return texts, bytes
}

// TestCandidates checks that names are unique and that Gimbal knows every setting.
func TestCandidates(t *testing.T) {
	names := map[string]bool{}
	for _, c := range candidates() {
		if names[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		names[c.name] = true
		for _, text := range texts {
			_, err := config.Flags{Set: c.settings(text)}.Load("")
			if err != nil && !strings.Contains(err.Error(), "optim.kind") { // of a branch
				t.Errorf("%s on %s: %v", c.name, text.name, err)
			}
		}
	}
	for _, name := range varied {
		if !names[name] {
			t.Errorf("%s is varied and no learner", name)
		}
	}
}

// TestCostKey checks that learners whose steps are the same share a cost, and others do not.
func TestCostKey(t *testing.T) {
	of := func(set, corpus string) string {
		at, err := findText(corpus)
		if err != nil {
			t.Fatal(err)
		}
		return job{candidate: candidate{set: set}, build: "b", corpus: folder{text: at}}.costKey()
	}
	usual := of("", "go")
	for _, same := range []string{"schedule.kind=wsd", "schedule.warmup=20 optim.lr=0.01"} {
		if of(same, "go") != usual {
			t.Errorf("%s has a cost of its own", same)
		}
	}
	for _, other := range []string{"optim.kind=muon", "train.batch_tokens=1024", "model.width=192"} {
		if of(other, "go") == usual {
			t.Errorf("%s costs as much as the default learner", other)
		}
	}
	if of("", "poems") == usual {
		t.Error("two corpora share a cost")
	}
}

// TestChoose checks that a round takes the best of the one before, and the default learner.
func TestChoose(t *testing.T) {
	s := &store{Runs: map[string]outcome{}}
	r := rounds["second"]
	for i, name := range []string{"adamw", "default, wsd", "default, 4x192", "default, linear", "default, no decay"} {
		for _, c := range candidates() {
			if c.name == name {
				j := job{candidate: c, build: "b", corpus: folder{text: texts[0]}, seed: 1, budget: short}
				s.Runs[j.key()] = outcome{Bits: 2 - 0.1*float64(i)}
			}
		}
	}
	var got []string
	for _, c := range r.choose(s, "b") {
		got = append(got, c.name)
	}
	if want := []string{"default, no decay", "default, linear", "default, 4x192", "default"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := r.choose(s, "other"); len(got) != 1 {
		t.Errorf("another build has the finalists %v", got)
	}
}

// TestRead checks that a result on other bytes or of other steps is refused.
func TestRead(t *testing.T) {
	const said = `{"step": 5, "val_loss": 0.6931471805599453, "bits_per_byte": 0.5, "val_tokens": 100}`
	for _, c := range []struct {
		bytes, steps int64
		ok           bool
	}{{200, 5, true}, {201, 5, false}, {200, 6, false}} {
		o := outcome{Steps: c.steps}
		err := o.read([]byte(said), folder{valBytes: c.bytes})
		if (err == nil) != c.ok || o.Bits != 0.5 {
			t.Errorf("%d bytes, %d steps: %v", c.bytes, c.steps, err)
		}
	}
	if err := new(outcome).read([]byte(`{}`), folder{}); err == nil {
		t.Error("nothing was measured, and it is taken")
	}
}

// TestReport checks the figures of a table: median, spread, and the difference to the n-grams, which a peer borrows.
func TestReport(t *testing.T) {
	s := &store{Runs: map[string]outcome{}}
	for i, bits := range []float64{1.5, 1.9, 1.6} {
		s.Runs[fmt.Sprint("a", i)] = outcome{Candidate: "adamw", Build: "x", Corpus: "go", Seed: i, Bits: bits,
			Baseline: &baseline{Bits: 1.8}}
	}
	s.Runs["p"] = outcome{Candidate: "peer", Build: "peers", Corpus: "go", Bits: 2}
	s.Runs["q"] = outcome{Candidate: "wild", Build: "x", Corpus: "go", Stopped: "by the guard"}
	var b strings.Builder
	if err := s.report(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 1.6000 | 0.4000 | 3 | 1.800 | -0.200 |", "| 2.0000 |  | 1 | 1.800 | +0.200 |",
		"- wild on go"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestLog counts steps in lines that arrive in pieces.
func TestLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.jsonl")
	l := log{path: path}
	defer l.close()
	if n, err := l.steps(); n != 0 || err != nil {
		t.Fatal("before there is a file:", n, err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		more string
		want int
	}{{`{"kind":"plan"}` + "\n" + `{"kind":"st`, 0}, {`ep","step":1}`, 0}, {"\n" + `{"kind":"step"}` + "\n", 2}} {
		if _, err := f.WriteString(c.more); err != nil {
			t.Fatal(err)
		}
		if n, err := l.steps(); n != c.want || err != nil {
			t.Errorf("after %q: %d steps, want %d: %v", c.more, n, c.want, err)
		}
	}
}

// TestStore checks that a study goes on with what it had.
func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	s, err := openStore(path)
	if err != nil {
		t.Fatal(err)
	}
	j := job{candidate: learners[0], build: "b", corpus: folder{text: texts[0]}, seed: 1, budget: short}
	s.Unit, s.Costs[j.costKey()], s.Runs[j.key()] = cost{CPU: 0.3}, cost{CPU: 0.4}, outcome{Bits: 1.5}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	again, err := openStore(path)
	if err != nil || again.Unit.CPU != 0.3 || again.Costs[j.costKey()].CPU != 0.4 || again.Runs[j.key()].Bits != 1.5 {
		t.Errorf("%+v, %v", again, err)
	}
	study := &study{store: again}
	if err := study.runAll(context.Background(), []job{j}); err != nil {
		t.Errorf("a finished run is made again: %v", err)
	}
}

// TestStartThatFails checks that a process that ended before it was measured is not handed out: its end is waited for
// once.
func TestStartThatFails(t *testing.T) {
	s := &study{gimbal: "false", work: t.TempDir()}
	p, err := s.start(context.Background(), job{candidate: learners[0]})
	if p != nil || err == nil {
		t.Errorf("%+v, %v", p, err)
	}
}
