package train

import (
	"fmt"

	"gimbal/internal/optim"
	"gimbal/internal/runlog"
)

// cycle is what the validation loss was when a cycle of the learning rate ended at its floor.
type cycle struct {
	Step int64        `json:"step"` // 0: none has ended yet
	Loss runlog.Float `json:"loss"` // nats per token, on the sample that every evaluation scores
}

// regained compares the loss at the end of a cycle with that before the restart that began it. It returns the cycle to
// compare with next, and what is wrong in a sentence, empty where the restart has paid back what it cost. The same
// sample is scored each time, so any loss above the one before counts; NaN is above.
func regained(s optim.Schedule, before cycle, step int64, loss float64) (next cycle, wrong string) {
	if !s.EndsCycle(step) {
		return before, ""
	}
	if before.Step > 0 && before.Step < step && !(loss <= float64(before.Loss)) {
		wrong = fmt.Sprintf("the validation loss at the end of this learning-rate cycle is %.4f, above the %.4f before "+
			"its restart at step %d", loss, float64(before.Loss), before.Step)
	}
	return cycle{Step: step, Loss: runlog.Float(loss)}, wrong
}

// watchRestart reports a restart of the learning rate whose cost is not regained by its cycle's end. It is asked at
// each evaluation, and there is one at the end of each cycle.
func (t *run) watchRestart(loss float64) error {
	before := t.state.Cycle
	var wrong string
	if t.state.Cycle, wrong = regained(t.plan.Rate.Schedule, before, t.state.Step, loss); wrong == "" {
		return nil
	}
	return t.event(runlog.Event{At: t.at(), Code: "W-RESTART-NOT-REGAINED", Severity: "warning", Action: "none",
		Message: wrong + "; schedule.kind = cosine or linear has no restarts",
		Numbers: map[string]runlog.Float{"loss": runlog.Float(loss), "loss_before": before.Loss,
			"step_before": runlog.Float(before.Step)}})
}
