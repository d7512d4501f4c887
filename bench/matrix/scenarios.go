package main

import (
	"fmt"
	"slices"
	"strings"
)

// scenario is a line of the matrix: one or several commands, and the run that they leave.
type scenario struct {
	name     string
	commands []command
	same     string // scenario whose numbers and hashes this one must have, too; empty: none
	planted  bool   // needs the binary that is built with the tag planted
	light    bool   // also on the tiers that are not the machine's own
	cut      bool   // processes end at a step that depends on the machine: what tells of them is left out
}

// command is one call of gimbal. In its words $run is the run of the scenario, $other a second folder for it, and $text
// the folder of the corpora.
type command struct {
	words  []string
	end    ending // how it is ended from outside
	at     int64  // when the log has come to this step
	procs  int    // processors it may use; 0: one
	record bool   // standard output is JSON, and is compared
}

// ending is a way to end a process from outside.
type ending int

const (
	byItself ending = iota
	killed
	interrupted
)

// tiny is a model whose steps take a millisecond, and evaluations that take little more.
var tiny = []string{"data.val_fraction=0.2", "tokenizer.kind=bytes", "model.layers=2", "model.width=16", "model.heads=2",
	"model.mlp=32", "train.context=32", "train.batch_tokens=256", "train.micro_tokens=128", "optim.lr=0.002",
	"numeric.mode=fp32", "eval.every=40", "eval.prompts=3", "eval.samples=2", "eval.max_tokens=12", "checkpoint.every=20"}

// train is a training of the tiny model; words that hold "=" are settings, the others stand as they are.
func train(steps int, words ...string) command { return trainOn("$text/text", steps, words...) }

func trainOn(data string, steps int, words ...string) command {
	c := command{words: []string{"train", "--out", "$run", "--data", data, "--steps", fmt.Sprint(steps)}}
	for _, s := range tiny {
		c.words = append(c.words, "--set", s)
	}
	for _, w := range words {
		if strings.Contains(w, "=") {
			c.words = append(c.words, "--set")
		}
		c.words = append(c.words, w)
	}
	return c
}

// on lets a command use that many processors.
func (c command) on(procs int) command { c.procs = procs; return c }

// ended ends a command from outside when its log has come to a step.
func (c command) ended(how ending, at int64) command { c.end, c.at = how, at; return c }

// into gives a command another run directory.
func (c command) into(dir string) command {
	c.words = slices.Clone(c.words)
	c.words[slices.Index(c.words, "$run")] = dir
	return c
}

// told records the JSON that a command prints.
func told(words ...string) command { return command{words: words, record: true} }

func plain(words ...string) command { return command{words: words} }

// scenarios are the matrix.
func scenarios() []scenario {
	all := slices.Concat(shapes(), courses(), numerics(), texts(), faults(), processes(), endings())
	return all
}

func shapes() []scenario {
	return []scenario{
		{name: "qwen3", light: true, commands: []command{train(110), told("sample", "$run", "ann", "--json", "--max-tokens", "20")}},
		{name: "qwen3, two workers", same: "qwen3", commands: []command{train(110).on(2), told("sample", "$run", "ann", "--json", "--max-tokens", "20")}},
		{name: "llama, own head", light: true, commands: []command{train(60, "model.shape=llama", "model.tie=false")}},
		{name: "qwen2", light: true, commands: []command{train(60, "model.shape=qwen2")}},
		{name: "gpt2", light: true, commands: []command{train(60, "model.shape=gpt2")}},
		{name: "gpt2, two workers", same: "gpt2", commands: []command{train(60, "model.shape=gpt2").on(2)}},
		{name: "configuration file", commands: []command{train(30, "--config", "$text/run.toml", "train.seed=9")}},
		{name: "head sizes", commands: []command{train(30, "model.heads=3", "model.head_size=6", "model.kv_heads=3", "model.width=18")}},
	}
}

// late is a schedule whose last restart comes 15 steps before the end of a run of 110.
var late = []string{"schedule.period=30", "schedule.warmup=5"}

