package device

import (
	"context"
	"errors"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/optim"
)

// proposed is Muon's directions, one of each matrix, and the factor on the gradients that they are for.
type proposed struct {
	directions []Array
	scale      float64
}

// Propose implements engine.Engine. It waits for the devices: for the nats of all rows, and for one list of numbers.
func (e *deviceEngine) Propose(ctx context.Context, p engine.Proposal) (r engine.Report, err error) {
	if e.opt == nil {
		panic("device: proposal on an engine without an optimizer")
	}
	if err := errors.Join(e.broken, ctx.Err()); err != nil {
		return r, err
	}
	if err := e.reduce(ctx); err != nil {
		return r, err
	}
	var said graph.Report
	if p.Detail&engine.NoUpdate != 0 {
		said, err = e.norms(ctx, p)
	} else {
		said, err = e.propose(ctx, p)
	}
	if err != nil {
		return r, err
	}
	nats, err := e.settle(ctx)
	if err != nil {
		return r, err
	}
	r = engine.Report{Loss: nats * p.Scale, GradNorm: said.Norm, ClipScale: said.Scale, LR: p.LR,
		UpdateRatio: said.Ratio}
	if p.Detail&engine.Norms != 0 {
		r.Norms = said.Norms
	}
	if p.Detail&engine.TensorStats != 0 {
		if err := e.tensorStats(ctx, p, &r); err != nil {
			return r, err
		}
	}
	if p.Detail&engine.Hashes != 0 {
		gradients, err := e.gradients(ctx)
		if err != nil {
			return r, err
		}
		for _, values := range gradients {
			r.Hashes = append(r.Hashes, engine.Hash(values))
		}
	}
	return r, nil
}

// norms describes the gradients alone.
func (e *deviceEngine) norms(ctx context.Context, p engine.Proposal) (said graph.Report, err error) {
	norms := make([]float32, 2*len(e.info.Tensors))
	if err := e.ask(ctx, "norms", e.opt.Norms, [][]Array{e.reduced}, bytesOf(norms)); err != nil {
		return said, err
	}
	said.Norms, said.Norm = e.opt.ReadNorms(norms)
	if said.Scale, err = optim.ClipScale(said.Norm, p.Clip); err != nil {
		said.Scale = 1
	}
	return said, nil
}

// propose describes the update and keeps Muon's directions for Commit.
func (e *deviceEngine) propose(ctx context.Context, p engine.Proposal) (said graph.Report, err error) {
	numbers, err := e.numbers(ctx, e.opt.Numbers(p.Step, p.LR, p.Clip), 5)
	if err != nil {
		return said, err
	}
	defer e.free(&numbers)
	out, err := e.runOf(ctx, "propose", e.opt.Propose, e.params, e.slots, e.reduced, numbers)
	if err != nil {
		return said, err
	}
	e.free(&e.proposed.directions)
	e.proposed.directions = out[1:]
	values := make([]float32, out[0].Bytes()/4)
	if err := e.take(ctx, 0, out[:1], bytesOf(values)); err != nil {
		return said, err
	}
	said = e.opt.ReadReport(values)
	e.proposed.scale = said.Scale
	return said, nil
}

// tensorStats describes gradient and update of every tensor.
func (e *deviceEngine) tensorStats(ctx context.Context, p engine.Proposal, r *engine.Report) error {
	scale := r.ClipScale
	if r.GradNorm-r.GradNorm != 0 {
		scale = 0
	}
	numbers, err := e.numbers(ctx, e.opt.Numbers(p.Step, p.LR, scale), 5)
	if err != nil {
		return err
	}
	defer e.free(&numbers)
	if err := e.direct(ctx, numbers, nil, scale); err != nil {
		return err
	}
	sizes, counts := make([]float32, 6*len(e.info.Tensors)), make([]uint32, 2*len(e.info.Tensors))
	err = e.ask(ctx, "stats", e.opt.Stats, [][]Array{e.params, e.slots, e.reduced, e.proposed.directions, numbers},
		bytesOf(sizes), bytesOf(counts))
	if err == nil {
		r.Tensors, r.UpdateMedian = e.opt.ReadStats(sizes, counts)
	}
	return err
}

// direct makes the directions for a factor on the gradients, and one for each tensor, unless they are there. numbers
// holds the first.
func (e *deviceEngine) direct(ctx context.Context, numbers []Array, factors []float64, scale float64) error {
	if !e.spec.Optim.Muon || factors == nil && e.proposed.directions != nil && e.proposed.scale == scale {
		return nil
	}
	each, err := e.factors(ctx, factors)
	if err != nil {
		return err
	}
	defer e.free(&each)
	out, err := e.runOf(ctx, "direct", e.opt.Direct, e.slots, e.reduced, numbers, each)
	if err != nil {
		return err
	}
	e.free(&e.proposed.directions)
	if e.proposed = (proposed{out, scale}); factors != nil {
		e.proposed.scale = -1 // they are for this update only
	}
	return nil
}

// factors makes the factors on the gradients of the tensors; nil: 1.
func (e *deviceEngine) factors(ctx context.Context, factors []float64) ([]Array, error) {
	values := slices.Repeat([]float32{1}, len(e.info.Tensors))
	for i, f := range factors {
		values[i] = float32(f)
	}
	return e.numbers(ctx, values, len(values))
}

// Commit implements engine.Engine. It does not wait for the devices.
func (e *deviceEngine) Commit(u engine.Update) (lr float64, err error) {
	if e.opt == nil {
		panic("device: update on an engine without an optimizer")
	}
	ctx := context.Background()
	if err := e.reduce(ctx); err != nil {
		return 0, err
	}
	numbers, err := e.numbers(ctx, e.opt.Numbers(u.Step, u.LR, u.Scale), 5)
	if err != nil {
		return 0, err
	}
	defer e.free(&numbers)
	if err := e.direct(ctx, numbers, u.Factors, u.Scale); err != nil {
		return 0, err
	}
	factors, err := e.factors(ctx, u.Factors)
	if err != nil {
		return 0, err
	}
	defer e.free(&factors)
	out, err := e.runOf(ctx, "update", e.opt.Update, e.params, e.slots, e.reduced, e.proposed.directions, numbers,
		factors)
	if err != nil {
		return 0, err
	}
	n := len(e.params)
	e.params, e.slots = out[:n:n], out[n:]
	e.free(&e.proposed.directions)
	return u.LR, nil
}

// reduce adds up the gradients of all devices.
func (e *deviceEngine) reduce(ctx context.Context) error {
	if err := e.needGrads(ctx); err != nil || e.reduced != nil {
		return err
	}
	if e.pass.Devices == 1 {
		e.reduced = e.grads
		return nil
	}
	out, err := e.runOf(ctx, "reduce", e.opt.Reduce, e.grads)
	e.reduced = out
	return err
}

// changed forgets what was computed from gradients that have changed since.
func (e *deviceEngine) changed() {
	if e.pass.Devices > 1 {
		e.free(&e.reduced)
	}
	e.reduced = nil
	e.free(&e.proposed.directions)
}
