package train

import (
	"fmt"

	"gimbal/internal/runlog"
)

// Hooks tell what a run does while it does it. Any of them may be nil. They are called from the goroutine of the
// run, one at a time, and must return soon.
type Hooks struct {
	Note  func(text string)                           // a sentence about what was found or done
	Plan  func(p *Plan)                               // once, before the first step
	Step  func(rec runlog.Step, seconds float64)      // after each update
	Eval  func(rec runlog.Eval, samples []SampleText) // after each evaluation
	Event func(rec runlog.Event)                      // whenever the guard or a fault speaks
}

func (h Hooks) note(format string, args ...any) {
	if h.Note != nil {
		h.Note(fmt.Sprintf(format, args...))
	}
}

func (h Hooks) step(rec runlog.Step, seconds float64) {
	if h.Step != nil {
		h.Step(rec, seconds)
	}
}

func (h Hooks) eval(rec runlog.Eval, samples []SampleText) {
	if h.Eval != nil {
		h.Eval(rec, samples)
	}
}

func (h Hooks) event(rec runlog.Event) {
	if h.Event != nil {
		h.Event(rec)
	}
}
