package main

import (
	"fmt"
	"slices"
	"strings"
)

// The task of most comparisons: the nano model (4 blocks of width 128, 0.8 million parameters) on characters.
const (
	steps   = 600
	faultAt = 250 // where faults of a step are planted: behind the warmup of 150, with room to recover in
)

// with appends settings to others.
func with(set []string, more ...string) []string { return append(slices.Clone(set), more...) }

func seedOf(seed int) string { return fmt.Sprintf("train.seed=%d", seed) }

// quiet keeps the evaluations and saves of a run from taking its time.
var quiet = []string{"eval.prompts=2", "eval.samples=1", "eval.max_tokens=8", "judge.early_stop=off"}

// task is the run that faults are planted in. Saves are near to one another, as a rewind goes back to one.
func task(seed int, more ...string) []string {
	return with(quiet, append([]string{"data.paths=$shakespeare", "tokenizer.kind=chars", "data.val_fraction=0.1",
		"model.preset=nano",
		"train.context=64", "train.batch_tokens=768", fmt.Sprintf("train.steps=%d", steps), "checkpoint.every=50",
		fmt.Sprintf("eval.every=%d", steps), seedOf(seed)}, more...)...)
}

// documents is the run on the exact grammar: short documents of unequal length, many to a batch.
func documents(seed int, more ...string) []string {
	return with(quiet, append([]string{"data.paths=$grammar", `data.separator="\n"`, "tokenizer.kind=chars",
		"data.val_fraction=0.1", "model.preset=nano",
		"train.context=64", "train.batch_tokens=1024", "train.micro_tokens=64", "train.steps=500", "eval.every=500",
		seedOf(seed)}, more...)...)
}

// version is an arm as it is run.
func (p *proof) version(a arm) arm {
	a.Set = with(a.Set, p.set...)
	if p.quick {
		return a.short()
	}
	return a
}

// short is an arm with a tenth of the steps, for -quick.
func (a arm) short() arm {
	least := map[string]int64{"train.steps": 90, "eval.every": 10, "checkpoint.every": 10,
		"schedule.period": 10} // the guard is armed at 70
	tenth := func(s string) string {
		key, value, _ := strings.Cut(s, "=")
		var n int64
		if _, err := fmt.Sscan(value, &n); err != nil || least[key] == 0 {
			return s
		}
		return fmt.Sprintf("%s=%d", key, max(least[key], n/10))
	}
	a.Set, a.Inject = slices.Clone(a.Set), slices.Clone(a.Inject)
	for i, s := range a.Set {
		a.Set[i] = tenth(s)
	}
	for i, s := range a.Inject {
		name, at, _ := strings.Cut(s, "@")
		var n int64
		if _, err := fmt.Sscanf(at, "%d", &n); err == nil && n > 1 {
			a.Inject[i] = fmt.Sprintf("%s@%d", name, max(75, n/10))
		}
	}
	a.At /= 10
	return a
}

// cleanRuns are runs without a fault, over shapes, sizes, texts and seeds, at the defaults of everything that decides
// about the learning rate.
type cleanRuns struct{}

func (cleanRuns) name() string { return "clean" }

func (cleanRuns) arms(int) (list []arm) {
	for i, c := range cleanCases {
		set := with([]string{"eval.prompts=5", "eval.samples=1", "eval.max_tokens=32", seedOf(i%5 + 1)}, c.set...)
		list = append(list, arm{Set: set, label: "clean: " + c.label})
	}
	return list
}

func shape(layers, width int, more ...string) []string {
	return with([]string{fmt.Sprintf("model.layers=%d", layers), fmt.Sprintf("model.width=%d", width)}, more...)
}

func on(text string, steps int, more ...string) []string {
	return with([]string{"data.paths=$" + text, fmt.Sprintf("train.steps=%d", steps)}, more...)
}

var (
	chars = []string{"tokenizer.kind=chars", "train.context=64", "train.batch_tokens=512"}
	bpe   = []string{"tokenizer.vocab_size=1024", "train.context=128", "train.batch_tokens=768"}
	raw   = []string{"tokenizer.kind=bytes", "train.context=128", "train.batch_tokens=768"}
)

