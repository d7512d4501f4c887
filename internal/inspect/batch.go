package inspect

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/memory"
	"gimbal/internal/plan"
	"gimbal/internal/safetensors"
)

// Batch is the batch of a step right after its gradient was computed.
type Batch struct {
	*data.Batch
	Engine engine.Engine
	Passes []data.Micro // in which the gradient was computed
	Step   int64

	Describe func([]data.Span) []string // names the documents of sequences
}

// freeBeside is the memory that is free beside an engine; 0: unknown. That of devices is known as a whole.
func freeBeside(o engine.Opener, spec engine.Spec) int64 {
	hw := o.Hardware()
	if hw.Device == "" || hw.Free == 0 {
		return memory.Free()
	}
	m := o.Estimate(spec)
	return max(1, hw.Free-m.Model-m.Slots)
}

// again runs the batch on another engine that has the same weights.
func (b Batch) again(ctx context.Context, o engine.Opener, spec engine.Spec) (r engine.Report, err error) {
	weights, err := b.Engine.Get()
	if err != nil {
		return r, err
	}
	e, err := o.Open(spec)
	if err != nil {
		return r, err
	}
	defer debug.FreeOSMemory()
	defer e.Close()
	if err := e.Set(safetensors.Memory(weights.Params), nil); err != nil {
		return r, err
	}
	for _, m := range b.Passes {
		in := engine.MicroInput(m)
		in.Scale = engine.Scale(b.Batch)
		if _, err := e.Pass(ctx, in, engine.Gradient); err != nil {
			return r, err
		}
	}
	return b.ask(ctx, e)
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// FirstBad names the first place that is not finite, or absurdly large, and the sequences that may have caused it.
// weight says that it is a weight, for which no sequence is to blame.
func (b Batch) FirstBad() (place string, suspects []data.Span, weight bool, err error) {
	i, err := b.Engine.Inspect()
	if err != nil {
		return "", nil, false, err
	}
	suspects = b.Spans
	if i.Pass >= 0 {
		suspects = b.Passes[i.Pass].Spans
	}
	switch {
	case i.Weight != nil:
		place = fmt.Sprintf("%s[%d] (weight, %.3g)", i.Weight.Tensor, i.Weight.Index, i.Weight.Value)
	case i.Pass >= 0 && i.Found && i.Block < 0:
		place = "the output of the embedding"
	case i.Pass >= 0 && i.Found:
		place = fmt.Sprintf("the output of block %d", i.Block)
	case i.Gradient != nil:
		place = fmt.Sprintf("%s[%d] (gradient)", i.Gradient.Tensor, i.Gradient.Index)
	}
	return place, suspects, i.Weight != nil, nil
}

// Blame returns the sequences that alone give a loss or a gradient that is not finite. It runs the suspects one at a
// time, and clears the gradients.
func (b Batch) Blame(ctx context.Context, suspects []data.Span) (guilty []data.Span, err error) {
	defer b.Engine.Discard()
	for _, s := range suspects {
		b.Engine.Discard()
		in := engine.SequenceInput(b.Batch, s)
		in.Scale = engine.Scale(b.Batch)
		v, err := b.Engine.Pass(ctx, in, engine.Gradient|engine.Nats)
		if err != nil {
			return nil, err
		}
		r, err := b.ask(ctx, b.Engine)
		if err != nil {
			return nil, err
		}
		if !finite(v.Nats) || !finite(r.GradNorm) {
			guilty = append(guilty, s)
		}
	}
	return guilty, nil
}

// ask returns the loss and the norm of an engine's gradients.
func (b Batch) ask(ctx context.Context, e engine.Engine) (engine.Report, error) {
	return e.Propose(ctx, engine.Proposal{Step: b.Step, Scale: engine.Scale(b.Batch), Clip: 1, Detail: engine.NoUpdate})
}

// Worst returns the sequences by their own loss, largest first, and the largest loss in nats per token.
func (b Batch) Worst(ctx context.Context) (spans []data.Span, loss float64, err error) {
	spans = slices.Clone(b.Spans)
	losses := make(map[int]float64, len(spans))
	for _, s := range spans {
		in := engine.SequenceInput(b.Batch, s)
		v, err := b.Engine.Pass(ctx, in, engine.Nats)
		if err != nil {
			return nil, 0, err
		}
		losses[s.Start] = v.Nats / float64(max(1, data.Micro{Counts: in.Counts}.CountedLabels()))
	}
	slices.SortStableFunc(spans, func(a, b data.Span) int { return cmp.Compare(losses[b.Start], losses[a.Start]) })
	return spans, losses[spans[0].Start], nil
}

// Opinion is the result of running a batch in full precision.
type Opinion struct {
	Asked          bool // it was run
	Loss, GradNorm float64
	Text           string // in words; empty: the first engine has full precision
}

// InFullPrecision runs the batch on another engine in full precision, to tell bad data from lost precision. It needs
// the memory of a second model. If that is missing, or anything else, only Text is set.
func (b Batch) InFullPrecision(ctx context.Context, o engine.Opener, spec engine.Spec) (op Opinion, err error) {
	if b.Engine.Info().Mode == "fp32" {
		return op, nil
	}
	if spec.Adapter.Rank > 0 { // its weights are not all in Get
		op.Text = "not tried in full precision: an adapter is trained"
		return op, nil
	}
	free := freeBeside(o, spec)
	spec.Mode, spec.Checkpointing = "fp32", "block"
	if free > 0 && float64(o.Estimate(spec).Model) > plan.MemoryShare*float64(free) {
		op.Text = "not tried in full precision: not enough memory"
		return op, nil
	}
	r, err := b.again(ctx, o, spec)
	if err != nil {
		op.Text = fmt.Sprintf("not tried in full precision: %v", err)
		return op, ctx.Err()
	}
	op = Opinion{Asked: true, Loss: r.Loss, GradNorm: r.GradNorm}
	if finite(r.Loss) && finite(r.GradNorm) {
		op.Text = fmt.Sprintf("in full precision the batch is finite (loss %.4g, gradient norm %.4g): the cause is lost "+
			"precision or an accident, not the data", r.Loss, r.GradNorm)
	} else {
		op.Text = "in full precision it is not finite either: the cause is the data or the weights"
	}
	return op, nil
}
