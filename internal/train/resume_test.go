package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// interruptAfter runs until a step is done, then cancels.
func interruptAfter(t *testing.T, dir string, step int64, start func(ctx context.Context, h Hooks) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := start(ctx, Hooks{Step: func(rec runlog.Step, _ float64) {
		if rec.Step == step {
			cancel()
		}
	}})
	if !errors.Is(err, ErrInterrupted) {
		t.Fatalf("interrupted at step %d: %v", step, err)
	}
}

func TestResumeIsTheSameRun(t *testing.T) {
	for _, settings := range [][]string{
		nil,
		{"model.shape=gpt2", "model.dropout=0.1", "schedule.kind=wsd"},
		{"train.batch_tokens=64", "train.micro_tokens=64", "numeric.checkpointing=block"}, // several epochs
		{"numeric.mode=fp32"},
		{"numeric.mode=bf16", "model.tie=false"},
	} {
		t.Run(strings.Join(settings, " "), func(t *testing.T) {
			cfg := tiny(t, settings...)
			whole := finished(t, cfg, Options{}).Dir
			dir := filepath.Join(t.TempDir(), "run")
			interruptAfter(t, dir, 1, func(ctx context.Context, h Hooks) error {
				_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
				return err
			})
			for _, step := range []int64{2, 5, 11} {
				interruptAfter(t, dir, step, func(ctx context.Context, h Hooks) error {
					_, err := Resume(ctx, dir, ResumeOptions{Hooks: h, Workers: int(step%3) + 1})
					return err
				})
			}
			if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
				t.Fatal(err)
			}
			sameRun(t, whole, dir, 12)
			if last := runlog.All[runlog.End](readLog(t, dir)); last[len(last)-1].Attempt != 5 {
				t.Errorf("attempt %d at the end", last[len(last)-1].Attempt)
			}
		})
	}
}

// What a kill leaves: records after the newest checkpoint, a torn last line, litter of a save.
func TestResumeAfterAKill(t *testing.T) {
	cfg := tiny(t, "checkpoint.every=5")
	whole := finished(t, cfg, Options{}).Dir
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 8, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	if err := os.RemoveAll(filepath.Join(dir, rundir.Checkpoints,
		checkpoint.StepName(8))); err != nil { // a kill saves nothing
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, rundir.LogFile))
	if err != nil {
		t.Fatal(err)
	}
	log = log[:strings.LastIndex(string(log), `{"kind":"end"`)]
	if err := os.WriteFile(filepath.Join(dir, rundir.LogFile), log[:len(log)-20], 0o666); err != nil {
		t.Fatal(err)
	}
	litter := filepath.Join(dir, rundir.Checkpoints, ".tmp-10-abc")
	if err := os.MkdirAll(litter, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, dir, 12)
	if _, err := os.Stat(litter); err == nil {
		t.Error("the litter of the killed save is still there")
	}
}

func TestResumeFallsBackToAnOlderCheckpointAndSaysSo(t *testing.T) {
	cfg := tiny(t, "eval.every=3", "checkpoint.keep=9")
	whole := finished(t, cfg, Options{}).Dir
	dir := filepath.Join(t.TempDir(), "run")
	interruptAfter(t, dir, 9, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: dir, Hooks: h})
		return err
	})
	damaged := filepath.Join(dir, rundir.Checkpoints, checkpoint.StepName(9), "optimizer.safetensors")
	data, err := os.ReadFile(damaged)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(damaged, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	if weights(t, whole, 12) != weights(t, dir, 12) {
		t.Error("weights or moments differ")
	}
	var refused []runlog.Event
	for _, e := range runlog.All[runlog.Event](readLog(t, dir)) {
		if e.Code == "F-CHECKPOINT-REFUSED" {
			refused = append(refused, e)
		}
	}
	if len(refused) != 1 || !strings.Contains(refused[0].Message, "step-9") ||
		!strings.Contains(refused[0].Message, "optimizer.safetensors") {
		t.Errorf("events %+v", refused)
	}
}

