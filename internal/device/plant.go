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

// absurdWeight is larger than any weight of a model that still computes, as on the CPU.
const absurdWeight = engine.AbsurdWeight

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
		if err := e.needGrads(ctx); err != nil {
			return r, err
		}
		err := e.eachGradient(ctx, func(i int, values []float32) bool {
			for k, v := range values {
				if v-v != 0 {
					r.Gradient = &engine.Element{Tensor: e.info.Tensors[i].Name, Index: k, Value: float64(v)}
					return false
				}
			}
			return true
		})
		if err != nil {
			return r, err
		}
	}
	p, err := e.fetchParams(ctx)
	if err != nil {
		return r, err
	}
	for _, v := range p.Views {
		for i, w := range p.Flat[v.Lo:v.Hi] {
			if !(w < absurdWeight && w > -absurdWeight) {
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

// eachGradient calls do with the gradient of each tensor, over all devices, until it returns false.
func (e *deviceEngine) eachGradient(ctx context.Context, do func(i int, values []float32) bool) error {
	if err := e.reduce(ctx); err != nil {
		return err
	}
	for i, t := range e.info.Tensors {
		values := make([]float32, t.Len())
		if err := e.fetchShards(ctx, e.reduced[i], values); err != nil {
			return err
		}
		if !do(i, values) {
			return nil
		}
	}
	return nil
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

// Harm implements engine.Planter: it fetches a tensor, changes it and puts it back.
func (e *deviceEngine) Harm(f engine.Fault) {
	ctx := context.Background()
	first := func(value float32) {
		e.failed(e.harmGradients(ctx, func(t engine.Tensor, values []float32) {
			if t.Name == f.Tensor {
				values[0] = value
			}
		}))
	}
	weights := func(change func(p *model.Params[float32])) {
		p, err := e.fetchParams(ctx)
		if err == nil {
			change(p)
			err = e.uploadParams(ctx)
		}
		e.failed(err)
	}
	switch f.Kind {
	case engine.NaNGradient:
		first(float32(math.NaN()))
	case engine.InfGradient:
		first(float32(math.Inf(1)))
	case engine.ScaleGradients:
		e.failed(e.harmGradients(ctx, func(_ engine.Tensor, values []float32) {
			for i := range values {
				values[i] *= float32(f.Factor)
			}
		}))
	case engine.FlipBit:
		weights(func(p *model.Params[float32]) {
			w := p.Tensor(f.Tensor)
			w[0] = math.Float32frombits(math.Float32bits(w[0]) ^ 1<<30)
		})
	case engine.ScaleBlock:
		weights(func(p *model.Params[float32]) { p.ScaleBlock(f.Block, f.Factor) })
	case engine.RoundWeights:
		weights(func(p *model.Params[float32]) {
			for i, w := range p.Flat {
				p.Flat[i] = engine.RoundBF16(w)
			}
		})
	default:
		panic("device: a fault that Harm does not know")
	}
	e.changed()
}

// harmGradients changes the gradients: what comes back is their sum on the first device, and nothing on the others.
func (e *deviceEngine) harmGradients(ctx context.Context, change func(t engine.Tensor, values []float32)) error {
	if err := e.needGrads(ctx); err != nil {
		return err
	}
	var changed []Array
	var failed error
	err := e.eachGradient(ctx, func(i int, values []float32) bool {
		change(e.info.Tensors[i], values)
		devices := e.pass.Devices
		all := append(values, make([]float32, (devices-1)*len(values))...)
		var a Array
		if a, failed = e.put(ctx, e.grads[i].Shape, bytesOf(all)); failed == nil {
			changed = append(changed, a)
		}
		return failed == nil
	})
	if err = errors.Join(err, failed); err != nil {
		return errors.Join(err, e.free(&changed))
	}
	e.changed()
	err = e.free(&e.grads)
	e.grads = changed
	return err
}

// failed keeps an error that could not be returned. The next pass and the next proposal return it.
func (e *deviceEngine) failed(err error) { e.broken = errors.Join(e.broken, err) }
