package main

import (
	"fmt"
	"io"

	"gimbal"
	"gimbal/internal/bom"
)

type sampleCmd struct {
	Run_        string  `arg:"" name:"run" help:"Run or checkpoint directory."`
	Prompt      string  `arg:"" optional:"" help:"Text to continue; - reads standard input. Default: none."`
	N           int     `short:"n" default:"3" help:"Texts to write."`
	TopK        int     `default:"${top_k}" help:"Draw from the K most probable tokens; 0: from all."`
	Temperature float64 `default:"${temperature}" help:"Below 1 sharpens, above 1 flattens; 0: most probable token."`
	MaxTokens   int     `default:"${max_tokens}" help:"Most tokens of a text."`
	Seed        uint64  `default:"1" help:"Seed: the same seed gives the same texts."`
	Special     bool    `help:"Read special tokens in the prompt, such as <|im_start|>, as tokens, not as text."`
	Checkpoint  string  `help:"${which}" placeholder:"NAME"`
	Weights     string  `default:"auto" enum:"auto,fp32,bf16,int8" help:"Format of the weights: int8 is the fastest."`
	Device      string  `default:"cpu" help:"Where to compute, as for train." placeholder:"NAME|PATH"`
	JSON        bool    `name:"json" help:"Print the texts as JSON."`
}

func (c *sampleCmd) Run(e *env) error {
	switch {
	case c.N < 1:
		return usageError(fmt.Sprintf("-n %d: ask for at least one text", c.N))
	case c.MaxTokens < 1:
		return usageError(fmt.Sprintf("--max-tokens %d: ask for at least one token", c.MaxTokens))
	case c.TopK < 0:
		return usageError(fmt.Sprintf("--top-k %d: 0 draws from all tokens, K from the K most probable", c.TopK))
	case !(c.Temperature >= 0):
		return usageError(fmt.Sprintf("--temperature %v: from 0 up", c.Temperature))
	}
	prompt := c.Prompt
	if prompt == "-" {
		raw, err := io.ReadAll(io.LimitReader(e.stdin, 1<<20))
		if err != nil {
			return fmt.Errorf("read the prompt: %w", err)
		}
		if encoding, _ := bom.Find(raw); encoding != "" && encoding != "utf-8" {
			return usageError("the prompt is in " + encoding + "; give it in UTF-8")
		}
		prompt = string(bom.Drop(raw))
	}
	weights := c.Weights
	if weights == "auto" {
		weights = "" // the library's word for as training computes
	}
	m, err := gimbal.Open(c.Run_, gimbal.OpenOptions{Checkpoint: c.Checkpoint, Weights: weights,
		Device: c.Device})
	if err != nil {
		return err
	}
	defer m.Close()
	e.progress.notef("%s, step %d", m.Info().Path, m.Info().Step)
	for _, note := range m.Info().Notes {
		e.progress.notef("%s", note)
	}
	topK := c.TopK
	if topK == 0 {
		topK = -1 // the library's word for all tokens
	}
	texts, err := m.Generate(e.ctx, prompt, gimbal.GenerateOptions{Samples: c.N, TopK: topK, Greedy: c.Temperature == 0,
		Temperature: c.Temperature, MaxTokens: c.MaxTokens, Seed: c.Seed, Special: c.Special})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, texts)
	}
	for _, t := range texts {
		printSample(e.stdout, t.Prompt, t.Text)
		if t.Finish != "eos" {
			e.progress.notef("the text was cut: %s", t.Finish)
		}
	}
	return nil
}
