package judge

import (
	"fmt"
	"math"
)

// The rules for stopping and for choosing, as the configuration keys judge.early_stop and judge.select name them.
const (
	Sound   = "sound"
	Article = "article"
	Loss    = "loss"
	Off     = "off"
)

// Point is what a run remembers of an evaluation: everything that stopping and choosing look at.
type Point struct {
	Step      int64   `json:"step"`
	Loss      float64 `json:"loss"` // validation loss in nats per token, on the same sample every time
	Disturbed bool    `json:"disturbed,omitempty"`
	Few       bool    `json:"few_documents,omitempty"` // how texts end says little
	// Metrics has those of decisive; none where too little was written to be measured.
	Metrics map[string]Metric `json:"metrics,omitempty"`
}

// decisive are the metrics that a Point keeps; without the first five, it was not measured.
var decisive = []string{"rep", "rep3", "rep4", "consistency", "between", "within", "finish_rate", "short_rate"}

// NewPoint remembers an evaluation. disturbed says that the guard confirmed an instability since the evaluation before.
// A loss that is not finite becomes the largest number there is, so it is never the lowest.
func NewPoint(step int64, loss float64, disturbed, few bool, r *Report) Point {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		loss = math.MaxFloat64
	}
	p := Point{Step: step, Loss: loss, Disturbed: disturbed, Few: few, Metrics: map[string]Metric{}}
	for _, name := range decisive {
		if m, ok := r.Metrics[name]; ok {
			p.Metrics[name] = m
		}
	}
	return p
}

// measured reports whether repetition and consistency could be measured.
func (p Point) measured() bool {
	for _, name := range decisive[:5] {
		if _, ok := p.Metrics[name]; !ok {
			return false
		}
	}
	return true
}

// excess is how far a metric is above that of human text.
func (p Point) excess(name string) float64 { return p.Metrics[name].Excess() }

const (
	illusionPoints = 3    // evaluations over which a trend is looked for
	repetitive     = 0.25 // rep-4 of human text from which the validation text is called repetitive
	overlapping    = 0.05 // share of human texts that are copied from the training text
)

// Illusion says why the validation loss may look better than it is: one sentence for each reason. It is pure.
func Illusion(history []Point, last *Report) (warnings []string) {
	if n := len(history); n >= illusionPoints && history[n-illusionPoints].measured() && history[n-1].measured() {
		a, b := history[n-illusionPoints], history[n-1]
		grew := b.excess("rep") - a.excess("rep")
		// Below the cap an untrained model is learning to repeat as human text does.
		more := grew > max(worseFloor, worseSigmas*b.Metrics["rep"].SE) && b.excess("rep") > excessCap
		if b.Loss < a.Loss && more {
			warnings = append(warnings, fmt.Sprintf("since step %d the validation loss fell from %.4f to %.4f while "+
				"excess repetition grew from %.3f to %.3f: the loss improves and the writing does not",
				a.Step, a.Loss, b.Loss, a.excess("rep"), b.excess("rep")))
		}
	}
	if last == nil {
		return warnings
	}
	if m := last.Metrics["rep4"]; m.Compared && m.Human > repetitive {
		warnings = append(warnings, fmt.Sprintf("the validation text itself is repetitive: %.0f %% of the 4-grams in "+
			"its texts repeat, so a low loss proves little", 100*m.Human))
	}
	if m := last.Metrics["copied"]; m.Compared && m.Human > overlapping {
		warnings = append(warnings, fmt.Sprintf("the validation text overlaps the training text: %.0f %% of its texts "+
			"share a run of %d tokens with it, so a low loss may be memory", 100*m.Human, copiedTokens))
	}
	return warnings
}
