package guard

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Codes of the health alarms. None stops a run or changes its rate. What A5 reports makes Next refuse the step.
const (
	CodeZeroGrad       = "A1-ZERO-GRAD"      // a tensor gets no gradient
	CodeStarved        = "A2-BOTTOM-STARVED" // gradients vanish towards the bottom blocks
	CodeExploding      = "A3-EXPLODING"      // gradients grow towards the bottom blocks
	CodeFalling        = "A4-FALLING"        // the gradients of a block suddenly fall
	CodeNonfiniteGrad  = "A5-NONFINITE"      // the first tensor whose gradient is not finite
	CodeFrozen         = "W-FROZEN-WEIGHTS"  // updates are lost in rounding
	CodeResidualGrowth = "W-RESIDUAL-GROWTH" // the residual stream grows too fast
	CodeResidualCut    = "W-RESIDUAL-CUT"    // a block replaces its input
	CodeAttnEntropy    = "W-ATTN-ENTROPY"    // heads look at one key only
	CodeAttnLogit      = "W-ATTN-LOGIT"      // attention scores are too large
	CodeDeadUnits      = "W-DEAD-UNITS"      // MLP units are always silent
	CodeLogitDrift     = "W-LOGIT-DRIFT"     // all logits drift together
	CodeStartHealth    = "I-START-HEALTH"    // weights from elsewhere are beyond a limit, and were when they came
)

// TensorHealth is what one check measured of one tensor, before clipping and before the update.
type TensorHealth struct {
	Name   string
	Block  int    // -1 outside the blocks
	Kind   string // "embed", "attn", "mlp", "norm" (and biases), "head"
	Matrix bool   // and not a gain or bias
	Len    int64

	GradMean, GradRMS, GradMax float64 // of absolute values
	NonFinite                  int64   // elements
	WeightRMS, UpdateRMS       float64
	Unmoved                    int64 // elements that the update would leave unchanged
}

// ProbeHealth is what the forward pass of one sequence measured.
type ProbeHealth struct {
	Tokens  int
	Stream  []float64 // (L+1) RMS of the residual stream before each block and after the last
	Kept    []float64 // (L) share of a block's input that is in its output
	Entropy []float64 // of each head, block by block, as a share of the largest possible
	Logit   []float64 // (L) largest attention score
	Dead    []float64 // (L) share of silent MLP units
	LogZ    float64   // mean logarithm of the sum of exponentials of the logits
}

// HealthCheck is the measurements of one check of the model.
type HealthCheck struct {
	Step        int64 // the update that would be made; the first is 1
	Warmup      int64 // steps of the first warmup
	Layers      int
	Loss        float64 // nats per token
	LR          float64 // of this update
	PeakLR      float64
	WeightDecay float64
	Trained     bool           // the weights come from elsewhere
	Tensors     []TensorHealth // in the order of the model; none: only activations are checked
	Probe       *ProbeHealth   // nil: no forward pass was made
}

// HealthState is what health remembers between checks. It goes through JSON and back unchanged. The zero value is a
// fresh run.
type HealthState struct {
	Checks  int64           `json:"checks"`  // of tensors
	Tensors []tensorHistory `json:"tensors"` // in the order of the model
	Groups  []groupHistory  `json:"groups"`
	Losses  []float64       `json:"losses"`  // of the last checks
	Starved int             `json:"starved"` // checks in a row

	Probes     int64     `json:"probes"`
	StreamStep int64     `json:"stream_step"` // of the last probe
	Stream     float64   `json:"stream"`      // RMS of the residual stream after the last block
	Kept       []float64 `json:"kept"`        // of each block, at the last probe
	LogZ       []float64 `json:"log_z"`       // of the last probes
	Entropy    []float64 `json:"entropy"`     // of each head, at the last probe

	// What weights from elsewhere showed at the first probe. They work as they are: only what gets worse is an alarm.
	Start []string `json:"start,omitempty"`

	// Alarms of the last check. An alarm is reported when it begins, and again when it becomes an error.
	ToldTensors []string `json:"told_tensors"`
	ToldProbe   []string `json:"told_probe"`
}

// tensorHistory counts checks in a row.
type tensorHistory struct {
	Zero   int `json:"zero,omitempty"`   // without any gradient
	Frozen int `json:"frozen,omitempty"` // with lost updates
}

// groupHistory holds a group's mean |g| at the last checks.
type groupHistory struct {
	Block int       `json:"block"`
	Kind  string    `json:"kind"`
	Grads []float64 `json:"grads"`
}

// healthWindow is the number of checks that histories hold.
const healthWindow = 20

