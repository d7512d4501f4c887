package evaluate

import (
	"context"
	"iter"
	"math"

	"gimbal/internal/baseline"
	"gimbal/internal/data"
	"gimbal/internal/runlog"
)

const (
	baselineOrder = 5
	maxFitTokens  = 32 << 20 // of the training part, on which the n-grams are counted
)

// Grams is the n-gram losses of a validation part.
type Grams struct {
	runlog.Baseline
	nats   []float64 // summed, of each sequence of the validation part
	tokens []int64   // that count in it
}

// Fit counts n-grams on the training part and scores them on the validation part, document by document, up to the same
// limit as the last evaluation. The only error is that of ctx.
//
// Memory: that of baseline.Fit, given back, and a few words for each sequence.
func Fit(ctx context.Context, text *data.Text) (*Grams, error) {
	scored, bytes := int64(0), int64(0)
	g := &Grams{nats: make([]float64, text.Val.Sequences()), tokens: make([]int64, text.Val.Sequences())}
	byOrder := make([][baselineOrder]float64, len(g.nats))
	first := int64(0) // sequence of the document in progress
	context := int64(text.Val.Context())
	val := func(yield func([]int32, []bool) bool) {
		for ids, counts := range head(ctx, text.Val.CountedLabels(), maxTokens) {
			for i, id := range ids {
				if counts == nil || counts[i] {
					scored++
					bytes += int64(len(text.Tok.Bytes(id)))
				}
			}
			if !yield(ids, counts) {
				return
			}
			first += (int64(len(ids)) + context - 1) / context
		}
	}
	train := func(yield func([]int32) bool) {
		for ids := range head(ctx, text.Train.CountedLabels(), maxFitTokens) {
			if !yield(ids) {
				return
			}
		}
	}
	r := baseline.Best(baselineOrder, text.Tok.VocabSize(), train, val, func(_, label int, nats []float64) {
		i := first + int64(label)/context // a document is cut into sequences of context labels
		g.tokens[i]++
		for k, v := range nats {
			byOrder[i][k] += v
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range g.nats {
		g.nats[i] = byOrder[i][r.Order-1]
	}
	perByte := float64(scored) / (math.Ln2 * float64(bytes))
	g.Baseline = runlog.Baseline{
		Order: r.Order, Loss: runlog.Float(r.Loss), Bits: runlog.Float(r.Loss * perByte),
		Unigram: runlog.Float(r.Unigram), UnigramBits: runlog.Float(r.Unigram * perByte),
		TrainTokens: r.TrainTokens, Tokens: r.Tokens,
	}
	return g, nil
}

// On returns the losses with that of the sample that e scores at every evaluation, so that a loss is compared with
// n-grams on the same tokens.
func (g *Grams) On(e *Evaluator) runlog.Baseline {
	b, nats := g.Baseline, 0.0
	for _, i := range e.sampled() {
		nats += g.nats[i]
		b.SampleTokens += g.tokens[i]
	}
	if b.Sample = runlog.Float(nats / float64(b.SampleTokens)); b.SampleTokens == b.Tokens {
		b.Sample = b.Loss // the same tokens, added in another order
	}
	return b
}

// head yields sequences, with which of their labels count, until limit labels or ctx is done. It may cut the last one.
func head(ctx context.Context, seqs iter.Seq2[[]int32, []bool], limit int64) iter.Seq2[[]int32, []bool] {
	return func(yield func([]int32, []bool) bool) {
		left := limit
		for ids, counts := range seqs {
			ids = ids[:min(int64(len(ids)), left)]
			left -= int64(len(ids))
			if ctx.Err() != nil || !yield(ids, counts) || left <= 0 {
				return
			}
		}
	}
}
