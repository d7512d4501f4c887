package config

import (
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
)

// Check returns an *Error with every fault of the values taken together, or nil. Load calls it; call it again after
// SetPlanned.
func (c *Config) Check() error {
	if faults := c.cross(nil, nil); len(faults) > 0 {
		return &Error{faults}
	}
	return nil
}

// cross checks values against each other. It reports nothing about keys in skip, which already have a fault; where says
// where each key was set. Automatic values are checked once they are decided.
func (c *Config) cross(skip map[string]bool, where map[string]string) []Fault {
	var faults []Fault
	// check records a fault of the first key unless ok, or unless one of the keys already has one.
	check := func(ok bool, on string, format string, args ...any) {
		keys, at := strings.Fields(on), ""
		for _, k := range keys {
			ok = ok || skip[k]
			if at == "" {
				at = where[k] // of the key itself, or of the first that it conflicts with
			}
		}
		if !ok {
			faults = append(faults, Fault{at, keys[0], fmt.Sprintf(format, args...)})
		}
	}

	d := c.Data
	check(len(d.Weights) == 0 || len(d.Weights) == len(d.Paths), "data.weights data.paths",
		"%d weights for %d paths; give one for each of data.paths, in their order", len(d.Weights), len(d.Paths))

	if m := c.Checkpoint.Mirror; m != "" {
		bucket, prefix, _ := strings.Cut(strings.TrimPrefix(m, "s3://"), "/")
		check(strings.HasPrefix(m, "s3://") && bucket != "" && fs.ValidPath(strings.Trim(prefix, "/")) &&
			!strings.ContainsAny(bucket+prefix, "@:?# "), "checkpoint.mirror",
			"%q is not s3://BUCKET/PREFIX; endpoint and credentials come from the environment (AWS_ENDPOINT_URL, "+
				"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)", m)
	}

	kind, ids := c.Tokenizer.Kind, c.Tokenizer.VocabSize
	check(kind != "bpe" || ids == 0 || ids >= 257, "tokenizer.vocab_size tokenizer.kind",
		"%d ids are too few for a bpe: 256 bytes and an end of text need 257", ids)

	check(!c.Adapter.DoRA || c.Adapter.Dropout == 0, "adapter.dropout adapter.dora",
		"dropout and DoRA are not computed together: leave one out")

	t := c.Train
	check(t.BatchTokens >= t.Context, "train.batch_tokens train.context",
		"%d is less than one sequence of train.context %d; raise it or lower the context", t.BatchTokens, t.Context)
	check(t.MicroTokens == 0 || t.MicroTokens >= t.Context, "train.micro_tokens train.context",
		"%d is less than one sequence of train.context %d", t.MicroTokens, t.Context)
	check(t.MicroTokens <= t.BatchTokens, "train.micro_tokens train.batch_tokens",
		"%d is more than train.batch_tokens %d", t.MicroTokens, t.BatchTokens)

	dpo := t.Objective == "dpo"
	check(!dpo || c.Model.Dropout == 0, "model.dropout train.objective",
		"preferences are compared with a reference without dropout: leave it out")
	check(!dpo || c.Optim.LR.Name != "probe", "optim.lr train.objective",
		"a range test measures no preferences; give a number")
	check(!dpo || d.Separator == "", "data.separator train.objective", "preferences are records, which it does not cut")

	s := c.Schedule
	if s.WarmupExact && t.Steps != 0 {
		steps := int64(s.Warmup.Value)
		if s.Warmup.Name != "" {
			steps = max(500, t.Steps/10)
		}
		check(steps < t.Steps, "schedule.warmup schedule.warmup_exact train.steps",
			"an exact warmup of %d steps must be shorter than the run of %d; lower it or unset schedule.warmup_exact",
			steps, t.Steps)
	}
	whole := func(n float64) bool { return n == math.Trunc(n) }
	check(len(s.Extended)%2 == 0 && !slices.ContainsFunc(s.Extended, func(n float64) bool { return !whole(n) }),
		"schedule.extended", "wants pairs of whole numbers: a step, and the number of steps before")
	check(s.Period == 0 || s.Kind == "cosine-restarts", "schedule.period schedule.kind",
		"only cosine-restarts has a period, and schedule.kind is %s", s.Kind)

	if c.Model.Width == 0 {
		return faults
	}
	a := c.resolve(0)
	check(c.Model.HeadSize != 0 || a.Width%a.Heads == 0, "model.heads model.width",
		"%d heads do not divide model.width %d; change one of them or set model.head_size", a.Heads, a.Width)
	check(!slices.Contains([]string{"llama", "gemma", "gemma2", "gemma3_text"}, a.Shape) || a.Width%a.Heads == 0,
		"model.heads model.width model.shape", "in the %s shape the width must be a multiple of the heads, and %d is "+
			"not a multiple of %d", a.Shape, a.Width, a.Heads)
	check(a.HeadSize%2 == 0 && a.HeadSize > 0, "model.head_size model.heads model.width",
		"a head of %d channels is not even; set model.heads or model.head_size", a.HeadSize)
	check(a.Heads%a.KVHeads == 0, "model.kv_heads model.heads model.width",
		"%d does not divide the %d heads", a.KVHeads, a.Heads)
	check(!families[a.Shape].ownKV || a.KVHeads == a.Heads, "model.kv_heads model.shape model.heads",
		"in the %s shape this must equal model.heads, %d; use another model.shape for fewer", a.Shape, a.Heads)
	check(strings.Contains("qwen3 llama mistral smollm3 gemma2 gemma3_text", a.Shape) || a.Heads*a.HeadSize == a.Width,
		"model.head_size model.shape model.heads model.width",
		"in the %s shape heads times head size must be the width, and %d x %d is not %d",
		a.Shape, a.Heads, a.HeadSize, a.Width)
	return faults
}
