// Package evaluate measures a model: its loss on held-out text beside that of counted n-grams, and what it writes
// beside people's texts. A run in progress and the command that measures a finished one share it.
//
//	e := evaluate.New(evaluate.Options{Engine: eng, Text: text, ...})
//	loss, err := e.Loss(ctx, whole)  // nats per token: of a sample, or of all
//	writing, err := e.Write(ctx)     // the model continues held-out prompts, and the judge measures what it wrote
//
// The package measures and decides nothing: whether a run goes on, and which checkpoint is kept, is for the trainer to
// say. It knows a model by the interfaces of engine and generate only.
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
	// Text has the validation part, which is scored and gives the prompts and people's texts, and the training part,
	// which gives the words and n-grams that are known.
	Text *data.Text
	Own  bool // the training part is what the model learned from, so that copying can be measured

	MicroTokens int    // most positions of one pass
	Seed        uint64 // of the sample that is scored, of the prompts, and of what is drawn
	SampleSize  int64  // labels of the sample; the pass that reaches it is its last

	Start   int32      // token that begins a text, see StartToken
	Samples judge.Plan // what is written

	Encoder       string // path of the encoder of sentences; empty: the judge's own
	EncoderOrigin string // where a person named it

	Note func(format string, args ...any) // hears what the judge cannot do here; nil: nobody does
}

// Evaluator measures the model of an engine, as often as wanted. Its numbers depend on the weights and on Options, and
// not on how often or when it is asked. Not safe for concurrent use, nor together with its engine.
type Evaluator struct {
	opt Options

	judge   *judge.Judge // made by the first Write, like the next two
	decoder generate.Decoder
	author  *generate.Generator
	nothing *Writing // instead of them, where there is no room for a prompt
}

// New returns an evaluator. It allocates nothing yet.
func New(opt Options) *Evaluator {
	if opt.Note == nil {
		opt.Note = func(string, ...any) {}
	}
	return &Evaluator{opt: opt}
}

// Loss scores the sample of the validation part that every evaluation scores, and where whole is set all of it, up to
// two million labels. It fails where the engine does, and with the error of ctx once that is done.
func (e *Evaluator) Loss(ctx context.Context, whole bool) (l Loss, err error) {
	val := e.opt.Text.Val
	if l.Sample, err = e.score(ctx, shuffled(val, e.opt.Seed), e.opt.SampleSize); err != nil {
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

// StartToken is the token that documents begin with, for the setting data.start; where they begin with none, the EOS,
// which they all follow.
func StartToken(tok *tokenizer.Tokenizer, kind string) int32 {
	if id, ok, err := tok.Start(kind); err == nil && ok {
		return id
	}
	return tok.EOS()
}
