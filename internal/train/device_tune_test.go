//go:build linux

package train

import (
	"context"
	"path/filepath"
	"testing"
)

// An adapter learns preferences on a device as on the CPU, a run that was cut off is the same in every bit, and it goes
// on where its weights are computed elsewhere.
func TestTuneOnDevice(t *testing.T) {
	device, dir := plugin(t), t.TempDir()
	first, cfg := preferring(t, false, "train.adapter=lora", "adapter.rank=4", "adapter.dropout=0.1",
		"adapter.base=bf16", "optim.lr=0.01", "numeric.device="+device)
	whole, stopped := filepath.Join(dir, "whole"), filepath.Join(dir, "stopped")
	r := finished(t, cfg, Options{From: first.Dir, Out: whole})
	if u := r.Tuned; u == nil || u.AccuracyBefore != 0.5 || !(u.After < 0.66 && u.AccuracyAfter > 0.65) {
		t.Errorf("it learned nothing: %+v", u)
	}
	interruptAfter(t, stopped, 23, func(ctx context.Context, h Hooks) error {
		_, err := Run(ctx, cfg, Options{From: first.Dir, Out: stopped, Hooks: h})
		return err
	})
	if _, err := Resume(t.Context(), stopped, ResumeOptions{Device: device}); err != nil {
		t.Fatal(err)
	}
	sameRun(t, whole, stopped, 40)
	for i, to := range []string{"cpu", device} {
		steps := int64(45 + 5*i)
		r, err := Resume(t.Context(), stopped, ResumeOptions{Steps: steps, Device: to})
		if err != nil || r.Step != steps {
			t.Errorf("to %s: %+v, %v", to, r, err)
		}
	}
}
