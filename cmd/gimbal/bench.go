package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/bench"
	"gimbal/internal/data"
	"gimbal/internal/kernel"
	"gimbal/internal/runs"
)

// benchCmd measures this machine with this program: one subcommand for each thing measured.
type benchCmd struct {
	Kernels   benchKernelsCmd   `cmd:"" help:"Peaks and multiplies of each tier, with their share of the peak."`
	Train     benchTrainCmd     `cmd:"" help:"Training steps: tokens/s, TFLOP/s, share of the peak, time by part, memory."`
	Generate  benchGenerateCmd  `cmd:"" help:"Batched generation with a key-value cache."`
	Tokenizer benchTokenizerCmd `cmd:"" help:"Training a tokenizer, encoding and decoding."`
}

type benchKernelsCmd struct {
	Seconds float64 `default:"0.1" help:"Seconds for each figure, at least three runs."`
	Tier    string  `help:"Only this tier, such as avx2 or generic. Default: all of this CPU." placeholder:"NAME"`
	Only    string  `help:"Only kernels whose name contains this." placeholder:"TEXT"`
	Workers int     `help:"Threads. Default: one for each processor." placeholder:"N"`
	JSON    bool    `name:"json" help:"Print one JSON object."`
}

func (c *benchKernelsCmd) Run(e *env) error {
	tier, err := tierNamed(c.Tier)
	if err != nil {
		return err
	}
	var all struct {
		bench.Machine
		Kernels []bench.Kernel `json:"kernels"`
	}
	opt := bench.KernelOptions{Seconds: c.Seconds, Workers: c.Workers, Tier: tier, Only: c.Only}
	all.Machine, err = bench.Kernels(e.ctx, opt, func(k bench.Kernel) {
		if !c.JSON {
			if len(all.Kernels) == 0 {
				const head = "%-8s %-5s %-28s %-26s %11s %11s %s\n"
				fmt.Fprintf(e.stdout, head, "tier", "kind", "kernel", "shape", "median", "best", "")
			}
			share := ""
			if k.Peak != "" {
				share = fmt.Sprintf("%3.0f %% of %s", 100*k.Share, k.Peak)
			}
			fmt.Fprintf(e.stdout, "%-8s %-5s %-28s %-26s %11.1f %11.1f %-7s  %s\n",
				k.Tier, k.Kind, k.Name, k.Shape, k.Rate, k.Best, k.Unit, share)
		}
		all.Kernels = append(all.Kernels, k)
	})
	if err != nil {
		return err
	}
	if len(all.Kernels) == 0 {
		return usageError(fmt.Sprintf("--only: no kernel's name contains %q", c.Only))
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	fmt.Fprintf(e.stdout, "%s, %s, random operands\n", all.CPU, runs.Plural(all.Workers, "worker"))
	return nil
}

// tierNamed returns the tier of a name, TierAuto for none.
func tierNamed(name string) (kernel.Tier, error) {
	if name == "" {
		return kernel.TierAuto, nil
	}
	var have []string
	for _, t := range kernel.Tiers() {
		if t.String() == name {
			return t, nil
		}
		have = append(have, t.String())
	}
	return 0, usageError(fmt.Sprintf("--tier: no tier %q here; this machine has %s", name, strings.Join(have, ", ")))
}

type benchTrainCmd struct {
	Model         string `default:"gpt2-124m" help:"Preset, such as nano, char-10m or gpt2-124m." placeholder:"PRESET"`
	Vocab         int    `help:"Size of the vocabulary. Default: the preset's, or 4096." placeholder:"N"`
	Tokens        int    `help:"Tokens of a step, in whole sequences. Default: the preset's." placeholder:"N"`
	Context       int    `help:"Tokens of a sequence. Default: the preset's." placeholder:"T"`
	Micro         int    `help:"Tokens of a pass. Default: about 4096." placeholder:"M"`
	Steps         int    `default:"5" help:"Steps to time, after one to warm up."`
	Mode          string `enum:"auto,fp32,bf16" default:"auto" help:"Numeric mode."`
	Checkpointing string `enum:"none,attention,block" default:"none" help:"What the backward pass computes again."`
	Workers       int    `help:"Threads. Default: one for each processor." placeholder:"N"`
	Device        string `default:"cpu" help:"Where to compute: cpu, cuda, rocm, oneapi, tpu, or a plugin." placeholder:"NAME|PATH"`
	Devices       int    `help:"Devices that train together. Default: all there are." placeholder:"N"`
	Attention     string `enum:",plain,blocks,cudnn" default:"" help:"Attention on a device: plain, blocks or cudnn." placeholder:"KIND"`
	Fast          bool   `help:"As numeric.fast: a device need not have the same bits in every run."`
	JSON          bool   `name:"json" help:"Print one JSON object."`
}

func (c *benchTrainCmd) Run(e *env) error {
	r, err := bench.Train(e.ctx, bench.TrainOptions{Preset: c.Model, Vocab: c.Vocab, Tokens: c.Tokens,
		Context: c.Context, Micro: c.Micro, Steps: c.Steps, Mode: c.Mode, Checkpointing: c.Checkpointing,
		Workers: c.Workers, Device: c.Device, Devices: c.Devices, Attention: c.Attention,
		Fast: c.Fast})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(e.stdout, "%-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	if r.Attention == "" {
		row("machine", "%s, %s, tier %s, %s", r.CPU, r.Go, r.Tier, runs.Plural(r.Workers, "worker"))
	} else {
		row("device", "%d × %s, attention %s; ready after %.1f s", r.Workers, r.Tier, r.Attention, r.Compile)
	}
	row("model", "%s: %d parameters, %d multiplied for every token, vocabulary %d",
		r.Model, r.Params, r.Multiplied, r.Vocab)
	row("step", "%d tokens in sequences of %d, passes of %d, %s, checkpointing %s",
		r.Tokens, r.Context, r.Micro, r.Mode, r.Checkpointing)
	row("time", "%.4g s a step (best %.4g), medians of %d", r.Seconds, r.Best, r.Steps)
	row("speed", "%.0f tokens/s", r.TokensPerSecond)
	share := "this tier has no peak to measure for " + r.Mode
	if r.PeakTFLOPs > 0 {
		share = fmt.Sprintf("%.1f %% of the peak of %.4g measured between the steps", 100*r.PeakShare, r.PeakTFLOPs)
	}
	row("arithmetic", "%.4g TFLOP/s, %s", r.TFLOPs, share)
	if r.Attention == "" {
		row("memory", "%.1f MB at most, %.1f MB predicted for model and optimizer",
			float64(r.PeakMemory)/1e6, float64(r.Predicted)/1e6)
	} else {
		row("memory", "%.1f MB of a device, by the compiler", float64(r.Predicted)/1e6)
	}
	row("loss", "%.4f nats/token on random tokens", r.LossNats)
	if len(r.Parts) == 0 {
		row("weights", "%s, a hash: the same in every process", r.Bits)
		return nil
	}
	fmt.Fprintf(e.stdout, "\n%-22s %10s %7s %9s\n", "part of a step", "ms", "share", "TFLOP/s")
	slices.SortStableFunc(r.Parts, func(a, b bench.Part) int { return int(1e9 * (b.Seconds - a.Seconds)) })
	for _, p := range r.Parts {
		fmt.Fprintf(e.stdout, "%-22s %10.2f %5.1f %%", p.Name, 1e3*p.Seconds, 100*p.Share)
		if p.TFLOPs > 0 {
			fmt.Fprintf(e.stdout, " %9.3f", p.TFLOPs)
		}
		fmt.Fprintln(e.stdout)
	}
	return nil
}

type benchGenerateCmd struct {
	Model   string `default:"char-10m" help:"Preset, such as nano, char-10m or gpt2-124m." placeholder:"PRESET"`
	Vocab   int    `help:"Size of the vocabulary. Default: the preset's, or 4096." placeholder:"N"`
	Texts   int    `default:"100" help:"Texts written at once."`
	Tokens  int    `default:"128" help:"Tokens of each."`
	Prompt  int    `default:"16" help:"Tokens of each prompt."`
	Rounds  int    `default:"3" help:"Rounds to time, after one to warm up."`
	Mode    string `enum:"auto,fp32,bf16" default:"auto" help:"Numeric mode."`
	Workers int    `help:"Threads. Default: one for each processor." placeholder:"N"`
	JSON    bool   `name:"json" help:"Print one JSON object."`
}

func (c *benchGenerateCmd) Run(e *env) error {
	r, err := bench.Generate(e.ctx, bench.GenerateOptions{Preset: c.Model, Vocab: c.Vocab, Texts: c.Texts,
		Tokens: c.Tokens, Prompt: c.Prompt, Rounds: c.Rounds, Mode: c.Mode, Workers: c.Workers})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stdout, "%s, tier %s, %s, %s\n%s (%d parameters): %s of %s after prompts of %d in %.3f s (best %.3f): "+
		"%.0f tokens/s, %.1f MB\n", r.CPU, r.Tier, r.Mode, runs.Plural(r.Workers, "worker"), r.Model, r.Params,
		runs.Plural(r.Texts, "text"), runs.Plural(r.Tokens, "token"), r.Prompt, r.Seconds, r.Best, r.TokensPerSecond,
		float64(r.PeakMemory)/1e6)
	return nil
}

