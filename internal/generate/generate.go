// Package generate writes texts with a decoder: several at once, each row of a
// key-value cache holding one of them.
//
//	g := generate.New(decoder)
//	samples, err := g.Generate(ctx, requests, generate.Options{TopK: 50, Temperature: 0.8, MaxTokens: 128, EOS: eos})
//
// A sample is a function of the parameters, its prompt, the options and its own
// index: the random number for a position comes from (seed, index, position),
// and a row's logits do not depend on the other rows. So it does not matter
// with which others, in which order or on how many rows it was computed.
//
// The package knows token ids only; prompts come with their start token, and
// text is the tokenizer's business. It judges nothing.
package generate

import (
	"context"
	"fmt"
	"math"

	"gimbal/internal/rng"
)

// Options say how to continue.
type Options struct {
	TopK        int     // draw from this many most probable tokens; 0: from all
	Temperature float64 // divides the logits; 0: always the most probable token
	MaxTokens   int     // most tokens to write, at least 1
	Seed        uint64
	EOS         int32 // ends a text; negative: nothing does
}

// Request is one text to continue.
type Request struct {
	Prompt []int32 // at least the start token, at most the decoder's capacity
	Index  uint64  // random stream: samples of one prompt differ in it
}

// Finish says why a text ended.
type Finish string

// The reasons.
const (
	FinishEOS     Finish = "eos"     // the model ended it
	FinishLength  Finish = "length"  // Options.MaxTokens
	FinishContext Finish = "context" // no room for another position
)

// Sample is a text that was written.
type Sample struct {
	Tokens []int32 // the continuation: without the prompt and without EOS
	Finish Finish
}

// Generator continues requests on the rows of one decoder. Not safe for
// concurrent use.
type Generator struct {
	decoder Decoder
	logits  []float32 // (rows, V)
	tokens  []int32   // of one call
	rows    []int32

	slots    []slot     // (rows)
	samplers []*sampler // (workers), of one Generate
}

// New returns a generator that computes as many texts at once as d has rows.
// Whoever changes the parameters of d refreshes it.
//
// Memory: allocates the logits of all rows.
func New(d Decoder) *Generator {
	return &Generator{decoder: d, logits: make([]float32, d.Rows()*d.Vocab())}
}

// slot is a row's text.
type slot struct {
	request int // -1: the row is free
	key     rng.Key
	logits  []float32 // (V), of the last call
	next    int32     // the token drawn from them, to be fed
	ok      bool      // they were finite
}

// drawing draws for the rows of a share.
type drawing Generator

// Part implements par.Job.
func (g *drawing) Part(worker, lo, hi int) {
	for row := lo; row < hi; row++ {
		if s := &g.slots[row]; s.request >= 0 {
			s.next, s.ok = g.samplers[worker].draw(s.logits, s.key.Float64(uint64(g.decoder.Len(row))))
		}
	}
}

// Generate continues every request; sample i belongs to request i.
//
// A row whose text ends takes the next request at once. It fails, without a
// sample, if an option or a prompt cannot be used, if ctx is done, if the decoder
// fails, or if its logits are not finite. The rows are empty afterwards.
func (g *Generator) Generate(ctx context.Context, requests []Request, opt Options) ([]Sample, error) {
	if err := g.check(requests, opt); err != nil {
		return nil, err
	}
	defer g.clear()
	g.clear()
	samples := make([]Sample, len(requests))
	slots := make([]slot, g.decoder.Rows())
	g.slots = slots
	for row := range slots {
		slots[row].request = -1
	}
	pool := g.decoder.Pool()
	g.samplers = make([]*sampler, pool.Workers())
	for i := range g.samplers {
		g.samplers[i] = newSampler(opt.TopK, opt.Temperature)
	}
	seed := rng.New(opt.Seed, rng.Sample)
	vocab := g.decoder.Vocab()
	for waiting := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.tokens, g.rows = g.tokens[:0], g.rows[:0]
		for row := range slots {
			s := &slots[row]
			switch {
			case s.request >= 0:
				g.feed(row, s.next)
			case waiting < len(requests):
				r := requests[waiting]
				*s = slot{request: waiting, key: seed.Sub(r.Index)}
				g.feed(row, r.Prompt...)
				waiting++
			}
		}
		if len(g.tokens) == 0 {
			return samples, nil
		}
		if err := g.decoder.Decode(ctx, g.tokens, g.rows, g.logits); err != nil {
			return nil, err
		}
		logits := g.logits
		for row := range slots {
			if s := &slots[row]; s.request >= 0 {
				s.logits, logits = logits[:vocab], logits[vocab:]
			}
		}
		pool.Do(len(slots), 1, (*drawing)(g))
		for row := range slots {
			s := &slots[row]
			if s.request < 0 {
				continue
			}
			out := &samples[s.request]
			position := g.decoder.Len(row)
			if !s.ok {
				return nil, fmt.Errorf("generate: request %d: the logits at position %d are not finite",
					s.request, position)
			}
			if s.next == opt.EOS {
				out.Finish = FinishEOS
			} else {
				out.Tokens = append(out.Tokens, s.next)
				switch {
				case len(out.Tokens) == opt.MaxTokens:
					out.Finish = FinishLength
				case position == g.decoder.Capacity():
					out.Finish = FinishContext
				}
			}
			if out.Finish != "" {
				g.decoder.Truncate(row, 0)
				s.request = -1
			}
		}
	}
}

func (g *Generator) feed(row int, tokens ...int32) {
	g.tokens = append(g.tokens, tokens...)
	for range tokens {
		g.rows = append(g.rows, int32(row))
	}
}

func (g *Generator) clear() {
	for row := range g.decoder.Rows() {
		g.decoder.Truncate(row, 0)
	}
}

func (g *Generator) check(requests []Request, opt Options) error {
	switch {
	case opt.TopK < 0:
		return fmt.Errorf("generate: top-k %d is negative (0 draws from all tokens)", opt.TopK)
	case !(opt.Temperature >= 0) || math.IsInf(opt.Temperature, 1):
		return fmt.Errorf("generate: temperature %v is not a number from 0 up", opt.Temperature)
	case opt.MaxTokens < 1:
		return fmt.Errorf("generate: %d tokens to write; ask for at least 1", opt.MaxTokens)
	}
	vocab := g.decoder.Vocab()
	for i, r := range requests {
		if n := len(r.Prompt); n == 0 || n > g.decoder.Capacity() {
			return fmt.Errorf("generate: prompt %d has %d tokens; it must have 1 to %d, the context", i, n,
				g.decoder.Capacity())
		}
		for _, t := range r.Prompt {
			if t < 0 || int(t) >= vocab {
				return fmt.Errorf("generate: prompt %d holds token %d; the vocabulary has %d", i, t, vocab)
			}
		}
	}
	return nil
}
