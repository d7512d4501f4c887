package train

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
)

// A fine-tuning is evaluated before its first step, says what became of the weights, and where they became worse, the
// ones it began with are those that are kept. The positions that they know are not lowered. Cut off before
// its first evaluation, it is the same run.
func TestFinetune(t *testing.T) {
	first := finished(t, tiny(t, "train.steps=60", "optim.lr=0.006", "train.context=64"), Options{})
	for _, c := range []struct {
		name   string
		lr     string
		better bool
	}{{"gentle", "optim.lr=0.0005", true}, {"violent", "optim.lr=3", false}} {
		cfg := tiny(t, "train.steps=30", "train.context=32", "eval.every=10", "guard.mode=observe",
			"judge.early_stop=off",
			"schedule.kind=constant", c.lr)
		dir := filepath.Join(t.TempDir(), "run")
		r := finished(t, cfg, Options{From: first.Dir, Out: dir})
		evals := runlog.All[runlog.Eval](readLog(t, dir))
		if evals[0].Step != 0 || len(evals) != 4 {
			t.Fatalf("%s: %d evaluations, the first at step %d", c.name, len(evals), evals[0].Step)
		}
		u := r.Tuned
		if u == nil || u.Before != float64(evals[0].Metrics["val_loss_sample"]) ||
			u.OldBefore != float64(evals[0].Metrics["old_loss"]) || u.OldBefore == 0 || u.Tokens == 0 {
			t.Fatalf("%s: the result says %+v", c.name, u)
		}
		if c.better && !slices.ContainsFunc(evals[1:], func(e runlog.Eval) bool {
			return float64(e.Metrics["val_loss_change_se"]) == u.ChangeError && u.ChangeError > 0
		}) {
			t.Errorf("%s: the standard error of the change is %v", c.name, u.ChangeError)
		}
		if !(u.OldAfter > 0) || c.better && !(u.After < u.Before) || !c.better && !(u.After > u.Before) {
			t.Errorf("%s: %.3f, then %.3f; on what it knew: %.3f, then %.3f", c.name, u.Before, u.After, u.OldBefore,
				u.OldAfter)
		}
		if start := filepath.Base(r.Stable) == checkpoint.StepName(0); start == c.better {
			t.Errorf("%s: stable is %s (%s)", c.name, r.Stable, r.StableReason)
		}
		var conf struct {
			Positions int `json:"max_position_embeddings"`
		}
		raw, err := os.ReadFile(filepath.Join(r.Checkpoint, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &conf); err != nil || conf.Positions != 64 {
			t.Errorf("%s: %d positions are left of 64, %v", c.name, conf.Positions, err)
		}
		if !c.better {
			continue
		}
		again := filepath.Join(t.TempDir(), "again")
		ctx, cancel := context.WithCancel(context.Background())
		hooks := Hooks{Plan: func(*plan.Plan, string, plan.Expected) { cancel() }}
		disk := &counting{FS: durable.OS}
		if _, err := Run(ctx, cfg, Options{Out: again, From: first.Dir, Hooks: hooks,
			seams: seams{fs: disk}}); !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		if disk.models != 1 { // the weights are those that were saved before the evaluation
			t.Errorf("the interrupt saved: %d checkpoints were written", disk.models)
		}
		if _, err := Resume(context.Background(), again, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
		sameRun(t, dir, again, 30)
	}
}

// counting counts the checkpoints that are written.
type counting struct {
	durable.FS
	models int
}

func (c *counting) Create(name string) (durable.File, error) {
	if filepath.Base(name) == checkpoint.ModelFile {
		c.models++
	}
	return c.FS.Create(name)
}
