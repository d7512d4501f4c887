package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gimbal/internal/generate"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/rng"
)

// GenerateOptions say what is written.
type GenerateOptions struct {
	Preset  string
	Vocab   int    // 0: the preset's
	Texts   int    // at once
	Tokens  int    // of each text
	Prompt  int    // tokens read before
	Rounds  int    // timed ones, after one to warm up
	Mode    string // fp32, bf16 or auto (also "")
	Workers int    // 0: one for each processor
}

// GenerateResult is what writing took; medians over the rounds.
type GenerateResult struct {
	Machine
	Model           string  `json:"model"`
	Vocab           int     `json:"vocab"`
	Params          int64   `json:"params"`
	Mode            string  `json:"mode"`
	Texts           int     `json:"texts"`
	Tokens          int     `json:"tokens"`
	Prompt          int     `json:"prompt_tokens"`
	Seconds         float64 `json:"seconds"`
	Best            float64 `json:"best_seconds"`
	TokensPerSecond float64 `json:"tokens_per_second"` // written ones; reading the prompts is in the time
	PeakMemory      int64   `json:"peak_memory_bytes"`
}

// Generate times batched decoding with a key-value cache by a model with its initial weights: prompts read, tokens
// drawn from the 50 likeliest, texts ended by nothing but their length.
func Generate(ctx context.Context, opt GenerateOptions) (*GenerateResult, error) {
	for _, v := range []struct {
		flag  string
		value int
	}{{"texts", opt.Texts}, {"tokens", opt.Tokens}, {"prompt", opt.Prompt}, {"rounds", opt.Rounds}} {
		if v.value < 1 {
			return nil, usage(v.flag, "%d: at least 1 is needed", v.value)
		}
	}
	_, arch, err := presetArch(opt.Preset, opt.Vocab, 0)
	if err != nil {
		return nil, err
	}
	if opt.Prompt+opt.Tokens > arch.Context {
		return nil, usage("tokens", "a prompt of %d and %d tokens do not fit the context of %d", opt.Prompt, opt.Tokens,
			arch.Context)
	}
	x, err := kernel.NewExec(opt.Workers, kernel.TierAuto)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	mode := model.ResolveMode(x, or(opt.Mode, model.ModeAuto))
	const chunk = 1024 // positions computed at once, while prompts are read
	d, err := model.NewDecoder[float32](arch, x,
		model.DecoderOptions{Tokens: max(chunk, opt.Texts), Rows: opt.Texts, Mode: mode})
	if err != nil {
		return nil, usage("model", "%v", err)
	}
	d.Params().Init(x.Pool(), arch.Layers, 1)
	d.Refresh()
	author := generate.New(model.NewWriter(d, opt.Texts, opt.Prompt+opt.Tokens))
	k := rng.New(1, rng.Prompt)
	requests := make([]generate.Request, opt.Texts)
	for i := range requests {
		prompt := make([]int32, opt.Prompt)
		for j := range prompt {
			prompt[j] = int32(k.Sub(uint64(i)).Uint64(uint64(j)) % uint64(arch.Vocab))
		}
		requests[i] = generate.Request{Prompt: prompt, Index: uint64(i)}
	}

	r := &GenerateResult{Machine: machine(x), Model: opt.Preset, Vocab: arch.Vocab, Mode: mode, Texts: opt.Texts,
		Tokens: opt.Tokens, Prompt: opt.Prompt}
	r.Params, _ = arch.Params()
	var times []float64
	for i := range opt.Rounds + 1 {
		began := time.Now()
		samples, err := author.Generate(ctx, requests,
			generate.Options{TopK: 50, Temperature: 0.8, MaxTokens: opt.Tokens, Seed: uint64(i)})
		if err != nil {
			return nil, err
		}
		if i > 0 {
			times = append(times, time.Since(began).Seconds())
		}
		written := 0
		for _, s := range samples {
			written += len(s.Tokens)
		}
		if written != opt.Texts*opt.Tokens {
			return nil, fmt.Errorf("bench: %d tokens were written instead of %d", written, opt.Texts*opt.Tokens)
		}
	}
	r.summarise(times)
	r.PeakMemory = peakMemory()
	return r, nil
}

// summarise takes the median of the rounds, in seconds, and makes the rate of it.
func (r *GenerateResult) summarise(times []float64) {
	r.Seconds, r.Best = medianOf(times), slices.Min(times)
	r.TokensPerSecond = float64(r.Texts*r.Tokens) / r.Seconds
}
