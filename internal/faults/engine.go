package faults

import (
	"context"
	"slices"

	"gimbal/internal/engine"
)

// stage is the progress of the step on the current batch. Passes after its proposal, such as a search for the sequence
// to blame, are computed without faults, except for those that stay in the model.
type stage int

const (
	between  stage = iota // no batch was drawn, or one without counted labels
	drawn                 // a batch was drawn, and no pass was made
	passing               // passes are being made
	proposed              // the gradients are complete
)

// Engine wraps the engine of a run and adds the faults to its steps. Passes without Gradient only meet faults that stay
// in the model. Panics if e is no engine.Planter.
func (s *Set) Engine(e engine.Engine) engine.Engine {
	if s.none() {
		return e
	}
	planter, ok := e.(engine.Planter)
	if !ok {
		panic("faults: this engine cannot plant faults")
	}
	return &faulty{Engine: e, planter: planter, set: s, loss: 1}
}

// faulty is an engine with faults.
type faulty struct {
	engine.Engine
	planter engine.Planter
	set     *Set
	plants  []engine.Fault // in the model now
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

// beforePasses changes weights and model before a step is computed.
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

// afterFirstPass removes the faults that last for one pass.
func (e *faulty) afterFirstPass() {
	n := len(e.plants)
	e.plants = slices.DeleteFunc(e.plants, func(p engine.Fault) bool { return p.Kind == engine.NaNActivation })
	if len(e.plants) < n {
		e.planter.Plant(e.plants...)
	}
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

// afterPasses changes the gradients and the loss of a step.
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
