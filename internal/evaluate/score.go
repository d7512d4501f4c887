package evaluate

import (
	"context"
	"maps"
	"math"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/rng"
	"gimbal/internal/runlog"
)

// Names of metrics in the record of an evaluation. Those of the generated texts are the judge's.
const (
	MetricLoss   = "val_loss"
	MetricLossLo = MetricLoss + "_lo" // 95 % interval
	MetricLossHi = MetricLoss + "_hi"
	MetricTokens = "val_tokens"      // labels behind val_loss
	MetricSample = "val_loss_sample" // nats per token on the sample that every evaluation scores

	// Of preferences, per pair: the loss that is minimised, the margin, the share in which the right answer is
	// preferred, the rewards, and the tokens of an answer.
	MetricPairs          = "pairs"
	MetricPairLoss       = "pair_loss"
	MetricMargin         = "margin"
	MetricAccuracy       = "accuracy"
	MetricChosenReward   = "chosen_reward"
	MetricRejectedReward = "rejected_reward"

	MetricChangeError = "val_loss_change_se" // standard error of how much val_loss_sample has changed since step 0

	MetricOld = "old_loss" // nats per token on text that the weights knew before they were fine-tuned

	MetricTask = "task_" // begins the names of what is measured on tasks: task_NAME_acc and so on

	MetricTexts   = "texts"         // generated
	MetricCounted = "texts_counted" // of those, long enough to be measured
	MetricAlarms  = "alarms"        // metrics that differ from human text
)

// maxTokens is the most labels of the validation part that are scored, by the model and by the baseline.
const maxTokens = 2 << 20

// Loss is the losses of one evaluation.
type Loss struct {
	Sample   Score // on the same sequences at every evaluation, so that evaluations can be compared
	Reported Score // on the whole validation part if that was asked for, else the sample
}

// Record is the evaluation as the log has it, with the loss of n-grams on the same tokens.
func (l Loss) Record(at runlog.At, grams runlog.Baseline) runlog.Eval {
	lo, hi := l.Reported.Interval()
	rec := runlog.Eval{
		Kind: "eval", At: at, BaselineLoss: grams.Of(l.Reported.Tokens),
		ValLoss: runlog.Float(l.Reported.Loss()), BitsPerByte: runlog.Float(l.Reported.BitsPerByte()),
		Metrics: map[string]runlog.Float{
			MetricTokens: runlog.Float(l.Reported.Tokens), MetricSample: runlog.Float(l.Sample.Loss()),
			MetricLossLo: runlog.Float(lo), MetricLossHi: runlog.Float(hi),
		},
	}
	if s := l.Reported; s.Pairs.Count > 0 {
		p := PairsRecord(s.Pairs, s.beta)
		maps.Copy(rec.Metrics, map[string]runlog.Float{MetricPairs: runlog.Float(p.Count), MetricMargin: p.Margin,
			MetricPairLoss: runlog.Float(s.Objective()), MetricAccuracy: p.Accuracy, MetricChosenReward: p.ChosenReward,
			MetricRejectedReward: p.RejectedReward})
	}
	return rec
}

// Objective is what training lowers: the loss of a pair where there are pairs, else that of a token.
func (s Score) Objective() float64 {
	if s.Pairs.Count > 0 {
		return s.Pairs.Mean(s.Pairs.Loss)
	}
	return s.Loss()
}

// Score is a sum of losses over counted labels. Of preferences, these are the labels of the preferred answers.
type Score struct {
	Nats   float64
	Tokens int64
	Bytes  int64        // that the labels spell
	Pairs  engine.Pairs // of preferences

	beta float64 // of Pairs

	sequences  int
	byDocument bool          // the unit of groups is a document, not a sequence
	groups     [groups]group // unit i is in group i modulo groups
}

// groups is how many groups of documents tell how a loss varies with the text: a standard error is right within a
// tenth. Sequences of one document are alike, so they stay together where there are fewDocuments or more.
const groups, fewDocuments = 64, 16

// group is a part of what was scored.
type group struct{ nats, tokens float64 }

// Loss is in nats per token.
func (s Score) Loss() float64 { return s.Nats / float64(s.Tokens) }

// BitsPerByte is the loss on a scale that does not depend on the tokenizer.
func (s Score) BitsPerByte() float64 { return s.Nats / (math.Ln2 * float64(s.Bytes)) }

// Interval is the 95 % interval of Loss over other texts of this kind. With fewer than two units it is infinite.
func (s Score) Interval() (lo, hi float64) {
	loss, half := s.Loss(), 1.96*s.ChangeError(make([]runlog.Float, groups))
	if math.IsNaN(half) {
		return math.Inf(-1), math.Inf(1)
	}
	return loss - half, loss + half
}

