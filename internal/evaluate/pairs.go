package evaluate

import (
	"context"

	"gimbal/internal/data"
	"gimbal/internal/engine"
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
		s.add(e.nats[k], tokens)
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

// Reference returns the nats of every document of the pairs that are trained or validated on, by the model as it is;
// zero for the others. likelier is the share of pairs of which it finds the preferred answer likelier, by the token.
// tell is told how many pairs are done, of how many.
func (e *Evaluator) Reference(ctx context.Context, tell func(done, all int64)) (nats []float64, likelier float64,
	err error) {
	text := e.opt.Text
	nats = make([]float64, text.Set.Documents())
	var b data.Batch
	flush := func() error {
		e.passes = data.SplitMicro(e.passes[:0], &b, e.opt.MicroTokens)
		if e.nats, err = engine.SequenceNats(ctx, e.opt.Engine, e.nats[:0], e.passes); err != nil {
			return err
		}
		var token [2]float64
		for i, s := range b.Spans {
			nats[s.Index] = e.nats[i]
			in := engine.SequenceInput(&b, s)
			token[i%2] = e.nats[i] / float64(data.Micro{Counts: in.Counts}.CountedLabels())
			if i%2 == 1 && token[0] < token[1] {
				likelier++
			}
		}
		b.Reset()
		return ctx.Err()
	}
	done, all := int64(0), text.Train.Sequences()+text.Val.Sequences()
	for _, part := range []*data.Split{text.Train, text.Val} {
		for i := range part.Sequences() {
			if part.Read(&b, i); len(b.Tokens) >= e.opt.MicroTokens {
				if err := flush(); err != nil {
					return nil, 0, err
				}
			}
			if done++; done%100 == 0 {
				tell(done, all)
			}
		}
	}
	err = flush()
	return nats, likelier / float64(all), err
}