func TestResumeRefuses(t *testing.T) {
	cfg := tiny(t)
	done := finished(t, cfg, Options{}).Dir

	r, err := Resume(context.Background(), done, ResumeOptions{})
	if err != nil || r.Reason != "already done" {
		t.Errorf("a finished run: %+v, %v", r, err)
	}
	if _, err := Resume(context.Background(), t.TempDir(), ResumeOptions{}); !errors.Is(err, rundir.ErrResume) {
		t.Errorf("an empty directory: %v", err)
	}
	if _, err := Resume(context.Background(), done, ResumeOptions{Steps: 5}); !errors.Is(err, rundir.ErrResume) {
		t.Errorf("fewer steps than done: %v", err)
	}
	lock, err := durable.Lock(filepath.Join(done, rundir.LockFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), done, ResumeOptions{Steps: 20}); !errors.Is(err, durable.ErrLocked) ||
		!errors.Is(err, rundir.ErrResume) {
		t.Errorf("a locked run: %v", err)
	}
	if err := lock.Unlock(); err != nil {
		t.Fatal(err)
	}
	before := weights(t, done, 12)
	if err := os.WriteFile(filepath.Join(cfg.Data.Paths[0], "doc000.txt"), []byte("other text"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), done, ResumeOptions{Steps: 20}); !errors.Is(err, data.ErrUnusable) {
		t.Errorf("changed text: %v", err)
	}
	if weights(t, done, 12) != before {
		t.Error("a refused resume touched the checkpoint")
	}
	if err := os.RemoveAll(filepath.Join(done, rundir.Checkpoints)); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), done, ResumeOptions{}); !errors.Is(err, rundir.ErrResume) {
		t.Errorf("no checkpoint left: %v", err)
	}
}

func TestResumeExtends(t *testing.T) {
	cfg := tiny(t)
	dir := finished(t, cfg, Options{}).Dir
	r, err := Resume(context.Background(), dir, ResumeOptions{Steps: 20})
	if err != nil || r.Step != 20 {
		t.Fatalf("%+v, %v", r, err)
	}
	again, err := Resume(context.Background(), dir, ResumeOptions{})
	if err != nil || again.Reason != "already done" || again.Step != 20 {
		t.Errorf("the extension was not recorded: %+v, %v", again, err)
	}
	resumes := runlog.All[runlog.Resume](readLog(t, dir))
	if len(resumes) != 1 || !strings.Contains(resumes[0].Reason, "extended") {
		t.Errorf("resume records %+v", resumes)
	}
}

// A save that fails is told, the run goes on, and what was saved before stays whole.
func TestFailedSaveGoesOn(t *testing.T) {
	cfg := tiny(t, "eval.every=3", "checkpoint.keep=9")
	clean := finished(t, cfg, Options{}).Dir
	dir := filepath.Join(t.TempDir(), "run")
	r, err := Run(context.Background(), cfg, Options{Out: dir, seams: seams{fs: failing{durable.OS, []int64{6}}}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Events != 1 {
		t.Errorf("%d events", r.Events)
	}
	events := runlog.All[runlog.Event](readLog(t, dir))
	if len(events) != 1 || events[0].Code != "F-SAVE-FAILED" || events[0].Step != 6 {
		t.Errorf("events %+v", events)
	}
	for _, step := range []int64{3, 9, 12} {
		if weights(t, dir, step) != weights(t, clean, step) {
			t.Errorf("checkpoint of step %d differs", step)
		}
	}

	// When every save fails the run ends with the cause, and the checkpoints before it are whole.
	dir = filepath.Join(t.TempDir(), "run")
	_, err = Run(context.Background(), cfg, Options{Out: dir, seams: seams{fs: failing{durable.OS,
		[]int64{6, 9, 12}}}})
	if !errors.Is(err, durable.ErrNoSpace) {
		t.Fatalf("error %v", err)
	}
	if weights(t, dir, 3) != weights(t, clean, 3) {
		t.Error("the checkpoint before the full disk differs")
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	if weights(t, dir, 12) != weights(t, clean, 12) {
		t.Error("the resumed run differs")
	}
}

// failing is a disk that is full for the checkpoints of some steps.
type failing struct {
	durable.FS
	full []int64
}

func (f failing) Create(name string) (durable.File, error) {
	for _, step := range f.full {
		if strings.Contains(name, fmt.Sprintf("%s%d-", durable.TempPrefix, step)) {
			return nil, durable.ErrNoSpace
		}
	}
	return f.FS.Create(name)
}
