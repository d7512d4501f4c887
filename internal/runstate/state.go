package runstate

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/data"
	"gimbal/internal/evaluate"
	"gimbal/internal/faults"
	"gimbal/internal/guard"
	"gimbal/internal/inspect"
	"gimbal/internal/judge"
	"gimbal/internal/optim"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// State is the rest of a run beside weights and moments: everything that decides what comes next.
type State struct {
	Version  int   `json:"version"`
	Step     int64 `json:"step"`     // updates done
	Batch    int64 `json:"batch"`    // cursor into the data: batches taken
	Sequence int64 `json:"sequence"` // cursor into the data: sequences taken
	Attempt  int64 `json:"attempt"`
	Tokens   int64 `json:"tokens"` // labels learned from
	Evals    int   `json:"evals"`
	Due      bool  `json:"evaluation_due,omitempty"` // the evaluation of this step was interrupted
	Whole    bool  `json:"whole,omitempty"`          // it is the end of an epoch or of the run: all texts are written

	Best     runlog.Float   `json:"best_loss"` // lowest validation loss, nats per token
	BestStep int64          `json:"best_step"` // 0: none yet, or the start
	Guard    guard.State    `json:"guard"`
	Health   inspect.Health `json:"health"`

	Layered optim.LayeredState `json:"layered,omitzero"` // with optim.agc

	Quarantine []rundir.Sequence `json:"quarantine,omitempty"` // left out for the rest of the run
	Anchor     int64             `json:"anchor"`               // step to go back to: the newest planned healthy save
	Rewinds    int               `json:"rewinds,omitempty"`    // times the run went back
	Faults     []faults.Planted  `json:"faults,omitempty"`     // planted on purpose

	Trouble Trouble `json:"trouble"`

	History  []judge.Point `json:"history,omitempty"`  // the evaluations so far
	Stopped  string        `json:"stopped,omitempty"`  // why the judge ended the run
	Illusion bool          `json:"illusion,omitempty"` // it was reported that the loss flatters
	Writing  string        `json:"writing,omitempty"`  // what the report says about the last texts

	Reference   string            `json:"reference,omitempty"` // SHA-256 of the file of it; empty: there is none
	Preferences guard.Preferences `json:"preferences,omitzero"`

	Marks map[string]int64 `json:"marks,omitempty"` // names of checkpoints; a negative step: none has it

	Baseline runlog.Baseline `json:"baseline"`
	Before   *Before         `json:"before,omitempty"` // training on weights from elsewhere; nil: fresh ones

	Cycle     optim.Cycle `json:"cycle"`                // the last cycle of the learning rate that ended
	RateLimit float64     `json:"rate_limit,omitempty"` // where the range test's loss was least: no nudge goes above; 0: none

	rundir.Inputs
	Log runlog.Prefix `json:"log,omitzero"` // as it was when this was saved
}

// Cursor is the place in the data that the run has come to.
func (s *State) Cursor() data.Cursor { return data.Cursor{Batch: s.Batch, Seq: s.Sequence} }

// Move sets the place in the data.
func (s *State) Move(to data.Cursor) { s.Batch, s.Sequence = to.Batch, to.Seq }

// calmSteps without an error make a checkpoint one to come back to.
const calmSteps = 50

// Trouble is the last error of a run. It is saved with it, so that a resumed run certifies the same.
type Trouble struct {
	Step  int64    `json:"step"` // 0: there was none
	Codes []string `json:"codes,omitempty"`

	Alarm   string `json:"alarm,omitempty"` // the last one on gradients, updates or activations
	AlarmAt int64  `json:"alarm_at,omitempty"`
}

// Note remembers an event that disturbs the calm: an error of training, not one of files or of the preflight.
func (d *Trouble) Note(e runlog.Event) {
	if strings.HasPrefix(e.Code, "A") {
		d.Alarm, d.AlarmAt = e.Code, e.Step
	}
	if e.Severity != "error" || strings.HasPrefix(e.Code, "F-") || strings.HasPrefix(e.Code, "P-") {
		return
	}
	if e.Step-d.Step >= calmSteps {
		d.Codes = nil
	}
	d.Step = e.Step
	if !slices.Contains(d.Codes, e.Code) {
		d.Codes = append(d.Codes, e.Code)
	}
}

// Calm reports whether no error occurred in the last calmSteps steps, and the guard sees none coming.
func (s *State) Calm() bool {
	return s.Guard.Calm() && (s.Trouble.Step == 0 || s.Step-s.Trouble.Step >= calmSteps)
}

// Disturbed reports whether the guard confirmed an instability since the evaluation before.
func (s *State) Disturbed() bool {
	before := int64(0)
	if n := len(s.History); n > 0 {
		before = s.History[n-1].Step
	}
	if s.Trouble.Step <= before {
		return false
	}
	return slices.ContainsFunc(s.Trouble.Codes, func(code string) bool {
		return strings.HasPrefix(code, "E2") || strings.HasPrefix(code, "E3")
	})
}

// Certificate is what a checkpoint says of its health. That all is finite is what the engine has checked.
func (s *State) Certificate() checkpoint.Health {
	h := checkpoint.Health{Finite: true, Calm: s.Calm()}
	if !h.Calm {
		h.Events = s.Trouble.Codes
	}
	switch d := s.Trouble; {
	case d.Alarm != "":
		h.Verdict = fmt.Sprintf("the last alarm on gradients, updates or activations: %s at step %d", d.Alarm, d.AlarmAt)
	case s.Health.Step > 0:
		h.Verdict = fmt.Sprintf("no alarm on gradients, updates or activations; last look at step %d", s.Health.Step)
	}
	if n := len(s.History); n > 0 && s.History[n-1].Step == s.Step {
		p := s.History[n-1]
		name := evaluate.MetricLoss
		if s.Reference != "" {
			name = evaluate.MetricPairLoss
		}
		h.Metrics = map[string]float64{name: p.Loss}
		for name, m := range p.Metrics {
			h.Metrics[name] = m.Value
		}
	}
	return h
}
