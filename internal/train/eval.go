package train

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/baseline"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/generate"
	"gimbal/internal/model"
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
	samplePrompts = 3        // texts written at an evaluation, beside one without a prompt
	promptTokens  = 16

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
	val := func(yield func([]int32) bool) {
		scored, bytes = 0, 0
		for ids := range head(c.val.Labels(), maxEvalTokens) {
			scored += int64(len(ids))
			for _, id := range ids {
				bytes += int64(len(c.tok.Bytes(id)))
			}
			if !yield(ids) {
				return
			}
		}
	}
	r := baseline.Best(baselineOrder, c.tok.VocabSize(), head(c.train.Labels(), maxFitTokens), val)
	perByte := float64(scored) / (math.Ln2 * float64(bytes))
	return Baseline{
		Order: r.Order, Loss: runlog.Float(r.Loss), Bits: runlog.Float(r.Loss * perByte),
		Unigram: runlog.Float(r.Unigram), UnigramBits: runlog.Float(r.Unigram * perByte),
		TrainTokens: r.TrainTokens, Tokens: r.Tokens,
	}
}

// head yields sequences until limit tokens have been seen; the last one may be cut.
func head(seqs iter.Seq[[]int32], limit int64) iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		left := limit
		for ids := range seqs {
			if int64(len(ids)) > left {
				ids = ids[:left]
			}
			left -= int64(len(ids))
			if !yield(ids) || left <= 0 {
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
}

func (s score) loss() float64        { return s.nats / float64(s.tokens) }
func (s score) bitsPerByte() float64 { return s.nats / (math.Ln2 * float64(s.bytes)) }

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
			s.nats += r.loss(m)
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
	return max(minEvalTokens, int64(evalShare*forwardShare*planned/max(1, runs)))
}

// evaluate scores the validation part, lets the model write, records both, and remembers the best loss.
//
// Every evaluation scores the same seeded sample of sequences, which is what the best loss compares; the last one
// scores the whole validation part beside it and reports that.
func (t *trainer) evaluate() (*runlog.Eval, error) {
	r := scorer{micro: t.cfg.Train.MicroTokens, loss: func(m data.Micro) float64 { return t.model.Loss(input(m)) }}
	var sample score
	r.run(&sample, t.corpus.val, shuffled(t.corpus.val, t.cfg.Train.Seed), t.evalTokens())
	t.state.Evals++
	if loss := sample.loss(); t.state.BestStep == 0 || loss < float64(t.state.Best) {
		t.state.Best, t.state.BestStep = runlog.Float(loss), t.state.Step
	}
	reported := sample
	if t.state.Step == t.cfg.Train.Steps && sample.tokens < t.corpus.val.Tokens() {
		reported = score{}
		r.run(&reported, t.corpus.val, inOrder(t.corpus.val), maxEvalTokens)
	}
	rec := runlog.Eval{
		Kind: "eval", At: t.at(), ValLoss: runlog.Float(reported.loss()), BitsPerByte: runlog.Float(reported.bitsPerByte()), BaselineLoss: t.state.Baseline.Loss,
		Metrics: map[string]runlog.Float{metricTokens: runlog.Float(reported.tokens), metricSample: runlog.Float(sample.loss())},
	}
	texts, err := t.write()
	if err != nil {
		return nil, err
	}
	if err := t.saveSamples(texts); err != nil {
		return nil, err
	}
	if err := t.log.Write(rec); err != nil {
		return nil, err
	}
	t.hooks.eval(rec, texts)
	return &rec, nil
}

// SampleText is one text that the model wrote.
type SampleText struct {
	Prompt string // empty when the model began by itself
	Text   string // what it wrote after the prompt
	Finish string // eos, length or context
}

// write lets the model continue a few held-out beginnings, the same at every evaluation, and write one text by itself.
func (t *trainer) write() ([]SampleText, error) {
	requests := []generate.Request{{Prompt: []int32{t.startToken()}}}
	var b data.Batch
	for i := range shuffled(t.corpus.val, t.cfg.Train.Seed) {
		if len(requests) > samplePrompts {
			break
		}
		b.Reset()
		t.corpus.val.Read(&b, i)
		if n := min(promptTokens, len(b.Tokens)/2, t.arch.Context/2); n > 1 {
			requests = append(requests, generate.Request{Prompt: slices.Clone(b.Tokens[:n]), Index: uint64(len(requests))})
		}
	}
	if t.author == nil {
		rows := 1 + samplePrompts
		d, err := t.model.Decoder(model.DecoderOptions{Tokens: rows * promptTokens, Rows: rows})
		if err != nil {
			return nil, err
		}
		t.decoder, t.author = d, generate.New(d, model.NewCache[float32](t.arch, rows, t.arch.Context))
	}
	t.decoder.Refresh()
	tok := t.corpus.tok
	samples, err := t.author.Generate(context.Background(), requests, generate.Options{
		TopK: 50, Temperature: 0.8, MaxTokens: t.cfg.Eval.MaxTokens, Seed: t.cfg.Train.Seed, EOS: tok.EOS()})
	if err != nil {
		return nil, err
	}
	texts := make([]SampleText, len(samples))
	for i, s := range samples {
		texts[i] = SampleText{Prompt: string(tok.Decode(nil, requests[i].Prompt)), Text: string(tok.Decode(nil, s.Tokens)), Finish: string(s.Finish)}
	}
	return texts, nil
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

// saveSamples writes samples/eval-N.md.
func (t *trainer) saveSamples(texts []SampleText) error {
	name := filepath.Join(t.dir, samplesName, fmt.Sprintf("eval-%d.md", t.state.Evals))
	return durable.WriteWith(t.fs, name, func(w io.Writer) error {
		var b strings.Builder
		fmt.Fprintf(&b, "# Evaluation %d, step %d\n", t.state.Evals, t.state.Step)
		for i, s := range texts {
			fmt.Fprintf(&b, "\n## %d (ended by: %s)\n\n", i+1, s.Finish)
			if s.Prompt != "" {
				fmt.Fprintf(&b, "Prompt:\n\n%s\n\nContinuation:\n\n", indent(s.Prompt))
			}
			b.WriteString(indent(s.Text) + "\n")
		}
		_, err := io.WriteString(w, b.String())
		return err
	})
}

// indent makes text a Markdown code block, whatever is in it.
func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\n", "\n    ")
}
