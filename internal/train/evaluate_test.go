package train

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/judge"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// An evaluation writes what was planned, says it in the log with intervals and people's numbers, and leaves a page.
func TestEvaluationIsJudged(t *testing.T) {
	r := finished(t, tiny(t, "train.steps=60", "eval.prompts=6", "eval.samples=3", "eval.max_tokens=12",
		"eval.every=15"), Options{})
	evals := runlog.All[runlog.Eval](readLog(t, r.Dir))
	if len(evals) != 4 {
		t.Fatalf("%d evaluations", len(evals))
	}
	for _, e := range evals {
		for _, key := range []string{"rep3", "rep3_lo", "rep3_hi", "rep3_human", "rep4", "consistency", "consistency_lo",
			"within", "between", "finish_rate",
			"distinct3", "compression", "self_bleu", "match", "novel5", "unknown_words", "ngram_nats", "garbled", "length",
			"val_loss_lo", "val_loss_hi"} {
			if _, ok := e.Metrics[key]; !ok {
				t.Errorf("step %d: no %s", e.Step, key)
			}
		}
		if _, ok := e.Metrics["parses"]; ok {
			t.Error("a corpus that is not Go is parsed as Go")
		}
		if n := e.Metrics["texts"]; n != 18 {
			t.Errorf("%v texts", float64(n))
		}
		if lo, hi := e.Metrics["val_loss_lo"], e.Metrics["val_loss_hi"]; !(lo < e.ValLoss && e.ValLoss < hi) {
			t.Errorf("loss %v in [%v, %v]", e.ValLoss, lo, hi)
		}
	}
	page, err := runs.OpenPage(r.Dir, 0)
	if err != nil || page.Name != "samples/eval-4.md" || len(page.Sections) != 18 {
		t.Fatalf("%+v, %v", page, err)
	}
	report := readReport(t, r.Dir)
	for _, want := range []string{"n-gram baseline", "| rep4: ", "## Is the loss misleading?", "- stable: step ",
		"nobody has marked any of the 18 texts", "| 60 | "} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if err := page.Mark(2, []string{"drifting"}); err != nil {
		t.Fatal(err)
	}
	if err := page.Report(); err != nil {
		t.Fatal(err)
	}
	if after := readReport(t, r.Dir); !strings.Contains(after, "a person marked 1 of 18 texts: 1 drifting") ||
		!strings.Contains(after, "## Plan") || strings.Contains(after, "nobody") {
		t.Errorf("the report after a review:\n%s", after)
	}
	marks, err := checkpoint.Marks(durable.OS, filepath.Join(r.Dir, rundir.Checkpoints))
	if err != nil || marks["last"] != 60 || marks["stable"] == 0 ||
		filepath.Base(r.Stable) != checkpoint.StepName(marks["stable"]) {
		t.Errorf("marks %v, %v, stable %s", marks, err, r.Stable)
	}
	c, err := checkpoint.Open(durable.OS, r.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if h, err := checkpoint.ReadHealth(c); err != nil || h.Metrics["val_loss"] == 0 ||
		h.Metrics["consistency"] != float64(evals[3].Metrics["consistency"]) {
		t.Errorf("certificate %+v, %v", h, err)
	}
}

func readReport(t *testing.T, dir string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, rundir.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// All texts are written at the end of an epoch and of the run, and fewer at the evaluations between.
func TestWholeTextsAtTheEnds(t *testing.T) {
	r := newRun(t, tiny(t, "train.steps=60", "eval.prompts=6", "eval.samples=3", "eval.max_tokens=12"), Options{})
	if r.plan.Text.Epochs > plan.DefaultEvals {
		r.plan.Text.Epochs = 3 // so that evaluations are made at their ends
	}
	r.plan.Writing.Usual = judge.Plan{Prompts: 4, Samples: 2}
	for _, name := range []string{rundir.Samples, rundir.Checkpoints} {
		if err := os.MkdirAll(filepath.Join(r.store.Dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	texts, whole := map[int64]float64{}, []int64{60}
	r.record.hooks.Eval = func(rec runlog.Eval, _ []evaluate.Sample) { texts[rec.Step] = float64(rec.Metrics["texts"]) }
	before := int64(0)
	r.record.hooks.Step = func(rec runlog.Step, _ float64) {
		if now := r.epoch(); now > before {
			before, whole = now, append(whole, rec.Step)
		}
	}
	if _, err := r.loop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(whole) < 2 || len(texts) <= len(whole) {
		t.Fatalf("ends of epochs at %v, evaluations %v", whole, texts)
	}
	for step, n := range texts {
		want := 8.0
		if slices.Contains(whole, step) {
			want = 18
		}
		if n != want {
			t.Errorf("step %d: %v texts, want %v", step, n, want)
		}
	}
}

// What is written is the same at every evaluation of the same weights, and for any number of workers; and it is
// planned from what is known before the first step, so that asking twice gives the same.
func TestWritingIsPlannedOnce(t *testing.T) {
	writing := func(settings ...string) plan.Writing { return newRun(t, tiny(t, settings...), Options{}).plan.Writing }
	small := writing("train.steps=40")
	if small.Samples.Prompts*small.Samples.Samples >= 100 || small.Samples.Prompts < 4 || small.Samples.Samples < 2 {
		t.Errorf("a run of 40 steps writes %s", small.Samples)
	}
	if again := writing("train.steps=40"); again.Samples != small.Samples {
		t.Errorf("%s, then %s", small.Samples, again.Samples)
	}
	if large := writing("train.steps=1000000", "eval.max_tokens=128"); large.Samples.Prompts != 20 ||
		large.Samples.Samples != 5 || large.Share > 0.02 {
		t.Errorf("a long run writes %s, %.3f of the time", large.Samples, large.Share)
	}
	if asked := writing("train.steps=40", "eval.prompts=7"); asked.Samples.Prompts != 7 {
		t.Errorf("asked for 7 prompts: %s", asked.Samples)
	}
}

// A run that the judge stops is stopped at the same step when it is interrupted on the way, and stays stopped until
// somebody asks for more.
func TestStopDecidesTheSameAfterAKill(t *testing.T) {
	cfg := tiny(t, "train.steps=40", "eval.every=4", "judge.early_stop=off", "judge.patience=2",
		"optim.kind=adamw", "optim.lr=1.0",
		"guard.mode=observe", "schedule.warmup=0", "schedule.kind=constant",
		"eval.prompts=4", "eval.samples=2", "checkpoint.keep=30")
	whole := finished(t, cfg, Options{})
	if whole.Reason != reasonEarly {
		t.Fatalf("a rate far too high was not stopped by patience: %s", whole.Reason)
	}
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 5, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	r, err := Resume(context.Background(), dir, ResumeOptions{})
	if err != nil || r.Reason != reasonEarly || r.Step != whole.Step {
		t.Fatalf("%+v, %v; unbroken it stopped at %d", r, err, whole.Step)
	}
	sameRun(t, whole.Dir, dir, whole.Step)
	var stop *runlog.Event
	for _, e := range runlog.All[runlog.Event](readLog(t, dir)) {
		if e.Code == judge.CodePatience {
			stop = &e
		}
	}
	if stop == nil || stop.Step != whole.Step {
		t.Errorf("event %+v", stop)
	}
	if got := fmt.Sprintf("%.6f", r.ValLoss); !(r.ValLoss > 0) {
		t.Errorf("the restored checkpoint was not scored: %s", got)
	}
	again, err := Resume(context.Background(), dir, ResumeOptions{})
	if err != nil || again.Reason != "already done" || again.Step != whole.Step {
		t.Errorf("a run that was stopped goes on by itself: %+v, %v", again, err)
	}
	if r, err = Resume(context.Background(), dir, ResumeOptions{Steps: whole.Step + 1}); err != nil ||
		r.Step != whole.Step+1 {
		t.Errorf("asked to go on: %+v, %v", r, err)
	}
}

// Tasks are asked at each evaluation, of the first questions of their files; their numbers are in the log and change
// nothing else.
func TestTasksInTheLoop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pets.jsonl")
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, `{"goal": "ann sees %d", "sol1": "dogs", "sol2": "cats", "label": %d}`+"\n", i, i%2)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	settings := []string{"train.steps=20", "eval.every=10", "eval.prompts=2", "eval.samples=1", "eval.max_tokens=6"}
	var notes []string
	asked := finished(t, tiny(t, append(settings, "eval.tasks="+path, "eval.task_limit=12", "eval.task_shots=1")...),
		Options{Hooks: Hooks{Note: func(text string) { notes = append(notes, text) }}})
	plain := finished(t, tiny(t, settings...), Options{})
	evals, without := runlog.All[runlog.Eval](readLog(t, asked.Dir)), runlog.All[runlog.Eval](readLog(t, plain.Dir))
	if len(evals) != 2 || len(without) != 2 {
		t.Fatalf("%d and %d evaluations", len(evals), len(without))
	}
	for i, e := range evals {
		acc, lo := e.Metrics["task_pets_acc"], e.Metrics["task_pets_acc_lo"]
		if _, ok := e.Metrics["task_pets_acc_bytes_hi"]; !ok || !(acc >= 0 && acc <= 1) || !(lo <= acc) {
			t.Errorf("step %d: %v", e.Step, e.Metrics)
		}
		if e.ValLoss != without[i].ValLoss {
			t.Errorf("step %d: loss %v, %v without tasks", e.Step, e.ValLoss, without[i].ValLoss)
		}
	}
	if !slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, "pets, 12 questions: acc ") }) {
		t.Errorf("%q", notes)
	}
	c, err := runs.Compare([]string{asked.Dir, plain.Dir})
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(c.Rows, func(r runs.ComparedRow) bool { return r.Metric == "task_pets_acc" })
	if at < 0 || c.Rows[at].Values[0].Missing || !c.Rows[at].Values[1].Missing {
		t.Errorf("%+v", c.Rows)
	}
	if _, err := Run(t.Context(), tiny(t, append(settings, "eval.tasks="+path+".gone")...),
		Options{Out: filepath.Join(t.TempDir(), "run")}); err == nil || !strings.Contains(err.Error(), "eval.tasks") {
		t.Errorf("a task that is not there: %v", err)
	}
}
