// Package guard decides, before every update, what a training step's numbers
// mean.
//
// [Next] is the whole controller: a pure function from the state so far and
// one observation to the next state and a decision. It sees numbers only, so
// every decision can be replayed from a run's log, tested and explained, and
// its state is saved with the run. It imports the standard library alone.
//
// It knows one rung so far: E0, a loss or gradient that is not finite, ends
// the run before the weights change. Finiteness is tested first and by itself,
// never through a comparison that NaN would pass.
package guard

import (
	"fmt"
	"math"
)

// CodeNonfinite is the event code of a loss or gradient norm that is NaN or infinite.
const CodeNonfinite = "E0-NONFINITE"

// Observation is what one optimizer step measured, before its update.
type Observation struct {
	Step     int64   // the update that would be made; the first is 1
	Loss     float64 // nats per token over the whole step
	GradNorm float64 // global norm before clipping
}

// State is everything the controller remembers. The zero value is a fresh run.
type State struct {
	Checked   int64 `json:"checked"`   // observations judged: a guard that never ran reports 0
	Nonfinite int64 `json:"nonfinite"` // observations refused as not finite
}

// Action is what the trainer does with the step.
type Action int

const (
	// Stop ends the run; weights and moments stay as they are. It is the zero
	// value: a decision nobody made never lets an update through.
	Stop Action = iota
	// Apply lets the update through.
	Apply
)

// Decision is what the controller says of one observation.
type Decision struct {
	Action Action
	Code   string // event code, empty when nothing is wrong
	Reason string // one sentence with the numbers that led to it
}

// Next judges one observation.
//
// It is pure: the same state and observation give the same decision.
func Next(s State, o Observation) (State, Decision) {
	s.Checked++
	lossOK, normOK := finite(o.Loss), finite(o.GradNorm)
	if lossOK && normOK {
		return s, Decision{Action: Apply}
	}
	s.Nonfinite++
	what := "the gradient norm"
	switch {
	case !lossOK && !normOK:
		what = "the loss and the gradient norm"
	case !lossOK:
		what = "the loss"
	}
	return s, Decision{
		Action: Stop,
		Code:   CodeNonfinite,
		Reason: fmt.Sprintf("%s of step %d is not finite (loss %v, gradient norm %v)", what, o.Step, o.Loss, o.GradNorm),
	}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
