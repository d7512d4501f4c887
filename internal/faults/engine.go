package faults

import (
	"context"

	"gimbal/internal/engine"
)

// stage is how far the step on the batch in progress has come. What comes behind its proposal, such as a search for the
// sequence to blame, is computed as it would be without faults, but for what sits in the model.
type stage int

const (
	between  stage = iota // steps: nothing is drawn, or nothing that can be learned
	drawn                 // the batch, and no pass has been made
	passing               // passes are made
	proposed              // the gradients are complete
)

// Engine wraps the engine of a run: what its steps compute is what the faults make of it. Passes without Gradient are
// computed with what sits in the model and change nothing. Panics if nothing can be planted in e.
func (s *Set) Engine(e engine.Engine) engine.Engine {
	if s.none() {
		return e
	}
	planter, ok := e.(engine.Planter)
	if !ok {
		panic("faults: nothing can be planted in this engine")
	}
	return &faulty{Engine: e, planter: planter, set: s, loss: 1}
}

// faulty is an engine with faults.
type faulty struct {
	engine.Engine
	planter engine.Planter
	set     *Set
	plants  []engine.Fault // that sit in the model
	loss    float64        // factor on the loss of the passes since Discard
}

// acting calls do for each fault that acts on the batch in progress.
func (e *faulty) acting(do func(*fault)) {
	for i := range e.set.faults {
		if f := &e.set.faults[i]; f.on(e.set.batch) {
			do(f)
		}
	}
}

// Pass implements engine.Engine.
func (e *faulty) Pass(ctx context.Context, in engine.Input, want engine.Want) (engine.Values, error) {
	s := e.set
	if want&engine.Gradient == 0 || s.stage == between || s.stage == proposed {
		return e.Engine.Pass(ctx, in, want)
	}
	if s.stage == drawn {
		s.stage = passing
		e.beforePasses()
		defer e.afterFirstPass()
	}
	e.acting(func(f *fault) {
		if f.scale != nil {
			in.Scale = f.scale(s, in)
		}
	})
	return e.Engine.Pass(ctx, in, want)
}

// beforePasses does what the faults do to weights and model before a step is computed.
func (e *faulty) beforePasses() {
	e.plants = e.plants[:0]
	e.acting(func(f *fault) {
		if f.before != 0 && f.Begun == e.set.batch {
			e.planter.Harm(f.in(f.before))
		}
		if f.plant != 0 {
			e.plants = append(e.plants, f.in(f.plant))
		}
	})
	e.planter.Plant(e.plants...)
}

// afterFirstPass takes out of the model what is to hit one pass only.
func (e *faulty) afterFirstPass() {
	kept := e.plants[:0]
	for _, p := range e.plants {
		if p.Kind != engine.NaNActivation {
			kept = append(kept, p)
		}
	}
	if len(kept) < len(e.plants) {
		e.planter.Plant(kept...)
	}
	e.plants = kept
}

// Propose implements engine.Engine.
func (e *faulty) Propose(ctx context.Context, p engine.Proposal) (engine.Report, error) {
	if e.set.stage == passing {
		e.set.stage = proposed
		e.afterPasses()
	}
	p.LR = e.rate(p.LR)
	r, err := e.Engine.Propose(ctx, p)
	r.Loss *= e.loss
	return r, err
}

// afterPasses does what the faults do to the gradients and the loss of a step.
func (e *faulty) afterPasses() {
	e.acting(func(f *fault) {
		if f.after != 0 {
			e.planter.Harm(f.in(f.after))
		}
		if f.after == engine.ScaleGradients {
			e.loss *= f.factor
		}
	})
}

// rate is the learning rate that is applied.
func (e *faulty) rate(lr float64) float64 {
	e.acting(func(f *fault) {
		if f.rate != 0 {
			lr *= f.rate
		}
	})
	return lr
}

// Commit implements engine.Engine.
func (e *faulty) Commit(u engine.Update) (lr float64, err error) {
	u.LR = e.rate(u.LR)
	if lr, err = e.Engine.Commit(u); err != nil {
		return lr, err
	}
	e.acting(func(f *fault) {
		if f.update != 0 {
			e.planter.Harm(f.in(f.update))
		}
	})
	return lr, nil
}

// Discard implements engine.Engine.
func (e *faulty) Discard() {
	e.loss = 1
	e.Engine.Discard()
}
