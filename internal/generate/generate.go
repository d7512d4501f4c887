// Package generate writes texts with a decoder, several at once: each row of a key-value cache holds one text.
//
//	g := generate.New(decoder)
//	samples, err := g.Generate(ctx, requests, generate.Options{TopK: 50, Temperature: 0.8, MaxTokens: 128, EOS: eos})
//
// A sample depends only on the parameters, its prompt, the options and its own index: the random number for a
// position comes from (seed, index, position), and a row's logits do not depend on the other rows. The other
// requests, their order and the number of rows do not matter.
//
// The package knows token ids only. Prompts come with their start token.
package generate

import (
	"context"
	"fmt"
	"math"

	"gimbal/internal/par"
	"gimbal/internal/rng"
)

// Decoder continues rows of tokens and holds their keys and values.
type Decoder interface {
	Refresh()      // takes the parameters as they are now
	Vocab() int    // ids from 0 up
	Rows() int     // texts at a time
	Capacity() int // most positions of a row
	Len(row int) int
	Truncate(row, n int) // forgets what follows the first n positions

	// Decode extends rows by tokens and overwrites logits with those of the token that follows each row's last.
	//
	// Shapes: tokens and rows (N): tokens[i] extends row rows[i], and the tokens of one row are adjacent; logits (R, V)
	// for the R rows of the call, in their order.
	Decode(ctx context.Context, tokens, rows []int32, logits []float32) error

	// Pool returns the workers that draw from the logits.
	Pool() *par.Pool
}

// Options say how to continue.
type Options struct {
	TopK        int     // draw from this many most probable tokens; 0: from all
	Temperature float64 // divides the logits; 0: always the most probable token
	MaxTokens   int     // most tokens to write, at least 1
	Seed        uint64
	EOS         int32 // ends a text; negative: no token does
}

// Request is one text to continue.
type Request struct {
	Prompt []int32 // at least the start token, at most the decoder's capacity
	Index  uint64  // of the random stream; samples of one prompt need different ones
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
	Tokens []int32 // without the prompt and without EOS
	Finish Finish
}

// Generator continues requests on the rows of one decoder. Not safe for concurrent use.
type Generator struct {
	decoder Decoder
	logits  []float32 // (rows, V)
	tokens  []int32   // of one call
	rows    []int32

	slots    []slot     // (rows)
	samplers []*sampler // (workers), of one Generate
}

// New returns a generator that computes as many texts at once as d has rows. The caller refreshes d after a change of
// the parameters.
//
// Memory: allocates the logits of all rows.
func New(d Decoder) *Generator {
	return &Generator{decoder: d, logits: make([]float32, d.Rows()*d.Vocab()), slots: make([]slot, d.Rows())}
}

// slot is the text of a row.
type slot struct {
	request int // -1: the row is free
	key     rng.Key
	logits  []float32 // (V), of the last call
	next    int32     // the token drawn from them, not decoded yet
	ok      bool      // the logits were finite
}

// drawLoop draws a token for each row.
type drawLoop Generator

// Part implements par.Job.
func (g *drawLoop) Part(worker, lo, hi int) {
	for row := lo; row < hi; row++ {
		if s := &g.slots[row]; s.request >= 0 {
			s.next, s.ok = g.samplers[worker].draw(s.logits, s.key.Float64(uint64(g.decoder.Len(row))))
		}
	}
}

// Generate continues every request; sample i belongs to request i.
//
// A row whose text ends takes the next request at once. Generate fails, without a sample, if an option or a prompt
// cannot be used, if ctx is done, if the decoder fails, or if its logits are not finite. It leaves the rows empty.
func (g *Generator) Generate(ctx context.Context, requests []Request, opt Options) ([]Sample, error) {
	if err := g.check(requests, opt); err != nil {
		return nil, err
	}
	defer g.clear()
	g.clear()
	pool := g.decoder.Pool()
	g.samplers = make([]*sampler, pool.Workers())
	for i := range g.samplers {
		g.samplers[i] = &sampler{topK: opt.TopK, temperature: opt.Temperature}
	}
	samples, waiting := make([]Sample, len(requests)), 0
	seed := rng.New(opt.Seed, rng.Sample)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.tokens, g.rows = g.tokens[:0], g.rows[:0]
		logits := g.logits
		for row := range g.slots {
			s := &g.slots[row]
			if s.request >= 0 {
				g.feed(row, s.next)
			} else if waiting < len(requests) {
				r := requests[waiting]
				*s = slot{request: waiting, key: seed.Sub(r.Index)}
				g.feed(row, r.Prompt...)
				waiting++
			} else {
				continue
			}
			s.logits, logits = logits[:g.decoder.Vocab()], logits[g.decoder.Vocab():]
		}
		if len(g.tokens) == 0 {
			return samples, nil
		}
		if err := g.decoder.Decode(ctx, g.tokens, g.rows, g.logits); err != nil {
			return nil, err
		}
		pool.Do(len(g.slots), 1, (*drawLoop)(g))
		for row := range g.slots {
			s := &g.slots[row]
			if s.request < 0 {
				continue
			}
			out, position := &samples[s.request], g.decoder.Len(row)
			switch {
			case !s.ok:
				return nil, fmt.Errorf("generate: request %d: the logits at position %d are not finite", s.request, position)
			case s.next == opt.EOS:
				out.Finish = FinishEOS
			default:
				if out.Tokens = append(out.Tokens, s.next); len(out.Tokens) == opt.MaxTokens {
					out.Finish = FinishLength
				} else if position == g.decoder.Capacity() {
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

// feed adds the next tokens of a row to the call.
func (g *Generator) feed(row int, tokens ...int32) {
	g.tokens = append(g.tokens, tokens...)
	for range tokens {
		g.rows = append(g.rows, int32(row))
	}
}

// clear frees all rows.
func (g *Generator) clear() {
	for row := range g.slots {
		g.decoder.Truncate(row, 0)
		g.slots[row].request = -1
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
	vocab, capacity := g.decoder.Vocab(), g.decoder.Capacity()
	for i, r := range requests {
		if n := len(r.Prompt); n == 0 || n > capacity {
			return fmt.Errorf("generate: prompt %d has %d tokens; it must have 1 to %d, the context", i, n, capacity)
		}
		for _, t := range r.Prompt {
			if t < 0 || int(t) >= vocab {
				return fmt.Errorf("generate: prompt %d has token %d; the vocabulary has %d", i, t, vocab)
			}
		}
	}
	return nil
}
