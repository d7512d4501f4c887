package train

import (
	"gimbal/internal/evaluate"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
)

// Hooks tell what a run does while it does it. Any of them may be nil. They are called from the goroutine of the
// run, one at a time, and must return soon.
type Hooks struct {
	Note  func(text string)                                // a sentence about what was found or done
	Plan  func(p *plan.Plan, dir string)                   // once, before the first step
	Step  func(rec runlog.Step, seconds float64)           // after each update
	Eval  func(rec runlog.Eval, samples []evaluate.Sample) // after each evaluation
	Event func(rec runlog.Event)                           // whenever the guard or a fault speaks
}
