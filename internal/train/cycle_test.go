package train

import (
	"slices"
	"testing"

	"gimbal/internal/runlog"
	"gimbal/internal/runstate"
)

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
	s, err := runstate.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Model.Close()
	if c := s.State.Cycle; c.Step != 60 || !(c.Loss > 0) {
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
	if e.Code != "W-RESTART-NOT-REGAINED" || e.Severity != "warning" || e.Numbers["loss"] != 3.25 ||
		e.Numbers["loss_before"] != 3 || e.Numbers["step_before"] != 26 || e.Step != 43 {
		t.Errorf("%+v", e)
	}
}