var cleanCases = []struct {
	label string
	set   []string
}{
	{"qwen3 4x128, Shakespeare, characters", slices.Concat(shape(4, 128), on("shakespeare", 500), chars)},
	{"the same, fp32", slices.Concat(shape(4, 128), on("shakespeare", 500), chars, []string{"numeric.mode=fp32"})},
	{"the same, cycles of 300", slices.Concat(shape(4, 128), on("shakespeare", 1200), chars,
		[]string{"schedule.period=300", "schedule.warmup=300"})},
	{"the same, 1500 steps", slices.Concat(shape(4, 128), on("shakespeare", 1500), chars)},
	{"llama 4x128, Shakespeare, characters", slices.Concat(shape(4, 128, "model.shape=llama"), on("shakespeare", 500),
		chars)},
	{"llama 4x128, cycles of 350", slices.Concat(shape(4, 128, "model.shape=llama"), on("shakespeare", 950), chars,
		[]string{"schedule.period=350"})},
	{"qwen2 4x128, Shakespeare, characters", slices.Concat(shape(4, 128, "model.shape=qwen2"), on("shakespeare", 500),
		chars)},
	{"gpt2 4x128, Shakespeare, characters", slices.Concat(shape(4, 128, "model.shape=gpt2"), on("shakespeare", 500),
		chars)},
	{"gpt2 4x128, dropout 0.1, cycles of 350", slices.Concat(shape(4, 128, "model.shape=gpt2", "model.dropout=0.1"),
		on("shakespeare", 950), chars, []string{"schedule.period=350"})},
	{"qwen3 2x64, Shakespeare, bytes", slices.Concat(shape(2, 64), on("shakespeare", 500), raw)},
	{"qwen3 8x64, Shakespeare, characters", slices.Concat(shape(8, 64), on("shakespeare", 500), chars)},
	{"qwen3 4x128, addresses, 1,024 pieces", slices.Concat(shape(4, 128), on("sotu", 400), bpe)},
	{"gpt2 3x192, addresses, 1,024 pieces", slices.Concat(shape(3, 192, "model.shape=gpt2"), on("sotu", 400), bpe)},
	{"qwen3 4x128, Tang poems, bytes", slices.Concat(shape(4, 128), on("poems", 400), raw)},
	{"llama 3x128, Tang poems, bytes", slices.Concat(shape(3, 128, "model.shape=llama"), on("poems", 400), raw)},
	{"qwen3 4x128, conversations, 1,024 pieces", slices.Concat(shape(4, 128), on("perl", 400), bpe)},
	{"qwen3 4x128, Go source, 1,024 pieces", slices.Concat(shape(4, 128), on("go", 400), bpe)},
	{"qwen2 3x128, Go source, bytes", slices.Concat(shape(3, 128, "model.shape=qwen2"), on("go2", 400), raw)},
	{"qwen3 4x128, Go source, linear", slices.Concat(shape(4, 128), on("go2", 400), bpe,
		[]string{"schedule.kind=linear"})},
	{"qwen3 4x128, the grammar, article's rate", slices.Concat(shape(4, 128), on("grammar", 500), chars,
		[]string{`data.separator="\n"`, "optim.lr=article"})},
}

// faultTable is every fault of train --inject, over seeds, beside the clean run.
type faultTable struct{ cases []faultCase }

func (faultTable) name() string { return "faults" }

// faultCase is a fault and what must follow it.
type faultCase struct {
	fault string
	must  string // for the table
	met   func(outcome) bool
	close bool // the loss must come to 0.02 nats of the clean run, on average
}

// code demands an event whose code begins with one of the prefixes.
func code(prefixes ...string) func(outcome) bool {
	return func(o outcome) bool { return o.has(prefixes...) }
}

// only demands one, and no error beside it.
func only(prefix string) func(outcome) bool {
	return func(o outcome) bool {
		for _, e := range o.Events {
			if strings.HasPrefix(e.Code, "E") && !strings.HasPrefix(e.Code, prefix) {
				return false
			}
		}
		return o.has(prefix)
	}
}

