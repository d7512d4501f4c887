package train

import (
	"gimbal/internal/evaluate"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
)

// Hooks tell what a run does while it does it. Any of them may be nil. They are called from the goroutine of the
// run, one at a time, and must return soon.
type Hooks struct {
	Note   func(text string)                                // a sentence that a person should read
	Detail func(text string)                                // a sentence for whoever wants to know more
	Plan   func(p *plan.Plan, dir string)                   // once, before the first step
	Check  func(rec *runlog.Preflight)                      // once, what the preflight found
	Step   func(rec runlog.Step, seconds float64)           // after each update
	Look   func(rec *runlog.Layers, alarms int)             // every 100 steps: the health of every block
	Eval   func(rec runlog.Eval, samples []evaluate.Sample) // after each evaluation
	Event  func(rec runlog.Event)                           // whenever the guard or a fault speaks
}
