package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"gimbal/internal/engine"
	"gimbal/internal/model"
)

// Inspect implements engine.Engine. It fetches what it looks at: the passes first, then tensors.
func (e *deviceEngine) Inspect() (engine.Inspection, error) {
	ctx := context.Background()
	r := engine.Inspection{Pass: -1}
	if e.opt != nil { // else there are no gradients
		if _, err := e.settle(ctx); err != nil {
			return r, err
		}
		if err := e.inspectPasses(ctx, &r); err != nil {
			return r, err
		}
		gradients, err := e.gradients(ctx)
		if err != nil {
			return r, err
		}
		for i, values := range gradients {
			if k := slices.IndexFunc(values, func(v float32) bool { return v-v != 0 }); k >= 0 {
				r.Gradient = &engine.Element{Tensor: e.info.Tensors[i].Name, Index: k, Value: float64(values[k])}
				break
			}
		}
	}
	p, err := e.fetchParams(ctx)
	if err != nil {
		return r, err
	}
	for _, v := range p.Views {
		for i, w := range p.Flat[v.Lo:v.Hi] {
			if !(w < engine.AbsurdWeight && w > -engine.AbsurdWeight) {
				r.Weight = &engine.Element{Tensor: v.Name, Index: i, Value: float64(w)}
				return r, nil
			}
		}
	}
	return r, nil
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

// gradients fetches the gradient of each tensor, over all devices.
func (e *deviceEngine) gradients(ctx context.Context) (list [][]float32, err error) {
	if err := e.reduce(ctx); err != nil {
		return nil, err
	}
	for i, t := range e.info.Tensors {
		values := make([]float32, t.Len())
		if err := e.fetchShards(ctx, e.reduced[i], values); err != nil {
			return nil, err
		}
		list = append(list, values)
	}
	return list, nil
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
	var err error
	switch f.Kind {
	case engine.NaNGradient, engine.InfGradient, engine.ScaleGradients:
		err = e.harmGradients(context.Background(), f)
	case engine.FlipBit, engine.ScaleBlock, engine.RoundWeights:
		err = e.harmWeights(context.Background(), f)
	default:
		panic("device: a fault that Harm does not know")
	}
	e.broken = errors.Join(e.broken, err)
}

func (e *deviceEngine) harmWeights(ctx context.Context, f engine.Fault) error {
	p, err := e.fetchParams(ctx)
	if err != nil {
		return err
	}
	switch f.Kind {
	case engine.FlipBit:
		w := p.Tensor(f.Tensor)
		w[0] = math.Float32frombits(math.Float32bits(w[0]) ^ 1<<30)
	case engine.ScaleBlock:
		p.ScaleBlock(f.Block, f.Factor)
	case engine.RoundWeights:
		for i, w := range p.Flat {
			p.Flat[i] = engine.RoundBF16(w)
		}
	}
	return e.uploadParams(ctx)
}

// harmGradients puts the sum of the changed gradients on the first device, and zeros on the others.
func (e *deviceEngine) harmGradients(ctx context.Context, f engine.Fault) error {
	gradients, err := e.gradients(ctx)
	if err != nil {
		return err
	}
	e.changed()
	shapes := e.shapes()
	e.free(&e.grads)
	for i, values := range gradients {
		switch named := e.info.Tensors[i].Name == f.Tensor; {
		case named && f.Kind == engine.NaNGradient:
			values[0] = float32(math.NaN())
		case named && f.Kind == engine.InfGradient:
			values[0] = float32(math.Inf(1))
		case f.Kind == engine.ScaleGradients:
			for k := range values {
				values[k] *= float32(f.Factor)
			}
		}
		a, err := e.put(ctx, shapes[i], bytesOf(append(values, make([]float32, (e.pass.Devices-1)*len(values))...)))
		if err != nil {
			return err
		}
		e.grads = append(e.grads, a)
	}
	return nil
}
