package runs

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// Comparison is runs side by side. Each shows the evaluation of its stable checkpoint, or else its last.
type Comparison struct {
	Runs []ComparedRun `json:"runs"`
	Rows []ComparedRow `json:"rows"`
	Note string        `json:"note,omitempty"` // what cannot be compared
}

// ComparedRun is one run of a comparison.
type ComparedRun struct {
	Dir        string          `json:"dir"`
	Step       int64           `json:"step"`
	Chosen     bool            `json:"chosen"` // the step is that of the stable checkpoint
	Parameters int64           `json:"parameters"`
	Baseline   runlog.Baseline `json:"baseline"`

	data, tokenizer string       // hashes; empty: no checkpoint could be read
	eval            *runlog.Eval // nil: there is none
	notes           []string     // what could not be read
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
	Human   runlog.Float `json:"human"` // of human text; NaN: there is none
	Real    bool         `json:"real"`  // it differs from the first run by more than chance
}

// Names of losses in a comparison.
const (
	metricLoss = "val_loss"
	metricBits = "bits_per_byte"
)

// realSigmas is how many standard errors a real difference has. With three, at most one table in twenty has a wrong
// row.
const realSigmas = 3

// Compare puts the runs that a person names side by side and says which of their differences are real. A run without an
// evaluation has no values. If that leaves nothing to compare, it is an error.
func Compare(names []string) (*Comparison, error) {
	c := &Comparison{}
	var without []string
	for _, name := range names {
		r, err := comparedRun(name)
		if err != nil {
			return nil, err
		}
		if r.eval == nil {
			without = append(without, r.Dir)
			r.notes = append(r.notes, r.Dir+" has no evaluation yet")
		}
		c.Runs = append(c.Runs, r)
	}
	if n := len(names) - len(without); n < min(2, len(names)) {
		return nil, unreadablef("%s has no evaluation yet", strings.Join(without, ", "))
	}
	sameTokens := c.note()
	for _, name := range slices.Concat([]string{metricLoss, metricBits}, judge.MetricNames(), c.tasks()) {
		row := ComparedRow{Metric: name}
		for _, r := range c.Runs {
			cell := r.cell(name)
			if len(row.Values) > 0 {
				cell.Real = differ(row.Values[0], cell) && (sameTokens || name != metricLoss)
			}
			row.Values = append(row.Values, cell)
		}
		if slices.ContainsFunc(row.Values, func(v ComparedCell) bool { return !v.Missing }) {
			c.Rows = append(c.Rows, row)
		}
	}
	return c, nil
}

// taskMetric is the name of a metric of a task; its interval has another ending.
var taskMetric = regexp.MustCompile(`^task_[A-Za-z0-9._-]+_(acc|acc_norm|acc_bytes|exact_match|flexible)$`)

// tasks are the metrics of tasks that any run has.
func (c *Comparison) tasks() (names []string) {
	for _, r := range c.Runs {
		if r.eval == nil {
			continue
		}
		for name := range r.eval.Metrics {
			if taskMetric.MatchString(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// note records what cannot be compared, and reports whether all runs have the same tokenizer.
func (c *Comparison) note() (sameTokens bool) {
	sameData, sameTokens, known := true, true, true
	var notes []string
	for _, r := range c.Runs {
		sameData = sameData && r.data == c.Runs[0].data
		sameTokens = sameTokens && r.tokenizer == c.Runs[0].tokenizer
		known = known && r.tokenizer != ""
		notes = append(notes, r.notes...)
	}
	switch {
	case !known:
		sameTokens = false
		notes = append(notes, "it is not known whether the runs have the same text and tokenizer")
	case !sameTokens:
		notes = append(notes, "the runs have different tokenizers: compare bits per byte, not nats per token, "+
			"and excess over human text, not rates")
	case !sameData:
		notes = append(notes, "the runs have different text, which may explain differences")
	}
	c.Note = strings.Join(notes, "; ")
	return sameTokens
}

// comparedRun reads a run. It needs the log; anything else that cannot be read becomes a note.
func comparedRun(name string) (r ComparedRun, err error) {
	if r.Dir, err = find(name); err != nil {
		return r, err
	}
	log, err := readLog(r.Dir)
	if err != nil {
		return r, err
	}
	log = log.Effective()
	for _, p := range runlog.All[runlog.Plan](log) {
		r.Parameters = p.Parameters
		r.Baseline = runlog.Baseline{Loss: p.BaselineLoss, Unigram: p.UnigramLoss}
	}
	marks, err := checkpoint.Marks(durable.Inside(r.Dir), rundir.CheckpointsOf(r.Dir))
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("%s shows its last evaluation: %v", r.Dir, err))
	}
	evals := runlog.All[runlog.Eval](log)
	if len(evals) > 0 {
		r.eval = &evals[len(evals)-1]
	}
	for i, e := range evals {
		if step, ok := marks["stable"]; ok && step == e.Step {
			r.eval, r.Chosen = &evals[i], true
		}
	}
	if r.eval != nil {
		r.Step = r.eval.Step
	}
	facts, err := readFacts(r.Dir)
	if err != nil {
		r.notes = append(r.notes, fmt.Sprintf("no checkpoint of %s can be read: %v", r.Dir, err))
		return r, nil
	}
	r.data, r.tokenizer, r.Baseline = facts.DataHash, facts.TokenizerHash, facts.Baseline
	return r, nil
}

// readFacts reads the facts about a run from the checkpoint that would be used, or else from the newest that verifies.
func readFacts(dir string) (f rundir.Facts, err error) {
	ck, err := rundir.OpenCheckpoint(dir, "")
	if err != nil {
		if ck, _, err = rundir.Newest(dir); err != nil {
			return f, err
		}
	}
	defer ck.Close()
	return rundir.ReadFacts(ck)
}

// cell reads a metric from the run's evaluation.
func (r ComparedRun) cell(name string) ComparedCell {
	nan := runlog.Float(math.NaN())
	if r.eval == nil {
		return ComparedCell{Missing: true, Value: nan, Lo: nan, Hi: nan, Human: nan}
	}
	get := func(key string) runlog.Float {
		if v, ok := r.eval.Metrics[key]; ok {
			return v
		}
		return nan
	}
	c := ComparedCell{Value: get(name), Lo: get(name + "_lo"), Hi: get(name + "_hi"), Human: get(name + "_human")}
	switch name {
	case metricLoss:
		c.Value = r.eval.ValLoss
	case metricBits: // its interval is that of the loss, on another scale
		c.Value = r.eval.BitsPerByte
		scale := r.eval.BitsPerByte / r.eval.ValLoss
		c.Lo, c.Hi = get(metricLoss+"_lo")*scale, get(metricLoss+"_hi")*scale
	}
	c.Missing = math.IsNaN(float64(c.Value))
	return c
}

// differ reports whether two metrics differ by more than realSigmas standard errors, judged by their intervals.
func differ(a, b ComparedCell) bool {
	se := func(c ComparedCell) float64 { return float64(c.Hi-c.Lo) / (2 * 1.96) }
	return math.Abs(float64(a.Value-b.Value)) > realSigmas*math.Hypot(se(a), se(b)) // false for what is missing
}
