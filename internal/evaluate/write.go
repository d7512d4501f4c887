package evaluate

import (
	"context"
	"iter"
	"path/filepath"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/judge"
	"gimbal/internal/tokenizer"
)

// Write lets the model continue every prompt, always with the same random streams, and measures the texts. If the
// validation part or the context has no room for a prompt, it writes nothing and returns no error.
//
// The error is a *config.Error if the encoder cannot be read; others are those of the engine and of ctx.
func (e *Evaluator) Write(ctx context.Context) (*Writing, error) {
	return e.WriteSome(ctx, judge.Plan{})
}

// WriteSome is Write with at most as many prompts, and samples of each, as some has; zero: all.
func (e *Evaluator) WriteSome(ctx context.Context, some judge.Plan) (*Writing, error) {
	if e.generator == nil && e.nothing == nil {
		if err := e.prepare(ctx); err != nil {
			return nil, err
		}
	}
	if e.nothing != nil {
		return e.nothing, nil
	}
	j, spell := e.judge, e.opt.Text.Tok.Decode
	e.decoder.Refresh()
	plan := j.Plan()
	if some != (judge.Plan{}) {
		plan.Prompts, plan.Samples = min(plan.Prompts, some.Prompts), min(plan.Samples, some.Samples)
	}
	samples, err := e.generator.Generate(ctx, e.requests(plan), generate.Options{
		TopK: judge.TopK, Temperature: judge.Temperature, MaxTokens: j.Plan().MaxTokens,
		Seed: e.opt.Seed, Ends: append(e.opt.Text.Set.Chat().TurnEnds, e.opt.Text.Tok.Ends()...),
	})
	if err == nil {
		err = ctx.Err() // measuring takes a while too
	}
	if err != nil {
		return nil, err
	}
	texts := make([]judge.Text, len(samples))
	for i, s := range samples {
		prompt := i % plan.Prompts
		texts[i] = judge.Text{Prompt: prompt, Tokens: s.Tokens, Ended: s.Finish == generate.FinishEOS}
	}
	w := &Writing{Plan: plan, Report: j.Measure(texts), FewDocuments: j.FewDocuments(), Notes: j.Notes()}
	for i, s := range samples {
		w.Texts = append(w.Texts, judge.Written{
			Prompt: string(spell(nil, j.Prompts()[texts[i].Prompt])), Text: string(spell(nil, s.Tokens)),
			Finish: string(s.Finish), Reading: w.Report.Readings[i],
		})
	}
	return w, nil
}

// requests are the texts to write, sample by sample: one of each prompt, then the next of each.
func (e *Evaluator) requests(plan judge.Plan) (requests []generate.Request) {
	for k := range plan.Samples {
		for p, ids := range e.judge.Prompts()[:plan.Prompts] {
			prompt := append([]int32{e.opt.Start}, ids...)
			requests = append(requests, generate.Request{Prompt: prompt, Index: uint64(p)<<32 | uint64(k)})
		}
	}
	return requests
}

// prepare makes the judge, and the decoder if there is a prompt to continue.
func (e *Evaluator) prepare(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	arch, nothing := e.opt.Engine.Info().Arch, &Writing{Report: &judge.Report{}, FewDocuments: true}
	if e.opt.Samples.Tokens() > 0 { // the context has room for a prompt
		if e.judge, err = e.newJudge(ctx); err == nil {
			err = ctx.Err() // it has not read all of the text
		}
		if err != nil {
			e.judge = nil
			return err
		}
		for _, note := range e.judge.Notes() {
			e.opt.Note("judge: %s", note)
		}
		if p := e.judge.Plan(); p.Prompts > 0 {
			length := TextLength(arch, p)
			rows, _ := engine.DecoderRows(arch, p.Prompts*p.Samples, length)
			if e.decoder, err = e.opt.Engine.Decoder(rows, length); err != nil {
				return err
			}
			e.generator = generate.New(e.decoder)
			return nil
		}
		nothing.Plan, nothing.Notes = e.judge.Plan(), e.judge.Notes()
	}
	e.opt.Note("judge: the held-out text, or the context of %d tokens, is too short for a single prompt: "+
		"nothing will be written", arch.Context)
	e.nothing = nothing
	return nil
}

// TextLength is the most positions of a text of a plan: the start token, the prompt, and what is written.
func TextLength(a config.Arch, p judge.Plan) int { return min(a.Context, 1+p.PromptTokens+p.MaxTokens) }

// newJudge makes the judge: prompts and human text come from the validation part, known words and n-grams from the
// training part.
func (e *Evaluator) newJudge(ctx context.Context) (*judge.Judge, error) {
	text := e.opt.Text
	opt := judge.Options{
		Held: held{text.Val}, Plan: e.opt.Samples, Seed: e.opt.Seed, Vocab: text.Tok.VocabSize(), Own: e.opt.Own,
		Known: judge.Known{
			Tokens: text.Train.Tokens(),
			Labels: func() iter.Seq[[]int32] { return until(ctx, text.Train.Labels()) },
			Spell:  text.Tok.Decode,
		},
		Chars: text.Tok.Kind() != tokenizer.KindBPE, Go: isGo(text.Set.Sources),
	}
	if c := text.Set.Census(); 2*c.Conversations > c.Documents {
		opt.Answers = text.Val.Answers
	}
	if path := e.opt.Encoder; path != "" {
		encoder, err := judge.OpenEncoder(path)
		if err != nil {
			fault := config.Fault{Where: e.opt.EncoderOrigin, Key: "judge.encoder", Text: err.Error()}
			return nil, &config.Error{Faults: []config.Fault{fault}}
		}
		opt.Encoder = encoder
	}
	return judge.New(opt), nil
}

// until yields sequences until ctx is done.
func until(ctx context.Context, seqs iter.Seq[[]int32]) iter.Seq[[]int32] {
	return func(yield func([]int32) bool) {
		for ids := range seqs {
			if ctx.Err() != nil || !yield(ids) {
				return
			}
		}
	}
}

// held is a split as the judge reads it.
type held struct{ *data.Split }

func (h held) Len(k int) int64 { _, n := h.Document(k); return n }

func (h held) Append(dst []int32, k int, lo, hi int64) []int32 { return h.AppendText(dst, k, lo, hi) }

// isGo reports whether all sources are Go.
func isGo(sources []string) bool {
	other := func(s string) bool { return filepath.Ext(s) != ".go" }
	return len(sources) > 0 && !slices.ContainsFunc(sources, other)
}
