package train

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

func TestRunLearnsAndLeavesACompleteDirectory(t *testing.T) {
	cfg := tiny(t, "train.steps=150", "optim.lr=0.01")
	r := finished(t, cfg, Options{})
	if !(r.ValLoss < float64(r.Baseline.Unigram)-0.8) {
		t.Errorf("validation loss %.3f; the unigram has %.3f", r.ValLoss, float64(r.Baseline.Unigram))
	}
	if r.Reason != "done" || r.Step != 150 || len(r.Samples) != shownTexts {
		t.Errorf("result %+v", r)
	}
	for _, name := range []string{rundir.ConfigFile, rundir.TokenizerFile, rundir.LogFile, rundir.ReportFile,
		"samples/eval-10.md", "checkpoints/step-150/config.json", "checkpoints/step-150/manifest.json"} {
		if _, err := os.Stat(filepath.Join(r.Dir, name)); err != nil {
			t.Error(err)
		}
	}
	l := readLog(t, r.Dir)
	if got := len(runlog.All[runlog.Step](l)); got != 150 {
		t.Errorf("%d step records", got)
	}
	evals := runlog.All[runlog.Eval](l)
	if len(evals) < plan.DefaultEvals {
		t.Errorf("%d evaluations", len(evals))
	}
	if last := evals[len(evals)-1]; float64(last.ValLoss) != r.ValLoss || last.BaselineLoss != r.Baseline.Loss {
		t.Errorf("last record %+v", last)
	}
	left, err := checkpoint.List(durable.OS, filepath.Join(r.Dir, rundir.Checkpoints))
	if err != nil || len(left) < 3 || len(left) > 4 {
		t.Errorf("%d checkpoints left, %v", len(left), err)
	}
	report, err := os.ReadFile(filepath.Join(r.Dir, rundir.ReportFile))
	if err != nil || !strings.Contains(string(report), "checked 150 steps before the update") ||
		!strings.Contains(string(report), "Not finite: 0; outliers: 0; sustained: 0; rewinds: 0;") {
		t.Errorf("report: %v\n%s", err, report)
	}
}

func TestWorkersGiveTheSameBits(t *testing.T) {
	cfg := tiny(t)
	one := finished(t, cfg, Options{Workers: 1})
	for _, workers := range []int{2, 3} {
		sameRun(t, one.Dir, finished(t, cfg, Options{Workers: workers}).Dir, 12)
	}
}

// A step's loss and update do not depend on the split into micro-batches. The mean of the micro-batches' means does,
// where their lengths differ, and must not pass the same check.
func TestOneDenominatorForTheWholeStep(t *testing.T) {
	r := newRun(t, tiny(t, "train.micro_tokens=256"), Options{})
	ctx := context.Background()
	r.feed.Take(1, data.Cursor{})
	b := &r.feed.Batch
	look := func(add func() error) engine.Report {
		r.engine.Discard()
		if err := add(); err != nil {
			t.Fatal(err)
		}
		rep, err := r.engine.Propose(ctx, engine.Proposal{Step: 1, LR: 1e-3, Clip: 1e9, Scale: engine.Scale(b),
			Detail: engine.TensorStats})
		if err != nil {
			t.Fatal(err)
		}
		rep.Tensors = slices.Clone(rep.Tensors)
		return rep
	}
	one := func(micro int) engine.Report {
		acc := &engine.Accumulator{MicroTokens: micro}
		return look(func() error { return acc.Gradient(ctx, r.engine, b, 1) })
	}
	whole := one(256)
	far := func(other engine.Report) (worst float64) {
		worst = math.Abs(whole.Loss - other.Loss)
		for i, s := range other.Tensors {
			g := whole.Tensors[i].Grad
			worst = max(worst, math.Abs(g.RMS-s.Grad.RMS)/g.RMS, math.Abs(g.MeanAbs-s.Grad.MeanAbs)/g.MeanAbs)
		}
		return worst
	}
	for _, micro := range []int{32, 40, 128} {
		if d := far(one(micro)); !(d < 1e-4) {
			t.Errorf("micro-batches of %d: loss or gradients differ by %.2g", micro, d)
		}
	}
	mean := look(func() error {
		micros := data.SplitMicro(nil, b, 40)
		for _, m := range micros {
			in := engine.MicroInput(m)
			in.Scale = 1 / float64(len(m.Tokens)*len(micros))
			if _, err := r.engine.Pass(ctx, in, engine.Gradient); err != nil {
				return err
			}
		}
		return nil
	})
	if d := far(mean); d < 1e-3 {
		t.Errorf("the planted mean of means passes: %.2g", d)
	}
}

