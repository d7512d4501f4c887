package runstate

import (
	"gimbal/internal/runlog"
	"strings"
	"testing"
)

// A checkpoint saved soon after an error is not one to come back to; files and preflight are not the model's trouble,
// and calm returns.
func TestCalmAfterAnError(t *testing.T) {
	event := func(step int64, code, severity string) runlog.Event {
		return runlog.Event{At: runlog.At{Step: step}, Code: code, Severity: severity}
	}
	s := &State{}
	calm := func(step int64, want bool) {
		t.Helper()
		s.Step = step
		if h := s.Certificate(); h.Calm != want || h.Healthy() != want {
			t.Errorf("step %d: %+v, want calm %v", step, h, want)
		}
	}
	calm(10, true)
	if v := s.Certificate().Verdict; v != "" {
		t.Errorf("a verdict without a look: %q", v)
	}
	s.Health.Step = 10
	if v := s.Certificate().Verdict; !strings.Contains(v, "no alarm") || !strings.Contains(v, "step 10") {
		t.Errorf("verdict %q", v)
	}
	s.Trouble.Note(event(10, "A2-BOTTOM-STARVED", "warning"))
	if v := s.Certificate().Verdict; !strings.Contains(v, "A2-BOTTOM-STARVED at step 10") {
		t.Errorf("verdict %q", v)
	}
	calm(10, true)
	s.Trouble.Note(event(11, "F-SAVE-FAILED", "error"))
	s.Trouble.Note(event(12, "W-EXAMPLE", "warning"))
	calm(12, true)
	s.Trouble.Note(event(13, "E1-OUTLIER", "error"))
	calm(13, false)
	s.Trouble.Note(event(20, "E2-SUSTAINED", "error"))
	calm(69, false)
	if got := strings.Join(s.Certificate().Events, " "); got != "E1-OUTLIER E2-SUSTAINED" {
		t.Errorf("events %q", got)
	}
	calm(70, true)
	s.Trouble.Note(event(90, "E0-NONFINITE", "error"))
	calm(90, false)
	if got := strings.Join(s.Certificate().Events, " "); got != "E0-NONFINITE" {
		t.Errorf("events of the second time %q", got)
	}
}
