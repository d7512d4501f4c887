package train

import (
	"errors"
	"iter"
	"maps"
	"math"

	"gimbal/internal/baseline"
	"gimbal/internal/data"
	"gimbal/internal/rng"
	"gimbal/internal/runlog"
	"gimbal/internal/tokenizer"
)

const (
	evalShare     = 0.03    // of the training time, which all evaluations together may take
	forwardShare  = 3       // a forward pass costs a third of a training pass
	minEvalTokens = 8192    // of one evaluation, where the validation part has them
	maxEvalTokens = 2 << 20 // of the last evaluation
	baselineOrder = 5
	maxFitTokens  = 32 << 20 // of the training part that the n-gram baseline counts

	metricLoss   = "val_loss"
	metricTokens = "val_tokens"      // labels behind val_loss
	metricSample = "val_loss_sample" // nats per token on the sample that every evaluation scores
)

// Baseline is the n-gram losses on the validation part that the last evaluation scores.
type Baseline struct {
	Order       int          `json:"order"`
	Loss        runlog.Float `json:"loss"` // nats per token
	Bits        runlog.Float `json:"bits_per_byte"`
	Unigram     runlog.Float `json:"unigram_loss"`
	UnigramBits runlog.Float `json:"unigram_bits_per_byte"`
	TrainTokens int64        `json:"train_tokens"` // counted
	Tokens      int64        `json:"tokens"`       // scored
}

// fitBaseline counts n-grams on the training part and scores the validation part, document by document.
func fitBaseline(c *corpus) Baseline {
	scored, bytes := int64(0), int64(0)
	val := func(yield func([]int32, []bool) bool) {
		scored, bytes = 0, 0
		for ids, counts := range head(c.val.CountedLabels(), maxEvalTokens) {
			for i, id := range ids {
				if counts == nil || counts[i] {
					scored++
					bytes += int64(len(c.tok.Bytes(id)))
				}
			}
			if !yield(ids, counts) {
				return
			}
		}
	}
	train := func(yield func([]int32) bool) {
		for ids := range head(c.train.CountedLabels(), maxFitTokens) {
			if !yield(ids) {
				return
			}
		}
	}
	r := baseline.Best(baselineOrder, c.tok.VocabSize(), train, val)
	perByte := float64(scored) / (math.Ln2 * float64(bytes))
	return Baseline{
		Order: r.Order, Loss: runlog.Float(r.Loss), Bits: runlog.Float(r.Loss * perByte),
		Unigram: runlog.Float(r.Unigram), UnigramBits: runlog.Float(r.Unigram * perByte),
		TrainTokens: r.TrainTokens, Tokens: r.Tokens,
	}
}

// head yields sequences, and which of their labels count, until limit labels have been seen; the last one may be cut.
func head(seqs iter.Seq2[[]int32, []bool], limit int64) iter.Seq2[[]int32, []bool] {
	return func(yield func([]int32, []bool) bool) {
		left := limit
		for ids, counts := range seqs {
			if int64(len(ids)) > left {
				ids = ids[:left]
			}
			left -= int64(len(ids))
			if !yield(ids, counts) || left <= 0 {
				return
			}
		}
	}
}

// score is a sum of losses over counted labels.
type score struct {
	nats   float64
	tokens int64
	bytes  int64

	passes                int
	nats2, cross, tokens2 float64 // sums over the passes: of squares, and of nats times tokens
}

func (s score) loss() float64        { return s.nats / float64(s.tokens) }
func (s score) bitsPerByte() float64 { return s.nats / (math.Ln2 * float64(s.bytes)) }

// add adds one pass.
func (s *score) add(nats float64, tokens int) {
	n := float64(tokens)
	s.nats += nats
	s.passes++
	s.nats2, s.cross, s.tokens2 = s.nats2+nats*nats, s.cross+nats*n, s.tokens2+n*n
}

// interval is the 95 % interval of loss: what another sample of as many sequences might give. A pass is one unit, of
// whole sequences.
//
// Source: the variance of a ratio, Cochran 1977, section 2.11.
func (s score) interval() (lo, hi float64) {
	loss, n := s.loss(), float64(s.passes)
	if n < 2 {
		return math.Inf(-1), math.Inf(1)
	}
	rest := s.nats2 - 2*loss*s.cross + loss*loss*s.tokens2
	half := 1.96 * math.Sqrt(max(0, rest)*n/(n-1)) / float64(s.tokens)
	return loss - half, loss + half
}

