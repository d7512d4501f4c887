package gimbal

import (
	"context"
	"fmt"
	"math"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/generate"
	"gimbal/internal/hub"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/tokenizer"
)

// Model is a trained model, ready to write. It is not safe for concurrent use.
type Model struct {
	path  string
	step  int64
	tok   *tokenizer.Tokenizer
	start int32 // the token after which texts begin
	arch  config.Arch
	exec  *kernel.Exec

	params *model.Params[float32]
	writer *model.Decoder[float32]
	scorer *model.Model[float32] // made by the first Loss
}

// Most texts that are written at once, and the memory of the keys and values above which they are fewer, but not fewer
// than fewRows: the more there are, the less often the weights are read.
const (
	decodeRows = 128
	fewRows    = 16
	cacheBytes = 1 << 30
)

// longestPiece bounds what Loss scores in one piece: the context of a model of others may be larger than memory.
const longestPiece = 2048

// Open opens a run directory, or a checkpoint, for writing and measuring. name chooses a checkpoint of a run: stable,
// best-loss, last or step-N; empty is the stable one, else the last.
//
// Memory: the parameters in float32, and a cache of keys and values. It fails with [ErrCheckpoint] when nothing there
// verifies. Close gives everything back.
func Open(path, name string) (*Model, error) {
	m, err := open(path, name)
	return m, classify(err)
}

func open(path, name string) (m *Model, err error) {
	c, err := hub.OpenModel(path, name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m = &Model{path: c.Path(), step: c.Step(), tok: c.Tok, arch: c.Arch}
	if m.start, err = c.Start(); err != nil {
		return nil, err
	}
	if m.exec, err = kernel.NewExec(0, kernel.TierAuto); err != nil {
		return nil, err
	}
	if err := m.load(c.Checkpoint); err != nil {
		m.exec.Close()
		return nil, err
	}
	return m, nil
}

func (m *Model) load(c *checkpoint.Checkpoint) (err error) {
	m.writer, err = model.NewDecoder[float32](m.arch, m.exec, model.DecoderOptions{Tokens: 1024, Rows: decodeRows, Mode: model.ModeAuto})
	if err != nil {
		return err
	}
	m.params = m.writer.Params()
	if err := model.LoadEntries(m.params, c.Model()); err != nil {
		return err
	}
	m.writer.Refresh()
	return nil
}

// Close gives back the workers. The model must not be used after it.
func (m *Model) Close() { m.exec.Close() }

// Path is the checkpoint that was opened, and Step the number of updates behind it.
func (m *Model) Path() string { return m.path }

// Step is the number of updates behind the model.
func (m *Model) Step() int64 { return m.step }

// GenerateOptions say how to write. The zero value writes one text of at most 256 tokens at temperature 0.8.
type GenerateOptions struct {
	Samples     int     // texts; 0: 1
	TopK        int     // draw from this many likeliest tokens; 0: from all (the command line uses 50)
	Temperature float64 // 0: 0.8, unless Greedy
	Greedy      bool    // always the likeliest token
	MaxTokens   int     // longest text; 0: 256
	Seed        uint64  // the same seed gives the same texts
	Special     bool    // special tokens that the prompt spells become these tokens; else they are characters
}

// Text is one text that the model wrote.
type Text struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`   // what follows the prompt
	Tokens int    `json:"tokens"` // written, without the end of text
	Finish string `json:"finish"` // eos: the model ended it; length: MaxTokens; context: no room left
}

// Generate continues a prompt, or begins by itself where it is empty. Texts stop at the end-of-text token, or where
// the context is full.
//
// A sample depends on the model, the prompt, the options and its number only, not on how many are written together.
// It fails when the prompt does not fit the context, or holds a character that the tokenizer has never seen.
func (m *Model) Generate(ctx context.Context, prompt string, opt GenerateOptions) ([]Text, error) {
	n := max(1, opt.Samples)
	temperature := opt.Temperature
	switch {
	case opt.Greedy:
		temperature = 0
	case temperature == 0:
		temperature = 0.8
	}
	maxTokens := opt.MaxTokens
	if maxTokens == 0 {
		maxTokens = 256
	}
	encode := m.tok.Append
	if opt.Special {
		encode = m.tok.AppendSpecial
	}
	ids, err := encode([]int32{m.start}, []byte(prompt))
	if err != nil {
		return nil, classify(err)
	}
	requests := make([]generate.Request, n)
	for i := range requests {
		requests[i] = generate.Request{Prompt: ids, Index: uint64(i)}
	}
	capacity := min(m.arch.Context, len(ids)+maxTokens)
	rows := min(n, decodeRows)
	for rows > fewRows && model.CacheBytes(m.arch, rows, capacity) > cacheBytes {
		rows = max(fewRows, rows/2)
	}
	g := generate.New(model.NewWriter(m.writer, rows, capacity))
	samples, err := g.Generate(ctx, requests, generate.Options{TopK: opt.TopK, Temperature: temperature, MaxTokens: maxTokens, Seed: opt.Seed, EOS: m.tok.EOS()})
	if err != nil {
		return nil, err
	}
	texts := make([]Text, n)
	for i, s := range samples {
		texts[i] = Text{Prompt: prompt, Text: string(m.tok.Decode(nil, s.Tokens)), Tokens: len(s.Tokens), Finish: string(s.Finish)}
	}
	return texts, nil
}

// Loss is how surprising a text is to a model.
type Loss struct {
	LossNats    float64 // nats per token, the end of text among them
	BitsPerByte float64 // the same on a scale that does not depend on the tokenizer; +Inf for an empty text
	Tokens      int
	Bytes       int
}

// Loss measures one text as a document of its own: after the start token, up to and with its end, in pieces of the
// context length, at most 2,048 tokens, where it is longer.
//
// Formula: nats = -Σ ln p(token | before it in its piece), over the tokens and the end of text.
// Memory: the first call allocates room for one context. It fails on a character that the tokenizer has never seen.
func (m *Model) Loss(text string) (Loss, error) {
	ids, err := m.tok.Append([]int32{m.start}, []byte(text))
	if err != nil {
		return Loss{}, classify(err)
	}
	ids = append(ids, m.tok.EOS())
	piece := min(m.arch.Context, longestPiece)
	if m.scorer == nil {
		s, err := model.New[float32](m.arch, m.exec, model.Options{MicroTokens: piece, Checkpointing: model.CheckpointBlock, Mode: model.ModeAuto})
		if err != nil {
			return Loss{}, fmt.Errorf("gimbal: %w", err)
		}
		copy(s.Params().Flat, m.params.Flat)
		s.Refresh()
		m.scorer = s
	}
	nats := 0.0
	labels := len(ids) - 1
	for at := 0; at < labels; at += piece {
		end := min(labels, at+piece)
		counts := make([]bool, end-at)
		for i := range counts {
			counts[i] = true
		}
		nats += m.scorer.Loss(model.Input{Tokens: ids[at:end], Labels: ids[at+1 : end+1], Counts: counts, Bounds: []int32{0, int32(end - at)}})
	}
	return Loss{LossNats: nats / float64(labels), BitsPerByte: nats / (math.Ln2 * float64(len(text))), Tokens: labels, Bytes: len(text)}, nil
}
