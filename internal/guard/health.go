package guard

import (
	"fmt"
	"math"
	"slices"
)

// Codes of the alarms of health. They are observations: none stops a run or changes its rate, but what A5 sees makes
// Next refuse the step.
const (
	CodeZeroGrad       = "A1-ZERO-GRAD"      // a tensor learns nothing
	CodeStarved        = "A2-BOTTOM-STARVED" // gradients fade on their way down
	CodeExploding      = "A3-EXPLODING"      // they grow on it
	CodeFalling        = "A4-FALLING"        // a part of the model suddenly learns much less
	CodeNonfiniteGrad  = "A5-NONFINITE"      // the first tensor whose gradient is not finite
	CodeFrozen         = "W-FROZEN-WEIGHTS"  // updates that are lost in rounding
	CodeResidualGrowth = "W-RESIDUAL-GROWTH" // the stream grows without bound
	CodeResidualCut    = "W-RESIDUAL-CUT"    // a block replaces its input
	CodeAttnEntropy    = "W-ATTN-ENTROPY"    // heads look at one key only
	CodeAttnLogit      = "W-ATTN-LOGIT"      // scores run away
	CodeDeadUnits      = "W-DEAD-UNITS"      // units of an MLP that never speak
	CodeLogitDrift     = "W-LOGIT-DRIFT"     // logits run away together
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
	Unmoved                    int64 // elements that the update would leave as they are
}

// ProbeHealth is what the forward pass of one sequence showed.
type ProbeHealth struct {
	Tokens  int
	Stream  []float64 // (L+1) RMS of the residual stream before each block and after the last
	Kept    []float64 // (L) share of a block's input that is in its output
	Entropy []float64 // of each head, block by block, as a share of the largest possible
	Logit   []float64 // (L) largest score of attention
	Dead    []float64 // (L) share of silent units
	LogZ    float64   // mean logarithm of the sum of exponentials of the logits
}

// HealthCheck is one look at the whole model.
type HealthCheck struct {
	Step        int64 // the update that would be made; the first is 1
	Warmup      int64 // steps of the first warmup
	Layers      int
	Loss        float64 // nats per token
	LR          float64 // of this update
	PeakLR      float64
	WeightDecay float64
	Tensors     []TensorHealth // in the order of the model; none: only the probe was taken
	Probe       *ProbeHealth   // nil: not taken
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

	// What is the matter now and was told: an alarm speaks when it begins, and again when it gets worse.
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

// HealthGroup is the tensors of one kind in one block.
type HealthGroup struct {
	Block                      int
	Kind                       string
	Len                        int64
	GradMean, GradRMS, GradMax float64
	NonFinite                  int64
	WeightRMS, UpdateRMS       float64
}

// HealthGroups sums tensors up by block and kind, in the order in which they come.
func HealthGroups(tensors []TensorHealth) []HealthGroup {
	var groups []HealthGroup
	for _, t := range tensors {
		i := slices.IndexFunc(groups, func(g HealthGroup) bool { return g.Block == t.Block && g.Kind == t.Kind })
		if i < 0 {
			i = len(groups)
			groups = append(groups, HealthGroup{Block: t.Block, Kind: t.Kind})
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
		g.GradRMS, g.WeightRMS, g.UpdateRMS = math.Sqrt(g.GradRMS/n), math.Sqrt(g.WeightRMS/n),
			math.Sqrt(g.UpdateRMS/n)
	}
	return groups
}

// Health judges one check and returns what is newly the matter, in the order of the codes.
//
// It is pure: it shares no memory with the state it is given, and the same arguments give the same result.
func Health(s HealthState, c HealthCheck) (HealthState, []Event) {
	h := &healthJudge{s: s, c: c}
	if len(c.Tensors) > 0 {
		h.tensors()
		h.s.ToldTensors, h.told = h.told, nil
	}
	if c.Probe != nil {
		h.probe(c.Probe)
		h.s.ToldProbe = h.told
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

// alarm is what one check found wrong. It becomes an event if it is news.
type alarm struct {
	code    string
	subject string // what it is about: the same subject is told once
	bad     bool   // an error and not a warning
	suspect string // residual, initialisation, frozen, dead, or another cause
	message string // what was seen
	look    string // what to look at
	numbers map[string]float64
}

// raise records an alarm, and makes an event of it if it was not told before, or was a mere warning then.
func (h *healthJudge) raise(f alarm) {
	severity := "warning"
	if f.bad {
		severity = "error"
	}
	key := f.code + " " + f.subject
	h.told = append(h.told, key+" "+severity)
	known := func(severity string) bool {
		k := key + " " + severity
		return slices.Contains(h.s.ToldTensors, k) || slices.Contains(h.s.ToldProbe, k)
	}
	if known("error") || !f.bad && known("warning") {
		return
	}
	h.events = append(h.events, Event{Code: f.code, Severity: severity, Action: "none",
		Message: fmt.Sprintf("step %d: %s; suspect: %s; look at %s", h.c.Step, f.message, f.suspect, f.look),
		Numbers: f.numbers})
}

// pushed returns a copy of a window with v at its end.
func pushed(window []float64, v float64) []float64 {
	return append(slices.Clone(window[max(0, len(window)-healthWindow+1):]), v)
}

// medianOf returns the median of a window, NaN of none, and leaves the window alone.
func medianOf(window []float64) float64 { return median(slices.Clone(window)) }
