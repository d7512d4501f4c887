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

// Fit counts n-grams on the training part and scores them on the validation part, document by document, up to the same
// limit as the last evaluation. The only error is that of ctx.
//
// Memory: that of baseline.Fit, given back.
func Fit(ctx context.Context, text *data.Text) (runlog.Baseline, error) {
	scored, bytes := int64(0), int64(0)
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
		}
	}
	train := func(yield func([]int32) bool) {
		for ids := range head(ctx, text.Train.CountedLabels(), maxFitTokens) {
			if !yield(ids) {
				return
			}
		}
	}
	r := baseline.Best(baselineOrder, text.Tok.VocabSize(), train, val)
	if err := ctx.Err(); err != nil {
		return runlog.Baseline{}, err
	}
	perByte := float64(scored) / (math.Ln2 * float64(bytes))
	return runlog.Baseline{
		Order: r.Order, Loss: runlog.Float(r.Loss), Bits: runlog.Float(r.Loss * perByte),
		Unigram: runlog.Float(r.Unigram), UnigramBits: runlog.Float(r.Unigram * perByte),
		TrainTokens: r.TrainTokens, Tokens: r.Tokens,
	}, nil
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