func courses() []scenario {
	return []scenario{
		{name: "restarts", light: true, commands: []command{train(150, "schedule.period=50", "schedule.warmup=10")}},
		{name: "a late restart", commands: []command{train(110, append(late, "schedule.late_restart=true")...)}},
		{name: "cosine", commands: []command{train(30, "schedule.kind=cosine")}},
		{name: "linear", commands: []command{train(30, "schedule.kind=linear", "schedule.floor=0.01")}},
		{name: "wsd", commands: []command{train(40, "schedule.kind=wsd")}},
		{name: "constant, exact warmup", commands: []command{train(40, "schedule.kind=constant", "schedule.warmup=20", "schedule.warmup_exact=true")}},
		{name: "rate by probe", light: true, commands: []command{train(60, "optim.lr=probe")}},
		{name: "rate by article", commands: []command{train(30, "optim.lr=article")}},
		{name: "rate by article, literal", commands: []command{train(30, "optim.lr=article-literal")}},
		{name: "rate by auto", commands: []command{train(30, "optim.lr=auto")}},
		{name: "a rate that is nudged", commands: []command{train(330, "optim.lr=1e-6", "schedule.kind=constant", "schedule.warmup=10", "eval.every=330", "checkpoint.every=110")}},
		{name: "layered clipping", light: true, commands: []command{train(140, "optim.agc=true")}},
		{name: "dropout", light: true, commands: []command{train(60, "model.dropout=0.2")}},
		{name: "dropout, two workers", same: "dropout", commands: []command{train(60, "model.dropout=0.2").on(2)}},
		{name: "averaged weights", commands: []command{train(110, "judge.average=true")}},
		{name: "chosen as the article says", commands: []command{train(80, "judge.select=article", "judge.early_stop=article", "eval.every=10")}},
		{name: "chosen by loss", commands: []command{train(80, "judge.select=loss", "judge.early_stop=off", "eval.every=10", "checkpoint.keep=1")}},
	}
}

func numerics() []scenario {
	return []scenario{
		{name: "bf16", commands: []command{train(10, "numeric.mode=bf16", "checkpoint.every=5", "eval.every=10", "eval.prompts=1", "eval.samples=1")}},
		{name: "bf16, gpt2, block", commands: []command{train(6, "numeric.mode=bf16", "model.shape=gpt2", "numeric.checkpointing=block", "checkpoint.every=5", "eval.every=10", "eval.prompts=1", "eval.samples=1")}},
		{name: "bf16, NaN activation", commands: []command{train(6, "numeric.mode=bf16", "--inject", "nan-activation@3", "eval.every=10", "eval.prompts=1", "eval.samples=1")}},
		{name: "checkpointing none", commands: []command{train(40, "numeric.checkpointing=none")}},
		{name: "checkpointing attention", same: "checkpointing none", commands: []command{train(40, "numeric.checkpointing=attention")}},
		{name: "checkpointing block", same: "checkpointing none", light: true, commands: []command{train(40, "numeric.checkpointing=block")}},
		{name: "checkpointing block, dropout", commands: []command{train(40, "numeric.checkpointing=block", "model.dropout=0.1", "model.shape=gpt2")}},
		{name: "one pass a step", commands: []command{train(40, "train.micro_tokens=256")}},
		{name: "many passes a step", commands: []command{train(40, "train.micro_tokens=32")}},
	}
}

func texts() []scenario {
	return []scenario{
		{name: "conversations", light: true, commands: []command{trainOn("$text/chat.jsonl", 60, "tokenizer.kind=bpe", "tokenizer.vocab_size=280", "train.context=64")}},
		{name: "characters", commands: []command{train(40, "tokenizer.kind=chars")}},
		{name: "pieces", commands: []command{train(40, "tokenizer.kind=bpe", "tokenizer.vocab_size=270")}},
		{name: "separator, start token none", commands: []command{trainOn("$text/lines.txt", 40, `data.separator="\n"`, "data.start=none")}},
		{name: "mixture", commands: []command{train(60, "--data", "$text/other", "data.weights=[1, 3]")}},
		{name: "broken documents left out", commands: []command{trainOn("$text/broken.jsonl", 40, "data.bad_documents=skip", "data.bad_share=0.1", "train.context=64")}},
		{name: "statistics", commands: []command{told("data", "stats", "--data", "$text/text", "--data", "$text/other", "--json", "--set", "tokenizer.kind=bytes", "--set", "train.context=32", "--steps", "10")}},
	}
}

// faults are all kinds of --inject, and what the guard does where it only observes, or halves for good.
func faults() (list []scenario) {
	fault := func(spec string, steps int, words ...string) scenario {
		name, _, _ := strings.Cut(spec, "@")
		return scenario{name: strings.TrimSpace(name + " " + strings.Join(words, " ")),
			commands: []command{train(steps, append([]string{"--inject", spec}, words...)...)}}
	}
	list = []scenario{
		fault("nan-grad@30", 60), fault("inf-grad:model.embed_tokens.weight@30", 60), fault("nan-activation:1@30", 60),
		fault("loss-spike@75", 110), fault("poison-batch@75", 110), fault("poison-batches@75", 130), fault("repetition@30", 90),
		fault("lr-bomb@75", 150), fault("bit-flip@75", 110), fault("frozen-layer@1", 220, "eval.every=110"),
		fault("cut-residual@1", 110), fault("starved-init@1", 60), fault("torn-checkpoint@20", 60), fault("full-disk@20", 60),
		fault("slow-disk@20", 45), fault("poison-batches@75", 130, "guard.mode=observe"), fault("lr-bomb@75", 130, "guard.mode=observe"),
		fault("nan-grad@30", 60, "guard.mode=observe"), fault("loss-spike@75", 110, "guard.halve=article"),
	}
	for _, name := range []string{"poison-batches", "nan-grad"} {
		for i := range list {
			list[i].light = list[i].light || list[i].name == name
		}
	}
	for _, s := range []scenario{fault("padding-in-loss@1", 30), fault("lost-eos@1", 30), fault("shifted-label@1", 90), fault("mean-of-means@1", 30),
		fault("document-leak@1", 30), fault("bf16-weights@1", 30), fault("one-paragraph@30", 110, "eval.every=10"), fault("shuffled-labels@75", 110),
		fault("random-tokens@75", 110)} {
		s.planted = true
		list = append(list, s)
	}
	return list
}

