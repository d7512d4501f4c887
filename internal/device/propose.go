package device

import (
	"context"
	"errors"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/optim"
)

// Propose implements engine.Engine. It waits for the devices: for the nats of all rows and for one list of numbers.
func (e *deviceEngine) Propose(ctx context.Context, p engine.Proposal) (r engine.Report, err error) {
	if e.opt == nil {
		panic("device: proposal on an engine without an optimizer")
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	if err := e.reduce(ctx); err != nil {
		return r, err
	}
	var said graph.Report
	if p.Detail&engine.NoUpdate != 0 {
		var norms []float32
		if norms, err = e.measure(ctx, "norms", e.opt.Norms, e.reduced); err == nil {
			_, said.Norms, said.Norm = e.opt.ReadNorms(norms)
			said.Scale, _ = optim.ClipScale(said.Norm, p.Clip)
		}
	} else {
		said, err = e.propose(ctx, p)
	}
	var nats float64
	if err == nil {
		nats, err = e.settle(ctx)
	}
	if err != nil {
		return r, err
	}
	r = engine.Report{Loss: nats * p.Scale, GradNorm: said.Norm, ClipScale: said.Scale, LR: p.LR,
		UpdateRatio: said.Ratio}
	if !finite(r.GradNorm) {
		r.ClipScale, r.UpdateRatio = 1, 0
	}
	if p.Detail&engine.Norms != 0 {
		r.Norms = said.Norms
	}
	if p.Detail&engine.TensorStats != 0 {
		if err := e.tensorStats(ctx, p, &r); err != nil {
			return r, err
		}
	}
	if p.Detail&engine.Hashes != 0 {
		r.Hashes = make([]uint64, len(e.info.Tensors))
		err = e.eachGradient(ctx, func(i int, values []float32) bool {
			r.Hashes[i] = engine.Hash(values)
			return true
		})
	}
	return r, err
}

// reduce adds up the gradients of all devices.
func (e *deviceEngine) reduce(ctx context.Context) error {
	if err := e.needGrads(ctx); err != nil || e.reduced != nil {
		return err
	}
	if e.opener.options.Devices == 1 {
		e.reduced = e.grads
		return nil
	}
	x, err := e.compiled(ctx, programKey{kind: "reduce"}, e.opt.Reduce)
	if err != nil {
		return err
	}
	e.reduced, err = e.run(ctx, x, e.grads)
	return err
}

// changed forgets what was computed from gradients that have changed since.
func (e *deviceEngine) changed() {
	if e.opener.options.Devices > 1 {
		e.free(&e.reduced)
	}
	e.reduced = nil
	e.free(&e.proposed.directions)
}

// measure runs a program and fetches its first result.
func (e *deviceEngine) measure(ctx context.Context, kind string, text func() graph.Program, lists ...[]Array) (
	[]float32, error) {
	out, err := e.runOf(ctx, kind, text, lists...)
	if err != nil {
		return nil, err
	}
	defer e.free(&out)
	numbers := make([]float32, out[0].Bytes()/4)
	return numbers, e.fetch(ctx, out[0], 0, numbers)
}

// runOf runs a program that an engine has once.
func (e *deviceEngine) runOf(ctx context.Context, kind string, text func() graph.Program, lists ...[]Array) (
	[]Array, error) {
	x, err := e.compiled(ctx, programKey{kind: kind}, text)
	if err != nil {
		return nil, err
	}
	return e.run(ctx, x, lists...)
}

// proposed says for which scale the directions are.
type proposed struct {
	directions []Array
	scale      float64
}

// propose describes the update and keeps Muon's directions for Commit.
func (e *deviceEngine) propose(ctx context.Context, p engine.Proposal) (said graph.Report, err error) {
	e.free(&e.proposed.directions)
	numbers, err := e.numbers(ctx, e.opt.Numbers(p.Step, p.LR, p.Clip), 5)
	if err != nil {
		return said, err
	}
	defer e.free(&numbers)
	out, err := e.runOf(ctx, "propose", e.opt.Propose, e.params, e.slots, e.reduced, numbers)
	if err != nil {
		return said, err
	}
	report := out[:1:1]
	defer e.free(&report)
	values := make([]float32, out[0].Bytes()/4)
	if err := e.fetch(ctx, out[0], 0, values); err != nil {
		return said, errors.Join(err, e.opener.session.Free(out[1:]...))
	}
	said = e.opt.ReadReport(values)
	e.proposed = proposed{out[1:], said.Scale}
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
	factors := u.Factors
	if factors == nil {
		factors = slices.Repeat([]float64{1}, len(e.info.Tensors))
	}
	numbers, err := e.numbers(ctx, e.opt.Numbers(u.Step, u.LR, u.Scale), 5)
	if err != nil {
		return 0, err
	}
	defer e.free(&numbers)
	each, err := e.numbers(ctx, narrow(factors), len(factors))
	if err != nil {
		return 0, err
	}
	defer e.free(&each)
	if e.spec.Optim.Muon && (u.Factors != nil || e.proposed.directions == nil || e.proposed.scale != u.Scale) {
		e.free(&e.proposed.directions)
		out, err := e.runOf(ctx, "direct", e.opt.Direct, e.slots, e.reduced, numbers, each)
		if err != nil {
			return 0, err
		}
		e.proposed.directions = out
	}
	out, err := e.runOf(ctx, "update", e.opt.Update, e.params, e.slots, e.reduced, e.proposed.directions, numbers, each)
	if err != nil {
		return 0, err
	}
	n := len(e.params)
	e.params, e.slots = out[:n:n], out[n:]
	e.free(&e.proposed.directions)
	return u.LR, nil
}

func narrow(values []float64) []float32 {
	list := make([]float32, len(values))
	for i, v := range values {
		list[i] = float32(v)
	}
	return list
}
