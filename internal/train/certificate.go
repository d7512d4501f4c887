package train

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/runlog"
)

// calmSteps without an error make a checkpoint one to come back to.
const calmSteps = 50

// trouble is the last error of a run. It is saved with it, so that a resumed run certifies the same.
type trouble struct {
	Step  int64    `json:"step"` // 0: there was none
	Codes []string `json:"codes,omitempty"`

	Alarm   string `json:"alarm,omitempty"` // the last one on gradients, updates or activations
	AlarmAt int64  `json:"alarm_at,omitempty"`
}

// note remembers an event that disturbs the calm: an error of training, not one of files or of the preflight.
func (d *trouble) note(e runlog.Event) {
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

// calm reports whether no error occurred in the last calmSteps steps, and the guard sees none coming.
func (t *trainer) calm() bool {
	return t.state.Guard.Calm() && (t.state.Trouble.Step == 0 || t.state.Step-t.state.Trouble.Step >= calmSteps)
}

// health is the certificate of the run as it stands. That all is finite is what save has checked before.
func (t *trainer) health() checkpoint.Health {
	h := checkpoint.Health{Finite: true, Calm: t.calm()}
	if !h.Calm {
		h.Events = t.state.Trouble.Codes
	}
	switch d := t.state.Trouble; {
	case d.Alarm != "":
		h.Verdict = fmt.Sprintf("the last alarm on gradients, updates or activations: %s at step %d", d.Alarm, d.AlarmAt)
	case t.state.Health.Step > 0:
		h.Verdict = fmt.Sprintf("no alarm on gradients, updates or activations; last look at step %d", t.state.Health.Step)
	}
	if n := len(t.state.History); n > 0 && t.state.History[n-1].Step == t.state.Step {
		p := t.state.History[n-1]
		h.Metrics = map[string]float64{metricLoss: p.Loss}
		for name, m := range p.Metrics {
			h.Metrics[name] = m.Value
		}
	}
	return h
}
