package config

import "strings"

// key is one row of the table that reading, checking, writing and the documentation share.
type key struct {
	name    string
	at      func(*Config) any // pointer to the field
	auto    bool              // zero means "decide later" and is written "auto"
	lo, hi  float64           // limits of numbers, inclusive
	above   bool              // lo itself is refused
	below   bool              // hi itself is refused
	choices []string          // names a string may have
	doc     string
}

// removed are the keys of older versions. A file that has one is read: the key is ignored, and a note says so.
var removed = []removedKey{
	{"judge.average", "false", "judge.encoder", "averaging the last checkpoints gained 0.003 nats at most"},
}

// removedKey is a key of older versions.
type removedKey struct {
	name, was string // what most runs had
	before    string // the key that it stood in front of: the hash of a run from then stays what it was
	why       string
}

const maxVocab = 1 << 20

var keys = []key{
	{name: "data.paths", at: func(c *Config) any { return &c.Data.Paths },
		doc: "files and folders to read; default: the source tree of the installed Go"},
	{name: "data.weights", at: func(c *Config) any { return &c.Data.Weights }, lo: 0, above: true, hi: 1e9,
		doc: "share of the training tokens of each path, in the order of the paths; default: by size"},
	{name: "data.val_fraction", at: func(c *Config) any { return &c.Data.ValFraction }, lo: 0, above: true, hi: 0.5,
		doc: "share of the corpus held out for validation"},
	{name: "data.separator", at: func(c *Config) any { return &c.Data.Separator },
		doc: "text that splits a file into documents; empty: one file, one document"},
	{name: "data.start", at: func(c *Config) any { return &c.Data.Start }, choices: []string{"eos", "bos", "none"},
		doc: "token before every document; it is input only"},
	{name: "data.bad_documents", at: func(c *Config) any { return &c.Data.BadDocuments },
		choices: []string{"stop", "skip"}, doc: "stop at a document that cannot be read, or skip it"},
	{name: "data.bad_share", at: func(c *Config) any { return &c.Data.BadShare }, lo: 0, hi: 1,
		doc: "largest share of documents that may be skipped"},

	{name: "tokenizer.kind", at: func(c *Config) any { return &c.Tokenizer.Kind },
		choices: []string{"bpe", "bytes", "chars"}, doc: "how text becomes tokens"},
	{name: "tokenizer.vocab_size", at: func(c *Config) any { return &c.Tokenizer.VocabSize }, auto: true,
		lo: 2, hi: maxVocab, doc: "tokens of a bpe, at least 257; auto: by size of the corpus"},
	{name: "tokenizer.path", at: func(c *Config) any { return &c.Tokenizer.Path },
		doc: "a tokenizer.json to use instead of training one"},

	{name: "model.preset", at: func(c *Config) any { return &c.Model.Preset }, auto: true, choices: presetNames(),
		doc: "a named set of values, see below; auto: the largest that the plan can train"},
	{name: "model.shape", at: func(c *Config) any { return &c.Model.Shape },
		choices: []string{"qwen3", "llama", "qwen2", "gpt2"}, doc: "family of the decoder"},
	{name: "model.layers", at: func(c *Config) any { return &c.Model.Layers }, auto: true, lo: 1, hi: 1024,
		doc: "blocks; auto: from the preset"},
	{name: "model.width", at: func(c *Config) any { return &c.Model.Width }, auto: true, lo: 2, hi: 1 << 16,
		doc: "channels of the residual stream; auto: from the preset"},
	{name: "model.heads", at: func(c *Config) any { return &c.Model.Heads }, auto: true, lo: 1, hi: 1 << 12,
		doc: "query heads; auto: max(1, width/64), or width/head_size"},
	{name: "model.kv_heads", at: func(c *Config) any { return &c.Model.KVHeads }, auto: true, lo: 1, hi: 1 << 12,
		doc: "key and value heads; auto: half of heads where that divides, else 1; gpt2: heads"},
	{name: "model.head_size", at: func(c *Config) any { return &c.Model.HeadSize }, auto: true, lo: 2, hi: 1 << 12,
		doc: "channels of a head, even; auto: width/heads"},
	{name: "model.mlp", at: func(c *Config) any { return &c.Model.MLP }, auto: true, lo: 1, hi: 1 << 20,
		doc: "channels of the MLP; auto: 8/3 of the width rounded up to 64; gpt2: 4 times the width"},
	{name: "model.tie", at: func(c *Config) any { return &c.Model.Tie }, doc: "use the embedding as the head"},
	{name: "model.dropout", at: func(c *Config) any { return &c.Model.Dropout }, lo: 0, hi: 1, below: true,
		doc: "share dropped of embedding output and residual branches"},

	{name: "train.steps", at: func(c *Config) any { return &c.Train.Steps }, auto: true, lo: 1, hi: 1e12,
		doc: "updates; auto: planned from time and data"},
	{name: "train.context", at: func(c *Config) any { return &c.Train.Context }, lo: 1, hi: 1 << 20,
		doc: "tokens of the longest sequence"},
	{name: "train.batch_tokens", at: func(c *Config) any { return &c.Train.BatchTokens }, lo: 1, hi: 1 << 28,
		doc: "most tokens of one update"},
	{name: "train.micro_tokens", at: func(c *Config) any { return &c.Train.MicroTokens }, auto: true,
		lo: 1, hi: 1 << 28, doc: "most tokens of one forward and backward pass; auto: by memory"},
	{name: "train.seed", at: func(c *Config) any { return &c.Train.Seed }, lo: 0, hi: 1e18,
		doc: "seed of all random numbers"},

	{name: "optim.lr", at: func(c *Config) any { return &c.Optim.LR }, lo: 1e-12, hi: 10,
		choices: []string{"article", "article-literal", "auto", "probe"},
		doc: "peak learning rate, a number or a rule; auto: by model size and batch; probe: by a range test " +
			"before the run; article, article-literal: by the width"},
	{name: "optim.beta1", at: func(c *Config) any { return &c.Optim.Beta1 }, lo: 0, hi: 1, below: true,
		doc: "decay of the first moment"},
	{name: "optim.beta2", at: func(c *Config) any { return &c.Optim.Beta2 }, auto: true,
		lo: 0, above: true, hi: 1, below: true,
		doc: "decay of the second moment; auto: 0.99 below 500,000 tokens a step, else 0.95"},
	{name: "optim.eps", at: func(c *Config) any { return &c.Optim.Eps }, lo: 0, above: true, hi: 1,
		doc: "added to the root of the second moment"},
	{name: "optim.weight_decay", at: func(c *Config) any { return &c.Optim.WeightDecay }, lo: 0, hi: 10,
		doc: "decoupled weight decay of matrices"},
	{name: "optim.clip", at: func(c *Config) any { return &c.Optim.Clip }, lo: 0, above: true, hi: 1e9,
		doc: "largest global gradient norm"},
	{name: "optim.agc", at: func(c *Config) any { return &c.Optim.AGC },
		doc: "layered clipping: after 100 steps, limit each tensor to 1.05 times its usual gradient norm"},

	{name: "schedule.kind", at: func(c *Config) any { return &c.Schedule.Kind },
		choices: []string{"cosine-restarts", "cosine", "linear", "wsd", "constant"},
		doc:     "course of the learning rate after the warmup"},
	{name: "schedule.warmup", at: func(c *Config) any { return &c.Schedule.Warmup }, lo: 0, hi: 1e12,
		choices: []string{"article"},
		doc:     "steps of linear warmup, at most a quarter of the run; article: max(500, 10 % of the steps)"},
	{name: "schedule.warmup_exact", at: func(c *Config) any { return &c.Schedule.WarmupExact },
		doc: "do not limit the warmup to a quarter of the run"},
	{name: "schedule.period", at: func(c *Config) any { return &c.Schedule.Period }, auto: true, lo: 10, hi: 1e12,
		doc: "steps of one cycle of cosine-restarts; auto: min(steps, 10000)"},
	{name: "schedule.floor", at: func(c *Config) any { return &c.Schedule.Floor }, lo: 1e-6, hi: 1,
		doc: "learning rate at the end, as a share of the peak"},
	{name: "schedule.late_restart", at: func(c *Config) any { return &c.Schedule.LateRestart },
		doc: "allow a restart in the last 500 steps, or the last fifth of a short run"},

	{name: "numeric.mode", at: func(c *Config) any { return &c.Numeric.Mode },
		choices: []string{"auto", "fp32", "bf16"}, doc: "precision of the operands of multiplies"},
	{name: "numeric.checkpointing", at: func(c *Config) any { return &c.Numeric.Checkpointing },
		choices: []string{"auto", "none", "attention", "block"},
		doc:     "what the backward pass computes again to save memory"},

	{name: "checkpoint.every", at: func(c *Config) any { return &c.Checkpoint.Every }, auto: true, lo: 1, hi: 1e12,
		doc: "steps between checkpoints; auto: at each evaluation"},
	{name: "checkpoint.keep", at: func(c *Config) any { return &c.Checkpoint.Keep }, lo: 1, hi: 1e6,
		doc: "newest checkpoints to keep, beside the named ones"},

	{name: "eval.every", at: func(c *Config) any { return &c.Eval.Every }, auto: true, lo: 1, hi: 1e12,
		doc: "steps between evaluations; auto: ten a run, and at ends of epochs"},
	{name: "eval.prompts", at: func(c *Config) any { return &c.Eval.Prompts }, lo: 1, hi: 1e4,
		doc: "held-out prompts of an evaluation"},
	{name: "eval.samples", at: func(c *Config) any { return &c.Eval.Samples }, lo: 1, hi: 1e3,
		doc: "texts written for each prompt"},
	{name: "eval.max_tokens", at: func(c *Config) any { return &c.Eval.MaxTokens }, lo: 1, hi: 1 << 20,
		doc: "longest text written, in tokens"},

	{name: "guard.mode", at: func(c *Config) any { return &c.Guard.Mode }, choices: []string{"act", "observe"},
		doc: "act, or only record what the guard would do"},
	{name: "guard.halve", at: func(c *Config) any { return &c.Guard.Halve }, choices: []string{"probation", "article"},
		doc: "probation: a halved learning rate grows back; article: it does not"},

	{name: "judge.early_stop", at: func(c *Config) any { return &c.Judge.EarlyStop },
		choices: []string{"sound", "article", "off"}, doc: "rule that stops a run whose writing gets worse"},
	{name: "judge.select", at: func(c *Config) any { return &c.Judge.Select },
		choices: []string{"sound", "article", "loss"}, doc: "rule that chooses the checkpoint to keep"},
	{name: "judge.patience", at: func(c *Config) any { return &c.Judge.Patience }, lo: 0, hi: 1e6,
		doc: "stop after so many evaluations without a lower validation loss; 0: never"},
	{name: "judge.encoder", at: func(c *Config) any { return &c.Judge.Encoder },
		doc: "folder of a static embedding that compares texts (model.safetensors, tokenizer.json); empty: " +
			"hash-sif, which needs no file"},
}

