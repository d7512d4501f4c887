package train

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/exit"
	"gimbal/internal/guard"
	"gimbal/internal/inspect"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// codes are the codes of the error events of a run, in order, and whether all are marked as injected.
func codes(t *testing.T, dir string) (list []string) {
	t.Helper()
	for _, e := range runlog.All[runlog.Event](readLog(t, dir)) {
		if e.Severity == "error" || strings.HasPrefix(e.Code, "F-") {
			list = append(list, e.Code)
			if !e.Injected {
				t.Errorf("%s at step %d is not marked as injected", e.Code, e.Step)
			}
		}
	}
	return list
}

func TestNonfiniteIsSkippedAndNamed(t *testing.T) {
	const tensor = "model.layers.1.self_attn.v_proj.weight"
	for _, tt := range []struct{ fault, tensor, text string }{
		{"nan-grad:" + tensor + "@7", tensor + "[0] (gradient)", "the gradient norm is not finite"},
		{"inf-grad:" + tensor + "@7", tensor + "[0] (gradient)", "the gradient norm is not finite"},
		{"nan-activation:1@7", "the output of block 1", "the loss"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			cfg := tiny(t, "checkpoint.every=1", "checkpoint.keep=20", "numeric.mode=bf16")
			clean := finished(t, cfg, Options{})
			r := finished(t, cfg, Options{Inject: []string{tt.fault}})
			if got := codes(t, r.Dir); !slices.Equal(got, []string{guard.CodeNonfinite}) {
				t.Fatalf("events %q", got)
			}
			l := readLog(t, r.Dir)
			e := runlog.All[runlog.Event](l)[0]
			if e.Step != 7 || e.Batch != 7 || e.Tensor != tt.tensor || len(e.Documents) == 0 ||
				!strings.Contains(e.Message, tt.text) || !strings.Contains(e.Message, "in full precision the batch is finite") {
				t.Errorf("event %+v", e)
			}
			if refused := runlog.All[runlog.Refused](l); len(refused) != 1 || refused[0].Action != "skip" ||
				!refused[0].Injected {
				t.Errorf("refused %+v", refused)
			}
			for _, s := range runlog.All[runlog.Step](l) {
				if want := runlog.Float(0.5); s.Step >= 7 && (s.LRScale != want || s.LR != s.LRPlanned/2 || s.Batch != s.Step+1) {
					t.Errorf("step %d: %+v", s.Step, s)
				}
			}
			if r.Reason != "done" || r.Step != 12 || weights(t, r.Dir, 6) != weights(t, clean.Dir, 6) {
				t.Errorf("%s at step %d, or the weights of step 6 differ", r.Reason, r.Step)
			}
			if weights(t, r.Dir, 7) == weights(t, clean.Dir, 7) {
				t.Error("step 7 is that of the clean run: nothing was skipped")
			}
			var saved inspect.Refused
			raw, err := os.ReadFile(filepath.Join(r.Dir, rundir.Refused, "batch-7.json"))
			if err == nil {
				err = json.Unmarshal(raw, &saved)
			}
			if err != nil || saved.Step != 7 || len(saved.Tokens) == 0 || len(saved.Tokens) != len(saved.Labels) ||
				len(saved.Bounds) != len(saved.Documents)+1 {
				t.Errorf("the saved batch: %v, %+v", err, saved)
			}
		})
	}
}

// ladderRun is a run long enough to arm the guard's windows, with batches in which a fault stands out: of few labels a
// loss varies much by chance.
func ladderRun(t *testing.T, settings ...string) *config.Config {
	return tiny(t, append([]string{"train.steps=130", "train.batch_tokens=768", "schedule.warmup=20", "optim.lr=0.003",
		"eval.every=1000", "checkpoint.every=20", "numeric.mode=fp32"}, settings...)...)
}

func TestLadder(t *testing.T) {
	for _, tt := range []struct {
		fault string
		want  func(codes []string) bool
		text  string
	}{
		{"loss-spike@80", func(c []string) bool { return slices.Equal(c, []string{guard.CodeOutlier}) }, "E1"},
		{"poison-batch@80", func(c []string) bool { return slices.Equal(c, []string{guard.CodeOutlier}) }, "E1"},
		{"poison-batches@80", func(c []string) bool {
			return slices.Contains(c, guard.CodeOutlier) && slices.Contains(c, guard.CodeSustained)
		}, "E1 and E2"},
		{"lr-bomb@80", func(c []string) bool {
			return slices.Contains(c, guard.CodeOutlier) || slices.Contains(c, guard.CodeSustained)
		}, "E1 or E2"},
		{"bit-flip@80", func(c []string) bool { return len(c) > 0 && c[0][0] == 'E' }, "E0, E1 or E2"},
	} {
		t.Run(tt.fault, func(t *testing.T) {
			cfg := ladderRun(t)
			clean := finished(t, cfg, Options{})
			r := finished(t, cfg, Options{Inject: []string{tt.fault}})
			got := codes(t, r.Dir)
			if !tt.want(got) {
				t.Errorf("events %q, want %s", got, tt.text)
			}
			l := readLog(t, r.Dir)
			rewinds := runlog.All[runlog.Rewind](l)
			if slices.Contains(got, guard.CodeSustained) != (len(rewinds) > 0) {
				t.Errorf("events %q, but %d rewinds", got, len(rewinds))
			}
			for _, w := range rewinds {
				if w.Step > 80 || w.From < w.Step || w.Skipped < leastSkipped {
					t.Errorf("rewind %+v", w)
				}
			}
			if r.Reason != "done" || r.Step != 130 || !(r.ValLoss < clean.ValLoss+0.5) {
				t.Errorf("%s at step %d with a loss of %.3f; the clean run has %.3f", r.Reason, r.Step, r.ValLoss, clean.ValLoss)
			}
			if again := runlog.Identical(l, readLog(t, finished(t, cfg, Options{Inject: []string{tt.fault},
				Workers: 1}).Dir)); again != nil {
				t.Error(again)
			}
		})
	}
}

