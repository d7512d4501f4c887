package train

import (
	"fmt"
	"math"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// Comparison is runs side by side: each by the evaluation of its chosen checkpoint, else by its last.
type Comparison struct {
	Runs []ComparedRun `json:"runs"`
	Rows []ComparedRow `json:"rows"`
	Note string        `json:"note,omitempty"` // what cannot be compared
}

// ComparedRun is one run of a comparison.
type ComparedRun struct {
	Dir        string   `json:"dir"`
	Step       int64    `json:"step"`
	Chosen     bool     `json:"chosen"` // the step is that of the stable checkpoint
	Parameters int64    `json:"parameters"`
	Baseline   Baseline `json:"baseline"`

	data, tokenizer string
	eval            runlog.Eval
}

// ComparedRow is one metric of all runs.
type ComparedRow struct {
	Metric string         `json:"metric"`
	Values []ComparedCell `json:"values"` // one for each run
}

// ComparedCell is a metric of one run.
type ComparedCell struct {
	Missing bool         `json:"missing,omitempty"`
	Value   runlog.Float `json:"value"`
	Lo      runlog.Float `json:"lo"`
	Hi      runlog.Float `json:"hi"`
	Human   runlog.Float `json:"human"` // the same of people's texts; NaN where there is none
	Real    bool         `json:"real"`  // it differs from that of the first run by more than chance
}

// realSigmas is how many standard errors a difference must have: three, so that all rows of a table together say something
// wrong in one table of twenty at most.
const realSigmas = 3

// Compare reads runs and says which of their differences are real.
func Compare(dirs []string) (*Comparison, error) {
	c := &Comparison{}
	for _, dir := range dirs {
		r, err := comparedRun(dir)
		if err != nil {
			return nil, err
		}
		c.Runs = append(c.Runs, r)
	}
	sameData, sameTokens := true, true
	for _, r := range c.Runs {
		sameData = sameData && r.data == c.Runs[0].data
		sameTokens = sameTokens && r.tokenizer == c.Runs[0].tokenizer
	}
	switch {
	case !sameTokens:
		c.Note = "the runs have different tokenizers: compare bits per byte, not nats per token, and excess over people's texts, not rates"
	case !sameData:
		c.Note = "the runs were trained and validated on different text: differences may be the text's"
	}
	for _, name := range append([]string{metricLoss, "bits_per_byte"}, MetricNames()...) {
		row := ComparedRow{Metric: name}
		any := false
		for _, r := range c.Runs {
			cell := r.cell(name)
			if len(row.Values) > 0 {
				cell.Real = differ(row.Values[0], cell) && (sameTokens || name != metricLoss)
			}
			any = any || !cell.Missing
			row.Values = append(row.Values, cell)
		}
		if any {
			c.Rows = append(c.Rows, row)
		}
	}
	return c, nil
}

func comparedRun(dir string) (r ComparedRun, err error) {
	r.Dir = dir
	log, err := runlog.Read(durable.OS, filepath.Join(dir, logName))
	if err != nil {
		return r, fmt.Errorf("%w: %s is no run: %w", ErrCheckpoint, dir, err)
	}
	log = log.Effective()
	evals := runlog.All[runlog.Eval](log)
	if len(evals) == 0 {
		return r, fmt.Errorf("%w: %s has no evaluation yet", ErrCheckpoint, dir)
	}
	for _, p := range runlog.All[runlog.Plan](log) {
		r.Parameters = p.Parameters
	}
	checkpoints := filepath.Join(dir, checkpointsName)
	marks, err := checkpoint.Marks(durable.OS, checkpoints)
	if err != nil {
		return r, err
	}
	r.eval = evals[len(evals)-1]
	for _, e := range evals {
		if step, ok := marks["stable"]; ok && step == e.Step {
			r.eval, r.Chosen = e, true
		}
	}
	r.Step = r.eval.Step
	ck, err := OpenCheckpoint(dir, "")
	if err != nil {
		return r, err
	}
	defer ck.Close()
	s, err := readState(ck)
	if err != nil {
		return r, err
	}
	r.data, r.tokenizer, r.Baseline = s.DataHash, s.TokenizerHash, s.Baseline
	return r, nil
}

// cell reads a metric from the run's evaluation.
func (r ComparedRun) cell(name string) ComparedCell {
	m := r.eval.Metrics
	get := func(key string) runlog.Float {
		if v, ok := m[key]; ok {
			return v
		}
		return runlog.Float(math.NaN())
	}
	c := ComparedCell{Value: get(name), Lo: get(name + "_lo"), Hi: get(name + "_hi"), Human: get(name + "_human")}
	switch name {
	case metricLoss:
		c.Value = r.eval.ValLoss
	case "bits_per_byte": // its interval is that of the loss, on another scale
		c.Value = r.eval.BitsPerByte
		scale := r.eval.BitsPerByte / r.eval.ValLoss
		c.Lo, c.Hi = get(metricLoss+"_lo")*scale, get(metricLoss+"_hi")*scale
	}
	c.Missing = math.IsNaN(float64(c.Value))
	return c
}

// differ reports whether two metrics differ by more than realSigmas standard errors, as far as their intervals tell.
func differ(a, b ComparedCell) bool {
	se := func(c ComparedCell) float64 { return float64(c.Hi-c.Lo) / (2 * 1.96) }
	return math.Abs(float64(a.Value-b.Value)) > realSigmas*math.Hypot(se(a), se(b)) // false for what is missing
}