// scorer measures the loss of a split in passes of a fixed number of tokens.
type scorer struct {
	loss   func(data.Micro) float64 // summed nats of a pass
	micro  int
	batch  data.Batch
	micros []data.Micro
}

// run adds the sequences of order to s until there are no more, or until more than limit tokens are scored.
func (r *scorer) run(s *score, sp *data.Split, order iter.Seq[int64], limit int64) {
	flush := func() {
		r.micros = data.SplitMicro(r.micros[:0], &r.batch, r.micro)
		for _, m := range r.micros {
			s.add(r.loss(m), counted(m))
		}
		s.tokens += int64(r.batch.Counted)
		s.bytes += r.batch.Bytes
		r.batch.Reset()
	}
	r.batch.Reset()
	for i := range order {
		if len(r.batch.Tokens)+sp.Context() > r.micro {
			flush()
		}
		if s.tokens >= limit {
			return
		}
		sp.Read(&r.batch, i)
	}
	flush()
}

// counted is the number of labels of a pass that count.
func counted(m data.Micro) (n int) {
	for _, c := range m.Counts {
		if c {
			n++
		}
	}
	return n
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

// evalTokens is how many tokens each evaluation but the last scores, so that all of them stay within their share of
// the run's time.
func (t *trainer) evalTokens() int64 {
	planned := float64(t.cfg.Train.Steps) * float64(t.cfg.Train.BatchTokens)
	runs := float64(t.cfg.Train.Steps) / float64(t.evalEvery())
	return max(minEvalTokens, int64((evalShare-writeShare)*forwardShare*planned/max(1, runs)))
}

// evaluate scores the validation part, lets the model write and measures that, records both, remembers the best loss, and
// decides whether to go on.
//
// Every evaluation scores the same seeded sample of sequences, which is what the best loss compares; the last one
// scores the whole validation part beside it and reports that.
func (t *trainer) evaluate() (*runlog.Eval, error) {
	rec := t.scored(t.state.Step, t.state.Step == t.cfg.Train.Steps)
	loss := float64(rec.Metrics[metricSample])
	t.state.Evals++
	if t.state.BestStep == 0 || loss < float64(t.state.Best) {
		t.state.Best, t.state.BestStep = runlog.Float(loss), t.state.Step
	}
	metrics, shown, err := t.review(loss)
	if err != nil {
		return nil, err
	}
	maps.Copy(rec.Metrics, metrics)
	if err := t.log.Write(rec); err != nil {
		return nil, err
	}
	t.hooks.eval(rec, shown)
	return &rec, errors.Join(t.watchRestart(loss), t.decide())
}

// scored scores the model on the sample of the validation part that every evaluation scores, and where whole is set on
// all of it.
func (t *trainer) scored(step int64, whole bool) runlog.Eval {
	r := scorer{micro: t.cfg.Train.MicroTokens, loss: func(m data.Micro) float64 { return t.model.Loss(input(m)) }}
	var sample score
	r.run(&sample, t.corpus.val, shuffled(t.corpus.val, t.cfg.Train.Seed), t.evalTokens())
	reported := sample
	if whole && sample.tokens < t.corpus.val.Tokens() {
		reported = score{}
		r.run(&reported, t.corpus.val, inOrder(t.corpus.val), maxEvalTokens)
	}
	at := t.at()
	at.Step = step
	lo, hi := reported.interval()
	return runlog.Eval{
		Kind: "eval", At: at, ValLoss: runlog.Float(reported.loss()), BitsPerByte: runlog.Float(reported.bitsPerByte()), BaselineLoss: t.state.Baseline.Loss,
		Metrics: map[string]runlog.Float{metricTokens: runlog.Float(reported.tokens), metricSample: runlog.Float(sample.loss()),
			metricLoss + "_lo": runlog.Float(lo), metricLoss + "_hi": runlog.Float(hi)},
	}
}

// SampleText is one text that the model wrote.
type SampleText struct {
	Prompt  string   // empty when the model began by itself
	Text    string   // what it wrote after the prompt
	Finish  string   // eos, length or context
	Reasons []string `json:",omitempty"` // what the detectors say of it, where they were asked
}

// startToken begins a text that has no prompt.
func (t *trainer) startToken() int32 { return startToken(t.corpus.tok, t.cfg.Data.Start) }

// startToken is the token that documents begin with; where they begin with none, the EOS, after which they all stand.
func startToken(tok *tokenizer.Tokenizer, kind string) int32 {
	if id, ok, err := tok.Start(kind); err == nil && ok {
		return id
	}
	return tok.EOS()
}