// A document that makes the model's own arithmetic non-finite is named, and only it.
func TestBlameNamesTheDocument(t *testing.T) {
	r := newRun(t, tiny(t, "model.tie=false"), Options{}) // a tied head would carry the NaN to every logit
	r.feed.Take(1, data.Cursor{})
	b := &r.feed.Batch
	bad := b.Spans[1]
	poison := b.Tokens[bad.Start+bad.Len-1]
	for i, s := range b.Spans { // the poisoned token must stand in one sequence only
		for p := s.Start; p < s.Start+s.Len; p++ {
			if i != 1 && b.Tokens[p] == poison {
				b.Tokens[p] = poison ^ 1
			}
		}
	}
	s, err := r.engine.Get()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Params { // which are the engine's own; Set takes no such weight
		if e.Name == "model.embed_tokens.weight" {
			e.Data[int(poison)*r.plan.Spec.Arch.Width] = float32(math.NaN())
		}
	}
	if got, err := r.inspected().Blame(context.Background(), b.Spans); err != nil || len(got) != 1 || got[0] != bad {
		t.Errorf("blamed %v, not %v; %v", got, bad, err)
	}
}

// A check plans the run and leaves nothing behind.
func TestCheckLeavesNothing(t *testing.T) {
	cfg := tiny(t)
	asked := string(cfg.TOML())
	t.Setenv("TMPDIR", t.TempDir())
	wd := t.TempDir()
	t.Chdir(wd)
	d, err := Check(context.Background(), cfg, Options{})
	if err != nil || len(d.Checks) < 16 || d.Plan.Config.Train.Steps != 12 {
		t.Fatalf("%+v, %v", d, err)
	}
	for _, dir := range []string{wd, os.TempDir()} {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != 0 {
			t.Errorf("left behind in %s: %v %v", dir, left, err)
		}
	}
	if string(cfg.TOML()) != asked {
		t.Error("the configuration that was asked for was written to")
	}
}

func TestRunRefuses(t *testing.T) {
	cfg := tiny(t)
	existing := finished(t, cfg, Options{}).Dir
	for _, tt := range []struct {
		name     string
		settings []string
		out      string
		want     error
		text     string
	}{
		{"a directory with a run", nil, existing, rundir.ErrExists, "gimbal resume"},
		{"a corpus smaller than a batch", []string{"train.batch_tokens=1_000_000"}, "", data.ErrUnusable,
			"lower train.batch_tokens"},
		{"a vocabulary that the corpus does not support", []string{"tokenizer.kind=bpe", "tokenizer.vocab_size=30000"}, "",
			data.ErrUnusable, "the corpus supports"},
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
	r := newRun(t, tiny(t), Options{})
	step := func() {
		if _, d, err := r.step(context.Background()); err != nil || d.Action != guard.Apply {
			t.Fatal(d, err)
		}
	}
	for range 50 { // until every buffer has met a large batch, and the model is looked at every 100 steps only
		step()
	}
	if n := testing.AllocsPerRun(10, step); n != 0 {
		t.Errorf("%v allocations in a step on %s", n, r.plan.Hardware.Name)
	}
}

// A run that starts from another has its weights, shape and tokenizer, and needs it no more once it has begun.
func TestRunFrom(t *testing.T) {
	cfg := tiny(t, "train.steps=100", "optim.lr=0.006")
	first := finished(t, cfg, Options{})
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
	if _, err := Run(context.Background(), bare, Options{Out: filepath.Join(t.TempDir(), "run"),
		From: first.Dir}); !errors.As(err, &faults) || !strings.Contains(err.Error(), "model.width") {
		t.Errorf("another width: %v", err)
	}
}