// named demands one that tells where the fault is.
func named(text string, prefixes ...string) func(outcome) bool {
	return func(o outcome) bool {
		return slices.ContainsFunc(o.Events, func(e seen) bool {
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(e.Code, p) }) &&
				strings.Contains(e.Tensor+" "+e.Message, text)
		})
	}
}

func at(step int) string { return fmt.Sprintf("@%d", step) }

var faultCases = []faultCase{
	{"nan-grad" + at(faultAt), "E0, tensor named", both(only("E0"), named("layers.2", "E0")), true},
	{"inf-grad" + at(faultAt), "E0, tensor named", both(only("E0"), named("layers.2", "E0")), true},
	{"nan-activation" + at(faultAt), "E0, block named", both(only("E0"), named("block 2", "E0")), true},
	{"loss-spike" + at(faultAt), "E1", only("E1"), true},
	{"poison-batch" + at(faultAt), "E1", only("E1"), true},
	{"poison-batches" + at(faultAt), "E1 and E2", both(code("E1"), code("E2"), done), false},
	{"lr-bomb" + at(faultAt), "E1 or E2, recovers", both(code("E1", "E2"), done), false},
	{"bit-flip" + at(faultAt), "E0, E1 or E2", both(code("E0", "E1", "E2"), done), false},
	{"frozen-layer@1", "A1 after 3 checks, block named",
		func(o outcome) bool { // checks are made at step 1 and every 100 steps
			return slices.ContainsFunc(o.Events, func(e seen) bool {
				return strings.HasPrefix(e.Code, "A1") && e.Step == 200 && strings.Contains(e.Message, "block 1")
			})
		}, false},
	{"starved-init@1", "A2 at step 1", func(o outcome) bool {
		return slices.ContainsFunc(o.Events, func(e seen) bool { return strings.HasPrefix(e.Code, "A2") && e.Step == 1 })
	}, false},
	{"cut-residual@1", "residual or update alarm, block named", named("block 2", "W-RESIDUAL", "W-UPDATE", "E1"), false},
	{"torn-checkpoint" + at(faultAt), "F-SAVE-FAILED, goes on, last good intact", both(code("F-SAVE-FAILED"), done), true},
	{"full-disk" + at(faultAt), "F-SAVE-FAILED, goes on, last good intact", both(code("F-SAVE-FAILED"), done), true},
	{"slow-disk" + at(faultAt), "F-SLOW-DISK, goes on", both(code("F-SLOW-DISK"), done), true},
}

func both(all ...func(outcome) bool) func(outcome) bool {
	return func(o outcome) bool {
		for _, f := range all {
			if !f(o) {
				return false
			}
		}
		return true
	}
}

func done(o outcome) bool { return o.Reason == "done" && o.Step > 0 && o.Whole > 0 }

func cleanTask(seed int) arm {
	return arm{Set: task(seed), label: fmt.Sprintf("the task, clean, seed %d", seed)}
}

func faulted(fault string, seed int, more ...string) arm {
	return arm{Set: task(seed, more...), Inject: []string{fault},
		label: fmt.Sprintf("%s%s, seed %d", fault, observes(more), seed)}
}

func observes(set []string) string {
	if slices.Contains(set, "guard.mode=observe") {
		return " unguarded"
	}
	return ""
}

func (t faultTable) arms(seeds int) (list []arm) {
	for seed := 1; seed <= seeds; seed++ {
		list = append(list, cleanTask(seed))
		for _, c := range t.cases {
			list = append(list, faulted(c.fault, seed))
		}
	}
	return list
}

// unseen are faults of one batch that a threshold cannot tell from data, measured to say how often they are seen.
type unseen struct{}

func (unseen) name() string { return "unseen" }

var unseenFaults = []string{"shuffled-labels" + at(faultAt), "random-tokens" + at(faultAt), "shifted-label@1",
	"mean-of-means@1"}

func (unseen) arms(seeds int) (list []arm) {
	for _, f := range unseenFaults {
		for seed := 1; seed <= seeds; seed++ {
			list = append(list, faulted(f, seed))
		}
	}
	return list
}
