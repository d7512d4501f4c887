package optim

import (
	"math"
	"testing"
)

func TestRegained(t *testing.T) {
	// Cycles end at 40, 70 and 100.
	s := Schedule{Kind: "cosine-restarts", Peak: 1, Steps: 100, Warmup: 10, Period: 30, Floor: 0.1}
	type look struct {
		step int64
		loss float64
		want bool // a restart that was not regained
	}
	for name, looks := range map[string][]look{
		"falling":            {{20, 5, false}, {40, 4, false}, {50, 9, false}, {70, 3, false}, {100, 2, false}},
		"one lost":           {{40, 4, false}, {60, 3, false}, {70, 4.01, true}, {100, 4, false}},
		"the last lost":      {{40, 4, false}, {70, 3, false}, {100, 3.5, true}},
		"just regained":      {{40, 4, false}, {70, 4, false}, {100, 4, false}},
		"no number":          {{40, 4, false}, {70, math.NaN(), true}},
		"asked again":        {{40, 4, false}, {40, 5, false}, {70, 4.5, false}},
		"seen in the middle": {{50, 1, false}, {70, 4, false}, {100, 3, false}},
	} {
		var before Cycle
		for _, l := range looks {
			next, wrong := s.Regained(before, l.step, l.loss)
			if (wrong != "") != l.want {
				t.Errorf("%s: step %d, loss %g: %q", name, l.step, l.loss, wrong)
			}
			before = next
		}
	}
	for step := range int64(101) {
		if got, want := s.EndsCycle(step), step == 40 || step == 70 || step == 100; got != want {
			t.Errorf("step %d ends a cycle: %v", step, got)
		}
	}
	s.Kind = "cosine"
	if _, wrong := s.Regained(Cycle{Step: 40, Loss: 1}, 100, 2); wrong != "" {
		t.Errorf("a schedule without restarts: %q", wrong)
	}
}
