package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"gimbal"
	"gimbal/internal/bom"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

type sampleCmd struct {
	Run_   string `arg:"" name:"run" help:"Run or checkpoint directory."`
	Prompt string `arg:"" optional:"" help:"Text to continue; - reads standard input. Default: none."`
	N      int    `short:"n" default:"3" help:"Texts to write."`
	sampling
	MaxTokens  int    `default:"${max_tokens}" help:"Most tokens of a text."`
	Special    bool   `help:"Read special tokens in the prompt, such as <|im_start|>, as tokens, not as text."`
	Checkpoint string `help:"${which}" placeholder:"NAME"`
	Weights    string `default:"auto" enum:"auto,fp32,bf16,int8" help:"Format of the weights: int8 is the fastest."`
	Device     string `default:"cpu" help:"Where to compute, as for train." placeholder:"NAME|PATH"`
	JSON       bool   `name:"json" help:"Print the texts as JSON."`
}

// sampling is how tokens are drawn.
type sampling struct {
	TopK        int      `default:"${top_k}" help:"Draw from the K most probable tokens; 0: from all."`
	TopP        float64  `help:"Draw from the most probable tokens whose share reaches P; 0: from all." placeholder:"P"`
	MinP        float64  `help:"Leave out tokens less probable than this share of the most probable." placeholder:"P"`
	Repetition  float64  `help:"Penalty of tokens that the text has, such as 1.1; 0: none." placeholder:"X"`
	Temperature float64  `default:"${temperature}" help:"Below 1 sharpens, above 1 flattens; 0: most probable token."`
	Stop        []string `help:"End a text before this string; repeatable." placeholder:"TEXT" sep:"none"`
	Seed        uint64   `default:"1" help:"Seed: the same seed gives the same texts."`
}

// check says what is wrong with the flags.
func (c *sampling) check(maxTokens int) error {
	switch {
	case maxTokens < 1:
		return usageError(fmt.Sprintf("--max-tokens %d: ask for at least one token", maxTokens))
	case slices.Contains(c.Stop, ""):
		return usageError("--stop: it is empty; leave it out")
	case c.TopK < 0:
		return usageError(fmt.Sprintf("--top-k %d: 0 draws from all tokens, K from the K most probable", c.TopK))
	case !(c.TopP >= 0 && c.TopP <= 1) || !(c.MinP >= 0 && c.MinP < 1):
		return usageError(fmt.Sprintf("--top-p %v, --min-p %v: shares, from 0 to 1", c.TopP, c.MinP))
	case !(c.Repetition >= 0):
		return usageError(fmt.Sprintf("--repetition %v: above 1, or 0 for none", c.Repetition))
	case !(c.Temperature >= 0):
		return usageError(fmt.Sprintf("--temperature %v: from 0 up", c.Temperature))
	}
	return nil
}

// options are the flags for the library, whose zeros are defaults.
func (c *sampling) options(maxTokens int) gimbal.GenerateOptions {
	topK := c.TopK
	if topK == 0 {
		topK = -1 // all tokens
	}
	return gimbal.GenerateOptions{TopK: topK, TopP: c.TopP, MinP: c.MinP, Repetition: c.Repetition,
		Greedy: c.Temperature == 0, Temperature: c.Temperature, MaxTokens: maxTokens, Seed: c.Seed, Stop: c.Stop}
}

func (c *sampleCmd) Run(e *env) error {
	if c.N < 1 || c.N > gimbal.MaxSamples {
		return usageError(fmt.Sprintf("-n %d: ask for 1 to %d texts", c.N, gimbal.MaxSamples))
	}
	if err := c.check(c.MaxTokens); err != nil {
		return err
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
	e.progress.Notef("%s, step %d", m.Info().Path, m.Info().Step)
	for _, note := range m.Info().Notes {
		e.progress.Notef("%s", note)
	}
	opt := c.options(c.MaxTokens)
	opt.Samples, opt.Special = c.N, c.Special
	if screen.Terminal(e.stdout) != nil && !c.JSON {
		return streamSamples(e, m, prompt, opt)
	}
	texts, err := m.Generate(e.ctx, prompt, opt)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, texts)
	}
	for _, t := range texts {
		printSample(e.stdout, t.Prompt, t.Text)
		cutNote(e, t.Finish)
	}
	return nil
}

// printSample prints a text with its prompt marked off. A terminal gets no control characters of others.
func printSample(w io.Writer, prompt, text string) {
	if screen.Terminal(w) != nil {
		prompt, text = runs.EscapeText(prompt), runs.EscapeText(text)
	}
	fmt.Fprintf(w, "\n--- %s\n", strings.Repeat("-", 60))
	if prompt != "" {
		fmt.Fprintf(w, "[%s]", prompt)
	}
	fmt.Fprintln(w, strings.TrimRight(text, "\n"))
}

// cutNote tells that a text did not end by itself.
func cutNote(e *env, f gimbal.Finish) {
	if f != gimbal.FinishEOS && f != gimbal.FinishStop {
		e.progress.Notef("the text was cut: %s", f)
	}
}

// streamSamples prints texts on a terminal while they are written: the first as it comes, what the others have when
// their turn comes.
func streamSamples(e *env, m *gimbal.Model, prompt string, opt gimbal.GenerateOptions) error {
	waiting, ended := make([]strings.Builder, opt.Samples), make([]gimbal.Finish, opt.Samples)
	now := 0
	head := func() {
		fmt.Fprintf(e.stdout, "\n--- %s\n", strings.Repeat("-", 60))
		if prompt != "" {
			fmt.Fprintf(e.stdout, "[%s]", runs.EscapeText(prompt))
		}
	}
	head()
	for t, err := range m.Stream(e.ctx, prompt, opt) {
		if err != nil {
			return err
		}
		waiting[t.Sample].WriteString(runs.EscapeText(t.Text))
		ended[t.Sample] = t.Finish
		for now < opt.Samples {
			fmt.Fprint(e.stdout, waiting[now].String())
			waiting[now].Reset()
			if ended[now] == "" {
				break
			}
			fmt.Fprintln(e.stdout)
			cutNote(e, ended[now])
			if now++; now < opt.Samples {
				head()
			}
		}
	}
	return nil
}
