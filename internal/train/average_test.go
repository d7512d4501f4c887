package train

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/runlog"
)

// The mean is that of known numbers, and of equal weights it is that weight, bit for bit, for any float32.
func TestMean(t *testing.T) {
	got := make([]float32, 3)
	mean(got, []float64{1 + 2 + 6, -1.5, 0}, 3)
	if !slices.Equal(got, []float32{3, -0.5, 0}) {
		t.Errorf("mean %v", got)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		w := math.Float32frombits(r.Uint32())
		if w != w || math.IsInf(float64(w), 0) {
			continue
		}
		for n := averageLeast; n <= averageMost; n++ {
			sum := 0.0
			for range n {
				sum += float64(w)
			}
			if mean(got[:1], []float64{sum}, n); got[0] != w {
				t.Fatalf("the mean of %d times %v is %v", n, w, got[0])
			}
		}
	}
}

// averaging is a configuration whose run has eligible checkpoints, which the number to keep alone would not keep.
func averaging(t *testing.T, settings ...string) *config.Config {
	return tiny(t, append([]string{"train.steps=150", "eval.every=5", "eval.prompts=8", "eval.samples=4", "eval.max_tokens=16", "optim.lr=0.01",
		"checkpoint.keep=1", "judge.early_stop=off", "judge.average=true"}, settings...)...)
}

// averageEvent returns what a run said of its average.
func averageEvent(t *testing.T, dir string) runlog.Event {
	t.Helper()
	var found []runlog.Event
	for _, e := range runlog.All[runlog.Event](readLog(t, dir).Effective()) {
		if e.Code == codeAverage {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d records of an average", len(found))
	}
	return found[0]
}

func averagedWeights(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, averagedName, checkpoint.ModelFile))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The average is written, is that of the checkpoints it names, can be used by its name, and leaves the run what it is without.
func TestAverage(t *testing.T) {
	cfg := averaging(t)
	on := run(t, cfg, Options{Workers: 1})
	off := run(t, averaging(t, "judge.average=false"), Options{Workers: 2})
	if weights(t, on.Dir, 150) != weights(t, off.Dir, 150) || on.ValLoss != off.ValLoss {
		t.Error("the average changed the training")
	}
	if _, err := os.Stat(filepath.Join(off.Dir, averagedName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an average that nobody asked for: %v", err)
	}
	e := averageEvent(t, on.Dir)
	c, err := OpenCheckpoint(on.Dir, averagedName)
	if err != nil {
		t.Fatalf("%v; %s", err, e.Message)
	}
	defer c.Close()
	s, err := readState(c)
	if err != nil || len(s.Average) != averageMost || e.Numbers["steps"] != averageMost {
		t.Fatalf("of steps %v, %v: %s", s.Average, err, e.Message)
	}
	var sources []*checkpoint.Checkpoint
	for _, step := range s.Average {
		src, err := OpenCheckpoint(on.Dir, checkpoint.StepName(step))
		if err != nil {
			t.Fatalf("pruned: %v", err)
		}
		defer src.Close()
		sources = append(sources, src)
	}
	differ := false
	for _, info := range c.Model().Tensors() {
		got, of := make([]float32, info.Len()), make([][]float32, len(sources))
		if err := c.Model().ReadF32(got, info.Name); err != nil {
			t.Fatal(err)
		}
		for k, src := range sources {
			of[k] = make([]float32, len(got))
			if err := src.Model().ReadF32(of[k], info.Name); err != nil {
				t.Fatal(err)
			}
		}
		for i := range got {
			if want := float32((float64(of[0][i]) + float64(of[1][i]) + float64(of[2][i])) / 3); got[i] != want {
				t.Fatalf("%s[%d] is %v, not %v", info.Name, i, got[i], want)
			}
			differ = differ || of[0][i] != of[2][i]
		}
	}
	if !differ || c.Optimizer() != nil {
		t.Errorf("sources differ: %v, optimizer %v", differ, c.Optimizer())
	}
	h, err := checkpoint.ReadHealth(c)
	if err != nil || !h.Healthy() || !strings.Contains(h.Verdict, "average of steps ") || h.Metrics["consistency"] != float64(e.Numbers["consistency"]) {
		t.Errorf("certificate %+v, %v", h, err)
	}
	measured, err := Evaluate(context.Background(), on.Dir, EvalOptions{Checkpoint: averagedName})
	if err != nil || math.Abs(measured.Loss-float64(e.Numbers["val_loss"])) > 1e-3 || measured.Writing.Metrics["rep3"].Value != float64(e.Numbers["rep3"]) {
		t.Errorf("measured %+v, %v; at the end of the run it was %s", measured, err, e.Message)
	}
	report := readReport(t, on.Dir)
	for _, want := range []string{"- averaged: of steps ", "\n| averaged | ", "not chosen"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
}

// A run with an average is extended like one without.
func TestAverageThenMore(t *testing.T) {
	var dirs []string
	for _, average := range []string{"judge.average=true", "judge.average=false"} {
		r := run(t, averaging(t, average), Options{})
		if _, err := Resume(context.Background(), r.Dir, ResumeOptions{Steps: 160}); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, r.Dir)
	}
	if weights(t, dirs[0], 160) != weights(t, dirs[1], 160) {
		t.Error("the average changed the training to come")
	}
	c, err := OpenCheckpoint(dirs[0], averagedName)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Step() != 160 {
		t.Errorf("the average is that of step %d", c.Step())
	}
}

// Afterwards the weights in memory are the bits that they were, and so is what they score.
func TestAverageLeavesTheWeights(t *testing.T) {
	cfg := averaging(t)
	done := run(t, cfg, Options{})
	tr := newTrainer(t, cfg)
	c, err := OpenCheckpoint(done.Dir, "last")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := tr.restore(c); err != nil {
		t.Fatal(err)
	}
	tr.dir = done.Dir
	if tr.log, err = runlog.OpenWriter(tr.fs, filepath.Join(done.Dir, logName)); err != nil {
		t.Fatal(err)
	}
	before, loss := slices.Clone(tr.model.Params().Flat), tr.scored(150, false).ValLoss
	if err := tr.average(); err != nil {
		t.Fatal(err)
	}
	if !tr.averaged.made || float64(loss) == tr.averaged.Loss {
		t.Errorf("averaged %+v, own loss %v", tr.averaged, loss)
	}
	if !slices.Equal(before, tr.model.Params().Flat) || tr.scored(150, false).ValLoss != loss {
		t.Error("the weights are others")
	}
}

// A run that is killed, on the way or between its last save and the average, has the same average in the end.
func TestAverageAfterAKill(t *testing.T) {
	cfg := averaging(t)
	whole := run(t, cfg, Options{Workers: 2})
	want := averagedWeights(t, whole.Dir)
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 142, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h, Workers: 1})
		return err
	})
	if _, err := Resume(context.Background(), dir, ResumeOptions{Workers: 1}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole.Dir, dir, 150)
	if !bytes.Equal(averagedWeights(t, dir), want) {
		t.Error("the average of the resumed run is another")
	}

	forgetAverage(t, dir)
	r, err := Resume(context.Background(), dir, ResumeOptions{Workers: 1})
	if err != nil || r.Reason != "done" || r.ValLoss != whole.ValLoss {
		t.Fatalf("%+v, %v", r, err)
	}
	sameRun(t, whole.Dir, dir, 150)
	if !bytes.Equal(averagedWeights(t, dir), want) {
		t.Error("the average made later is another")
	}
	if r, err = Resume(context.Background(), dir, ResumeOptions{}); err != nil || r.Reason != "already done" {
		t.Errorf("%+v, %v", r, err)
	}
}

