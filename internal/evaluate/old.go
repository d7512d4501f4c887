package evaluate

import (
	"context"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/generate"
)

// What a model writes before it is fine-tuned stands for what it knows where no text was named.
const (
	oldTexts  = 64
	oldTokens = 64 // of each, at most
)

// Remember lets the model write texts of its own, from the start token on, by which Old will measure what it forgets.
// With Options.Old it writes none.
func (e *Evaluator) Remember(ctx context.Context) (texts [][]int32, err error) {
	arch := e.opt.Engine.Info().Arch
	length := min(arch.Context, 1+oldTokens)
	if e.opt.Old != nil || length < 2 {
		return nil, nil
	}
	rows, _ := engine.DecoderRows(arch, oldTexts, length)
	d, err := e.opt.Engine.Decoder(rows, length)
	if err != nil {
		return nil, err
	}
	d.Refresh()
	requests := make([]generate.Request, oldTexts)
	for i := range requests {
		requests[i] = generate.Request{Prompt: []int32{e.opt.Start}, Index: uint64(i)}
	}
	samples, err := generate.New(d).Generate(ctx, requests, generate.Options{Temperature: 1, MaxTokens: length - 1,
		Seed: e.opt.Seed, Ends: e.opt.Text.Tok.Ends()})
	for _, s := range samples {
		if len(s.Tokens) > 0 {
			texts = append(texts, s.Tokens)
		}
	}
	return texts, err
}

// Old scores what the model knew: a sample of Options.Old, the same at every evaluation, or the texts of Remember. A
// score without tokens means that there is neither.
func (e *Evaluator) Old(ctx context.Context, texts [][]int32) (s Score, err error) {
	if old := e.opt.Old; old != nil {
		return e.score(ctx, old.Val, shuffled(old.Val, e.opt.Seed), e.opt.SampleSize)
	}
	var b data.Batch
	for _, text := range texts {
		if len(b.Tokens)+len(text) > e.opt.MicroTokens {
			if err := e.scoreBatch(ctx, &s, &b); err != nil {
				return Score{}, err
			}
		}
		b.Spans = append(b.Spans, data.Span{Start: len(b.Tokens), Len: len(text)})
		b.Tokens = append(append(b.Tokens, e.opt.Start), text[:len(text)-1]...)
		b.Labels = append(b.Labels, text...)
		for range text {
			b.Counts = append(b.Counts, true)
		}
		b.Counted += len(text)
	}
	err = e.scoreBatch(ctx, &s, &b)
	return s, err
}
