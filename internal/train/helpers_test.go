package train

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/safetensors"
)

// grammar writes documents of a small language: enough structure to learn in a few steps.
func grammar(t testing.TB, documents int) string {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range documents {
		var b strings.Builder
		for range 3 + r.IntN(12) {
			n := 1 + r.IntN(5)
			fmt.Fprintf(&b, "%s sees %d %s. ", []string{"ann", "bob", "eve"}[r.IntN(3)], n,
				[]string{"cat", "dog"}[r.IntN(2)]+strings.Repeat("s", min(1, n-1)))
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("doc%03d.txt", i)), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tiny is a configuration whose run takes a moment.
func tiny(t testing.TB, settings ...string) *config.Config {
	t.Helper()
	cfg, err := configured(t, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// configured is tiny where the settings may be refused. Later ones take precedence.
func configured(t testing.TB, settings ...string) (*config.Config, error) {
	t.Helper()
	dir := grammar(t, 60)
	all := append([]string{"data.paths=" + dir, "data.val_fraction=0.2", "tokenizer.kind=bytes", "model.layers=2",
		"model.width=16", "model.heads=2", "model.mlp=32", "train.context=32", "train.batch_tokens=256", "train.steps=12",
		"train.micro_tokens=128", "optim.lr=0.0008", "eval.max_tokens=8"}, settings...)
	var sets []config.Assignment
	for _, s := range all {
		sets = append(sets, config.Set(s))
	}
	return config.Load("", sets)
}

// finished trains in a new directory and fails the test on an error.
func finished(t testing.TB, cfg *config.Config, opt Options) *Result {
	t.Helper()
	if opt.Out == "" {
		opt.Out = filepath.Join(t.TempDir(), "run")
	}
	r, err := Run(context.Background(), cfg, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// weights returns the bytes that must be the same after a resume.
func weights(t testing.TB, dir string, step int64) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"model.safetensors", "optimizer.safetensors"} {
		data, err := os.ReadFile(filepath.Join(dir, rundir.Checkpoints, checkpoint.StepName(step), name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

func readLog(t testing.TB, dir string) *runlog.Log {
	t.Helper()
	l, err := runlog.Read(durable.OS, filepath.Join(dir, rundir.LogFile))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sameRun fails unless two run directories hold the same run: weights, moments, and log.
func sameRun(t testing.TB, a, b string, step int64) {
	t.Helper()
	if weights(t, a, step) != weights(t, b, step) {
		t.Errorf("weights or moments at step %d differ", step)
	}
	if err := runlog.Identical(readLog(t, a), readLog(t, b)); err != nil {
		t.Error(err)
	}
}

// newRun assembles a run, which has a directory and a log but has not begun.
func newRun(t *testing.T, cfg *config.Config, opt Options) *run {
	t.Helper()
	opt.unchecked = true
	r, err := prepare(context.Background(), cfg, opt, true)
	t.Cleanup(r.close)
	if err != nil {
		t.Fatal(err)
	}
	r.store.Dir = t.TempDir()
	r.store.FS = durable.Inside(r.store.Dir)
	if r.record.log, err = r.store.OpenLog(); err != nil {
		t.Fatal(err)
	}
	return r
}

// change lets a function change the parameters and slots of an engine, by name.
func change(t *testing.T, e engine.Engine, edit func(name string, values []float32)) {
	t.Helper()
	s, err := e.Get()
	if err != nil {
		t.Fatal(err)
	}
	clone := func(list []safetensors.Entry) *safetensors.File {
		for i, entry := range list {
			list[i].Data = append([]float32(nil), entry.Data...)
			edit(entry.Name, list[i].Data)
		}
		return safetensors.Memory(list)
	}
	if err := e.Set(clone(s.Params), clone(s.Slots)); err != nil {
		t.Fatal(err)
	}
}
