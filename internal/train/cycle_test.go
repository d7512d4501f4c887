package train

import (
	"math"
	"slices"
	"testing"

	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

func TestRegained(t *testing.T) {
	s := optim.Schedule{Kind: "cosine-restarts", Peak: 1, Steps: 100, Warmup: 10, Period: 30, Floor: 0.1} // cycles end at 40, 70 and 100
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
		var before cycle
		for _, l := range looks {
			next, wrong := regained(s, before, l.step, l.loss)
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
	if _, wrong := regained(s, cycle{Step: 40, Loss: 1}, 100, 2); wrong != "" {
		t.Errorf("a schedule without restarts: %q", wrong)
	}
}

// Each cycle ends with an evaluation, and the run that goes on from a kill remembers the cycle before.
func TestCyclesEndWithAnEvaluation(t *testing.T) {
	cfg := tiny(t, "train.steps=60", "schedule.period=17", "schedule.warmup=9", "eval.every=50", "judge.early_stop=off")
	dir := finished(t, cfg, Options{}).Dir
	var steps []int64
	for _, e := range runlog.All[runlog.Eval](readLog(t, dir)) {
		steps = append(steps, e.Step)
	}
	if want := []int64{26, 43, 50, 60}; !slices.Equal(steps, want) {
		t.Errorf("evaluations at %v, want %v", steps, want)
	}
	s, err := openSaved(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.model.Close()
	if c := s.state.Cycle; c.Step != 60 || !(c.Loss > 0) {
		t.Errorf("saved: %+v", c)
	}
}

// A restart that was not regained is an event with its numbers.
func TestRestartNotRegainedIsTold(t *testing.T) {
	tr := newRun(t, tiny(t, "train.steps=60", "schedule.period=17", "schedule.warmup=9"), Options{})
	tr.state.Step = 26
	if err := tr.watchRestart(3); err != nil || len(tr.record.events) != 0 {
		t.Fatalf("%v, %+v", err, tr.record.events)
	}
	tr.state.Step = 43
	if err := tr.watchRestart(3.25); err != nil || len(tr.record.events) != 1 {
		t.Fatalf("%v, %+v", err, tr.record.events)
	}
	e := tr.record.events[0]
	if e.Code != "W-RESTART-NOT-REGAINED" || e.Severity != "warning" || e.Numbers["loss"] != 3.25 || e.Numbers["loss_before"] != 3 || e.Numbers["step_before"] != 26 || e.Step != 43 {
		t.Errorf("%+v", e)
	}
}
