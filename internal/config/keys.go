package config

import (
	"reflect"
	"slices"
	"strings"
)

// key is one row of the table from which keys are read, checked, written and documented.
type key struct {
	name    string
	auto    bool     // zero means "decide later" and is written "auto"
	lo, hi  float64  // limits of numbers, inclusive
	above   bool     // lo itself is refused
	below   bool     // hi itself is refused
	choices []string // names a string may have
	newer   bool     // than the first runs
	older   string   // of a newer key: what the runs from before it did, if it is not the default; Reread adds it
	path    bool     // of a file or folder: bytes that are not UTF-8 are written as in a URL, file:x%FF
	doc     string
	field   []int // index of the field in Config, found by the name
}

// removedKey is a key of older versions. In a file it is ignored with a note.
type removedKey struct {
	name, was string // was: the value that most runs had
	before    string // the key that it stood in front of, so that old runs keep their hash
	why       string
}

var removed = []removedKey{
	{"judge.average", "false", "judge.encoder", "averaging the last checkpoints gained 0.003 nats at most"},
}

const maxVocab = 1 << 20

var keys = []key{
	{name: "data.paths", path: true, doc: "files and folders to read; default: the source tree of the installed Go"},
	{name: "data.weights", lo: 0, above: true, hi: 1e9,
		doc: "share of the training tokens of each path, in the order of the paths; default: by size"},
	{name: "data.splits", choices: []string{"names", "ignore"}, newer: true, older: "ignore",
		doc: "names: files and folders named train, valid and test beside each other are what they say; ignore: " +
			"names mean nothing"},
	{name: "data.val_fraction", lo: 0, above: true, hi: 0.5, doc: "share of the corpus held out for validation"},
	{name: "data.fields", newer: true,
		doc: "keys or columns to read: text=KEY, messages=KEY, or prompt=KEY,completion=KEY, with input=KEY and " +
			"system=KEY; default: the known ones"},
	{name: "data.val_from", choices: []string{"before_end", "end"}, newer: true, older: "end",
		doc: "where a single text is cut for validation; before_end: its end is trained; end: it is held out"},
	{name: "data.separator", doc: "text that splits a file into documents; empty: one file, one document"},
	{name: "data.encoding", newer: true,
		doc: "encoding of files without a byte order mark, such as gbk; empty: UTF-8; raw: UTF-8, whatever the bytes " +
			"are"},
	{name: "data.template", choices: []string{"model", "builtin"}, newer: true, older: "builtin",
		doc: "what writes conversations; model: its chat template, if it has one; builtin: marks of ChatML or Llama 3"},
	{name: "data.start", choices: []string{"eos", "bos", "none"}, doc: "token before every document; it is input only"},
	{name: "data.bad_documents", choices: []string{"stop", "skip"},
		doc: "stop at a document that cannot be read, or skip it"},
	{name: "data.bad_share", lo: 0, hi: 1, doc: "largest share of documents that may be skipped"},

	{name: "tokenizer.kind", choices: []string{"bpe", "bytes", "chars"}, doc: "how text becomes tokens"},
	{name: "tokenizer.vocab_size", auto: true, lo: 2, hi: maxVocab,
		doc: "tokens of a bpe, at least 257; auto: by size of the corpus"},
	{name: "tokenizer.path", path: true, doc: "a tokenizer.json to use instead of training one"},

	{name: "model.preset", auto: true, choices: presetNames(),
		doc: "a named set of values, see below; auto: the largest that the plan can train"},
	{name: "model.shape", choices: Shapes(),
		doc: "family of the decoder"},
	{name: "model.layers", auto: true, lo: 1, hi: 1024, doc: "blocks; auto: from the preset"},
	{name: "model.width", auto: true, lo: 2, hi: 1 << 16, doc: "channels of the residual stream; auto: from the " +
		"preset"},
	{name: "model.heads", auto: true, lo: 1, hi: 1 << 12,
		doc: "query heads; auto: max(1, width/64), or width/head_size"},
	{name: "model.kv_heads", auto: true, lo: 1, hi: 1 << 12,
		doc: "key and value heads; auto: half of heads where that divides, else 1; gpt*, opt: heads"},
	{name: "model.head_size", auto: true, lo: 2, hi: 1 << 12, doc: "channels of a head, even; auto: width/heads"},
	{name: "model.mlp", auto: true, lo: 1, hi: 1 << 20,
		doc: "channels of the MLP; auto: 8/3 of the width rounded up to 64; ungated: 4 times the width"},
	{name: "model.tie", doc: "use the embedding as the head"},
	{name: "model.dropout", lo: 0, hi: 1, below: true, doc: "share dropped of embedding output and residual branches"},

	{name: "train.steps", auto: true, lo: 1, hi: 1e12, doc: "updates; auto: planned from time and data"},
	{name: "train.budget", newer: true, lo: 0, above: true, hi: 1e6,
		doc: "minutes for a run, where train.steps is auto"},
	{name: "train.context", lo: 1, hi: 1 << 20, doc: "tokens of the longest sequence"},
	{name: "train.batch_tokens", lo: 1, hi: 1 << 28, doc: "most tokens of one update"},
	{name: "train.micro_tokens", auto: true, lo: 1, hi: 1 << 28,
		doc: "most tokens of one forward and backward pass; auto: by memory"},
	{name: "train.adapter", newer: true, choices: []string{"none", "lora"},
		doc: "with --from; none: train all weights; lora: train a PEFT adapter of low rank beside them"},
	{name: "train.objective", newer: true, choices: []string{"lm", "dpo"},
		doc: "lm: learn the next token; dpo: with --from, learn which of two answers is preferred"},
	{name: "train.seed", lo: 0, hi: 1e18, doc: "seed of all random numbers"},

	{name: "adapter.rank", newer: true, lo: 1, hi: 1024, doc: "rank of the changes"},
	{name: "adapter.alpha", newer: true, lo: 0, above: true, hi: 1e6, doc: "they are multiplied by alpha/rank"},
	{name: "adapter.targets", newer: true,
		doc: "matrices of the blocks to change, by name, such as q_proj or c_attn; all: every one"},
	{name: "adapter.rslora", newer: true, doc: "multiply by alpha/√rank, for high ranks"},
	{name: "adapter.dropout", newer: true, lo: 0, hi: 0.9, doc: "share of their inputs dropped in training"},
	{name: "adapter.dora", newer: true, doc: "train the lengths of rows, too (DoRA); slower"},
	{name: "adapter.base", newer: true, choices: []string{"auto", "fp32", "bf16", "int8"},
		doc: "precision of the weights beside them: bf16 takes a quarter of the memory, int8 an eighth, for some " +
			"thousandths of a nat; auto: as in their file, never int8"},

	{name: "dpo.beta", newer: true, lo: 0, above: true, hi: 100,
		doc: "how closely the model stays with its start"},
	{name: "dpo.label_smoothing", newer: true, lo: 0, hi: 0.5, below: true,
		doc: "share of pairs assumed to be reversed"},

	{name: "optim.kind", choices: []string{"auto", "muon", "adamw"}, newer: true, older: "adamw",
		doc: "muon: matrices of the blocks by Muon, all else by AdamW; auto: muon for new models with large enough " +
			"batches"},
	{name: "optim.lr", lo: 1e-12, hi: 10, choices: []string{"article", "article-literal", "auto", "finetune", "probe"},
		doc: "peak learning rate, a number or a rule; auto: by model size and batch; finetune: by the width, for " +
			"trained weights; probe: by a range test before the run; article, article-literal: by the width"},
	{name: "optim.momentum", newer: true, lo: 0, hi: 1, below: true,
		doc: "Muon: decay of the moment; short runs are planned with 0.9"},
	{name: "optim.beta1", lo: 0, hi: 1, below: true, doc: "AdamW: decay of the first moment"},
	{name: "optim.beta2", auto: true, lo: 0, above: true, hi: 1, below: true,
		doc: "AdamW: decay of the second moment; auto: 0.99 below 500,000 tokens a step, else 0.95"},
	{name: "optim.eps", lo: 0, above: true, hi: 1, doc: "added to the root of the second moment"},
	{name: "optim.weight_decay", lo: 0, hi: 10, doc: "decoupled weight decay of matrices"},
	{name: "optim.clip", lo: 0, above: true, hi: 1e9, doc: "largest global gradient norm"},
	{name: "optim.agc",
		doc: "layered clipping: after 100 steps, clip each tensor at 1.05 times its usual gradient norm"},

	{name: "schedule.kind", choices: []string{"cosine-restarts", "cosine", "linear", "wsd", "constant"},
		doc: "course of the learning rate after the warmup"},
	{name: "schedule.warmup", lo: 0, hi: 1e12, choices: []string{"auto", "article", "finetune"},
		doc: "steps of linear warmup, at most a quarter of the run; auto: 10 % of the steps, more where the peak is " +
			"high; article: 10 %, at least 500; finetune: 3 %, at least 10"},
	{name: "schedule.warmup_exact", doc: "do not limit the warmup to a quarter of the run"},
	{name: "schedule.period", auto: true, lo: 10, hi: 1e12,
		doc: "steps of one cycle of cosine-restarts; auto: min(steps, 10000)"},
	{name: "schedule.floor", lo: 1e-6, hi: 1, doc: "learning rate at the end, as a share of the peak"},
	{name: "schedule.extended", newer: true, lo: 1, hi: 1e12,
		doc: "written by \"resume --steps\": where it changed the number of steps, each with the number before"},
	{name: "schedule.late_restart", doc: "allow a restart in the last 500 steps, or the last fifth of a short run"},

	{name: "numeric.mode", choices: []string{"auto", "fp32", "bf16"}, doc: "precision of the operands of multiplies"},
	{name: "numeric.checkpointing", choices: []string{"auto", "none", "attention", "block"},
		doc: "what the backward pass computes again to save memory"},
	{name: "numeric.device", choices: []string{"auto", "cpu", "cuda", "rocm", "oneapi", "tpu"}, path: true, newer: true,
		older: "cpu",
		doc: "what computes, see devices.md; a path names a plugin; auto: an accelerator that passes its tests, else " +
			"the CPU"},
	{name: "numeric.devices", auto: true, lo: 1, hi: 64, newer: true, older: "1",
		doc: "devices that train together; auto: all"},
	{name: "numeric.shard", choices: []string{"moments", "parameters"}, newer: true,
		doc: "what is divided among devices; parameters: these, too, gathered block by block"},
	{name: "numeric.fast", newer: true,
		doc: "allow operations of a device whose bits differ from run to run"},

	{name: "checkpoint.every", auto: true, lo: 1, hi: 1e12, doc: "steps between checkpoints; auto: at each evaluation"},
	{name: "checkpoint.keep", lo: 1, hi: 1e6, doc: "newest checkpoints to keep, beside the named ones"},
	{name: "checkpoint.mirror", newer: true,
		doc: "s3://BUCKET/PREFIX for a second copy of the run, see format/checkpoint.md; empty: none"},

	{name: "eval.every", auto: true, lo: 1, hi: 1e12,
		doc: "steps between evaluations; auto: ten a run, and at ends of epochs"},
	{name: "eval.prompts", lo: 1, hi: 1e4, doc: "held-out prompts of an evaluation"},
	{name: "eval.samples", lo: 1, hi: 1e3, doc: "texts written for each prompt"},
	{name: "eval.max_tokens", lo: 1, hi: 1 << 20, doc: "longest text written, in tokens"},

	{name: "eval.keep", newer: true, path: true,
		doc: "files and folders of text that the weights know, to show what fine-tuning forgets; empty: what the " +
			"model writes before step 1"},

	{name: "eval.tasks", newer: true, path: true,
		doc: "files of questions for each evaluation, see judge.md"},
	{name: "eval.task_limit", newer: true, lo: 1, hi: 1e9, doc: "most questions of a task"},
	{name: "eval.task_shots", newer: true, lo: 0, hi: 100, doc: "examples before each question"},

	{name: "guard.mode", choices: []string{"act", "observe"}, doc: "act, or only record what the guard would do"},
	{name: "guard.halve", choices: []string{"probation", "article"},
		doc: "probation: a halved learning rate grows back; article: it does not"},

	{name: "judge.early_stop", choices: []string{"sound", "article", "off"},
		doc: "rule that stops a run whose writing gets worse"},
	{name: "judge.select", choices: []string{"sound", "article", "loss"},
		doc: "rule that chooses the checkpoint to keep"},
	{name: "judge.patience", lo: 0, hi: 1e6,
		doc: "stop after so many evaluations without a lower validation loss; 0: never"},
	{name: "judge.encoder", path: true,
		doc: "folder of a static embedding that compares texts (model.safetensors, tokenizer.json); empty: hash-sif"},
}

var byName = func() map[string]*key {
	m := make(map[string]*key, len(keys))
	for i := range keys {
		k := &keys[i]
		k.field = fieldOf(k.name)
		m[k.name] = k
	}
	return m
}()

// fieldOf finds the field of a key: that of model.kv_heads is Model.KVHeads.
func fieldOf(name string) (index []int) {
	in := reflect.TypeFor[Config]()
	for part := range strings.SplitSeq(strings.ReplaceAll(name, "_", ""), ".") {
		f, ok := in.FieldByNameFunc(func(field string) bool { return strings.EqualFold(field, part) })
		if !ok {
			panic("config: a key without a field")
		}
		index, in = append(index, f.Index...), f.Type
	}
	return index
}

// at returns a pointer to the key's field of c.
func (k *key) at(c *Config) any {
	return reflect.ValueOf(c).Elem().FieldByIndex(k.field).Addr().Interface()
}

// sections has the names of the sections in the order of the table.
var sections = func() (names []string) {
	for _, k := range keys {
		name, _, _ := strings.Cut(k.name, ".")
		names = append(names, name)
	}
	return slices.Compact(names)
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
