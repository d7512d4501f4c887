package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

func TestRunLearnsAndLeavesACompleteDirectory(t *testing.T) {
	cfg := tiny(t, "train.steps=150", "optim.lr=0.01")
	r := run(t, cfg, Options{})
	if !(r.ValLoss < float64(r.Baseline.Unigram)-0.8) {
		t.Errorf("validation loss %.3f; the unigram has %.3f", r.ValLoss, float64(r.Baseline.Unigram))
	}
	if r.Reason != "done" || r.Step != 150 || len(r.Samples) != shownTexts {
		t.Errorf("result %+v", r)
	}
	for _, name := range []string{configName, tokenizerName, logName, reportName, "samples/eval-10.md", "checkpoints/step-150/config.json", "checkpoints/step-150/manifest.json"} {
		if _, err := os.Stat(filepath.Join(r.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	l := readLog(t, r.Dir)
	if got := len(runlog.All[runlog.Step](l)); got != 150 {
		t.Errorf("%d step records", got)
	}
	evals := runlog.All[runlog.Eval](l)
	if len(evals) < defaultEvals {
		t.Errorf("%d evaluations", len(evals))
	}
	if last := evals[len(evals)-1]; float64(last.ValLoss) != r.ValLoss || last.BaselineLoss != r.Baseline.Loss {
		t.Errorf("last record %+v", last)
	}
	left, err := checkpoint.List(durable.OS, filepath.Join(r.Dir, checkpointsName))
	if err != nil || len(left) < 3 || len(left) > 4 {
		t.Errorf("%d checkpoints left, %v", len(left), err)
	}
	report, err := os.ReadFile(filepath.Join(r.Dir, reportName))
	if err != nil || !strings.Contains(string(report), "150 steps checked before their update") || !strings.Contains(string(report), "Seen: 0 not finite, 0 outliers, 0 times sustained.") {
		t.Errorf("report: %v\n%s", err, report)
	}
}

func TestWorkersGiveTheSameBits(t *testing.T) {
	cfg := tiny(t)
	one := run(t, cfg, Options{Workers: 1})
	for _, workers := range []int{2, 3} {
		sameRun(t, one.Dir, run(t, cfg, Options{Workers: workers}).Dir, 12)
	}
}

// A step's loss and gradients do not depend on the split into micro-batches. The mean of the micro-batches' means
// does, where their lengths differ, and must not pass the same check.
func TestOneDenominatorForTheWholeStep(t *testing.T) {
	cfg := tiny(t, "train.micro_tokens=256")
	gradients := func(accumulate func(*trainer, *data.Batch) float64, micro int) (float64, []float32) {
		c := cfg.Clone()
		if err := c.SetPlanned("train.micro_tokens", micro, "test"); err != nil {
			t.Fatal(err)
		}
		tr := newTrainer(t, c)
		tr.loader.Next(&tr.batch, data.Cursor{})
		loss := accumulate(tr, &tr.batch)
		return loss, tr.model.Grads()
	}
	far := func(micro int, accumulate func(*trainer, *data.Batch) float64) float64 {
		loss, g := gradients((*trainer).accumulate, 256)
		loss2, g2 := gradients(accumulate, micro)
		diff, all := math.Abs(loss-loss2), 0.0
		for i := range g {
			diff = math.Max(diff, math.Abs(float64(g[i]-g2[i])))
			all = math.Max(all, math.Abs(float64(g[i])))
		}
		return diff / all
	}
	meanOfMeans := func(tr *trainer, b *data.Batch) (loss float64) {
		micros := data.SplitMicro(nil, b, tr.cfg.Train.MicroTokens)
		for _, m := range micros {
			loss += tr.model.Backward(input(m), 1/float64(len(m.Tokens)*len(micros))) / float64(len(m.Tokens)*len(micros))
		}
		return loss
	}
	for _, micro := range []int{32, 40, 128} {
		if d := far(micro, (*trainer).accumulate); !(d < 1e-5) {
			t.Errorf("micro-batches of %d: loss or gradients differ by %.2g", micro, d)
		}
	}
	if d := far(40, meanOfMeans); d < 1e-4 {
		t.Errorf("the planted mean of means passes: %.2g", d)
	}
}

// newTrainer assembles a trainer without a directory.
func newTrainer(t *testing.T, cfg *config.Config) *trainer {
	t.Helper()
	c := cfg.Clone()
	docs, err := discover(c)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := makeTokenizer(context.Background(), c, docs, 1, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	text, err := prepare(context.Background(), c, docs, tok, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { text.set.Close() })
	tr, err := assemble(c, text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.close)
	tr.model.Init(c.Train.Seed)
	if err := tr.finishPlan(context.Background()); err != nil {
		t.Fatal(err)
	}
	if tr.log, err = runlog.OpenWriter(durable.OS, filepath.Join(t.TempDir(), logName)); err != nil {
		t.Fatal(err)
	}
	return tr
}

// A document that makes the model's own arithmetic non-finite is named, and only it.
func TestBlameNamesTheDocument(t *testing.T) {
	tr := newTrainer(t, tiny(t, "model.tie=false")) // a tied head would carry the NaN to every logit
	tr.loader.Next(&tr.batch, data.Cursor{})
	bad := tr.batch.Spans[1]
	poison := tr.batch.Tokens[bad.Start+bad.Len-1]
	for i, s := range tr.batch.Spans { // the poisoned token must stand in one sequence only
		for p := s.Start; p < s.Start+s.Len; p++ {
			if i != 1 && tr.batch.Tokens[p] == poison {
				tr.batch.Tokens[p] = poison ^ 1
			}
		}
	}
	width := tr.arch.Width
	tr.model.Params().Tensor("model.embed_tokens.weight")[int(poison)*width] = float32(math.NaN())
	tr.model.Refresh()
	if got := tr.blame(tr.batch.Spans); len(got) != 1 || got[0] != bad {
		t.Errorf("blamed %v, not %v", got, bad)
	}
}

func TestDryRunLeavesNothing(t *testing.T) {
	cfg := tiny(t)
	t.Setenv("TMPDIR", t.TempDir())
	wd := t.TempDir()
	t.Chdir(wd)
	steps := 0
	r, err := Run(context.Background(), cfg, Options{DryRun: true, Hooks: Hooks{Step: func(runlog.Step, float64) { steps++ }}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Reason != "dry run" || r.Step != 1 || steps != 1 || !(r.ValLoss > 0) {
		t.Errorf("result %+v after %d steps", r, steps)
	}
	for _, dir := range []string{wd, os.TempDir()} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	cfg := tiny(t)
	existing := run(t, cfg, Options{}).Dir
	for _, tt := range []struct {
		name     string
		settings []string
		out      string
		want     error
		text     string
	}{
		{"a directory with a run", nil, existing, ErrExists, "gimbal resume"},
		{"a corpus smaller than a batch", []string{"train.batch_tokens=1_000_000"}, "", ErrData, "lower train.batch_tokens"},
		{"a vocabulary that the corpus does not support", []string{"tokenizer.kind=bpe", "tokenizer.vocab_size=30000"}, "", ErrData, "the corpus supports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := tt.out
			if out == "" {
				out = filepath.Join(t.TempDir(), "run")
			}
			_, err := Run(context.Background(), tiny(t, tt.settings...), Options{Out: out})
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %v", err)
			}
			if tt.out == "" {
				if _, err := os.Stat(out); err == nil {
					t.Error("a run directory was made")
				}
			}
		})
	}
}

// Nothing of the size of a buffer is allocated by a step once the run is warm.
func TestStepAllocatesNothing(t *testing.T) {
	tr := newTrainer(t, tiny(t))
	step := func() {
		if _, d, err := tr.step(); err != nil || d.Action != guard.Apply {
			t.Fatal(d, err)
		}
	}
	for range earlySteps { // until every buffer has met a large batch, and the model is looked at every 100 steps only
		step()
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations in a step on %s", n, tr.exec.Tier())
	}
}

// A run that starts from another has its weights, shape and tokenizer, and needs it no more once it has begun.
func TestRunFrom(t *testing.T) {
	cfg := tiny(t, "train.steps=100", "optim.lr=0.006")
	first := run(t, cfg, Options{})
	bare := cfg.Clone()
	for _, key := range []string{"model.layers", "model.width", "model.heads", "model.mlp"} {
		if err := bare.SetPlanned(key, "auto", "default"); err != nil {
			t.Fatal(err)
		}
	}
	if err := bare.SetPlanned("train.steps", 6, "test"); err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(t.TempDir(), "base")
	if err := os.CopyFS(base, os.DirFS(first.Dir)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 3, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, bare, Options{Out: dir, From: base, Hooks: h})
		return err
	})
	if err := os.RemoveAll(base); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	steps := runlog.All[runlog.Step](readLog(t, dir))
	if got := float64(steps[0].Loss); !(got < first.ValLoss+0.3) {
		t.Errorf("the first loss is %.3f; the base ended at %.3f", got, first.ValLoss)
	}

	if err := bare.SetPlanned("model.width", 32, "--set"); err != nil {
		t.Fatal(err)
	}
	var faults *config.Error
	if _, err := Run(context.Background(), bare, Options{Out: filepath.Join(t.TempDir(), "run"), From: first.Dir}); !errors.As(err, &faults) || !strings.Contains(err.Error(), "model.width") {
		t.Errorf("another width: %v", err)
	}
}