type benchTokenizerCmd struct {
	Data    []string `help:"File or folder of text; repeatable. Default: the Go sources." placeholder:"PATH" sep:"none"`
	Vocab   int      `default:"4096" help:"Tokens to train."`
	Seconds float64  `default:"1" help:"Seconds for each figure of encoding."`
	Workers int      `help:"Threads. Default: one for each processor." placeholder:"N"`
	JSON    bool     `name:"json" help:"Print one JSON object."`
}

func (c *benchTokenizerCmd) Run(e *env) error {
	r, err := bench.Tokenizer(e.ctx,
		bench.TokenizerOptions{Paths: c.Data, Vocab: c.Vocab, Seconds: c.Seconds, Workers: c.Workers})
	if errors.Is(err, bench.ErrText) {
		return fmt.Errorf("%w: %w", data.ErrUnusable, err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	w := e.stdout
	fmt.Fprintf(w, "%s\n%.1f MB of text, %d tokens, %.2f bytes a token\n",
		r.CPU, float64(r.Bytes)/1e6, r.Vocab, r.BytesPerToken)
	fmt.Fprintf(w, "%-10s %12s %12s\n", "", "1 worker", runs.Plural(r.Workers, "worker"))
	fmt.Fprintf(w, "%-10s %10.2f s %10.2f s\n", "train", r.TrainSecondsOne, r.TrainSeconds)
	fmt.Fprintf(w, "%-10s %7.1f MB/s %7.1f MB/s\n", "encode", r.EncodeMBsOne, r.EncodeMBs)
	fmt.Fprintf(w, "%-10s %7.1f MB/s\n", "decode", r.DecodeMBsOne)
	return nil
}
