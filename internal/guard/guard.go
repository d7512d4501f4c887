// Package guard decides, before every update, whether a training step may be applied.
//
// [Next] is the whole controller: a pure function from the state so far and one observation to the next state and a
// decision. It sees numbers only, so every decision can be replayed from a run's log, tested and explained. Its state
// is saved with the run. It imports the standard library alone. [Health] is the same for the slower checks of tensors
// and activations, which only raise alarms.
//
// Finiteness is tested first and by itself, never through a comparison that NaN would pass. What was refused never
// enters a window. All windows count observations and not steps, because a rewind moves steps back.
//
// Detection is in detect.go, the response to it in ladder.go, and what follows an accepted step (probation, nudges,
// warnings) in accept.go. docs/guards.md describes the rules.
package guard

import "fmt"

// Codes of the events.
const (
	CodeNonfinite = "E0-NONFINITE" // loss, gradient norm or update is NaN or infinite
	CodeOutlier   = "E1-OUTLIER"   // one step is far outside the accepted ones
	CodeSustained = "E2-SUSTAINED" // more than one step is bad
	CodeDiverged  = "E3-DIVERGED"  // the run does not recover, or a budget is used up
	CodeRate      = "E3-RATE"      // the schedule gave a rate outside (0, peak]

	CodeNudge       = "I-NUDGE"        // slow and calm: the rate was raised a little
	CodeRegain      = "I-REGAIN"       // healthy for long: a halving of the rate is given back
	CodePeakLow     = "W-PEAK-LOW"     // all nudges are used up
	CodeClipRegime  = "W-CLIP-REGIME"  // most updates are clipped
	CodeUpdateRatio = "W-UPDATE-RATIO" // updates are large compared with the weights
)

// Rules are the settings of the controller. They do not change while it runs.
type Rules struct {
	Act        bool    `json:"act"`         // false: record what would be done, and apply every update
	StayHalved bool    `json:"stay_halved"` // guard.halve = "article": a halved rate never grows back
	Steps      int64   `json:"steps"`       // planned updates
	Warmup     int64   `json:"warmup"`      // steps of the first warmup
	LossLimit  float64 `json:"loss_limit"`  // ln V, the loss of a model that knows nothing, nats per token; 0: none
	Clip       float64 `json:"clip"`        // largest global gradient norm; 0: not clipped
	MaxRate    float64 `json:"max_rate"`    // largest rate the schedule may give, its peak; 0: not checked
	MaxScale   float64 `json:"max_scale"`   // largest factor on the scheduled rate that nudges may reach; 1: no nudges
	// MaxRatio is the largest update of the median matrix, as a share of its size; 0: 0.1.
	MaxRatio float64 `json:"max_ratio,omitempty"`
	// Limits is the version of the limits, so that an old log is replayed as it was decided. 0: the size of a batch is
	// not looked at and a rewind halves the rate for good. 1: clipping counts from the first step. 2: see
	// docs/guards.md.
	Limits int64 `json:"limits,omitempty"`
}

// Limits is the newest version of the limits.
const Limits = 2

// MuonRatio is Rules.MaxRatio for Muon, whose updates move a matrix in all directions alike. Rates that reach half of
// it learn as well as lower ones.
const MuonRatio = 0.2

// ratioLimits are the update ratios above which there is a warning, and an outlier.
func (r Rules) ratioLimits() (warning, outlier float64) {
	outlier = ratioOutlier
	if r.MaxRatio > 0 {
		outlier = r.MaxRatio
	}
	return outlier / 2, outlier
}

// Observation is what one optimizer step measured, before its update.
type Observation struct {
	Step     int64   // the update that would be made; the first is 1
	Batch    int64   // cursor into the data: it advances when a step is refused
	Labels   int64   // that count in Loss; 0: not known, as in logs of limits 0
	Loss     float64 // nats per token over the whole step
	GradNorm float64 // global norm before clipping
	LR       float64 // scheduled learning rate, before the guard's factor
	// UpdateRatio is the median over the matrices of RMS(Δw)/RMS(w) that the update would make at the current factor;
	// 0 where it was not measured.
	UpdateRatio float64
}

