package gimbal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"gimbal/internal/engine"
	"gimbal/internal/generate"
	"gimbal/internal/model"
)

// What zero fields of [GenerateOptions] mean. The command line has the same defaults.
const (
	DefaultTopK        = 50
	DefaultTemperature = 0.8
	DefaultMaxTokens   = 256
)

// MaxSamples is the most texts that one call writes.
const MaxSamples = 1 << 20

// GenerateOptions say how to continue a prompt. The zero value writes one text.
type GenerateOptions struct {
	Samples     int     // texts to write, at most MaxSamples. 0: 1
	TopK        int     // draw from this many of the most probable tokens. 0: DefaultTopK; negative: from all tokens
	Temperature float64 // below 1 sharpens the probabilities, above 1 flattens them. 0: DefaultTemperature
	Greedy      bool    // always take the most probable token; TopK and Temperature say nothing then
	TopP        float64 // draw from the most probable tokens whose share reaches this. 0: from all
	MinP        float64 // leave out tokens less probable than this share of the most probable one
	Repetition  float64 // penalty of tokens that the text or its prompt has, such as 1.1. 0: none
	MaxTokens   int     // longest text, in tokens; the context ends it sooner. 0: DefaultMaxTokens
	Seed        uint64  // of the draws: the same seed gives the same texts
	Special     bool    // special tokens that the prompt spells, such as <|im_start|>, become these; else they are text

	// Stop ends a text where it spells one of these, none of which is empty. What it spells is no part of the text.
	Stop []string

	// Keep holds the keys and values of a single text when the call ends, so that a later one with Keep reads only what
	// follows the common beginning of both. It changes no text. The model holds one such text; a device none.
	Keep bool
}

// Finish says why a text ends.
type Finish string

// Why a text ends.
const (
	FinishEOS     Finish = "eos"     // the model ended it
	FinishLength  Finish = "length"  // it has GenerateOptions.MaxTokens
	FinishContext Finish = "context" // the context of the model is full
	FinishStop    Finish = "stop"    // it spells one of GenerateOptions.Stop
)

// Text is one text that a model wrote.
type Text struct {
	Prompt string `json:"prompt"` // as it was given
	Text   string `json:"text"`   // what follows the prompt
	Tokens int    `json:"tokens"` // of Text
	Finish Finish `json:"finish"` // why it ends
}

// Token is one token of a text that a model writes.
type Token struct {
	Sample int    `json:"sample"` // which text it belongs to, from 0
	ID     int    `json:"id"`     // in the vocabulary
	Text   string `json:"text"`   // what it adds to the text: whole characters, so it may be empty
	Finish Finish `json:"finish"` // why the text ends here; empty: it goes on. FinishEOS: the token is no part of it
}

// Generate continues a prompt, or begins by itself where the prompt is empty.
//
// A text depends on the model, the prompt, the options and its number, and not on what else is computed. Generate fails
// with a [PromptError] if the prompt does not fit the context, with a [DataError] if the prompt has a character that
// the tokenizer does not know, with the error of ctx, or with [ErrClosed]; then there are no texts.
func (m *Model) Generate(ctx context.Context, prompt string, opt GenerateOptions) ([]Text, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	texts := make([]Text, max(1, opt.Samples))
	written := make([]strings.Builder, len(texts))
	for t, err := range m.Stream(ctx, prompt, opt) {
		if err != nil {
			return nil, err
		}
		written[t.Sample].WriteString(t.Text)
		text := &texts[t.Sample]
		if text.Finish = t.Finish; t.Finish != FinishEOS {
			text.Tokens++
		}
	}
	for i := range texts {
		texts[i].Prompt, texts[i].Text = prompt, written[i].String()
	}
	return texts, nil
}

// check refuses what cannot be meant, and numbers before anything is allocated for them.
func (o *GenerateOptions) check() error {
	switch {
	case o.Samples < 0 || o.Samples > MaxSamples:
		return fmt.Errorf("gimbal: %d texts to write; ask for 1 to %d", o.Samples, MaxSamples)
	case o.MaxTokens < 0:
		return fmt.Errorf("gimbal: %d tokens to write; ask for at least 1", o.MaxTokens)
	case slices.Contains(o.Stop, ""):
		return errors.New("gimbal: an empty text to stop at; leave it out")
	}
	return nil
}

// Stream is [Model.Generate], token by token: it yields the tokens of all texts as they are drawn. Texts are written
// side by side; the last token of each has a Finish. The Text of the tokens of one text, joined, is its Text in
// Generate.
//
// An error, as those of Generate, is yielded last. Nothing is computed between two tokens, and leaving the loop ends
// the texts. Each loop over the sequence writes them anew.
func (m *Model) Stream(ctx context.Context, prompt string, opt GenerateOptions) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		encode := m.tok.Append
		if opt.Special {
			encode = m.tok.AppendSpecial
		}
		ids, err := encode([]int32{m.start}, []byte(prompt))
		if err != nil {
			yield(Token{}, classify(err, ""))
			return
		}
		m.stream(ctx, ids, m.tok.Ends(), opt)(yield)
	}
}

