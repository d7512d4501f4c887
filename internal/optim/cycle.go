package optim

import (
	"fmt"
	"math"
)

// Cycle is what the validation loss was when a cycle of cosine-restarts ended at its floor.
type Cycle struct {
	Step int64   `json:"step"` // 0: none has ended yet
	Loss float64 `json:"loss"` // nats per token, on the sample that every evaluation scores
}

// Regained compares the loss at the end of a cycle with that before the restart that began it. It returns the cycle to
// compare with next, and what is wrong in a sentence, empty where the restart has paid back what it cost. The same
// sample is scored each time, so any loss above the one before counts; NaN is above, and is kept as the largest number.
func (s Schedule) Regained(before Cycle, step int64, loss float64) (next Cycle, wrong string) {
	if !s.EndsCycle(step) {
		return before, ""
	}
	if before.Step > 0 && before.Step < step && !(loss <= before.Loss) {
		wrong = fmt.Sprintf("the validation loss at the end of this learning-rate cycle is %.4f, above the %.4f before "+
			"its restart at step %d", loss, before.Loss, before.Step)
	}
	if !(loss <= math.MaxFloat64) {
		loss = math.MaxFloat64
	}
	return Cycle{Step: step, Loss: loss}, wrong
}