// Groups returns the nats of each group (groups), for ChangeError of a later score of the same sequences.
func (s Score) Groups() []runlog.Float {
	nats := make([]runlog.Float, groups)
	for i, g := range s.groups {
		nats[i] = runlog.Float(g.nats)
	}
	return nats
}

// ChangeError is the standard error of how much Loss differs from that of another score of the same sequences, whose
// Groups are before: each text is compared with itself. It is NaN with fewer than two units.
//
// Formula: that of (Σ nats - Σ before) / Σ tokens.
// Source: the variance of a ratio, Cochran 1977, section 2.11.
func (s Score) ChangeError(before []runlog.Float) float64 {
	n, nats, tokens, rest := 0.0, 0.0, 0.0, 0.0
	for i, g := range s.groups {
		if g.tokens > 0 {
			n, nats, tokens = n+1, nats+g.nats-float64(before[i]), tokens+g.tokens
		}
	}
	if n < 2 {
		return math.NaN()
	}
	for i, g := range s.groups {
		r := g.nats - float64(before[i]) - nats/tokens*g.tokens
		rest += r * r
	}
	return math.Sqrt(rest*n/(n-1)) / tokens
}

// add adds a sequence of a document with the given number of counted labels.
func (s *Score) add(nats float64, tokens, document int) {
	unit := s.sequences
	if s.byDocument {
		unit = document
	}
	g := &s.groups[unit%groups]
	g.nats, g.tokens = g.nats+nats, g.tokens+float64(tokens)
	s.sequences++
}

// whole scores the validation part from its beginning.
func (e *Evaluator) whole(ctx context.Context) (Score, error) {
	return e.score(ctx, e.opt.Text.Val, inOrder, maxTokens)
}

// sampled returns the sequences of the sample that every evaluation scores.
func (e *Evaluator) sampled() (list []int64) {
	var b data.Batch
	val, tokens := e.opt.Text.Val, int64(0)
	order := shuffled(val, e.opt.Seed)
	for i := range val.Sequences() {
		if len(b.Tokens)+val.Context() > e.opt.MicroTokens {
			if val.Pairs() {
				b.Counted, _ = e.preferred(&b)
			}
			tokens += int64(b.Counted)
			b.Reset()
		}
		if tokens >= e.opt.SampleSize {
			break
		}
		val.Read(&b, order(i))
		list = append(list, order(i))
	}
	return list
}

// score scores the sequences of a part in the given order, up to limit labels.
func (e *Evaluator) score(ctx context.Context, part *data.Split, order func(i int64) int64, limit int64) (s Score,
	err error) {
	var batch data.Batch
	s.byDocument = part.Documents() >= fewDocuments
	scoreBatch := e.scoreBatch
	if part.Pairs() {
		scoreBatch = e.scorePairs
	}
	for i := range part.Sequences() {
		if len(batch.Tokens)+part.Context() > e.opt.MicroTokens {
			if err := scoreBatch(ctx, &s, &batch); err != nil {
				return Score{}, err
			}
		}
		if s.Tokens >= limit {
			return s, nil
		}
		part.Read(&batch, order(i))
	}
	if err := scoreBatch(ctx, &s, &batch); err != nil {
		return Score{}, err
	}
	return s, nil
}

// scoreBatch adds a batch to a score and empties it.
func (e *Evaluator) scoreBatch(ctx context.Context, s *Score, b *data.Batch) error {
	e.passes = data.SplitMicro(e.passes[:0], b, e.opt.MicroTokens)
	for _, m := range e.passes {
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := e.opt.Engine.Pass(ctx, engine.MicroInput(m), engine.Nats|engine.PerToken)
		if err != nil {
			return err
		}
		s.Nats += v.Nats
		for i := range m.Spans {
			nats, tokens := 0.0, 0
			for k := m.Bounds[i]; k < m.Bounds[i+1]; k++ {
				if m.Counts[k] {
					nats, tokens = nats+v.TokenNats[k], tokens+1
				}
			}
			s.add(nats, tokens, m.Spans[i].Index)
		}
	}
	s.Tokens += int64(b.Counted)
	s.Bytes += b.Bytes
	b.Reset()
	return nil
}

// inOrder visits sequences first to last.
func inOrder(i int64) int64 { return i }

// shuffled visits the sequences of a split in a seeded order, the same at every evaluation.
func shuffled(sp *data.Split, seed uint64) func(i int64) int64 {
	perm := rng.New(seed, rng.Eval).Perm(uint64(sp.Sequences()))
	return func(i int64) int64 { return int64(perm.At(uint64(i))) }
}
