package train

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/exit"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

// A run with the preflight is, to the bit, the run without.
func TestPreflightChangesNothing(t *testing.T) {
	for _, settings := range [][]string{nil, {"model.dropout=0.2", "model.shape=gpt2"}} {
		cfg := tiny(t, settings...)
		with := finished(t, cfg, Options{})
		without := finished(t, cfg, Options{seams: seams{unchecked: true}})
		sameRun(t, with.Dir, without.Dir, 12)
		var records, checked int
		for _, r := range runlog.All[runlog.Preflight](readLog(t, with.Dir)) {
			records, checked = records+1, len(r.Checks)
		}
		if records != 1 || checked < 16 || len(runlog.All[runlog.Preflight](readLog(t, without.Dir))) != 0 {
			t.Errorf("%d records, the last of %d checks", records, checked)
		}
	}
}

// What is refused leaves nothing behind; what is a warning is told as an event, and a resume does not tell it again.
func TestPreflightRefusesAndTells(t *testing.T) {
	out := filepath.Join(t.TempDir(), "run")
	late := []string{"train.steps=100", "schedule.period=15", "eval.every=50"}
	var refused *preflight.Refusal
	if _, err := Run(context.Background(), tiny(t, late...), Options{Out: out}); !errors.As(err, &refused) ||
		exit.Of(err) != 2 || !strings.Contains(err.Error(), "schedule.period") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a run directory was made")
	}
	cfg := tiny(t, append(late, "schedule.late_restart=true", "schedule.warmup=40", "schedule.warmup_exact=true")...)
	interruptAfter(t, out, 60, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{Out: out, Hooks: h})
		return err
	})
	if _, err := Resume(context.Background(), out, ResumeOptions{}); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, e := range runlog.All[runlog.Event](readLog(t, out)) {
		counts[e.Code]++
	}
	if counts["P-RESTART-LATE"] != 2 || counts["W-WARMUP-SHARE"] != 1 {
		t.Errorf("events %v", counts)
	}
	sameRun(t, finished(t, cfg, Options{}).Dir, out, 100)

	// A run that is made longer is planned anew, and refused where its new end comes too soon after a restart.
	short := finished(t, tiny(t, "train.steps=40", "schedule.period=30", "eval.every=50"), Options{}).Dir
	if _, err := Resume(context.Background(), short, ResumeOptions{Steps: 56}); err != nil {
		t.Errorf("to 56 steps: %v", err)
	}
	if _, err := Resume(context.Background(), short, ResumeOptions{Steps: 330}); !errors.As(err, &refused) ||
		refused.Failed[0].Code != "P-RESTART-LATE" {
		t.Errorf("to 330 steps: %v", err)
	}
}

// A resume meets the preflight, too: weights that are spoiled are refused before a step is made.
func TestPreflightOfAResume(t *testing.T) {
	dir := finished(t, tiny(t), Options{}).Dir
	r := newRun(t, tiny(t), Options{})
	change(t, r.engine, func(name string, values []float32) { clear(values) })
	s, err := r.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	saved, err := runstate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	saved.Model.Close()
	s.Step, s.Files[rundir.StateFile] = saved.State.Step, nil
	if s.Files[rundir.StateFile], err = saved.Model.File(rundir.StateFile); err != nil {
		t.Fatal(err)
	}
	if _, err := checkpoint.Save(durable.OS, rundir.CheckpointsOf(dir), s); err != nil {
		t.Fatal(err)
	}
	d, err := CheckRun(context.Background(), dir, ResumeOptions{})
	var refused *preflight.Refusal
	if !errors.As(err, &refused) || exit.Of(err) != 3 || d == nil {
		t.Fatalf("weights of zero: %v", err)
	}
	var codes []string
	for _, c := range refused.Failed {
		codes = append(codes, c.Code)
	}
	if got := strings.Join(codes, " "); !strings.Contains(got, "P-LEAK") || !strings.Contains(got, "P-LEAK-GRADIENT") {
		t.Errorf("weights of zero: %v", got)
	}
	cfg, err := rundir.Config(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.SetPlanned("optim.lr", config.Rule{Name: "probe"}, "file config.toml"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, rundir.ConfigFile), cfg.TOML(), 0o666); err != nil {
		t.Fatal(err)
	}
	var faults *config.Error
	if _, err := CheckRun(context.Background(), dir, ResumeOptions{}); !errors.As(err, &faults) {
		t.Errorf("a probe of a run that has begun: %v", err)
	}
}
