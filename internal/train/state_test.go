package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
)

func TestEveryCheckpointIsCertified(t *testing.T) {
	r := finished(t, tiny(t), Options{})
	dir := filepath.Join(r.Dir, rundir.Checkpoints)
	infos, err := checkpoint.List(durable.OS, dir)
	if err != nil || len(infos) == 0 {
		t.Fatalf("%d checkpoints, %v", len(infos), err)
	}
	for _, info := range infos {
		c, err := checkpoint.Open(durable.OS, info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := checkpoint.ReadHealth(c); err != nil || !h.Healthy() {
			t.Errorf("%s: %+v, %v", info.Path, h, err)
		}
		c.Close()
	}
	if path, _, err := checkpoint.NewestHealthy(durable.OS, dir); err != nil || filepath.Base(path) != "step-12" {
		t.Errorf("newest healthy %s, %v", path, err)
	}
}

func TestMomentsThatAreNotFiniteAreNotSaved(t *testing.T) {
	for _, slot := range []string{"exp_avg.", "exp_avg_sq."} {
		r := newRun(t, tiny(t), Options{})
		change(t, r.engine, func(name string, values []float32) {
			if strings.HasPrefix(name, slot) {
				values[0] = float32(math.Inf(1))
			}
		})
		if err := r.save(true); err == nil || !strings.Contains(err.Error(), "slot "+slot) {
			t.Errorf("%s: %v", slot, err)
		}
	}
}
