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
	maxFitTokens  = 32 << 20 // of the training part that the n-grams are counted on
)

// Fit counts n-grams on the training part and scores them on the validation part, document by document: on as much of
// it as the last evaluation scores. It fails only with the error of ctx.
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

// head yields sequences, and which of their labels count, until limit labels have been seen or ctx is done; the last
// one may be cut.
func head(ctx context.Context, seqs iter.Seq2[[]int32, []bool], limit int64) iter.Seq2[[]int32, []bool] {
	return func(yield func([]int32, []bool) bool) {
		left := limit
		for ids, counts := range seqs {
			if int64(len(ids)) > left {
				ids = ids[:left]
			}
			left -= int64(len(ids))
			if ctx.Err() != nil || !yield(ids, counts) || left <= 0 {
				return
			}
		}
	}
}