var byName = func() map[string]*key {
	m := make(map[string]*key, len(keys))
	for i := range keys {
		m[keys[i].name] = &keys[i]
	}
	return m
}()

// sections in the order of the table.
var sections = func() []string {
	var s []string
	for _, k := range keys {
		if name, _, _ := strings.Cut(k.name, "."); len(s) == 0 || s[len(s)-1] != name {
			s = append(s, name)
		}
	}
	return s
}()

func lookup(name string) *key { return byName[name] }

// Keys returns the names of all keys, in the order of the documentation.
func Keys() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// unknown returns the text of a fault about a name that is no key, with the nearest one that is.
func unknown(name string) string {
	if near := nearest(name); near != "" {
		return "unknown key; did you mean " + near + "?"
	}
	section, _, _ := strings.Cut(name, ".")
	var all []string
	for _, k := range keys {
		if s, short, _ := strings.Cut(k.name, "."); s == section {
			all = append(all, short)
		}
	}
	if all == nil {
		return "unknown key; the sections are " + strings.Join(sections, ", ")
	}
	return "unknown key; [" + section + "] has " + strings.Join(all, ", ")
}

// nearest returns the key whose name is closest to name, or "" when none is close: by edit distance of the whole
// name, or of its last part at the price of one more edit (the right key under a wrong section).
func nearest(name string) string {
	best, at := 1+max(2, len(name)/4), ""
	last := name[strings.LastIndexByte(name, '.')+1:]
	for _, k := range keys {
		_, short, _ := strings.Cut(k.name, ".")
		d := min(distance(name, k.name), 1+distance(last, short))
		if d < best {
			best, at = d, k.name
		}
	}
	return at
}

// distance is the optimal string alignment distance: insertions, deletions, substitutions, and swaps of neighbours.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a) // no key is that long; keeps a hostile name cheap
	}
	var before, prev, row []int
	for j := range len(b) + 1 {
		prev = append(prev, j)
	}
	for i := range len(a) {
		row = append(make([]int, 0, len(b)+1), i+1)
		for j := range len(b) {
			d := prev[j]
			if a[i] != b[j] {
				d++
			}
			d = min(d, prev[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, before[j-1]+1)
			}
			row = append(row, d)
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
