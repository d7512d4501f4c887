package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/graph"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

// Inspect implements engine.Engine. It fetches what it looks at: the passes first, then tensors.
func (e *deviceEngine) Inspect() (engine.Inspection, error) {
	ctx := context.Background()
	r := engine.Inspection{Pass: -1}
	var grads []float32
	if e.opt != nil { // else there are no gradients
		_, err := e.settle(ctx)
		if err == nil {
			err = e.inspectPasses(ctx, &r)
		}
		if err == nil {
			grads, err = e.gradients(ctx)
		}
		if err != nil {
			return r, err
		}
	}
	p, err := e.fetchParams(ctx)
	if err == nil {
		r.Look(p, grads)
	}
	return r, err
}

// inspectPasses finds the first pass whose nats are not finite, and the first bad block in its rows.
func (e *deviceEngine) inspectPasses(ctx context.Context, r *engine.Inspection) error {
	if r.Pass = slices.IndexFunc(e.passes, func(b batch) bool { return !finite(b.nats) }); r.Pass < 0 {
		return nil
	}
	first := e.spec.Arch.Layers + 1 // the head
	for _, run := range e.passes[r.Pass].runs {
		for d := range e.pass.Devices {
			isFinite := make([]byte, run.out[1].Bytes()) // embedding, blocks, nats
			if err := e.fetch(ctx, run.out[1], d, isFinite); err != nil {
				return err
			}
			if i := slices.Index(isFinite[:first], 0); i >= 0 {
				first = i
			}
		}
	}
	if r.Found = first <= e.spec.Arch.Layers; r.Found {
		r.Block = first - 1
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// gradients fetches the gradient of all tensors, over all devices, as param.Params has them.
func (e *deviceEngine) gradients(ctx context.Context) (flat []float32, err error) {
	if err := e.reduce(ctx); err != nil {
		return nil, err
	}
	views, n := param.TrainedLayout(e.spec.Arch, e.spec.Adapter)
	flat = make([]float32, n)
	for i, v := range views {
		if err := e.fetchShards(ctx, e.reduced[i], flat[v.Lo:v.Hi]); err != nil {
			return nil, err
		}
	}
	return flat, nil
}

// faults are the planted faults, as a part of a key.
func (e *deviceEngine) faults() string {
	if len(e.pass.Faults) == 0 {
		return ""
	}
	return fmt.Sprint(e.pass.Faults)
}

// Plant implements engine.Planter: other faults are another program.
func (e *deviceEngine) Plant(faults ...engine.Fault) {
	e.pass.Faults = nil
	for _, f := range faults {
		if f.Block < 0 || f.Block >= e.spec.Arch.Layers {
			panic("device: no such fault or block")
		}
		e.pass.Faults = append(e.pass.Faults, model.PlantedFault{Fault: model.Fault(f.Kind), Block: f.Block})
	}
}

// Harm implements engine.Planter: it fetches weights or gradients, changes them and puts them back.
func (e *deviceEngine) Harm(f engine.Fault) {
	e.broken = errors.Join(e.broken, e.harm(context.Background(), f))
}

func (e *deviceEngine) harm(ctx context.Context, f engine.Fault) error {
	if !f.OfGradients() {
		p, err := e.fetchParams(ctx)
		if err != nil {
			return err
		}
		f.Spoil(p, nil)
		return e.uploadParams(ctx)
	}
	p := e.mirror().params
	grads, err := e.gradients(ctx)
	if err != nil {
		return err
	}
	f.Spoil(p, grads)
	e.changed()
	e.free(&e.grads)
	for _, v := range p.Views { // the sum on the first device, and zeros on the others
		values := append(slices.Clone(grads[v.Lo:v.Hi]), make([]float32, (e.pass.Devices-1)*v.Len())...)
		a, err := e.put(ctx, graph.Shape{Type: graph.F32, Dims: v.Shape}, bytesOf(values))
		if err != nil {
			return err
		}
		e.grads = append(e.grads, a)
	}
	return nil
}