// processes are runs of several processes, and runs that begin with the weights of others.
func processes() []scenario {
	long := train(300, "eval.every=100")
	resume := plain("resume", "$run")
	return []scenario{
		{name: "left alone", commands: []command{long}},
		{name: "killed and resumed", same: "left alone", cut: true, light: true, commands: []command{long.ended(killed, 35), resume.ended(killed, 130), resume}},
		{name: "interrupted and resumed", same: "left alone", cut: true, commands: []command{long.ended(interrupted, 35), resume.ended(interrupted, 130), resume}},
		{name: "killed around a rewind", same: "poison-batches", cut: true, commands: []command{train(130, "--inject", "poison-batches@75").ended(killed, 70), resume}},
		{name: "longer", light: true, commands: []command{train(60), plain("resume", "$run", "--steps", "100")}},
		{name: "longer, with restarts", commands: []command{train(60, "schedule.period=30", "schedule.warmup=5", "schedule.late_restart=true"), plain("resume", "$run", "--steps", "140")}},
		{name: "done, and resumed", commands: []command{train(30), resume}},
		{name: "from a run", light: true, commands: []command{train(40).into("$other"), train(40, "--from", "$other", "train.seed=3").without("model.", "tokenizer.")}},
		{name: "from an exported model", commands: []command{train(40, "model.shape=gpt2").into("$other"), plain("export", "$other", "$other-hf"), plain("import", "$other-hf", "--out", "$other-back"),
			trainOn("$text/other", 40, "--from", "$other-back").without("model.", "tokenizer.")}},
		{name: "exported in bf16", commands: []command{train(40).into("$other"), plain("export", "$other", "$run-hf", "--dtype", "bf16"), plain("import", "$run-hf", "--out", "$run")}},
		{name: "measured on other text", commands: []command{train(40), told("eval", "$run", "--data", "$text/other", "--json", "--seed", "5"), told("eval", "$run", "--checkpoint", "step-20", "--loss-only", "--json")}},
	}
}

// asDoctor checks the run that a training would be, and records every check.
func (c command) asDoctor() command {
	c.words = append([]string{"doctor", "--json"}, c.words[1:]...)
	c.record = true
	return c
}

// without takes settings out that another model brings with it.
func (c command) without(prefixes ...string) command {
	var words []string
	for i := 0; i < len(c.words); i++ {
		if c.words[i] == "--set" && slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(c.words[i+1], p) }) {
			i++
			continue
		}
		words = append(words, c.words[i])
	}
	c.words = words
	return c
}

// endings are runs that end early, or do not begin.
func endings() []scenario {
	dry := train(110, "--dry-run", "--json")
	dry.record = true
	return []scenario{
		{name: "early stop by patience", light: true, commands: []command{train(200, "judge.patience=2", "eval.every=10", "--inject", "repetition@40")}},
		{name: "stopped by the guard", commands: []command{train(200, "optim.lr=3", "schedule.warmup=0", "schedule.kind=constant")}},
		{name: "dry run", commands: []command{dry}},
		{name: "refused: a late restart", commands: []command{train(110, late...), train(110, late...).asDoctor()}},
		{name: "refused: a broken document", commands: []command{trainOn("$text/broken.jsonl", 40)}},
		{name: "refused: too little text", commands: []command{train(40, "train.batch_tokens=8192", "train.micro_tokens=auto")}},
		{name: "refused: start token bos", commands: []command{train(40, "data.start=bos")}},
		{name: "copies", commands: []command{trainOn("$text/copies", 30)}},
		{name: "refused: an unknown key", commands: []command{train(30, "train.stepz=4")}},
		{name: "refused: no such fault", commands: []command{train(30, "--inject", "no-such@3")}},
		{name: "doctor of a run", commands: []command{train(30), told("doctor", "$run", "--json")}},
	}
}
