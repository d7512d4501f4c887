package engine

import (
	"context"
	"math"

	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/param"
)

// passes describes the passes with Gradient since Discard.
type passes struct {
	count int
	nats  float64 // of all, added in their order
	bad   int     // the first pass whose nats are not finite; -1: none
	block int     // the first block of the bad pass whose output is not finite; -1: the embedding
	found bool    // there is such a block; else it is the head
}

func (e *cpuEngine) Pass(ctx context.Context, in Input, want Want) (v Values, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	m := model.Input{Tokens: in.Tokens, Labels: in.Labels, Counts: in.Counts, Bounds: in.Bounds,
		Weights: in.Weights, Dropout: in.Dropout}
	var nats float64
	switch {
	case want&Gradient != 0 && (e.opt == nil || want&Probe != 0):
		panic("engine: gradient of a pass, or on an engine, that has none")
	case want&Gradient != 0:
		nats = e.model.Backward(m, in.Scale)
		e.opt.Changed()
		e.passes.add(nats, e.model)
	case want&Probe != 0:
		e.model.Probe(m, e.probe)
		v.Probe = e.probe
		for _, n := range e.model.TokenNats() {
			nats += n
		}
	default:
		m.Stop = func() bool { return ctx.Err() != nil }
		if nats = e.model.Loss(m); m.Stop() {
			return v, ctx.Err()
		}
	}
	if want&Nats != 0 {
		v.Nats = nats
	}
	if want&PerToken != 0 {
		v.TokenNats, v.TokenLogZ = e.model.TokenNats(), e.model.TokenLogZ()
	}
	return v, nil
}

// add counts a pass of m that has just ended.
func (p *passes) add(nats float64, m *model.Model[float32]) {
	if p.bad < 0 && !finite(nats) {
		p.bad = p.count
		p.block, p.found = m.NonFiniteBlock()
	}
	p.nats += nats
	p.count++
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

func (e *cpuEngine) Discard() {
	e.model.ClearGrads()
	if e.opt != nil {
		e.opt.Changed()
	}
	e.passes = passes{bad: -1}
}

func (e *cpuEngine) Propose(ctx context.Context, p Proposal) (r Report, err error) {
	if e.opt == nil {
		panic("engine: proposal on an engine without an optimizer")
	}
	if err := ctx.Err(); err != nil {
		return r, err
	}
	flat, grads := e.model.Trained().Flat, e.model.Grads()
	r.Loss, r.LR = e.passes.nats*p.Scale, p.LR
	r.GradNorm = e.opt.GlobalNorm(grads)
	scale, notFinite := optim.ClipScale(r.GradNorm, p.Clip)
	r.ClipScale = scale
	if notFinite != nil {
		r.ClipScale = 1
	} else if p.Detail&NoUpdate == 0 {
		r.UpdateRatio = e.opt.UpdateRatio(flat, grads, p.Step, p.LR, scale)
	}
	if p.Detail&Norms != 0 {
		r.Norms = e.report.Norms
		e.opt.SegmentNorms(grads, r.Norms)
	}
	if p.Detail&TensorStats != 0 {
		r.Tensors = e.report.Tensors
		e.opt.Stats(grads, r.Tensors)
		r.UpdateMedian = e.opt.Trial(flat, grads, p.Step, p.LR, scale, r.Tensors)
	}
	if p.Detail&Hashes != 0 {
		r.Hashes = e.report.Hashes
		for i, v := range e.model.Trained().Views {
			r.Hashes[i] = Hash(grads[v.Lo:v.Hi])
		}
	}
	return r, nil
}

// Hash is FNV-1a by words. Zeros of both signs have one hash.
func Hash(values []float32) uint64 {
	h := uint64(14695981039346656037)
	for _, x := range values {
		h = (h ^ uint64(math.Float32bits(x+0))) * 1099511628211
	}
	return h
}

func (e *cpuEngine) Commit(u Update) (lr float64, err error) {
	if e.opt == nil {
		panic("engine: update on an engine without an optimizer")
	}
	grads := e.model.Grads()
	if u.Factors != nil {
		e.opt.ScaleSegments(grads, u.Factors)
	}
	e.opt.Update(e.model.Trained().Flat, grads, u.Step, u.LR, u.Scale)
	e.model.Refresh()
	return u.LR, nil
}

// absurdWeight is larger than any weight of a model that still computes. One flipped bit of an exponent exceeds it.
const absurdWeight = 1e6

func (e *cpuEngine) Inspect() (Inspection, error) {
	r := Inspection{Pass: e.passes.bad, Found: e.passes.found, Block: e.passes.block}
	var grads []float32 // none without an optimizer
	if e.opt != nil {
		grads = e.model.Grads()
	}
	r.Look(e.model.Trained(), grads)
	return r, nil
}

// Look finds the first gradient that is not finite, if there are gradients, and the first weight that is absurd.
func (r *Inspection) Look(p *param.Params[float32], grads []float32) {
	if grads != nil {
		if name, index, value, bad := p.FirstNonFinite(grads); bad {
			r.Gradient = &Element{name, index, value}
		}
	}
	for _, v := range p.Views {
		for i, w := range p.Flat[v.Lo:v.Hi] {
			if !(w < absurdWeight && w > -absurdWeight) {
				r.Weight = &Element{v.Name, i, float64(w)}
				return
			}
		}
	}
}
