package train

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"gimbal/internal/exit"
	"gimbal/internal/runlog"
)

// losses are those of all updates.
func losses(t *testing.T, dir string) (list []float64) {
	for _, s := range runlog.All[runlog.Step](readLog(t, dir)) {
		list = append(list, float64(s.Loss))
	}
	return list
}

// apart is the largest relative difference of the first n losses.
func apart(a, b []float64, n int) (most float64) {
	for i := range min(n, len(a), len(b)) {
		most = max(most, math.Abs(a[i]-b[i])/b[i])
	}
	return most
}

// A run on a device is the run on the CPU: its losses, and with every planted fault what the guard sees and does.
func TestRunOnDevice(t *testing.T) {
	device := "numeric.device=" + plugin(t)
	if testing.Short() {
		t.Skip("programs take seconds to compile")
	}
	cache := t.TempDir()
	for _, fault := range []string{"", "nan-grad@20", "inf-grad@20", "nan-activation@30", "loss-spike@80",
		"poison-batch@80", "lr-bomb@80", "bit-flip@80", "frozen-layer@20", "cut-residual@20", "starved-init@1",
		"torn-checkpoint@20", "slow-disk@20", "full-disk@20"} {
		t.Run(cmp.Or(fault, "none"), func(t *testing.T) {
			var events [2][]string
			var all [2][]float64
			var final [2]float64
			for i, settings := range [][]string{{device}, nil} {
				opt := Options{Workers: 1, Out: filepath.Join(t.TempDir(), "run")}
				if fault != "" {
					opt.Inject = []string{fault}
				}
				// With the 0.9 of short runs rounding grows faster: to 1.6e-4 in 50 steps after starved-init.
				cfg := tiny(t, append([]string{"train.steps=110", "optim.lr=0.005", "optim.momentum=0.95",
					"numeric.mode=fp32", "eval.max_tokens=64"}, settings...)...)
				t.Setenv("XDG_CACHE_HOME", cache)             // programs are compiled once
				_, err := Run(context.Background(), cfg, opt) // the guard may stop it
				events[i] = append(events[i], fmt.Sprint("exit ", exit.Of(err)))
				log := readLog(t, opt.Out)
				for _, e := range runlog.All[runlog.Event](log) {
					for k, name := range e.Documents {
						e.Documents[k] = filepath.Base(name)
					}
					events[i] = append(events[i], fmt.Sprint(e.Step, e.Code, e.Severity, e.Action, e.Tensor,
						e.Documents))
				}
				all[i] = losses(t, opt.Out)
				if evals := runlog.All[runlog.Eval](log); len(evals) > 0 {
					final[i] = float64(evals[len(evals)-1].ValLoss)
				}
			}
			if !slices.Equal(events[0], events[1]) {
				t.Errorf("events on a device %q, on the CPU %q", events[0], events[1])
			}
			if d := apart(all[0], all[1], 50); d > 1e-4 || len(all[0]) != len(all[1]) {
				t.Errorf("%d losses on a device, %d on the CPU; of the first 50 they are %v apart", len(all[0]),
					len(all[1]), d)
			}
			if d := math.Abs(final[0]-final[1]) / final[1]; d > 0.01 {
				t.Errorf("a validation loss of %v, on the CPU %v", final[0], final[1])
			}
		})
	}
}
