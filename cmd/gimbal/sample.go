package main

import (
	"fmt"
	"io"

	"gimbal"
)

type sampleCmd struct {
	Run_        string  `arg:"" name:"run" help:"Run or checkpoint directory."`
	Prompt      string  `arg:"" optional:"" help:"Text to continue; \"-\" reads standard input. Default: the model begins by itself."`
	N           int     `short:"n" default:"3" help:"Texts to write."`
	TopK        int     `default:"${top_k}" help:"Draw from the K likeliest tokens; 0: from all."`
	Temperature float64 `default:"${temperature}" help:"Below 1 sharpens, above 1 flattens; 0: always the likeliest token."`
	MaxTokens   int     `default:"${max_tokens}" help:"Longest text, in tokens."`
	Seed        uint64  `default:"1" help:"Seed of the draws: the same seed gives the same texts."`
	Special     bool    `help:"Special tokens that the prompt spells, such as <|im_start|>, become these tokens. Default: they are characters."`
	Checkpoint  string  `help:"Which checkpoint of the run: stable, best-loss, last or step-N. Default: stable, else last." placeholder:"NAME"`
	JSON        bool    `name:"json" help:"Print the texts as JSON."`
}

func (c *sampleCmd) Run(e *env) error {
	switch {
	case c.N < 1:
		return usageError(fmt.Sprintf("-n %d: ask for at least one text", c.N))
	case c.MaxTokens < 1:
		return usageError(fmt.Sprintf("--max-tokens %d: ask for at least one token", c.MaxTokens))
	case c.TopK < 0:
		return usageError(fmt.Sprintf("--top-k %d: 0 draws from all tokens, K from the K likeliest", c.TopK))
	case !(c.Temperature >= 0):
		return usageError(fmt.Sprintf("--temperature %v: from 0 up", c.Temperature))
	}
	prompt := c.Prompt
	if prompt == "-" {
		raw, err := io.ReadAll(io.LimitReader(e.stdin, 1<<20))
		if err != nil {
			return fmt.Errorf("read the prompt: %w", err)
		}
		prompt = string(raw)
	}
	m, err := gimbal.Open(c.Run_, gimbal.OpenOptions{Checkpoint: c.Checkpoint})
	if err != nil {
		return err
	}
	defer m.Close()
	fmt.Fprintf(e.stderr, "gimbal: %s, step %d\n", m.Info().Path, m.Info().Step)
	topK := c.TopK
	if topK == 0 {
		topK = -1 // the library's word for all tokens
	}
	texts, err := m.Generate(e.ctx, prompt, gimbal.GenerateOptions{
		Samples: c.N, TopK: topK, Greedy: c.Temperature == 0, Temperature: c.Temperature, MaxTokens: c.MaxTokens, Seed: c.Seed, Special: c.Special})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, texts)
	}
	for _, t := range texts {
		printSample(e.stdout, t.Prompt, t.Text)
		if t.Finish != "eos" {
			fmt.Fprintf(e.stderr, "gimbal: (cut: %s)\n", t.Finish)
		}
	}
	return nil
}
