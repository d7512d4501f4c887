//go:build linux

package train

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"gimbal/internal/runlog"
)

// A run of preferences with an adapter on a device begins at its reference, and its first losses are those of the CPU:
// its rate is high, and differences of rounding grow from 1e-8 to 2e-5 in 20 steps. Cut off anywhere it is the same in
// every bit, and it goes on elsewhere.
func TestTuneOnDevice(t *testing.T) {
	device, dir := plugin(t), t.TempDir()
	settings := []string{"train.adapter=lora", "adapter.rank=4", "adapter.dropout=0.1", "adapter.base=bf16",
		"optim.lr=0.003", "numeric.mode=fp32"}
	first, onCPU := preferring(t, false, append(settings, "numeric.device=cpu")...)
	_, cfg := preferring(t, false, append(settings, "numeric.device="+device)...)
	whole, stopped := filepath.Join(dir, "whole"), filepath.Join(dir, "stopped")
	r := finished(t, cfg, Options{From: first.Dir, Out: whole})
	if u := r.Tuned; u == nil || u.Pairs == 0 || math.Abs(u.Before-math.Ln2) > 1e-12 || u.AccuracyBefore != 0.5 {
		t.Errorf("before step 1: %+v", u)
	}
	there := runlog.All[runlog.Step](readLog(t, whole))
	for i, here := range runlog.All[runlog.Step](readLog(t, finished(t, onCPU, Options{From: first.Dir}).Dir))[:20] {
		if a, b := float64(here.Loss), float64(there[i].Loss); math.Abs(a-b) > 3e-4*a {
			t.Errorf("step %d: loss %.6f on the CPU, %.6f on the device", here.Step, a, b)
		}
	}
	interruptAfter(t, stopped, 23, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{From: first.Dir, Out: stopped, Hooks: h})
		return err
	})
	if _, err := Resume(t.Context(), stopped, ResumeOptions{Device: device}); err != nil {
		t.Fatal(err)
	}
	if err := runlog.Identical(readLog(t, whole), readLog(t, stopped)); err != nil {
		t.Error(err)
	}
	for i, to := range []string{"cpu", device} {
		steps := int64(45 + 5*i)
		r, err := Resume(t.Context(), stopped, ResumeOptions{Steps: steps, Device: to})
		if err != nil || r.Step != steps {
			t.Errorf("to %s: %+v, %v", to, r, err)
		}
	}
}
