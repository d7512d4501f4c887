package judge

import "math"

// Point is what a run remembers of an evaluation: all that stopping and choosing look at.
type Point struct {
	Step      int64   `json:"step"`
	Loss      float64 `json:"loss"` // validation loss in nats per token, on the same sample every time
	Disturbed bool    `json:"disturbed,omitempty"`
	Few       bool    `json:"few_documents,omitempty"` // how texts end says little
	// Of decisive; none where too little was written to be measured.
	Metrics map[string]Metric `json:"metrics,omitempty"`
}

// decisive are the metrics that a Point keeps.
var decisive = []string{"rep", "rep3", "rep4", "within", "between", "consistency", "finish_rate", "short_rate"}

// NewPoint remembers an evaluation. disturbed says that since the evaluation before, the guard had to confirm an
// instability. A loss that is not finite becomes the largest number there is: it is never the lowest.
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
	for _, name := range []string{"rep", "rep3", "rep4", "consistency", "between"} {
		if _, ok := p.Metrics[name]; !ok {
			return false
		}
	}
	return true
}

// excess is a metric above people's.
func (p Point) excess(name string) float64 { return p.Metrics[name].Excess() }

// The names of the rules for stopping and for choosing; the configuration keys judge.early_stop and judge.select hold
// them.
const (
	Sound   = "sound"
	Article = "article"
	Loss    = "loss"
	Off     = "off"
)
