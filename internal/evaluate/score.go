package evaluate

import (
	"context"
	"iter"
	"math"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/rng"
	"gimbal/internal/runlog"
)

// maxTokens is the most labels of the validation part that are scored, by the model and by the baseline.
const maxTokens = 2 << 20

// Loss is the losses of one evaluation.
type Loss struct {
	Sample   Score // on the same sequences at every evaluation: what evaluations are compared by
	Reported Score // on the whole validation part where that was asked for, else the sample
}

// Record is the evaluation as the log has it. baseline is the loss of the n-grams.
func (l Loss) Record(at runlog.At, baseline runlog.Float) runlog.Eval {
	lo, hi := l.Reported.Interval()
	return runlog.Eval{
		Kind: "eval", At: at, BaselineLoss: baseline,
		ValLoss: runlog.Float(l.Reported.Loss()), BitsPerByte: runlog.Float(l.Reported.BitsPerByte()),
		Metrics: map[string]runlog.Float{
			MetricTokens: runlog.Float(l.Reported.Tokens), MetricSample: runlog.Float(l.Sample.Loss()),
			MetricLossLo: runlog.Float(lo), MetricLossHi: runlog.Float(hi),
		},
	}
}

// Score is a sum of losses over labels that count.
type Score struct {
	Nats   float64
	Tokens int64
	Bytes  int64 // that the labels spell

	passes                int
	nats2, cross, tokens2 float64 // sums over the passes: of squares, and of nats times tokens
}

// Loss is in nats per token.
func (s Score) Loss() float64 { return s.Nats / float64(s.Tokens) }

// BitsPerByte is the loss on the scale that does not depend on the tokenizer.
func (s Score) BitsPerByte() float64 { return s.Nats / (math.Ln2 * float64(s.Bytes)) }

// Interval is the 95 % interval of Loss: what another sample of as many sequences might give. A pass is one unit, of
// whole sequences; of fewer than two nothing is known.
//
// Source: the variance of a ratio, Cochran 1977, section 2.11.
func (s Score) Interval() (lo, hi float64) {
	loss, n := s.Loss(), float64(s.passes)
	if n < 2 {
		return math.Inf(-1), math.Inf(1)
	}
	rest := s.nats2 - 2*loss*s.cross + loss*loss*s.tokens2
	half := 1.96 * math.Sqrt(max(0, rest)*n/(n-1)) / float64(s.Tokens)
	return loss - half, loss + half
}

// add adds a pass with so many labels that count.
func (s *Score) add(nats float64, tokens int) {
	n := float64(tokens)
	s.Nats += nats
	s.passes++
	s.nats2, s.cross, s.tokens2 = s.nats2+nats*nats, s.cross+nats*n, s.tokens2+n*n
}

// whole scores the validation part from its beginning.
func (e *Evaluator) whole(ctx context.Context) (Score, error) {
	return e.score(ctx, inOrder(e.opt.Text.Val), maxTokens)
}

// score scores the sequences of the validation part in an order, until there are no more or limit labels were scored.
func (e *Evaluator) score(ctx context.Context, order iter.Seq[int64], limit int64) (s Score, err error) {
	val, most := e.opt.Text.Val, e.opt.MicroTokens
	var batch data.Batch
	var passes []data.Micro
	flush := func() error {
		passes = data.SplitMicro(passes[:0], &batch, most)
		for _, m := range passes {
			if err := ctx.Err(); err != nil {
				return err
			}
			v, err := e.opt.Engine.Pass(ctx, engine.MicroInput(m), engine.Nats)
			if err != nil {
				return err
			}
			s.add(v.Nats, m.CountedLabels())
		}
		s.Tokens += int64(batch.Counted)
		s.Bytes += batch.Bytes
		batch.Reset()
		return nil
	}
	for i := range order {
		if len(batch.Tokens)+val.Context() > most {
			if err := flush(); err != nil {
				return Score{}, err
			}
		}
		if s.Tokens >= limit {
			return s, nil
		}
		val.Read(&batch, i)
	}
	if err := flush(); err != nil {
		return Score{}, err
	}
	return s, nil
}

// inOrder visits all sequences of a split, first to last.
func inOrder(sp *data.Split) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := range sp.Sequences() {
			if !yield(i) {
				return
			}
		}
	}
}

// shuffled visits all sequences of a split in a seeded order, the same at every evaluation.
func shuffled(sp *data.Split, seed uint64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		n := uint64(sp.Sequences())
		perm := rng.New(seed, rng.Eval).Perm(n)
		for i := range n {
			if !yield(int64(perm.At(i))) {
				return
			}
		}
	}
}
