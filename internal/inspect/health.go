// Package inspect looks into a model in training: how healthy it is, and what is behind a number that is not finite.
//
// [Health.Look] measures gradients, updates and a forward pass and lets the rules of guard judge them. A [Batch] is the
// batch of a step that failed: it finds the first bad place, the sequences that are to blame, and whether full
// precision helps.
//
// The package asks an engine and changes nothing but gradients. It decides nothing: guard decides and the trainer acts.
package inspect

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

const (
	healthEvery = 100 // steps between checks of the whole model; step 1 has one too
	earlySteps  = 50  // in the first steps the residual stream may explode between two such checks, so the
	earlyEvery  = 10  // forward pass alone is checked more often
)

// Health is what the health checks remember. It is saved with the run.
type Health struct {
	guard.HealthState
	Step int64  `json:"step"` // of the last check
	Read []byte `json:"read"` // one bit for each token of the vocabulary: a batch has held it
}

// Due says whether a step is checked, and whether the check includes the gradient and the update of every tensor. A
// refused step comes again, and is checked once.
func (h *Health) Due(step int64) (any, full bool) {
	if h.Step == step {
		return false, false
	}
	full = step == 1 || step%healthEvery == 0
	return full || step <= earlySteps && step%earlyEvery == 0, full
}

// Look checks the update that r describes, if r has the details of tensors, and a forward pass of the batch. c holds
// the numbers of the step. It returns the record of a full check, or nil, and the new alarms. Gradients, weights,
// slots and the bits of training do not change.
func (h *Health) Look(ctx context.Context, e engine.Engine, b *data.Batch, c guard.HealthCheck, r engine.Report) (
	rec *runlog.Layers, events []guard.Event, err error) {
	arch := e.Info().Arch
	c.Layers, c.LR = arch.Layers, r.LR
	full := r.Tensors != nil
	if full {
		c.Tensors = tensorHealth(e.Info().Tensors, r.Tensors)
	}
	broken := slices.ContainsFunc(c.Tensors, func(t guard.TensorHealth) bool { return t.NonFinite > 0 })
	var stats *engine.ProbeStats
	if !broken { // otherwise a forward pass would explain nothing
		if c.Probe, stats, err = forwardPass(ctx, e, b); err != nil {
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
	rec = &runlog.Layers{Kind: "layers", UpdateRatio: runlog.Float(r.UpdateMedian), Unread: h.Unread(arch.Vocab)}
	for _, g := range guard.HealthGroups(c.Tensors) {
		rec.Layers = append(rec.Layers, runlog.Layer{Block: g.Block, Tensor: g.Kind, NonFinite: g.NonFinite,
			GradMean: runlog.Float(g.GradMean), GradRMS: runlog.Float(g.GradRMS), GradMax: runlog.Float(g.GradMax),
			WeightRMS: runlog.Float(g.WeightRMS), UpdateRMS: runlog.Float(g.UpdateRMS)})
	}
	if c.Probe != nil {
		rec.Activations = activationsOf(c.Probe, stats)
	}
	return rec, events, nil
}

// tensorHealth is a report as the rules of health read it.
func tensorHealth(tensors []engine.Tensor, states []engine.TensorState) []guard.TensorHealth {
	list := make([]guard.TensorHealth, len(tensors))
	for i, v := range tensors {
		g, u := states[i].Grad, states[i].Update
		list[i] = guard.TensorHealth{Name: v.Name, Block: v.Block, Kind: v.Kind, Matrix: len(v.Shape) == 2 &&
			!v.Waits, Len: v.Len(),
			GradMean: g.MeanAbs, GradRMS: g.RMS, GradMax: g.Max, NonFinite: g.NonFinite,
			WeightRMS: u.WeightRMS, UpdateRMS: u.RMS, Unmoved: u.Unmoved}
	}
	return list
}

// forwardPass runs the longest sequence of the batch, or its beginning, through the model.
func forwardPass(ctx context.Context, e engine.Engine, b *data.Batch) (*guard.ProbeHealth, *engine.ProbeStats, error) {
	longest := slices.MaxFunc(b.Spans, func(a, b data.Span) int { return a.Len - b.Len })
	longest.Len = min(longest.Len, engine.ProbeTokens)
	in := engine.SequenceInput(b, longest)
	in.Counts = slices.Repeat([]bool{true}, longest.Len)
	v, err := e.Pass(ctx, in, engine.Probe)
	if err != nil {
		return nil, nil, err
	}
	s, layers := v.Probe, e.Info().Arch.Layers
	p := &guard.ProbeHealth{Tokens: longest.Len, LogZ: s.LogZ, Dead: s.Dead, Logit: make([]float64, layers)}
	for l, at := range s.Stream {
		p.Stream = append(p.Stream, at.RMS)
		if l > 0 {
			p.Kept = append(p.Kept, at.Kept)
		}
	}
	heads := len(s.Heads) / layers
	for i, h := range s.Heads {
		p.Entropy = append(p.Entropy, h.Entropy)
		p.Logit[i/heads] = max(p.Logit[i/heads], h.Logit) // NaN stays
	}
	return p, s, nil
}

// activationsOf is a forward pass as the log records it.
func activationsOf(h *guard.ProbeHealth, s *engine.ProbeStats) runlog.Activations {
	p := runlog.Activations{Tokens: h.Tokens, EmbedRMS: runlog.Float(s.Stream[0].RMS), LogZ: runlog.Float(s.LogZ),
		LogitMax: runlog.Float(s.Logit)}
	heads := len(h.Entropy) / len(h.Dead)
	for l, after := range s.Stream[1:] {
		p.Blocks = append(p.Blocks, runlog.ActivationsBlock{StreamRMS: runlog.Float(after.RMS),
			Kept: runlog.Float(after.Kept), Peak: runlog.Float(after.Peak), Dead: runlog.Float(s.Dead[l]),
			ScoreMax: runlog.Float(h.Logit[l]), Entropy: runlog.Floats(h.Entropy[l*heads : (l+1)*heads])})
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

// Line is a full check in one line: mean |g| of the first and the last block, and a number for each of the rest.
func Line(rec *runlog.Layers, events int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "health of step %d:", rec.Step)
	for _, kind := range []string{"attn", "mlp"} {
		var first, last float64
		for _, l := range rec.Layers {
			switch {
			case l.Tensor != kind || l.Block < 0:
				continue
			case l.Block == 0:
				first = float64(l.GradMean)
			}
			last = float64(l.GradMean) // blocks are in order
		}
		fmt.Fprintf(&b, " |g| %s %.2g → %.2g ·", kind, first, last)
	}
	fmt.Fprintf(&b, " update/weight %.2g", float64(rec.UpdateRatio))
	if p := rec.Activations; p.Tokens > 0 {
		sum, heads, dead := 0.0, 0, 0.0
		for _, l := range p.Blocks {
			for _, e := range l.Entropy {
				sum += float64(e)
				heads++
			}
			dead = max(dead, float64(l.Dead))
		}
		fmt.Fprintf(&b, " · stream %.2g → %.2g · entropy %.2f · dead %.0f %% · ln Z %.3g", float64(p.EmbedRMS),
			float64(p.Blocks[len(p.Blocks)-1].StreamRMS), sum/float64(heads), 100*dead, float64(p.LogZ))
	}
	switch events {
	case 0:
		b.WriteString(" · no new problems")
	case 1:
		b.WriteString(" · 1 alarm")
	default:
		fmt.Fprintf(&b, " · %d alarms", events)
	}
	return b.String()
}
