package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"gimbal/internal/exit"
)

// rare are settings at the ends of what a run can be, of one that is small enough to be made.
var rare = map[string][]string{
	"train.context": {"1", "2", "3", "8"}, "train.batch_tokens": {"8", "9", "64"}, "train.micro_tokens": {"8"},
	"train.steps": {"1", "2", "7", "24"}, "tokenizer.kind": {"chars"}, "model.shape": {"gpt2", "llama", "qwen2"},
	"model.dropout": {"0", "0.999"}, "model.tie": {"false"}, "model.mlp": {"1"}, "data.start": {"none", "bos"},
	"data.val_fraction": {"0.001", "0.5"}, "optim.lr": {"1e-12", "10", "0.01", "probe", "article"},
	"optim.clip": {"1e-9", "1e9"}, "optim.agc": {"true"}, "optim.beta1": {"0"}, "optim.eps": {"1", "1e-30"},
	"schedule.kind": {"cosine", "linear", "wsd", "constant"}, "schedule.warmup": {"0", "1", "1000000000000"},
	"schedule.floor": {"1", "1e-6"}, "schedule.period": {"10"}, "schedule.late_restart": {"true"},
	"eval.every": {"1", "3", "1000000000000"}, "eval.prompts": {"1", "50"}, "eval.samples": {"1", "2"},
	"eval.max_tokens": {"1", "1048576"}, "judge.patience": {"1", "2"}, "judge.select": {"article", "loss"},
	"judge.early_stop": {"article", "off"}, "checkpoint.every": {"1", "5"}, "checkpoint.keep": {"1", "1000000"},
	"guard.mode": {"observe"}, "guard.halve": {"article"}, "numeric.mode": {"bf16"}, "numeric.checkpointing": {"block"},
	"schedule.extended": {"[1,2]", "[3,9,5,7]", "[100,200]"},
}

// survives runs what f does, and returns what it panics with; "": it does not.
func survives(f func()) (fault string) {
	defer func() {
		if v := recover(); v != nil {
			fault = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	f()
	return ""
}

// TestRareRuns makes runs of rare settings and lets them go on with another length: they end well, or are refused.
func TestRareRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("many runs one after the other: slow under the race detector")
	}
	r := rand.New(rand.NewPCG(3, 4))
	keys := slices.Sorted(maps.Keys(rare))
	ended := map[int]int{}
	note := func(settings []string, err error) {
		code := exit.Of(err)
		ended[code]++
		if code == exit.Error {
			t.Errorf("%v: %v", settings, err)
		}
	}
	for i := range 20 {
		settings := []string{"model.layers=1", "train.micro_tokens=auto", "train.context=8", "train.batch_tokens=64"}
		for range 1 + r.IntN(10) {
			key := keys[r.IntN(len(keys))]
			settings = append(settings, key+"="+rare[key][r.IntN(len(rare[key]))])
		}
		dir := filepath.Join(t.TempDir(), "run")
		fault := survives(func() {
			cfg, err := configured(t, settings...)
			if err != nil {
				return
			}
			_, err = Run(context.Background(), cfg, Options{Out: dir, Workers: i % 4})
			note(settings, err)
			var stop *StopError
			if err == nil || errors.As(err, &stop) {
				_, err = Resume(context.Background(), dir, ResumeOptions{Steps: 1 + r.Int64N(40)})
				note(settings, err)
			}
		})
		if fault != "" {
			t.Fatalf("%v: %s", settings, fault)
		}
	}
	t.Logf("ended with the codes %v", ended)
	if ended[exit.Done] < 10 {
		t.Errorf("too few runs were made: %v", ended)
	}
}

// A panic of an engine is seen.
func TestRareRunsFindAPanic(t *testing.T) {
	o := &scripted{loss: func(step, batch int64) float64 { panic("planted") }}
	if fault := survives(func() { script(t, o) }); fault == "" {
		t.Error("a planted panic was not found")
	}
}
