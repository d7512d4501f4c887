// Package guard decides, before every update, what a training step's numbers
// mean.
//
// [Next] is the whole controller: a pure function from the state so far and
// one observation to the next state and a decision. It sees numbers only, so
// every decision can be replayed from a run's log, tested and explained, and
// its state is saved with the run. It imports the standard library alone.
//
// Finiteness is tested first and by itself, never through a comparison that
// NaN would pass; what was refused never enters a window.
package guard

import (
	"fmt"
	"math"
)

// Codes of the events of the ladder.
const (
	CodeNonfinite = "E0-NONFINITE" // loss, gradient norm or update is NaN or infinite
	CodeOutlier   = "E1-OUTLIER"   // one step far outside the accepted ones
	CodeSustained = "E2-SUSTAINED" // more than a step: the run is worse than it was
	CodeDiverged  = "E3-DIVERGED"  // it does not come back, or a budget is used up
)

// Rules are what the controller needs to know of the run. They do not change
// while it runs.
type Rules struct {
	Act        bool    `json:"act"`         // false: record what would be done, and let every update through
	StayHalved bool    `json:"stay_halved"` // guard.halve = "article": a halved rate is never earned back
	Steps      int64   `json:"steps"`       // planned updates
	Warmup     int64   `json:"warmup"`      // steps of the first warmup
	LossLimit  float64 `json:"loss_limit"`  // ln V, the loss of a model that knows nothing, nats per token
	Clip       float64 `json:"clip"`        // largest global gradient norm
	MaxScale   float64 `json:"max_scale"`   // largest factor on the scheduled rate that nudges may reach; 1: no nudges
}

// Observation is what one optimizer step measured, before its update.
type Observation struct {
	Step     int64   // the update that would be made; the first is 1
	Batch    int64   // cursor into the data: it moves on when a step is refused
	Loss     float64 // nats per token over the whole step
	GradNorm float64 // global norm before clipping
	LR       float64 // scheduled learning rate, before the guard's factor
	// UpdateRatio is the median over the matrices of RMS(Δw)/RMS(w) that the
	// update would make at the factor in force; 0 where it was not measured.
	UpdateRatio float64
}

// State is everything the controller remembers. The zero value is a fresh run
// without rules: see New.
type State struct {
	Rules     Rules `json:"rules"`
	Checked   int64 `json:"checked"`   // observations judged: a guard that never ran reports 0
	Nonfinite int64 `json:"nonfinite"` // observations refused as not finite
}

// New is the state before the first step.
func New(r Rules) State { return State{Rules: r} }

// Scale is the factor on the scheduled learning rate that is in force for the
// next update, in (0, MaxScale].
func (s State) Scale() float64 { return 1 }

// Calm reports whether a checkpoint saved now may be rewound to: nothing was
// refused lately and the loss is where it was.
func (s State) Calm() bool { return true }

// Action is what the trainer does with the step.
type Action int

const (
	// Stop ends the run; weights and moments stay as they are. It is the zero
	// value: a decision nobody made never lets an update through.
	Stop Action = iota
	// Apply lets the update through, at Decision.Scale.
	Apply
	// Skip refuses the update; the run goes on with the next batch.
	Skip
	// Rewind refuses the update and goes back to the newest healthy checkpoint,
	// past the data that was consumed since.
	Rewind
)

// Decision is what the controller says of one observation.
type Decision struct {
	Action     Action
	Scale      float64 // factor on the scheduled rate: of this update if it is applied, else of the next
	Quarantine bool    // leave the sequences of this batch out for the rest of the run
	Diagnose   bool    // try the batch again in full precision, to tell data from numerics; never apply that
	Events     []Event // what to record, in order; empty when nothing is wrong
}

// Event is one thing that was seen.
type Event struct {
	Code     string
	Severity string // "info", "warning" or "error"
	Action   string // what is done about it, or in observe mode would be
	Message  string // one sentence with the numbers that led to it
	Numbers  map[string]float64
}

// Next judges one observation.
//
// It is pure: the same state and observation give the same decision.
func Next(s State, o Observation) (State, Decision) {
	s.Checked++
	lossOK, normOK := finite(o.Loss), finite(o.GradNorm)
	if lossOK && normOK {
		return s, Decision{Action: Apply, Scale: s.Scale()}
	}
	s.Nonfinite++
	what := "the gradient norm"
	switch {
	case !lossOK && !normOK:
		what = "the loss and the gradient norm"
	case !lossOK:
		what = "the loss"
	}
	return s, Decision{Action: Stop, Scale: s.Scale(), Events: []Event{{
		Code: CodeNonfinite, Severity: "error", Action: "stop before the update",
		Message: fmt.Sprintf("%s of step %d is not finite (loss %v, gradient norm %v)", what, o.Step, o.Loss, o.GradNorm),
		Numbers: map[string]float64{"loss": o.Loss, "grad_norm": o.GradNorm},
	}}}
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
