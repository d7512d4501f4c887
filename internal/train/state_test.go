package train

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// A checkpoint saved soon after an error is not one to come back to; files and preflight are not the model's trouble,
// and calm returns.
func TestCalmAfterAnError(t *testing.T) {
	event := func(step int64, code, severity string) runlog.Event {
		return runlog.Event{At: runlog.At{Step: step}, Code: code, Severity: severity}
	}
	s := &state{}
	calm := func(step int64, want bool) {
		t.Helper()
		s.Step = step
		if h := s.certificate(); h.Calm != want || h.Healthy() != want {
			t.Errorf("step %d: %+v, want calm %v", step, h, want)
		}
	}
	calm(10, true)
	if v := s.certificate().Verdict; v != "" {
		t.Errorf("a verdict without a look: %q", v)
	}
	s.Health.Step = 10
	if v := s.certificate().Verdict; !strings.Contains(v, "no alarm") || !strings.Contains(v, "step 10") {
		t.Errorf("verdict %q", v)
	}
	s.Trouble.note(event(10, "A2-BOTTOM-STARVED", "warning"))
	if v := s.certificate().Verdict; !strings.Contains(v, "A2-BOTTOM-STARVED at step 10") {
		t.Errorf("verdict %q", v)
	}
	calm(10, true)
	s.Trouble.note(event(11, "F-SAVE-FAILED", "error"))
	s.Trouble.note(event(12, "W-EXAMPLE", "warning"))
	calm(12, true)
	s.Trouble.note(event(13, "E1-OUTLIER", "error"))
	calm(13, false)
	s.Trouble.note(event(20, "E2-SUSTAINED", "error"))
	calm(69, false)
	if got := strings.Join(s.certificate().Events, " "); got != "E1-OUTLIER E2-SUSTAINED" {
		t.Errorf("events %q", got)
	}
	calm(70, true)
	s.Trouble.note(event(90, "E0-NONFINITE", "error"))
	calm(90, false)
	if got := strings.Join(s.certificate().Events, " "); got != "E0-NONFINITE" {
		t.Errorf("events of the second time %q", got)
	}
}

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
