package plan

import (
	"context"
	"fmt"
	"math"
	"time"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/optim"
)

// trial measures on the engine of the run, and leaves no trace on it.
type trial struct {
	draft   *Draft
	plan    *Plan
	request Request
}

// open returns the engine, an accumulator and the loader of the run as it is planned so far.
func (t *trial) open() (engine.Engine, *engine.Accumulator, *data.Loader, error) {
	e, err := t.request.Engine(t.plan.Spec)
	if err != nil {
		return nil, nil, nil, err
	}
	l, err := data.NewLoader(t.draft.Text.Train, t.plan.Config.Train.Seed, t.plan.Config.Train.BatchTokens)
	return e, t.plan.Accumulator(), l, err
}

// Accumulator returns what adds up the gradients of the plan's batches.
func (p *Plan) Accumulator() *engine.Accumulator {
	s := p.Spec
	a := &engine.Accumulator{MicroTokens: s.MicroTokens, Dropout: max(s.Arch.Dropout, s.Adapter.Dropout) > 0,
		Seed: p.Config.Train.Seed}
	if o := p.Config.DPO; p.Config.Train.Objective == "dpo" {
		a.Prefer = &engine.Preference{Beta: o.Beta, Smoothing: o.LabelSmoothing}
	}
	return a
}

// pace is the seconds that training takes.
type pace struct {
	token  float64 // a token of a batch
	update float64 // an update, whatever the batch
}

// speed is the tokens per second at a size of the batch.
func (p pace) speed(batch int) float64 { return 1 / (p.token + p.update/float64(batch)) }

// pace measures on the first batch. It changes nothing: gradients are cleared, nothing is updated.
func (t *trial) pace(ctx context.Context) (pace, error) {
	e, acc, loader, err := t.open()
	if err != nil {
		return pace{}, err
	}
	defer e.Discard()
	var b data.Batch
	loader.Next(&b, data.Cursor{})
	best := pace{math.Inf(1), math.Inf(1)}
	for range 3 {
		began := time.Now()
		if err := acc.Gradient(ctx, e, &b, 1); err != nil {
			return pace{}, err
		}
		passed := time.Now()
		if _, err := e.Propose(ctx, engine.Proposal{Step: 1, LR: 1, Clip: 1, Scale: engine.Scale(&b)}); err != nil {
			return pace{}, err
		}
		best.token = min(best.token, passed.Sub(began).Seconds()/float64(len(b.Tokens))) // also those that do not count
		best.update = min(best.update, time.Since(passed).Seconds())
	}
	const rest = 1 / 0.9 // what the parameters' change and the records add
	return pace{rest * best.token, rest * best.update}, nil
}

// rangeTest makes the updates of a range test on the batches that the run begins with, and takes them back. It stops
// before an update whose gradient is not finite, as at a loss that is not.
func (t *trial) rangeTest(ctx context.Context, steps int64) (r *optim.RangeTest, seconds float64, err error) {
	e, acc, loader, err := t.open()
	if err != nil {
		return nil, 0, err
	}
	began := time.Now()
	var b data.Batch
	r = optim.NewRangeTest(steps)
	cur := data.Cursor{}
	for step := int64(1); ; step++ {
		cur = loader.Next(&b, cur)
		e.Discard()
		if err := acc.Gradient(ctx, e, &b, step); err != nil {
			return nil, 0, fmt.Errorf("range test of the learning rate: %w", err)
		}
		lr := r.LR()
		report, err := e.Propose(ctx, engine.Proposal{Step: step, LR: lr, Clip: t.plan.Config.Optim.Clip,
			Scale: engine.Scale(&b), Detail: engine.NoUpdate})
		if err != nil {
			return nil, 0, fmt.Errorf("range test of the learning rate: %w", err)
		}
		loss := report.Loss
		if n := report.GradNorm; n-n != 0 {
			loss = math.NaN()
		}
		if !r.Observe(loss) {
			err := t.request.Reset(e)
			return r, time.Since(began).Seconds(), err
		}
		if _, err := e.Commit(engine.Update{Step: step, LR: lr, Scale: report.ClipScale}); err != nil {
			return nil, 0, err
		}
	}
}
