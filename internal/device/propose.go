package device

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
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
	said, err := e.propose(ctx, p)
	if err != nil {
		return r, err
	}
	nats, err := e.settle(ctx)
	if err != nil {
		return r, err
	}
	r = engine.Report{Loss: nats * p.Scale, GradNorm: said.Norm, ClipScale: cmp.Or(said.Scale, 1), LR: p.LR}
	if p.Detail&engine.NoUpdate == 0 {
		r.UpdateRatio = said.Ratio
	}
	if p.Detail&engine.Norms != 0 {
		r.Norms = said.Norms
	}
	if p.Detail&engine.TensorStats != 0 {
		r.Tensors, r.UpdateMedian = said.Tensors, said.Median
	}
	if p.Detail&engine.Hashes != 0 {
		gradients, err := e.gradients(ctx)
		if err != nil {
			return r, err
		}
		for _, t := range e.opt.Segments {
			r.Hashes = append(r.Hashes, engine.Hash(gradients[t.Lo:t.Hi]))
		}
	}
	return r, nil
}

// propose describes the update and keeps Muon's directions for Commit.
func (e *deviceEngine) propose(ctx context.Context, p engine.Proposal) (said graph.Report, err error) {
	if err := e.reduce(ctx); err != nil {
		return said, err
	}
	list := e.opt.Numbers(p.Step, p.LR, p.Clip)
	numbers, err := e.numbers(ctx, list, len(list))
	if err != nil {
		return said, err
	}
	defer e.free(&numbers)
	kind, detail := "propose", p.Detail&engine.TensorStats != 0
	if detail {
		kind = "propose in detail"
	}
	out, err := e.runOf(ctx, kind, func() graph.Program { return e.opt.Propose(detail) }, e.params, e.slots, e.reduced,
		numbers)
	if err != nil {
		return said, err
	}
	n := len(e.info.Tensors)
	report, sizes, counts := make([]float32, 5*n+1), []float32{}, []uint32{}
	answers, results := [][]byte{bytesOf(report)}, out[:1]
	if detail {
		sizes, counts = make([]float32, 6*n), make([]uint32, 2*n)
		answers, results = append(answers, bytesOf(sizes), bytesOf(counts)), out[:3]
	}
	e.free(&e.proposed.directions)
	e.proposed.directions = out[len(results):]
	if err := e.take(ctx, 0, results, answers...); err != nil {
		return said, err
	}
	said = e.opt.ReadReport(report, sizes, counts)
	e.proposed.scale = said.Scale
	return said, nil
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
	scales := slices.Repeat([]float64{u.Scale}, len(e.info.Tensors))
	for i, f := range u.Factors {
		scales[i] *= f
	}
	list := e.opt.Numbers(u.Step, u.LR, scales...)
	numbers, err := e.numbers(ctx, list, len(list))
	if err != nil {
		return 0, err
	}
	defer e.free(&numbers)
	kind, direct := "update", e.spec.Optim.Muon && (u.Factors != nil || e.proposed.directions == nil ||
		e.proposed.scale != u.Scale)
	if direct { // those of the proposal are for other gradients
		kind = "update with directions"
		e.free(&e.proposed.directions)
	}
	out, err := e.runOf(ctx, kind, func() graph.Program { return e.opt.Update(direct) }, e.params, e.slots, e.reduced,
		numbers, e.proposed.directions)
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