// forgetAverage takes a run back to the moment after its last save.
func forgetAverage(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, averagedName)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, logName)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := bytes.Cut(data, []byte(`"code":"`+codeAverage))
	if !found {
		t.Fatal("no record of the average")
	}
	if err := os.WriteFile(name, before[:bytes.LastIndexByte(before, '\n')+1], 0o666); err != nil {
		t.Fatal(err)
	}
}

// Of fewer than two there is no average: it is said, and what an earlier end of the run left is gone. A run that was
// stopped is still stopped when the record of it has to be made again.
func TestNoAverage(t *testing.T) {
	cfg := tiny(t, "train.steps=40", "eval.every=4", "judge.early_stop=off", "judge.patience=2", "optim.lr=1.0", "guard.mode=observe", "schedule.warmup=0", "schedule.kind=constant",
		"eval.prompts=4", "eval.samples=2", "judge.average=true")
	r := run(t, cfg, Options{})
	if e := averageEvent(t, r.Dir); !strings.Contains(e.Message, "none: 0 of the evaluations are eligible") || r.Reason != reasonEarly {
		t.Errorf("%s: %s", r.Reason, e.Message)
	}
	if report := readReport(t, r.Dir); !strings.Contains(report, "- averaged: none") {
		t.Error(report)
	}
	if _, err := OpenCheckpoint(r.Dir, averagedName); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("opened: %v", err)
	}
	forgetAverage(t, r.Dir)
	if err := os.Mkdir(filepath.Join(r.Dir, averagedName), 0o777); err != nil {
		t.Fatal(err)
	}
	again, err := Resume(context.Background(), r.Dir, ResumeOptions{})
	if err != nil || again.Reason != reasonEarly || again.Step != r.Step || again.ValLoss != r.ValLoss {
		t.Errorf("%+v, %v; before %+v", again, err, r)
	}
	averageEvent(t, r.Dir)
	if exists(filepath.Join(r.Dir, averagedName)) {
		t.Error("an old average is still there")
	}
}
