package evaluate

import (
	"context"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/runlog"
)

// scorePairs adds a batch of preferences to a score and empties it.
func (e *Evaluator) scorePairs(ctx context.Context, s *Score, b *data.Batch) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.passes = data.SplitMicro(e.passes[:0], b, e.opt.MicroTokens)
	if e.nats, err = engine.SequenceNats(ctx, e.opt.Engine, e.nats[:0], e.passes); err != nil {
		return err
	}
	if p := e.opt.Prefer; p != nil {
		s.beta = p.Beta
		s.Pairs.Add(p.Score(b, e.nats, nil))
	}
	for k := 0; k < len(b.Spans); k += 2 {
		one := data.Batch{Labels: b.Labels, Counts: b.Counts, Spans: b.Spans[k : k+2]}
		tokens, bytes := e.preferred(&one)
		s.add(e.nats[k], tokens, b.Spans[k].Index)
		s.Nats += e.nats[k]
		s.Tokens, s.Bytes = s.Tokens+int64(tokens), s.Bytes+bytes
	}
	b.Reset()
	return nil
}

// preferred returns the counted labels of the preferred answers of a batch, and the bytes that they spell.
func (e *Evaluator) preferred(b *data.Batch) (tokens int, bytes int64) {
	for k := 0; k < len(b.Spans); k += 2 {
		s := b.Spans[k]
		for i := s.Start; i < s.Start+s.Len; i++ {
			if b.Counts[i] {
				tokens++
				bytes += int64(len(e.opt.Text.Tok.Bytes(b.Labels[i])))
			}
		}
	}
	return tokens, bytes
}

// PairsRecord is pairs as the log has them.
func PairsRecord(p engine.Pairs, beta float64) *runlog.Pairs {
	mean := func(sum float64) runlog.Float { return runlog.Float(p.Mean(sum)) }
	return &runlog.Pairs{Count: p.Count, Margin: runlog.Float(p.Margin(beta)), Accuracy: mean(p.Correct),
		ChosenReward: mean(beta * p.Ratio[0]), RejectedReward: mean(beta * p.Ratio[1]),
		ChosenTokens: mean(float64(p.Tokens[0])), RejectedTokens: mean(float64(p.Tokens[1]))}
}
