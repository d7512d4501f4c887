package config

import (
	"fmt"
	"strings"
)

// Check returns every fault of the values taken together, as an *Error, or nil. Load has done it; call it again
// after SetPlanned.
func (c *Config) Check() error {
	if faults := c.cross(nil, nil); len(faults) > 0 {
		return &Error{faults}
	}
	return nil
}

// cross checks what one key alone cannot show; keys in skip have a fault already, and where has the places of those
// that somebody wrote. Undecided values are not checked: they will be when they are decided.
func (c *Config) cross(skip map[string]bool, where map[string]string) []Fault {
	var faults []Fault
	// check records a fault of the first key unless ok, or unless one of the keys is faulty anyway.
	check := func(ok bool, on string, format string, args ...any) {
		keys, at := strings.Fields(on), ""
		for _, k := range keys {
			ok = ok || skip[k]
			if at == "" {
				at = where[k] // the key itself, or else the first that it does not agree with
			}
		}
		if !ok {
			faults = append(faults, Fault{at, keys[0], fmt.Sprintf(format, args...)})
		}
	}

	d := c.Data
	check(len(d.Weights) == 0 || len(d.Weights) == len(d.Paths), "data.weights data.paths",
		"%d weights for %d paths; give one for each of data.paths, in their order", len(d.Weights), len(d.Paths))

	kind, ids := c.Tokenizer.Kind, c.Tokenizer.VocabSize
	check(kind != "bpe" || ids == 0 || ids >= 257, "tokenizer.vocab_size tokenizer.kind",
		"%d ids are too few for a bpe: 256 bytes and an end need 257", ids)

	t := c.Train
	check(t.BatchTokens >= t.Context, "train.batch_tokens train.context",
		"%d is less than one sequence of train.context %d; raise it or lower the context", t.BatchTokens, t.Context)
	check(t.MicroTokens == 0 || t.MicroTokens >= t.Context, "train.micro_tokens train.context",
		"%d is less than one sequence of train.context %d", t.MicroTokens, t.Context)
	check(t.MicroTokens <= t.BatchTokens, "train.micro_tokens train.batch_tokens",
		"%d is more than train.batch_tokens %d", t.MicroTokens, t.BatchTokens)

	s := c.Schedule
	if s.WarmupExact && t.Steps != 0 {
		steps := int64(s.Warmup.Value)
		if s.Warmup.Name != "" {
			steps = max(500, t.Steps/10)
		}
		check(steps < t.Steps, "schedule.warmup schedule.warmup_exact train.steps",
			"%d steps of exact warmup leave nothing of %d steps; lower it or unset schedule.warmup_exact",
			steps, t.Steps)
	}
	check(s.Period == 0 || s.Kind == "cosine-restarts", "schedule.period schedule.kind",
		"only cosine-restarts has a period, and schedule.kind is %s", s.Kind)

	if c.Model.Width == 0 {
		return faults
	}
	a := c.resolve(0)
	check(c.Model.HeadSize != 0 || a.Width%a.Heads == 0, "model.heads model.width",
		"%d heads do not divide model.width %d; change one of them or set model.head_size", a.Heads, a.Width)
	check(a.Shape != "llama" || a.Width%a.Heads == 0, "model.heads model.width model.shape",
		"the llama shape has a width that is a multiple of its heads, and %d is none of %d", a.Width, a.Heads)
	check(a.HeadSize%2 == 0 && a.HeadSize > 0, "model.head_size model.heads model.width",
		"a head of %d channels is not even; set model.heads or model.head_size", a.HeadSize)
	check(a.Heads%a.KVHeads == 0, "model.kv_heads model.heads model.width",
		"%d do not divide the %d heads", a.KVHeads, a.Heads)
	check(a.Shape != "gpt2" || a.KVHeads == a.Heads, "model.kv_heads model.shape model.heads",
		"the gpt2 shape has as many as heads, %d; take another model.shape for fewer", a.Heads)
	check(a.Shape == "qwen3" || a.Shape == "llama" || a.Heads*a.HeadSize == a.Width,
		"model.head_size model.shape model.heads model.width",
		"the %s shape has heads times head_size equal to the width, and %d x %d is not %d",
		a.Shape, a.Heads, a.HeadSize, a.Width)
	return faults
}
