package train

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"reflect"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// reference is what the model before step 1 finds of the pairs that are trained and validated on. It never changes.
type reference struct {
	Format   string    `json:"format"`
	Data     string    `json:"data_sha256"`           // of tokens and documents
	Template string    `json:"template_sha256"`       // that wrote them
	Model    string    `json:"model_sha256"`          // weights of step 0
	Base     string    `json:"base_sha256,omitempty"` // beside which they are an adapter
	Numerics string    `json:"numerics"`
	Nats     []float64 `json:"nats"` // of each document; 0: it is in no pair
}

const referenceFormat = "gimbal-reference 1"

// perhapsSwapped is the share of pairs below which a model would find the preferred answers strange.
const perhapsSwapped = 0.25

// mostReference is the most bytes of the file of a reference.
const mostReference = 4 << 30

// refer makes sure that the reference of preferences is there: it reads that of the run, or makes it before step 1.
func (t *run) refer(ctx context.Context) error {
	p := t.acc.Prefer
	if p == nil || p.Reference != nil {
		return nil
	}
	name := filepath.Join(t.store.dir, rundir.ReferenceFile)
	fresh, err := t.describeReference()
	if err != nil {
		return err
	}
	raw, err := durable.ReadFile(t.store.fs, name, mostReference)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	hash := sha256.Sum256(raw)
	sum := hex.EncodeToString(hash[:])
	var r reference
	switch broken := json.Unmarshal(raw, &r) != nil; {
	case t.state.Step > 0 && sum != t.state.Reference:
		return fmt.Errorf("%w: %s is missing or is not the one that the run was trained with: what preferences are "+
			"compared with is lost; bring the file back, or start again with --from", rundir.ErrResume, name)
	case t.state.Step > 0 && (r.Data != fresh.Data || r.Template != fresh.Template):
		return fmt.Errorf("%w: %s is of other data, or of another chat template", rundir.ErrResume, name)
	case t.state.Step > 0 || !broken && same(r, *fresh):
		p.Reference, t.state.Reference = r.Nats, sum
		return nil
	}
	likelier := 0.0
	fresh.Nats, likelier, err = t.evaluator.Reference(ctx, func(done, all int64) {
		t.record.detail("reference of the preferences: %d of %d pairs", done, all)
	})
	if err != nil {
		return err
	}
	told := fmt.Sprintf("before step 1, the model finds the chosen answer likelier, by the token, in %.0f %% of pairs",
		100*likelier)
	if likelier < perhapsSwapped {
		told = "warning: " + told + ": perhaps chosen and rejected are swapped"
	}
	t.record.note("%s", told)
	if raw, err = json.Marshal(fresh); err != nil {
		return fmt.Errorf("%s: a log-probability is not finite: %w", name, err)
	}
	if err := durable.WriteFile(t.store.fs, name, raw); err != nil {
		return err
	}
	hash = sha256.Sum256(raw)
	p.Reference, t.state.Reference = fresh.Nats, hex.EncodeToString(hash[:])
	return nil
}

// same reports whether two references are of the same things.
func same(a, b reference) bool {
	a.Nats, b.Nats = nil, nil
	return reflect.DeepEqual(a, b)
}

// describeReference returns the reference that the run has at step 0, without its numbers. After that the weights are
// others.
func (t *run) describeReference() (*reference, error) {
	template := sha256.Sum256([]byte(t.text.Set.Chat().Template))
	r := &reference{Format: referenceFormat, Data: t.text.Set.Hash, Template: hex.EncodeToString(template[:]),
		Base: t.start.base.Hash, Numerics: t.engine.Info().Numerics}
	if t.state.Step > 0 {
		return r, nil
	}
	c, err := checkpoint.Open(t.store.fs, filepath.Join(t.store.checkpoints(), checkpoint.StepName(0)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r.Model, err = c.WeightsHash()
	return r, err
}

// watchPairs records what the pairs of a step came to, and what the guard finds in them.
func (t *run) watchPairs(o guard.Observation, rec *runlog.Step) error {
	if t.acc.Prefer == nil {
		return nil
	}
	p, beta := t.acc.Pairs, t.acc.Prefer.Beta
	rec.Pairs = &runlog.Pairs{Count: p.Count, Margin: runlog.Float(beta * p.Mean(p.Ratio[0]-p.Ratio[1])),
		Accuracy:     runlog.Float(p.Mean(p.Correct)),
		ChosenReward: runlog.Float(beta * p.Mean(p.Ratio[0])), RejectedReward: runlog.Float(beta * p.Mean(p.Ratio[1])),
		ChosenTokens:   runlog.Float(p.Mean(float64(p.Tokens[0]))),
		RejectedTokens: runlog.Float(p.Mean(float64(p.Tokens[1])))}
	var events []guard.Event
	t.state.Preferences, events = guard.NextPreferences(t.state.Preferences, o.Step, guard.PairSums{Pairs: p.Count,
		Correct: p.Correct, Ratio: p.Ratio, Tokens: p.Tokens}, t.epoch() > 0)
	return t.tell(t.atObservation(o), events)
}

// tell records events of the guard.
func (t *run) tell(at runlog.At, events []guard.Event) error {
	for _, e := range events {
		if err := t.event(eventOf(at, e)); err != nil {
			return err
		}
	}
	return nil
}

// evaluatePairs adds to a record and a point what held-out pairs came to, and watches the length of what is written.
func (t *run) evaluatePairs(s evaluate.Score, w *evaluate.Writing, rec *runlog.Eval, point *judge.Point) error {
	b := t.state.Before
	if s.Pairs.Count == 0 || b == nil {
		return nil
	}
	point.Metrics[evaluate.MetricAccuracy] = judge.Metric{
		Estimate: judge.Estimate{Value: s.Pairs.Mean(s.Pairs.Correct)}}
	written := 0.0
	for _, text := range w.Texts {
		written += float64(len(text.Text)) / float64(len(w.Texts))
	}
	rec.Metrics[evaluate.MetricWritten] = runlog.Float(written)
	if t.state.Step == 0 {
		b.Pairs, b.Written = s.Pairs.Count, runlog.Float(written)
	}
	var events []guard.Event
	t.state.Preferences, events = guard.NextLength(t.state.Preferences, t.state.Step, float64(b.Written), written)
	return t.tell(t.at(), events)
}

// knowsNothing is the loss of a model that has learned nothing.
func (t *run) knowsNothing() float64 {
	if t.acc.Prefer != nil {
		return math.Ln2
	}
	return math.Log(float64(t.plan.Spec.Arch.Vocab))
}
