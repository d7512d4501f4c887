// Package inspect looks into a model in training: how healthy it is, and what is behind a number that is not finite.
//
// [Health.Look] measures gradients, updates and a forward pass and lets the rules of guard judge them. A [Batch] is
// the batch of a step that something is wrong with: it is asked for the first bad place, for the sequences to blame,
// and for a second opinion in full precision.
//
// The package asks an engine and changes nothing but gradients. It decides nothing: that is guard's, and acting on it
// the trainer's.
package inspect

import (
	"context"
	"math/bits"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

const (
	healthEvery = 100 // steps between looks at the whole model; the first step has one, too
	earlySteps  = 50  // first steps, in which the stream may explode between two such looks …
	earlyEvery  = 10  // … so the forward pass alone is looked at more often
)

// Health is what the looks at health remember. It is saved with the run.
type Health struct {
	guard.HealthState
	Step int64  `json:"step"` // of the last look
	Read []byte `json:"read"` // one bit for each token of the vocabulary that a batch has held
}

// Due says whether a step is looked at, and whether that is a look at gradients and the update of every tensor. A
// refused step comes again, and is looked at once.
func (h *Health) Due(step int64) (any, full bool) {
	if h.Step == step {
		return false, false
	}
	full = step == 1 || step%healthEvery == 0
	return full || step <= earlySteps && step%earlyEvery == 0, full
}

// Look looks at the update that r describes, if it has the details of tensors, and at a forward pass of the batch. c
// comes with the numbers of the step. It returns the record of a look at everything, nil for one at the forward pass
// only, and what is new. Gradients, weights, slots and the bits of training stay as they are.
func (h *Health) Look(ctx context.Context, e engine.Engine, b *data.Batch, c guard.HealthCheck, r engine.Report) (
	rec *runlog.Layers, events []guard.Event, err error) {
	arch := e.Info().Arch
	c.Layers, c.LR = arch.Layers, r.LR
	full := r.Tensors != nil
	if full {
		c.Tensors = tensorHealth(e.Info().Tensors, r.Tensors)
	}
	broken := slices.ContainsFunc(c.Tensors, func(t guard.TensorHealth) bool { return t.NonFinite > 0 })
	var probe *engine.ProbeStats
	if !broken { // a forward pass says nothing about gradients that are not finite
		if c.Probe, probe, err = forwardPass(ctx, e, b); err != nil {
			return nil, nil, err
		}
	}
	h.HealthState, events = guard.Health(h.HealthState, c)
	if !broken {
		h.Step = c.Step
	}
	if !full {
		return nil, events, nil
	}
	rec = &runlog.Layers{Kind: "layers", UpdateRatio: runlog.Float(r.UpdateMedian), Unread: h.Unread(arch.Vocab),
		Layers: layersOf(c.Tensors)}
	if c.Probe != nil {
		rec.Activations = activationsOf(c.Probe, probe)
	}
	return rec, events, nil
}

// tensorHealth is a report as the rules of health read it.
func tensorHealth(tensors []engine.Tensor, states []engine.TensorState) []guard.TensorHealth {
	list := make([]guard.TensorHealth, len(tensors))
	for i, v := range tensors {
		g, u := states[i].Grad, states[i].Update
		list[i] = guard.TensorHealth{Name: v.Name, Block: v.Block, Kind: v.Kind, Matrix: len(v.Shape) == 2, Len: v.Len(),
			GradMean: g.MeanAbs, GradRMS: g.RMS, GradMax: g.Max, NonFinite: g.NonFinite,
			WeightRMS: u.WeightRMS, UpdateRMS: u.RMS, Unmoved: u.Unmoved}
	}
	return list
}

// forwardPass runs the longest sequence of the batch, or its beginning, through the model.
func forwardPass(ctx context.Context, e engine.Engine, b *data.Batch) (*guard.ProbeHealth, *engine.ProbeStats, error) {
	longest := slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len })
	lo, n := longest.Start, min(longest.Len, engine.ProbeTokens)
	in := engine.Input{Tokens: b.Tokens[lo : lo+n], Labels: b.Labels[lo : lo+n],
		Counts: slices.Repeat([]bool{true}, n), Bounds: []int32{0, int32(n)}}
	v, err := e.Pass(ctx, in, engine.Probe)
	if err != nil {
		return nil, nil, err
	}
	s, layers := v.Probe, e.Info().Arch.Layers
	p := &guard.ProbeHealth{Tokens: n, LogZ: s.LogZ, Entropy: make([]float64, len(s.Heads)), Dead: s.Dead,
		Stream: make([]float64, layers+1), Kept: make([]float64, layers), Logit: make([]float64, layers)}
	for l, at := range s.Stream {
		p.Stream[l] = at.RMS
		if l > 0 {
			p.Kept[l-1] = at.Kept
		}
	}
	heads := len(s.Heads) / layers
	for i, h := range s.Heads {
		p.Entropy[i] = h.Entropy
		p.Logit[i/heads] = max(p.Logit[i/heads], h.Logit) // NaN stays
	}
	return p, s, nil
}

// layersOf sums tensors up by block and kind.
func layersOf(tensors []guard.TensorHealth) (list []runlog.Layer) {
	for _, g := range guard.HealthGroups(tensors) {
		list = append(list, runlog.Layer{Block: g.Block, Tensor: g.Kind, GradMean: runlog.Float(g.GradMean),
			GradRMS: runlog.Float(g.GradRMS), GradMax: runlog.Float(g.GradMax), WeightRMS: runlog.Float(g.WeightRMS),
			UpdateRMS: runlog.Float(g.UpdateRMS), NonFinite: g.NonFinite})
	}
	return list
}

// activationsOf is a forward pass as the log records it.
func activationsOf(h *guard.ProbeHealth, s *engine.ProbeStats) runlog.Activations {
	p := runlog.Activations{Tokens: h.Tokens, EmbedRMS: runlog.Float(s.Stream[0].RMS), LogZ: runlog.Float(s.LogZ),
		LogitMax: runlog.Float(s.Logit)}
	heads := len(h.Entropy) / len(h.Dead)
	for l, after := range s.Stream[1:] {
		b := runlog.ActivationsBlock{StreamRMS: runlog.Float(after.RMS), Kept: runlog.Float(after.Kept),
			Peak: runlog.Float(after.Peak), Dead: runlog.Float(s.Dead[l]), ScoreMax: runlog.Float(h.Logit[l])}
		for _, e := range h.Entropy[l*heads : (l+1)*heads] {
			b.Entropy = append(b.Entropy, runlog.Float(e))
		}
		p.Blocks = append(p.Blocks, b)
	}
	return p
}

// MarkRead marks the tokens of a batch.
func (h *Health) MarkRead(tokens []int32, vocab int) {
	if size := (vocab + 7) / 8; len(h.Read) != size {
		h.Read = make([]byte, size)
	}
	for _, token := range tokens {
		h.Read[token/8] |= 1 << (token % 8)
	}
}

// Unread is the number of tokens that no batch has held.
func (h *Health) Unread(vocab int) int {
	n := vocab
	for _, b := range h.Read {
		n -= bits.OnesCount8(b)
	}
	return n
}
