package preflight

import (
	"context"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
)

const (
	probePositions = 512  // most positions of all sequences together; fewer for a large model
	probeSequence  = 160  // most positions of one sequence: more than two blocks of attention
	probeWork      = 5e10 // parameters times positions, so that a large model takes only seconds too
	probeSequences = 6
)

// sequences returns at most so many sequences of the training part, spread over it and cut short, as one batch.
func (c *checker) sequences(most int) *data.Batch {
	total, multiplied := c.Plan.Spec.Arch.Params()
	budget := min(probePositions, c.Plan.Spec.MicroTokens,
		max(64, int(probeWork/float64(max(total, multiplied)))))
	most = min(most, budget)
	b, one := new(data.Batch), new(data.Batch)
	n := c.Text.Train.Sequences()
	for i := range int64(most) {
		if i >= n {
			break
		}
		one.Reset()
		c.read(c.Text.Train, one, i*n/int64(most))
		span := one.Spans[0]
		span.Len = min(span.Len, probeSequence, budget/most)
		add(b, one, span)
	}
	return b
}

// add appends a sequence of src to dst.
func add(dst, src *data.Batch, s data.Span) {
	lo, hi := s.Start, s.Start+s.Len
	s.Start = len(dst.Tokens)
	dst.Tokens = append(dst.Tokens, src.Tokens[lo:hi]...)
	dst.Labels = append(dst.Labels, src.Labels[lo:hi]...)
	dst.Counts = append(dst.Counts, src.Counts[lo:hi]...)
	dst.Spans = append(dst.Spans, s)
	for _, counts := range src.Counts[lo:hi] {
		if counts {
			dst.Counted++
		}
	}
}

// whole is a batch as one pass of the model.
func whole(b *data.Batch) engine.Input {
	return engine.MicroInput(data.SplitMicro(nil, b, max(1, len(b.Tokens)))[0])
}

// all marks n positions as counted.
func all(n int) []bool { return slices.Repeat([]bool{true}, n) }

// longest returns a sequence of at least two tokens, cut short, in which all positions count. ok is false if there is
// none.
func (c *checker) longest() (in engine.Input, ok bool) {
	for most := 1; len(in.Tokens) < 2 && most <= 64; most *= 2 {
		b := c.sequences(most)
		for _, s := range b.Spans {
			if s.Len > len(in.Tokens) {
				in = engine.SequenceInput(b, s)
			}
		}
	}
	in.Counts = all(len(in.Tokens))
	return in, len(in.Tokens) >= 2 && c.Plan.Spec.Arch.Vocab >= 2
}

// replaced returns tokens with each one from position from on replaced by another.
func (c *checker) replaced(tokens []int32, from int) []int32 {
	other, vocab := slices.Clone(tokens), int32(c.Plan.Spec.Arch.Vocab)
	for i := from; i < len(other); i++ {
		other[i] = (other[i] + 1 + int32(i)%(vocab-1)) % vocab
	}
	return other
}

// logProbs runs the model forward and returns for every position the nats of its label and the logarithm of the sum of
// exponentials of the logits.
func (c *checker) logProbs(ctx context.Context, in engine.Input) (nats, logZ []float64, err error) {
	v, err := c.Engine.Pass(ctx, in, engine.PerToken)
	return slices.Clone(v.TokenNats), slices.Clone(v.TokenLogZ), err
}

// gradient describes the engine's gradients: their norm, and what detail asks for.
func (c *checker) gradient(ctx context.Context, detail engine.Detail) (engine.Report, error) {
	return c.Engine.Propose(ctx, engine.Proposal{Step: 1, LR: c.Plan.Rate.Schedule.Peak, Clip: c.Plan.Config.Optim.Clip,
		Detail: detail | engine.NoUpdate})
}
