package config

import (
	"fmt"
	"slices"
	"strings"
)

// preset is a named set of values.
type preset struct {
	name, doc string
	values    []setting
}

type setting struct {
	key   string
	value any
}

// presets has the sizes from the smallest to the largest, then the benchmarks. The first four count the parameters
// without the embedding, and have heads of size 64.
var presets = []preset{
	{"nano", "about 1M parameters", []setting{{"model.layers", 4}, {"model.width", 128}}},
	{"micro", "about 5M parameters", []setting{{"model.layers", 6}, {"model.width", 256}}},
	{"mini", "about 10M parameters", []setting{{"model.layers", 6}, {"model.width", 384}}},
	{"small", "about 30M parameters", []setting{{"model.layers", 10}, {"model.width", 512}}},
	{"gpt2-124m", "the smallest GPT-2", []setting{
		{"model.shape", "gpt2"}, {"model.layers", 12}, {"model.width", 768}, {"model.heads", 12},
		{"train.context", 1024}, {"tokenizer.vocab_size", 50257},
	}},
	{"gpt2-350m", "GPT-2 medium", []setting{
		{"model.shape", "gpt2"}, {"model.layers", 24}, {"model.width", 1024}, {"model.heads", 16},
		{"train.context", 1024}, {"tokenizer.vocab_size", 50257},
	}},
	// karpathy/nanoGPT config/train_shakespeare_char.py, without its dropout: a benchmark of speed.
	{"char-10m", "nanoGPT's 10.7M benchmark, 64 x 256 characters a step", []setting{
		{"model.shape", "gpt2"}, {"model.layers", 6}, {"model.width", 384}, {"model.heads", 6},
		{"tokenizer.kind", "chars"}, {"data.val_fraction", 0.1}, {"data.val_from", "end"},
		{"train.context", 256}, {"train.batch_tokens", 64 * 256},
		{"optim.kind", "adamw"}, {"optim.lr", 1e-3}, {"optim.beta2", 0.99},
		{"schedule.kind", "cosine"}, {"schedule.warmup", 100},
	}},
	// karpathy/nanoGPT README, "I only have a macbook": the CPU run of config/train_shakespeare_char.py.
	{"nanogpt-cpu", "nanoGPT's run on a CPU, 12 x 64 characters a step", []setting{
		{"model.shape", "gpt2"}, {"model.layers", 4}, {"model.width", 128}, {"model.heads", 4},
		{"tokenizer.kind", "chars"}, {"data.val_fraction", 0.1}, {"data.val_from", "end"},
		{"train.context", 64}, {"train.batch_tokens", 12 * 64}, {"train.steps", 2000},
		{"optim.kind", "adamw"}, {"optim.lr", 1e-3}, {"optim.beta2", 0.99}, {"schedule.kind", "cosine"},
		{"schedule.warmup", 100}, {"schedule.warmup_exact", true}, {"schedule.floor", 0.1},
	}},
}

func presetNames() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// UsePreset sets model.preset and records origin for it. Every key that nothing else has set gets the preset's value,
// or its default. A key that a file, a flag or the planner has set does not change.
func (c *Config) UsePreset(name, origin string) error {
	return c.usePreset(name, origin, func(key string) bool {
		return c.origins[key] == "default" || strings.HasPrefix(c.origins[key], "preset ")
	})
}

// usePreset gives the free keys their values under the preset.
func (c *Config) usePreset(name, origin string, free func(key string) bool) error {
	i := slices.IndexFunc(presets, func(p preset) bool { return p.name == name })
	if i < 0 {
		return &Error{[]Fault{{origin, "model.preset", lookup("model.preset").text(name)}}}
	}
	defaults := Default()
	for _, k := range keys {
		if free(k.name) {
			k.copy(c, defaults)
			c.origins[k.name] = "default"
		}
	}
	for _, s := range presets[i].values {
		if !free(s.key) {
			continue
		}
		if err := c.SetPlanned(s.key, s.value, "preset "+name); err != nil {
			panic(fmt.Sprintf("config: preset %s: %v", name, err))
		}
	}
	c.Model.Preset = name
	c.origins["model.preset"] = origin
	return nil
}
