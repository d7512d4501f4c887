package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/exit"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

// rates are the rates of the steps that count, by step.
func rates(t *testing.T, dir string) map[int64]float64 {
	t.Helper()
	all := map[int64]float64{}
	for _, s := range runlog.All[runlog.Step](readLog(t, dir).Effective()) {
		all[s.Step] = float64(s.Planned())
	}
	return all
}

// A run that gets another number of steps goes on at the rate it has, whatever the schedule. Killed and resumed,
// resumed again, or thrown back to before the change, it has the same rates, bit for bit.
func TestExtendedRates(t *testing.T) {
	if testing.Short() {
		t.Skip("many runs one after the other: slow under the race detector")
	}
	for _, kind := range []string{"cosine-restarts", "cosine", "linear", "wsd", "constant"} {
		t.Run(kind, func(t *testing.T) {
			cfg := tiny(t, "train.steps=40", "schedule.kind="+kind, "schedule.warmup=8", "eval.every=20",
				"checkpoint.every=10", "checkpoint.keep=9", "optim.lr=0.001", "judge.early_stop=off")
			resume := func(dir string, steps int64) {
				t.Helper()
				if _, err := Resume(context.Background(), dir, ResumeOptions{Steps: steps}); err != nil {
					t.Fatal(err)
				}
			}
			whole := finished(t, cfg, Options{}).Dir
			resume(whole, 80)
			all := rates(t, whole)
			if len(all) != 80 || all[41] > 2*all[40] || kind != "constant" && all[80] > 1.001e-4 {
				t.Fatalf("from %g to %g, ends at %g", all[40], all[41], all[80])
			}
			killed := finished(t, cfg, Options{}).Dir
			interruptAfter(t, killed, 57, func(ctx context.Context, h Hooks) error {
				_, err := Resume(ctx, killed, ResumeOptions{Steps: 80, Hooks: h})
				return err
			})
			for _, step := range []int64{57, 50, 40} { // what a kill and a bad disk leave: the newest is from before
				if err := os.RemoveAll(filepath.Join(killed, rundir.Checkpoints, checkpoint.StepName(step))); err != nil {
					t.Fatal(err)
				}
			}
			resume(killed, 0)
			for step, lr := range rates(t, killed) {
				if lr != all[step] {
					t.Errorf("step %d: %g, and %g without a kill", step, lr, all[step])
				}
			}
			if weights(t, whole, 80) != weights(t, killed, 80) {
				t.Error("weights or moments differ")
			}
			// Twice, and the second time in the middle.
			resume(whole, 100)
			interrupted := rates(t, whole)
			if interrupted[81] > 2*interrupted[80] || len(interrupted) != 100 {
				t.Errorf("from %g to %g", interrupted[80], interrupted[81])
			}
			again, err := rundir.Config(whole)
			if err != nil || len(again.Schedule.Extended) != 4 {
				t.Errorf("%v, %v", again.Schedule.Extended, err)
			}
		})
	}
}