// HealthGroups combines tensors by block and kind, in the order in which they first occur. A group has no name.
func HealthGroups(tensors []TensorHealth) []TensorHealth {
	var groups []TensorHealth
	for _, t := range tensors {
		i := slices.IndexFunc(groups, func(g TensorHealth) bool { return g.Block == t.Block && g.Kind == t.Kind })
		if i < 0 {
			i = len(groups)
			groups = append(groups, TensorHealth{Block: t.Block, Kind: t.Kind})
		}
		g, n := &groups[i], float64(t.Len)
		g.Len += t.Len
		g.NonFinite += t.NonFinite
		g.GradMean += n * t.GradMean
		g.GradMax = max(g.GradMax, t.GradMax)
		g.GradRMS += n * t.GradRMS * t.GradRMS
		g.WeightRMS += n * t.WeightRMS * t.WeightRMS
		g.UpdateRMS += n * t.UpdateRMS * t.UpdateRMS
	}
	for i := range groups {
		g, n := &groups[i], float64(max(1, groups[i].Len))
		g.GradMean /= n
		for _, rms := range []*float64{&g.GradRMS, &g.WeightRMS, &g.UpdateRMS} {
			*rms = math.Sqrt(*rms / n)
		}
	}
	return groups
}

// Health judges one check and returns the new alarms, in the order of the codes.
//
// It is pure: it shares no memory with the state it is given, and the same arguments give the same result.
func Health(s HealthState, c HealthCheck) (HealthState, []Event) {
	h := &healthJudge{s: s, c: c}
	if len(c.Tensors) > 0 {
		h.tensors()
		h.s.ToldTensors, h.told = h.told, nil
	}
	if c.Probe != nil {
		begun := len(h.events)
		h.probe(c.Probe)
		h.s.ToldProbe = h.told
		if c.Trained && h.s.Probes == 1 {
			h.asTheyCame(begun)
		}
	}
	return h.s, h.events
}

// healthJudge is one call of Health in progress.
type healthJudge struct {
	s      HealthState
	c      HealthCheck
	told   []string
	events []Event
}

// alarm is a problem that one check found. It becomes an event if it is new.
type alarm struct {
	code    string
	subject string // what it is about: the same subject is reported once
	bad     bool   // an error and not a warning
	message string // what was seen
	suspect string // the likely cause
	look    string // what to look at
	numbers map[string]float64
}

// raise records an alarm. It makes an event if the alarm was not reported before, or was only a warning then.
func (h *healthJudge) raise(a alarm) {
	severity := "warning"
	if a.bad {
		severity = "error"
	}
	key := a.code + " " + a.subject + " "
	h.told = append(h.told, key+severity)
	known := func(severity string) bool {
		return slices.Contains(h.s.ToldTensors, key+severity) || slices.Contains(h.s.ToldProbe, key+severity) ||
			slices.Contains(h.s.Start, key+severity)
	}
	if known("error") || !a.bad && known("warning") {
		return
	}
	h.events = append(h.events, Event{Code: a.code, Severity: severity, Action: "none", Numbers: a.numbers,
		Message: fmt.Sprintf("step %d: %s; suspect: %s; look at %s", h.c.Step, a.message, a.suspect, a.look)})
}

// asTheyCame makes one note of the alarms from the first probe, whose events begin at begun: nothing here has trained
// these weights yet. Trained models go over limits that are right for fresh ones: ln Z of SmolLM2 is 27, and biases
// make large scores.
func (h *healthJudge) asTheyCame(begun int) {
	h.s.Start = h.told
	if len(h.events) == begun {
		return
	}
	var codes []string
	for _, e := range h.events[begun:] {
		codes = append(codes, e.Code)
	}
	h.events = append(h.events[:begun:begun], Event{Code: CodeStartHealth, Severity: "info", Action: "none",
		Message: fmt.Sprintf("step %d: as they came, the weights are beyond the limits of %s; reported again only if "+
			"they get worse", h.c.Step, strings.Join(slices.Compact(codes), ", "))})
}

// pushed returns a copy of a window with v at its end.
func pushed(window []float64, v float64) []float64 {
	return append(slices.Clone(window[max(0, len(window)-healthWindow+1):]), v)
}

// medianOf returns the median of a window, NaN of an empty one, and leaves the window unchanged.
func medianOf(window []float64) float64 { return median(slices.Clone(window)) }

// blockName says where a block is, for people.
func blockName(block int) string {
	if block < 0 {
		return "outside the blocks"
	}
	return fmt.Sprintf("block %d", block)
}

// plural writes a number with the thing that it counts.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// orZero is v, or 0 where v is not finite.
func orZero(v float64) float64 {
	if !finite(v) {
		return 0
	}
	return v
}