// State is everything the controller remembers. It is a value without pointers, so assigning it copies it. All its
// numbers are finite, so it goes through JSON and back unchanged. The zero value is a fresh run that records and never
// acts; New makes one that follows rules.
type State struct {
	Rules   Rules `json:"rules"`
	Checked int64 `json:"checked"` // observations so far: a guard that never ran reports 0
	Labels  int64 `json:"labels"`  // of the last observation

	// How often each thing was seen, for the report.
	Nonfinite int64 `json:"nonfinite"`
	Outlier   int64 `json:"outlier"`
	Sustained int64 `json:"sustained"`
	Stopped   int64 `json:"stopped"`

	// Windows. Accepted steps enter the first three, every finite loss the fourth.
	Losses ring `json:"losses"` // nats per token
	Rates  ring `json:"rates"`  // rates of the updates of Losses; 0 during the first warmup
	Norms  ring `json:"norms"`  // ln(gradient norm)
	Recent ring `json:"recent"` // the last divergeCount losses

	EarlyNorm float64 `json:"early_norm"` // median gradient norm of the first steps; 0: not known yet
	Rises     int64   `json:"rises"`      // planned rises of the rate so far

	Best    float64 `json:"best"` // lowest median of Recent since the last rewind
	HasBest bool    `json:"has_best"`

	// When it happened, as values of Checked, oldest first; 0: not yet.
	Outliers   [manyOutliers]int64  `json:"outliers"`   // since the last rewind
	Nonfinites [manyNonfinite]int64 `json:"nonfinites"` // since the last rewind
	Rewinds    [manyRewinds]int64   `json:"rewinds"`
	LastError  int64                `json:"last_error"` // any E event
	RatioHigh  int64                `json:"ratio_high"` // a large update
	RatioTold  int64                `json:"ratio_told"` // the warning about it

	// The factor on the scheduled rate: 1.1^Nudges / 2^Halvings · (1 - Dip), the last part growing back to 1.
	Halvings int64   `json:"halvings"` // that stay until regain, or for good
	Nudges   int64   `json:"nudges"`
	NudgedAt int64   `json:"nudged_at"` // step of the last nudge
	Dip      float64 `json:"dip"`       // share of the rate that a probation has taken, in [0,1)
	Calmed   int64   `json:"calmed"`    // accepted steps of the probation

	Refused  int64 `json:"refused"`  // observations since the last rewind
	Regained int64 `json:"regained"` // value of Checked when a halving was last given back; 0: never

	// Clipping of the accepted steps since the share was last computed.
	ClipSteps  int64 `json:"clip_steps"`
	Clipped    int64 `json:"clipped"`
	ClipRegime bool  `json:"clip_regime"` // most steps are clipped, and the warning was given
}

// New is the state before the first step.
func New(r Rules) State { return State{Rules: r} }

// Scale is the factor on the scheduled learning rate for the next update, in (0, MaxScale]. A guard that only records
// has 1.
func (s State) Scale() float64 {
	if !s.Rules.Act {
		return 1
	}
	return s.factor()
}

// Calm reports whether a checkpoint saved now may be rewound to: nothing was refused in the last 50 observations and
// the loss is on its trend.
func (s State) Calm() bool {
	if s.LastError > 0 && s.Checked-s.LastError < calmSpan {
		return false
	}
	if !s.Losses.armed() {
		return true
	}
	trend, _, scale := s.lossLine()
	return !((s.recentLoss()-trend)/scale > recentCalm)
}

// Action is what the trainer does with the step.
type Action int

const (
	// Stop ends the run; weights and moments stay as they are. It is the zero value, so a decision that nobody made
	// never applies an update.
	Stop Action = iota
	// Apply makes the update, at Decision.Scale.
	Apply
	// Skip refuses the update; the run continues with the next batch.
	Skip
	// Rewind refuses the update and goes back to the newest healthy checkpoint, past the data that was used since.
	Rewind
)

// String is the action as logs have it.
func (a Action) String() string {
	switch a {
	case Apply:
		return "apply"
	case Skip:
		return "skip"
	case Rewind:
		return "rewind"
	}
	return "stop"
}

// Decision is the answer to one observation.
type Decision struct {
	Action     Action
	Scale      float64 // factor on the scheduled rate: of this update if it is applied, else of the next
	Quarantine bool    // leave the sequences of this batch out for the rest of the run
	Diagnose   bool    // try the batch again in full precision, to tell data from numerics; never apply that
	Events     []Event // what to record, in order; empty when nothing is wrong
}

// Event is one thing that was detected.
type Event struct {
	Code     string
	Severity string // "info", "warning" or "error"
	Action   string // what is done about it, or in observe mode would be
	Message  string // one sentence with the numbers that led to it
	Numbers  map[string]float64
}

// warning makes an event of a warning that changes nothing.
func warning(code string, step int64, numbers map[string]float64, format string, args ...any) Event {
	return Event{Code: code, Severity: "warning", Action: "none", Numbers: numbers,
		Message: fmt.Sprintf("step %d: ", step) + fmt.Sprintf(format, args...)}
}

// would names an action, as one that is not taken where the guard only records.
func (s *State) would(action string) string {
	if s.Rules.Act {
		return action
	}
	return "none; would " + action
}

// Next judges one observation.
//
// It is pure: the same state and observation give the same decision, and the state that was passed in is unchanged. It
// allocates only where there is an event.
func Next(s State, o Observation) (State, Decision) {
	s.Checked++
	s.Labels = o.Labels
	if finite(o.Loss) {
		s.Recent.push(o.Loss, divergeCount)
	}
	if s.rises(o) {
		s.Rises++
		s.Losses, s.Rates = ring{}, ring{}
	}
	v := s.compare(o)
	if f := s.detect(o, v); f.action != Apply {
		return s, s.refuse(o, v, f)
	}
	return s, s.accept(o, v)
}