// A run that gets fewer steps ends at its floor, without a jump; the config.toml of it repeats its rates.
func TestShortenedRates(t *testing.T) {
	cfg := tiny(t, "train.steps=60", "schedule.kind=cosine", "schedule.warmup=8", "eval.every=20", "optim.lr=0.001")
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 20, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	if _, err := Resume(context.Background(), dir, ResumeOptions{Steps: 30}); err != nil {
		t.Fatal(err)
	}
	all := rates(t, dir)
	if all[21] > all[20] || all[21] < 0.9*all[20] || all[30] != 1e-4 {
		t.Errorf("from %g to %g, ends at %g", all[20], all[21], all[30])
	}
	repeated, err := config.Load(filepath.Join(dir, rundir.ConfigFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	for step, lr := range rates(t, finished(t, repeated, Options{}).Dir) {
		if lr != all[step] {
			t.Errorf("repeated: step %d: %g, not %g", step, lr, all[step])
		}
	}
	// With other weights it begins at the beginning.
	other := rates(t, finished(t, repeated, Options{From: dir}).Dir)
	if other[20] == all[20] || len(other) != 30 {
		t.Errorf("from other weights: %g at step 20", other[20])
	}
}

// A text that has moved is found where it is named, or beside the run; another text is refused, and what differs is
// said.
func TestResumeOfMovedText(t *testing.T) {
	home := t.TempDir()
	old, moved := filepath.Join(home, "old"), filepath.Join(home, "new")
	if err := os.Mkdir(old, 0o777); err != nil {
		t.Fatal(err)
	}
	cfg := tiny(t)
	if err := os.Rename(cfg.Data.Paths[0], filepath.Join(old, "texts")); err != nil {
		t.Fatal(err)
	}
	if err := cfg.SetPlanned("data.paths", []string{filepath.Join(old, "texts")}, "test"); err != nil {
		t.Fatal(err)
	}
	whole := finished(t, cfg, Options{}).Dir
	dir := filepath.Join(old, "runs", "r")
	stop := func(step int64, start func(ctx context.Context, h Hooks) error) { interruptAfter(t, dir, step, start) }
	stop(4, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	resume := func(opt ResumeOptions) error { _, err := Resume(context.Background(), dir, opt); return err }
	if err := os.Rename(old, moved); err != nil { // everything
		t.Fatal(err)
	}
	dir = filepath.Join(moved, "runs", "r")
	stop(6, func(ctx context.Context, h Hooks) error {
		_, err := Resume(ctx, dir, ResumeOptions{Hooks: h})
		return err
	})
	named := filepath.Join(home, "elsewhere")
	if err := os.Rename(filepath.Join(moved, "texts"), named); err != nil { // the text alone
		t.Fatal(err)
	}
	if err := resume(ResumeOptions{}); !errors.Is(err, plan.ErrChanged) || !strings.Contains(err.Error(), "--data") {
		t.Errorf("a text that is gone: %v", err)
	}
	other := grammar(t, 30)
	err := resume(ResumeOptions{Data: []string{other}})
	if !errors.Is(err, plan.ErrChanged) || !errors.Is(err, data.ErrUnusable) ||
		!strings.Contains(err.Error(), "tokens to train on and ") {
		t.Errorf("another text: %v", err)
	}
	if now, err := rundir.Config(dir); err != nil || now.Data.Paths[0] == other {
		t.Errorf("a refused resume changed the configuration: %v, %v", now.Data.Paths, err)
	}
	if err := resume(ResumeOptions{Data: []string{named}}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, dir, 12)
	if now, err := rundir.Config(dir); err != nil || now.Data.Paths[0] != named {
		t.Errorf("the configuration names %v, %v", now.Data.Paths, err)
	}
	var reasons []string
	for _, r := range runlog.All[runlog.Resume](readLog(t, dir)) {
		reasons = append(reasons, r.Reason)
	}
	if got := strings.Join(reasons, "; "); got != "its text has moved with it; its text was named again" {
		t.Errorf("resumed because %q", got)
	}
}

// countdown is a context that is done after it was asked a number of times.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	left   int
}

func (c *countdown) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// An interrupt at any moment before the first step leaves nothing, and says so; after it there is a run to resume.
func TestInterruptWhilePreparing(t *testing.T) {
	cfg := tiny(t, "tokenizer.kind=bpe", "train.steps=auto")
	before, after := 0, 0
	for asked := 0; after == 0; asked += 1 + asked/4 {
		out := filepath.Join(t.TempDir(), "run")
		cache := t.TempDir()
		t.Setenv("XDG_CACHE_HOME", cache)
		inner, cancel := context.WithCancel(context.Background())
		_, err := Run(&countdown{Context: inner, cancel: cancel, left: asked}, cfg, Options{Out: out})
		cancel()
		if exit.Of(err) != exit.Interrupted || !errors.Is(err, context.Canceled) && !errors.Is(err, ErrInterrupted) {
			t.Fatalf("after %d questions: %v", asked, err)
		}
		if errors.Is(err, ErrInterrupted) {
			after++
			if s, err := runstate.Open(out); err != nil {
				t.Errorf("after %d questions: %v", asked, err)
			} else {
				s.Model.Close()
			}
			continue
		}
		before++
		if got := err.Error(); got != "interrupted, nothing was begun" {
			t.Errorf("after %d questions: %s", asked, got)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("after %d questions: a directory was made", asked)
		}
		litter, _ := filepath.Glob(filepath.Join(cache, "gimbal", ".*"))
		if len(litter) > 0 {
			t.Errorf("after %d questions: %v", asked, litter)
		}
	}
	if before < 10 {
		t.Errorf("%d interrupts before the first step", before)
	}
	dir := finished(t, tiny(t), Options{}).Dir
	ctx, cancel := context.WithDeadline(context.Background(), time.Now())
	defer cancel()
	if _, err := Resume(ctx, dir, ResumeOptions{Steps: 20}); err == nil ||
		err.Error() != "interrupted, the run is as it was" {
		t.Errorf("a resume: %v", err)
	}
}

// The events of all attempts are in the result and in the report, each once.
func TestEventsOfAllAttempts(t *testing.T) {
	settings := []string{"train.steps=140", "eval.every=70", "checkpoint.every=20", "judge.early_stop=off"}
	faults := []string{"nan-grad@30", "loss-spike@110"}
	whole := finished(t, tiny(t, settings...), Options{Inject: faults})
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 50, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, tiny(t, settings...), Options{Out: dir, Hooks: h, Inject: faults})
		return err
	})
	for _, step := range []int64{40, 50} { // killed: step 30 is made again
		if err := os.RemoveAll(filepath.Join(dir, rundir.Checkpoints, checkpoint.StepName(step))); err != nil {
			t.Fatal(err)
		}
	}
	r, err := Resume(context.Background(), dir, ResumeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Events != whole.Events || r.Refused != whole.Refused || r.Refused != 2 || r.Codes["E0-NONFINITE"] != 1 ||
		r.Codes["E1-OUTLIER"] != 1 {
		t.Errorf("%d events %v, %d refused; of the whole run %d %v, %d", r.Events, r.Codes, r.Refused, whole.Events,
			whole.Codes, whole.Refused)
	}
	report, err := os.ReadFile(filepath.Join(dir, rundir.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"E0-NONFINITE at step 30", "E1-OUTLIER at step 110", "Updates refused: 2."} {
		if strings.Count(string(report), want) != 1 {
			t.Errorf("no %q, or twice, in\n%s", want, report)
		}
	}
}

// A run that stops early before its rule can choose keeps the checkpoint with the lowest loss.
func TestStopBeforeThereIsAChoice(t *testing.T) {
	for _, rule := range []string{"article", "sound", "loss"} {
		r := finished(t, tiny(t, "train.steps=8", "optim.lr=1e-12", "schedule.warmup=1", "eval.every=1", "judge.patience=1",
			"judge.select="+rule), Options{})
		if r.Reason != reasonEarly || r.Stable == "" || r.ValLoss == 0 {
			t.Errorf("%s: %+v", rule, r)
		}
	}
}