// A guard that only observes tells the same and leaves the run as it is.
func TestObserveNeverActs(t *testing.T) {
	cfg := ladderRun(t, "guard.mode=observe")
	r := finished(t, cfg, Options{Inject: []string{"loss-spike@80"}})
	if got := codes(t, r.Dir); !slices.Equal(got, []string{guard.CodeOutlier}) {
		t.Errorf("events %q", got)
	}
	l := readLog(t, r.Dir)
	if n := len(runlog.All[runlog.Refused](l)); n != 0 {
		t.Errorf("%d refused", n)
	}
	for _, s := range runlog.All[runlog.Step](l) {
		if s.LRScale != 0 || s.Batch != s.Step {
			t.Fatalf("step %+v", s)
		}
	}
	events := runlog.All[runlog.Event](l)
	i := slices.IndexFunc(events, func(e runlog.Event) bool { return e.Code == guard.CodeOutlier })
	if e := events[i]; !strings.HasPrefix(e.Action, "none; would skip") {
		t.Errorf("action %q", e.Action)
	}
}

// The whole ladder survives being stopped anywhere: refused batches, quarantine, halved rates, rewinds, and the faults
// themselves, which are planted once.
func TestLadderSurvivesResume(t *testing.T) {
	for _, fault := range []string{"loss-spike@80", "poison-batches@80", "nan-activation@75"} {
		t.Run(fault, func(t *testing.T) {
			cfg := ladderRun(t)
			whole := finished(t, cfg, Options{Inject: []string{fault}})
			dir := filepath.Join(t.TempDir(), "run")
			interruptAfter(t, dir, 71, func(ctx context.Context, h Hooks) error {
				_, err := Run(ctx, cfg, Options{Out: dir, Inject: []string{fault}, Hooks: h})
				return err
			})
			for _, step := range []int64{79, 81, 99} {
				interruptAfter(t, dir, step, func(ctx context.Context, h Hooks) error {
					_, err := Resume(ctx, dir, ResumeOptions{Hooks: h})
					return err
				})
			}
			if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
				t.Fatal(err)
			}
			sameRun(t, whole.Dir, dir, 130)
		})
	}
}

// Disks fail in three ways; the run goes on and what was saved is whole.
func TestBadDisk(t *testing.T) {
	for fault, code := range map[string]string{"torn-checkpoint": "F-SAVE-FAILED", "full-disk": "F-SAVE-FAILED",
		"slow-disk": "F-SLOW-DISK"} {
		t.Run(fault, func(t *testing.T) {
			cfg := tiny(t, "eval.every=2", "checkpoint.keep=20")
			clean := finished(t, cfg, Options{})
			r := finished(t, cfg, Options{Inject: []string{fault + "@5"}})
			if got := codes(t, r.Dir); !slices.Equal(got, []string{code}) {
				t.Errorf("events %q", got)
			}
			infos, err := checkpoint.List(durable.OS, filepath.Join(r.Dir, rundir.Checkpoints))
			if want := map[bool]int{true: 7, false: 6}[code == "F-SLOW-DISK"]; err != nil || len(infos) != want {
				t.Errorf("%d checkpoints, %v", len(infos), err)
			}
			for _, info := range infos {
				c, err := checkpoint.Open(durable.OS, info.Path)
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
			if weights(t, r.Dir, 12) != weights(t, clean.Dir, 12) {
				t.Error("the disk changed the training")
			}
		})
	}
}

// What comes back after every rewind ends the run: exit code 3, a post-mortem, and checkpoints from before.
func TestDivergedStops(t *testing.T) {
	cfg := ladderRun(t, "train.steps=260")
	dir := filepath.Join(t.TempDir(), "run")
	_, err := Run(context.Background(), cfg, Options{Out: dir, Inject: []string{"poison-batches@80",
		"poison-batches@150", "poison-batches@220"}})
	var stop *StopError
	if !errors.As(err, &stop) || stop.Code != guard.CodeDiverged || exit.Of(err) != 3 {
		t.Fatalf("%v; events %q", err, codes(t, dir))
	}
	if got := codes(t, dir); got[len(got)-1] != guard.CodeDiverged {
		t.Errorf("events %q", got)
	}
	post, err := os.ReadFile(filepath.Join(dir, rundir.PostMortemFile))
	if err != nil || !strings.Contains(string(post), guard.CodeDiverged) ||
		!strings.Contains(string(post), guard.CodeSustained) {
		t.Errorf("post-mortem: %v\n%s", err, post)
	}
	if ends := runlog.All[runlog.End](readLog(t, dir)); len(ends) != 1 || ends[0].ExitCode != 3 {
		t.Errorf("end %+v", ends)
	}
	if _, _, err := checkpoint.NewestHealthy(durable.OS, filepath.Join(dir, rundir.Checkpoints)); err != nil {
		t.Error(err)
	}
}

// A fault that cannot be planted is refused before a directory is made.
func TestInjectRefuses(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	_, err := Run(context.Background(), tiny(t), Options{Out: out, Inject: []string{"nan-gard@3"}})
	var faults *config.Error
	if !errors.As(err, &faults) || !strings.Contains(err.Error(), "no such fault; there are b") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run directory was made: %v", err)
	}
}