// stream continues tokens until one of ends.
func (m *Model) stream(ctx context.Context, ids, ends []int32, opt GenerateOptions) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		g, done, err := m.begin(ctx, ids, ends, opt)
		defer done()
		if err != nil {
			yield(Token{}, err)
			return
		}
		held := make([][]byte, max(1, opt.Samples)) // of each text: bytes that are not told yet
		for err == nil && g.Active() {
			var drawn []generate.Drawn
			err = m.compute(ctx, func() (err error) {
				drawn, err = g.Step(ctx)
				return err
			})
			for _, d := range drawn {
				t := Token{Sample: d.Request, ID: int(d.Token), Finish: Finish(d.Finish)}
				if t.Finish != FinishEOS {
					held[d.Request] = append(held[d.Request], m.tok.Bytes(d.Token)...)
				}
				text, rest, stopped := told(held[d.Request], opt.Stop, t.Finish != "")
				if t.Text, held[d.Request] = text, rest; stopped {
					t.Finish = FinishStop
					g.End(d.Request)
				}
				if !yield(t, nil) {
					return
				}
			}
		}
		if err != nil {
			yield(Token{}, err)
		}
	}
}

// begin prepares the texts of a call, which end with done. It computes nothing.
func (m *Model) begin(ctx context.Context, ids, ends []int32, opt GenerateOptions) (g *generate.Generator, done func(),
	err error) {
	done = func() {}
	if err := opt.check(); err != nil {
		return nil, done, err
	}
	if len(ids) > m.arch.Context {
		return nil, done, &PromptError{len(ids), m.arch.Context}
	}
	with := generate.Options{TopK: cmp.Or(max(opt.TopK, -1), DefaultTopK), Ends: ends, Seed: opt.Seed,
		Temperature: cmp.Or(opt.Temperature, DefaultTemperature), MaxTokens: min(cmp.Or(opt.MaxTokens,
			DefaultMaxTokens), m.arch.Context),
		AtOnce: promptAtOnce}
	with.TopP, with.MinP, with.Repetition = opt.TopP, opt.MinP, opt.Repetition
	with.TopK = max(with.TopK, 0) // generate draws from all tokens for 0
	if opt.Greedy {
		with.Temperature = 0
	}
	requests := make([]generate.Request, max(1, opt.Samples))
	for i := range requests {
		requests[i] = generate.Request{Prompt: ids, Index: uint64(i)}
	}
	capacity := min(m.arch.Context, len(ids)+with.MaxTokens)
	rows, _ := engine.DecoderRows(m.arch, len(requests), capacity)
	rows = min(textsAtOnce, rows)
	err = m.compute(ctx, func() error {
		if opt.Keep && len(requests) == 1 && m.device == nil {
			t := m.takeKept(capacity)
			done = func() {
				_ = m.compute(context.Background(), func() error {
					m.kept = t
					return nil
				})
			}
			g, with.Keep = t.generator, true
			return g.Start(requests, with)
		}
		if m.device == nil {
			g = generate.New(model.NewWriter(m.writer, rows, capacity))
			return g.Start(requests, with)
		}
		d, err := m.device.decoder(rows, capacity)
		if err != nil {
			return err
		}
		done = func() {
			_ = m.compute(context.Background(), func() error { // a model that is closed has given it back
				m.device.giveBack(d)
				return nil
			})
		}
		d.Refresh()
		g = generate.New(d)
		return g.Start(requests, with)
	})
	return g, done, err
}

// kept is a text whose keys and values are still there.
type kept struct {
	writer    *model.Writer
	generator *generate.Generator
}

// takeKept returns the text that was kept, with room for so many positions, or an empty one.
func (m *Model) takeKept(capacity int) *kept {
	t := m.kept
	if m.kept = nil; t == nil {
		w := model.NewWriter(m.writer, 1, capacity)
		return &kept{w, generate.New(w)}
	}
	if old := t.writer.Capacity(); old < capacity {
		t.writer.Grow(min(m.arch.Context, max(capacity, 2*old)))
	}
	return t
}

// told cuts what can be told off the front of a text: whole characters, and nothing that may become a stop unless the
// text ends here. stopped: it spells a stop, and ends before it.
func told(b []byte, stops []string, ends bool) (text string, rest []byte, stopped bool) {
	n := len(b)
	for _, stop := range stops {
		if at := bytes.Index(b, []byte(stop)); at >= 0 {
			n, stopped = min(n, at), true
		}
	}
	if stopped || ends {
		return string(b[:n]), nil, stopped
	}
	n = wholeCharacters(b)
	for _, stop := range stops {
		for k := min(len(stop)-1, len(b)); k > 0; k-- {
			if strings.HasPrefix(stop, string(b[len(b)-k:])) {
				n = min(n, len(b)-k)
				break
			}
		}
	}
	return string(b[:n]), b[n:], false
}

// wholeCharacters is the length of b without a character at its end that may become whole. Bytes that are no UTF-8 are
// whole.
func wholeCharacters(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
