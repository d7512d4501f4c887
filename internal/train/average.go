package train

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/judge"
	"gimbal/internal/model"
	"gimbal/internal/runlog"
)

const (
	averageMost  = 3 // checkpoints that are averaged
	averageLeast = 2

	codeAverage = "J-AVERAGE" // the end of a run with judge.average: what came of it
)

// averaged is what the report says of the average.
type averaged struct {
	judge.Candidate        // where it was made
	made            bool   // of enough checkpoints
	what            string // in a sentence
}

// averageOf returns the steps that the average would be of if the run ended with the save to come: the newest that
// the choice considers eligible, of those that were so at every save since their own. It asks the history and not
// the disk, so a run that was interrupted averages the same; what it returns is not pruned.
func (t *trainer) averageOf() []int64 {
	if !t.cfg.Judge.Average {
		return nil
	}
	var steps []int64
	for _, k := range judge.Choose(t.state.History, func(int64) bool { return true }, judge.Sound).Candidates {
		if k.Eligible && (k.Step == t.state.Step || slices.Contains(t.state.Average, k.Step)) {
			steps = append(steps, k.Step)
		}
	}
	return steps[max(0, len(steps)-averageMost):]
}

// average ends a run: it averages the weights of the last eligible checkpoints, measures them as every evaluation is measured,
// and writes them as a model directory. The weights in memory are afterwards the bits that they were.
//
// Source: SWA, Izmailov et al. 2018; of the latest checkpoints (LAWA), Kaddour 2022 and Sanyal et al. 2023 (arXiv 2306.03241).
func (t *trainer) average() error {
	steps := t.state.Average
	if len(steps) < averageLeast {
		if err := t.dropAverage(); err != nil {
			return err
		}
		return t.tellAverage(averaged{what: fmt.Sprintf("none: %d of the evaluations are eligible to the end, an average needs %d", len(steps), averageLeast)}, nil)
	}
	p := t.model.Params()
	own := slices.Clone(p.Flat)
	defer func() {
		copy(p.Flat, own)
		t.model.Refresh()
	}()
	h, err := t.loadAverage(steps)
	if err != nil {
		return fmt.Errorf("train: average %s: %w", stepList(steps), err)
	}
	rec := t.scored(t.state.Step, false)
	r, _, err := t.compose()
	if err != nil {
		return err
	}
	a := averaged{made: true, what: "of " + stepList(steps)}
	a.Point = judge.NewPoint(t.state.Step, float64(rec.Metrics[metricSample]), false, t.judge.FewDocuments(), r)
	a.Spread = math.NaN()
	if a.Why, err = t.weigh(a.Point); err != nil {
		return err
	}
	h.Metrics = map[string]float64{metricLoss: a.Loss}
	for name, m := range a.Metrics {
		h.Metrics[name] = m.Value
	}
	s, err := t.snapshot()
	if err != nil {
		return err
	}
	s.Name, s.Optimizer = averagedName, nil
	if s.Files[checkpoint.HealthFile], err = h.Encode(); err != nil {
		return err
	}
	if _, err := checkpoint.Save(t.fs, t.dir, s); err != nil {
		return err
	}
	numbers := flat(r)
	numbers[metricLoss], numbers["steps"] = runlog.Float(a.Loss), runlog.Float(len(steps))
	return t.tellAverage(a, numbers)
}

// loadAverage makes the model's weights the average of those of steps, and certifies what all of their certificates say.
func (t *trainer) loadAverage(steps []int64) (checkpoint.Health, error) {
	h := checkpoint.Health{Finite: true, Calm: true, Verdict: "average of " + stepList(steps)}
	p := t.model.Params()
	sum := make([]float64, len(p.Flat))
	for _, step := range steps {
		of, err := t.addCheckpoint(sum, step)
		if err != nil {
			return h, err
		}
		h.Finite, h.Calm, h.Events = h.Finite && of.Finite, h.Calm && of.Calm, append(h.Events, of.Events...)
	}
	mean(p.Flat, sum, len(steps))
	t.model.Refresh()
	return h, nil
}

// addCheckpoint adds the weights of a step to sum, by way of the model's own, and returns its certificate.
func (t *trainer) addCheckpoint(sum []float64, step int64) (h checkpoint.Health, err error) {
	c, err := checkpoint.Open(t.fs, filepath.Join(t.dir, checkpointsName, checkpoint.StepName(step)))
	if err != nil {
		return h, err
	}
	defer func() { err = cmp.Or(err, c.Close()) }()
	p := t.model.Params()
	if err := model.LoadEntries(p, c.Model()); err != nil {
		return h, err
	}
	for i, w := range p.Flat {
		sum[i] += float64(w)
	}
	return checkpoint.ReadHealth(c)
}

// mean sets dst to sum / n. Of n equal weights, for a small n, it is that weight exactly: the sum of float32 is exact in float64.
func mean(dst []float32, sum []float64, n int) {
	for i, s := range sum {
		dst[i] = float32(s / float64(n))
	}
}

// weigh says why the average is not the one that is kept as stable, and whether it is worth a try.
func (t *trainer) weigh(p judge.Point) (string, error) {
	c, err := t.choose()
	if err != nil {
		return "", err
	}
	if fault := judge.Floor(t.state.History, p); fault != "" {
		return "not chosen: " + fault, nil
	}
	i := slices.IndexFunc(c.Candidates, func(k judge.Candidate) bool { return k.Chosen })
	if i < 0 {
		return "not chosen: " + c.Reason, nil
	}
	d := p.Loss - c.Candidates[i].Loss
	if d >= 0 {
		return fmt.Sprintf("not chosen: it passes the floor, with a validation loss %.4f above that of the chosen step %d", d, c.Step), nil
	}
	return fmt.Sprintf("not chosen, as steadiness takes three evaluations and it has one; but it passes the floor, with a validation loss %.4f below that of the chosen step %d: --checkpoint %s uses it",
		-d, c.Step, averagedName), nil
}

// tellAverage records what came of the average.
func (t *trainer) tellAverage(a averaged, numbers map[string]runlog.Float) error {
	t.averaged = &a
	text, action := a.what, "none"
	if a.made {
		text, action = fmt.Sprintf("average %s: validation loss %.4f; %s", a.what, a.Loss, a.Why), "wrote "+averagedName
	}
	return t.event(runlog.Event{At: t.at(), Code: codeAverage, Severity: "info", Action: action, Message: text, Numbers: numbers})
}

// dropAverage deletes what an earlier end of this run left: it is of other checkpoints.
func (t *trainer) dropAverage() error {
	err := t.fs.RemoveAll(filepath.Join(t.dir, averagedName))
	if err == nil {
		err = t.fs.SyncDir(t.dir)
	}
	if err != nil {
		return fmt.Errorf("train: delete the average of an earlier end: %w", err)
	}
	return nil
}

// lacksAverage reports whether a run that ended at step died before it recorded what came of the average.
func lacksAverage(dir string, step int64) (bool, error) {
	past, err := runlog.Read(durable.OS, filepath.Join(dir, logName))
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(runlog.All[runlog.Event](past.Effective()), func(e runlog.Event) bool {
		return e.Code == codeAverage && e.Step == step
	}), nil
}

// stepList names steps for people.
func stepList(steps []int64) string {
	return "steps " + strings.Trim(strings.ReplaceAll(fmt.Sprint(steps), " ", ", "), "[]")
}
