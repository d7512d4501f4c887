package engine

import (
	"context"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/rng"
)

// Accumulator adds the gradient of the mean loss of a batch to an engine's gradients, pass by pass. Every pass has the
// same denominator, the counted labels or the pairs of the whole batch, so the sum does not depend on how the batch is
// cut.
type Accumulator struct {
	MicroTokens int          // most positions of one pass
	Dropout     bool         // the model drops activations
	Seed        uint64       // of the run
	Passes      []data.Micro // of the last Gradient; valid until the batch changes
	Prefer      *Preference  // what is learned, where the batches are pairs; nil: the labels
	Pairs       Pairs        // of the last Gradient, with Prefer

	keys          []rng.Key
	nats, weights []float64
}

// Gradient runs the passes of update step on b. Propose then returns the loss and the norm, with Scale(b).
func (a *Accumulator) Gradient(ctx context.Context, e Engine, b *data.Batch, step int64) error {
	a.Passes = data.SplitMicro(a.Passes[:0], b, a.MicroTokens)
	if a.Prefer != nil {
		var err error
		if a.nats, err = SequenceNats(ctx, e, a.nats[:0], a.Passes); err != nil {
			return err
		}
		a.weights = slices.Grow(a.weights[:0], len(b.Tokens))[:len(b.Tokens)]
		a.Pairs = a.Prefer.Score(b, a.nats, a.weights)
	}
	keys := a.dropoutKeys(len(b.Spans), step)
	at := 0
	for _, m := range a.Passes {
		in := MicroInput(m)
		in.Scale = Scale(b)
		if a.Prefer != nil {
			in.Scale, in.Weights = 1/float64(a.Pairs.Count), a.weights[at:at+len(m.Tokens)]
		}
		at += len(m.Tokens)
		if keys != nil {
			in.Dropout, keys = keys[:len(m.Spans)], keys[len(m.Spans):]
		}
		if _, err := e.Pass(ctx, in, Gradient); err != nil {
			return err
		}
	}
	return nil
}

// Scale returns the denominator of a batch as a factor: 1 over its counted labels.
func Scale(b *data.Batch) float64 { return 1 / float64(b.Counted) }

// MicroInput returns the input of a pass over a micro-batch.
func MicroInput(m data.Micro) Input {
	return Input{Tokens: m.Tokens, Labels: m.Labels, Counts: m.Counts, Bounds: m.Bounds}
}

// SequenceInput returns the input of a pass over one sequence of a batch.
func SequenceInput(b *data.Batch, s data.Span) Input {
	lo, hi := s.Start, s.Start+s.Len
	return Input{Tokens: b.Tokens[lo:hi], Labels: b.Labels[lo:hi], Counts: b.Counts[lo:hi],
		Bounds: []int32{0, int32(s.Len)}}
}

// dropoutKeys returns a key for each sequence of a step, nil where nothing is dropped. A key depends on the seed, the
// step and the sequence's place in the batch, not on how the batch is cut into passes.
func (a *Accumulator) dropoutKeys(sequences int, step int64) []rng.Key {
	if !a.Dropout {
		return nil
	}
	key := rng.New(a.Seed, rng.Dropout).Sub(uint64(step))
	a.keys = a.keys[:0]
	for i := range sequences {
		a.keys = append(a.keys, key.Sub(uint64(i)))
	}
	return a.keys
}
