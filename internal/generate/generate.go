// Package generate writes texts with a decoder, several at once: each row of a key-value cache holds one text.
//
//	g := generate.New(decoder)
//	samples, err := g.Generate(ctx, requests, generate.Options{TopK: 50, Temperature: 0.8, MaxTokens: 128, Ends: ends})
//
// For the tokens one by one, or to let others compute in between, call Start, and then Step while Active.
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
	"slices"

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
	TopP        float64 // draw from the most probable tokens whose share reaches this; 0: from all
	MinP        float64 // leave out tokens less probable than this share of the most probable one
	Repetition  float64 // penalty of tokens that the text has, prompt included, above 1; 0 and 1: none
	MaxTokens   int     // most tokens to write, at least 1
	Seed        uint64
	Ends        []int32 // tokens that end a text
	AtOnce      int     // most prompt tokens that one Step computes; 0: any number

	// Keep leaves what the row of a single request has read when the text ends, and reads of the next prompt only what
	// follows their common beginning. It changes no text. The decoder has one row.
	Keep bool
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
	FinishEOS     Finish = "eos"     // the model ended it, by one of Options.Ends
	FinishLength  Finish = "length"  // Options.MaxTokens
	FinishContext Finish = "context" // no room for another position
)

// Sample is a text that was written.
type Sample struct {
	Tokens []int32 // without the prompt and without the token that ended it
	Finish Finish
}

// Drawn is a token that a Step drew.
type Drawn struct {
	Request int
	Token   int32
	Finish  Finish // why the text ends here; empty: it continues. A token with FinishEOS is not part of the text
}

// Generator continues requests on the rows of one decoder. Not safe for concurrent use.
type Generator struct {
	decoder Decoder
	logits  []float32 // (rows, V)
	tokens  []int32   // of one Step
	rows    []int32
	drawn   []Drawn
	held    []int32 // with Options.Keep: what the row has read

	opt      Options // of Start
	seed     rng.Key
	requests []Request
	waiting  int        // requests from here on have no row yet
	slots    []slot     // (rows)
	samplers []*sampler // (workers)
}

// New returns a generator that computes as many texts at once as d has rows. The caller refreshes d after a change of
// the parameters.
//
// Memory: allocates the logits of all rows.
func New(d Decoder) *Generator {
	return &Generator{decoder: d, logits: make([]float32, d.Rows()*d.Vocab()), slots: make([]slot, d.Rows())}
}

// Generate continues every request; sample i belongs to request i.
//
// A row whose text ends takes the next request at once. Generate fails, without a sample, if an option or a prompt
// cannot be used, if ctx is done, if the decoder fails, or if its logits are not finite. It leaves the rows empty.
func (g *Generator) Generate(ctx context.Context, requests []Request, opt Options) ([]Sample, error) {
	if err := g.Start(requests, opt); err != nil {
		return nil, err
	}
	samples := make([]Sample, len(requests))
	for g.Active() {
		drawn, err := g.Step(ctx)
		if err != nil {
			return nil, err
		}
		for _, d := range drawn {
			s := &samples[d.Request]
			if s.Finish = d.Finish; d.Finish != FinishEOS {
				s.Tokens = append(s.Tokens, d.Token)
			}
		}
	}
	return samples, nil
}

// Start begins requests and forgets those before. It computes nothing, and fails if an option or a prompt cannot be
// used.
func (g *Generator) Start(requests []Request, opt Options) error {
	if err := g.check(requests, opt); err != nil {
		return err
	}
	if opt.AtOnce == 0 {
		opt.AtOnce = math.MaxInt
	}
	g.opt, g.seed, g.requests, g.waiting = opt, rng.New(opt.Seed, rng.Sample), requests, 0
	if !opt.Keep {
		g.held = nil
	}
	g.slots = make([]slot, g.decoder.Rows())
	g.clear()
	g.samplers = make([]*sampler, g.decoder.Pool().Workers())
	for i := range g.samplers {
		g.samplers[i] = &sampler{topK: opt.TopK, temperature: opt.Temperature, topP: opt.TopP, minP: opt.MinP}
	}
	return nil
}

// Active reports whether a request is not finished.
func (g *Generator) Active() bool {
	return g.waiting < len(g.requests) || slices.ContainsFunc(g.slots, func(s slot) bool { return s.request >= 0 })
}

// Step computes one position of every row, or a part of its prompt, and returns the tokens that were drawn: at most one
// of each row, valid until the next call. It fails as Generate does; then nothing is active any more.
func (g *Generator) Step(ctx context.Context) ([]Drawn, error) {
	err := ctx.Err()
	if err == nil {
		g.collect()
		if err = g.decoder.Decode(ctx, g.tokens, g.rows, g.logits); err == nil {
			err = g.draw()
		}
		if g.held = append(g.held, g.tokens...); err != nil || !g.opt.Keep {
			g.held = g.held[:0]
		}
	}
	if err != nil {
		g.clear()
		g.waiting = len(g.requests)
		return nil, err
	}
	return g.drawn, nil
}

// End ends a request where it stands. Its row takes the next one.
func (g *Generator) End(request int) {
	for row := range g.slots {
		if g.slots[row].request == request {
			g.free(row)
		}
	}
}

// free makes a row ready for another text.
func (g *Generator) free(row int) {
	if !g.opt.Keep {
		g.decoder.Truncate(row, 0)
	}
	g.slots[row].request = -1
}

// keep leaves in the row what a prompt begins with, and returns the rest, which is at least a token.
func (g *Generator) keep(prompt []int32) []int32 {
	n := 0
	for n < min(len(g.held), len(prompt)-1) && g.held[n] == prompt[n] {
		n++
	}
	g.decoder.Truncate(0, n)
	g.held = g.held[:n]
	return prompt[n:]
}

func (g *Generator) check(requests []Request, opt Options) error {
	switch {
	case opt.TopK < 0:
		return fmt.Errorf("generate: top-k %d is negative (0 draws from all tokens)", opt.TopK)
	case !(opt.Temperature >= 0) || math.IsInf(opt.Temperature, 1):
		return fmt.Errorf("generate: temperature %v is not a number from 0 up", opt.Temperature)
	case !(opt.TopP >= 0 && opt.TopP <= 1) || !(opt.MinP >= 0 && opt.MinP < 1):
		return fmt.Errorf("generate: top-p %v and min-p %v are shares, from 0 to 1", opt.TopP, opt.MinP)
	case !(opt.Repetition >= 0) || math.IsInf(opt.Repetition, 1):
		return fmt.Errorf("generate: repetition penalty %v: above 1, or 0 for none", opt.Repetition)
	case opt.MaxTokens < 1:
		return fmt.Errorf("generate: %d tokens to write; ask for at least 1", opt.MaxTokens)
	case opt.Keep && (len(requests) != 1 || g.decoder.Rows() != 1):
		panic("generate: one text alone can be kept")
	case opt.AtOnce < 0:
		panic("generate: a negative number of tokens at once")
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
