// Package evaluate measures a model: its loss on held-out text next to that of an n-gram baseline, and what it writes
// next to human text. A run in progress and the command that measures a finished one share it.
//
//	e := evaluate.New(evaluate.Options{Engine: eng, Text: text, ...})
//	loss, err := e.Loss(ctx, whole)  // nats per token: of a sample, or of all
//	writing, err := e.Write(ctx)     // the model continues held-out prompts, and the judge measures the texts
//
// The package measures and decides nothing: the trainer decides whether a run continues and which checkpoint is kept.
// It knows a model only by the interfaces of engine and generate.
package evaluate

import (
	"context"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/judge"
	"gimbal/internal/tokenizer"
)

// Options say what is measured, and on what.
type Options struct {
	Engine engine.Engine
	// Text has the validation part, which is scored and gives prompts and human text, and the training part, which
	// gives the known words and n-grams.
	Text *data.Text
	Own  bool // the model was trained on the training part, so copying can be measured

	Old *data.Text // all of it in Val: what the weights know and should not forget; nil: none was named

	Prefer *engine.Preference // what was learned, where Text is preferences; nil: it is not

	MicroTokens int    // most positions of one pass
	Seed        uint64 // of the sample that is scored, the prompts, and the sampling
	SampleSize  int64  // labels of the sample; the pass that reaches it is the last

	Tasks []*Task              // what Tasks asks
	Tok   *tokenizer.Tokenizer // of their texts; nil: that of Text

	Start   int32      // token that begins a text, see StartToken
	Samples judge.Plan // what is written

	Encoder       string // path of the encoder of sentences; empty: the judge's own
	EncoderOrigin string // where it was set, for errors

	Note func(format string, args ...any) // is told what the judge cannot do here; may be nil
}

// Evaluator measures the model of an engine, any number of times. Its numbers depend only on the weights and on
// Options. Not safe for concurrent use, nor together with its engine.
type Evaluator struct {
	opt    Options
	passes []data.Micro // of the batch in progress
	nats   []float64    // of its sequences, where they are pairs

	// Made by the first Write.
	judge     *judge.Judge
	decoder   generate.Decoder
	generator *generate.Generator
	nothing   *Writing // in place of the others, where there is no room for a prompt
}

// New returns an evaluator. It allocates nothing yet.
func New(opt Options) *Evaluator {
	if opt.Note == nil {
		opt.Note = func(string, ...any) {}
	}
	if opt.Tok == nil && opt.Text != nil {
		opt.Tok = opt.Text.Tok
	}
	return &Evaluator{opt: opt}
}

// Loss scores the sample of the validation part that every evaluation scores. With whole it also scores all of it, up
// to two million labels. Errors are those of the engine and of ctx.
func (e *Evaluator) Loss(ctx context.Context, whole bool) (l Loss, err error) {
	val := e.opt.Text.Val
	if l.Sample, err = e.score(ctx, val, shuffled(val, e.opt.Seed), e.opt.SampleSize); err != nil {
		return Loss{}, err
	}
	l.Reported = l.Sample
	if whole && l.Sample.Tokens < val.Tokens() {
		if l.Reported, err = e.whole(ctx); err != nil {
			return Loss{}, err
		}
	}
	return l, nil
}

// StartToken is the token that documents begin with, for the setting data.start. If they begin with none it is the EOS,
// which comes before each document.
func StartToken(tok *tokenizer.Tokenizer, kind string) int32 {
	if id, ok, err := tok.Start(kind); err == nil && ok {
		return id
	}
	return tok.EOS()
}
