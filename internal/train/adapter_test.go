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
	"gimbal/internal/hub"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// An adapter learns beside weights that do not change, and is saved without them. A run that was cut off is the same
// run. Without the weights, or with others in their place, it is refused.
func TestAdapter(t *testing.T) {
	first := finished(t, tiny(t, "train.steps=60", "optim.lr=0.006"), Options{})
	base := filepath.Join(t.TempDir(), "base")
	if err := os.CopyFS(base, os.DirFS(filepath.Join(first.Dir, rundir.Checkpoints,
		filepath.Base(first.Checkpoint)))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{checkpoint.ManifestFile, checkpoint.OptimizerFile, checkpoint.HealthFile,
		rundir.StateFile} {
		if err := os.Remove(filepath.Join(base, name)); err != nil { // a model of others
			t.Fatal(err)
		}
	}
	sum := func(dir string) string {
		c, err := checkpoint.Open(durable.OS, filepath.Join(rundir.CheckpointsOf(dir), checkpoint.StepName(30)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if !c.Adapter() || len(c.Model().Tensors()) == 0 || !param.IsAdapter(c.Model()) {
			t.Fatal("what was saved is no adapter")
		}
		hash, err := c.WeightsHash()
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	var dir string
	sums := map[string]bool{}
	for _, held := range []string{"int8", "auto"} {
		cfg := tiny(t, "train.steps=30", "train.adapter=lora", "adapter.rank=4", "optim.lr=0.003", "eval.every=10",
			"adapter.base="+held)
		dir = filepath.Join(t.TempDir(), "run")
		r := finished(t, cfg, Options{From: base, Out: dir})
		if u := r.Tuned; u == nil || !(u.After < u.Before) {
			t.Errorf("%s: it learned nothing: %+v", held, r.Tuned)
		}
		for _, e := range runlog.All[runlog.Event](readLog(t, dir)) {
			if strings.HasPrefix(e.Code, "E") || strings.HasPrefix(e.Code, "A") {
				t.Errorf("%s: %s at step %d: %s", held, e.Code, e.Step, e.Message)
			}
		}
		again := filepath.Join(t.TempDir(), "again")
		interruptAfter(t, again, 13, func(ctx context.Context, h Hooks) error {
			_, err := Run(ctx, cfg, Options{Out: again, From: base, Hooks: h})
			return err
		})
		if _, err := Resume(context.Background(), again, ResumeOptions{}); err != nil {
			t.Fatal(err)
		}
		if sums[sum(dir)] = true; !sums[sum(again)] {
			t.Errorf("%s: the resumed run has another adapter", held)
		}
	}
	if len(sums) != 2 {
		t.Error("8 bits change nothing: the test is blind")
	}
	m, err := hub.OpenModel(dir, "last")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	own, err := hub.OpenModel(base, "")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for _, name := range []string{"model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"} {
		tensor, _ := own.Model().Lookup(name)
		was, is := make([]float32, tensor.Len()), make([]float32, tensor.Len())
		if err := errors.Join(own.Model().ReadF32(was, name), m.Model().ReadF32(is, name)); err != nil {
			t.Fatal(err)
		}
		changed := false
		for i := range was {
			changed = changed || was[i] != is[i]
		}
		if changed != strings.Contains(name, "layers") {
			t.Errorf("%s: changed %v", name, changed)
		}
	}

	var notes []string
	more := finished(t, tiny(t, "train.steps=2"), Options{From: dir, Hooks: Hooks{Note: func(text string) {
		notes = append(notes, text)
	}}})
	if all := strings.Join(notes, "\n"); !strings.Contains(all, "is an adapter: it is added to its weights") {
		t.Errorf("training all weights of an adapter is not told: %s", all)
	}
	if c, err := checkpoint.Open(durable.OS, more.Checkpoint); err != nil || c.Adapter() {
		t.Errorf("%s: %v, or an adapter", more.Checkpoint, err)
	} else {
		defer c.Close()
	}

	weights := filepath.Join(base, checkpoint.ModelFile)
	if err := os.Rename(base, base+"-moved"); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{Steps: 40}); !errors.Is(err, rundir.ErrResume) ||
		!strings.Contains(err.Error(), base) || !strings.Contains(err.Error(), "or a link to it") {
		t.Errorf("without its weights: %v", err)
	}
	// Both were moved together: "near" leads from the one to the other.
	near, err := filepath.Rel(filepath.Dir(dir), base)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "a", "b")
	there := filepath.Join(elsewhere, near)
	if err := errors.Join(os.MkdirAll(elsewhere, 0o777), os.MkdirAll(filepath.Dir(there), 0o777),
		os.CopyFS(there, os.DirFS(base+"-moved")),
		os.CopyFS(filepath.Join(elsewhere, "run"), os.DirFS(dir))); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), filepath.Join(elsewhere, "run"), ResumeOptions{Steps: 32}); err != nil {
		t.Errorf("moved together with its weights: %v", err)
	}
	if err := os.Rename(base+"-moved", base); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(weights, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Resume(context.Background(), dir, ResumeOptions{Steps: 40}); err == nil ||
		!strings.Contains(err.Error(), "are not those that the adapter was trained with") {
		t.Errorf("with other weights: %v", err)
	}

	var faults *config.Error
	if _, err := Run(context.Background(), tiny(t, "train.adapter=lora"), Options{Out: filepath.Join(t.TempDir(),
		"run")}); !errors.As(err, &faults) ||
		!strings.Contains(err.Error(), "--from") {
		t.Errorf("an adapter of nothing: %v", err)
	}
}
