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
	return &engine.Accumulator{MicroTokens: s.MicroTokens, Dropout: s.Arch.Dropout > 0, Seed: p.Config.Train.Seed}
}

// speed measures tokens per second on the first batch. It changes nothing: gradients are cleared, nothing is updated.
func (t *trial) speed(ctx context.Context) (float64, error) {
	e, acc, loader, err := t.open()
	if err != nil {
		return 0, err
	}
	defer e.Discard()
	var b data.Batch
	loader.Next(&b, data.Cursor{})
	best := 0.0
	for range 3 {
		began := time.Now()
		if err := acc.Gradient(ctx, e, &b, 1); err != nil {
			return 0, err
		}
		best = max(best, float64(len(b.Tokens))/time.Since(began).Seconds()) // also those that do not count take time
	}
	const updateShare = 0.9 // what norm, update and records leave of it
	return updateShare * best, nil
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
