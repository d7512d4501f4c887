package main

import (
	"slices"
	"strings"
)

// scenario is a line of the matrix: one or several commands, and the run that they leave.
type scenario struct {
	name     string
	commands []command
	twin     string // scenario whose numbers and hashes this one must have, too; empty: none
	planted  bool   // needs the binary that is built with the tag planted
	light    bool   // also on the tiers that are not the machine's own
	cut      bool   // processes end at a step that depends on the machine: what tells of them is left out
	old      bool   // the first command is the program's before the change; the others open what it left
}

// scene is a scenario without more to say.
func scene(name string, commands ...command) scenario {
	return scenario{name: name, commands: commands}
}

func (s scenario) lightly() scenario       { s.light = true; return s }
func (s scenario) as(twin string) scenario { s.twin = twin; return s }
func (s scenario) cutAnywhere() scenario   { s.cut = true; return s }
func (s scenario) withPlanted() scenario   { s.planted = true; return s }
func (s scenario) begunBefore() scenario   { s.old = true; return s }

// scenarios are the matrix.
func scenarios() []scenario {
	return slices.Concat(shapes(), courses(), choices(), numerics(), texts(), faults(), mistakes(), processes(), models(),
		endings())
}

func shapes() []scenario {
	sample := told("sample", "$run", "ann", "--json", "--max-tokens", "20")
	return []scenario{
		scene("qwen3", train(110), sample).lightly(),
		scene("qwen3, two workers", train(110).on(2), sample).as("qwen3"),
		scene("llama, own head", train(60, "model.shape=llama", "model.tie=false")).lightly(),
		scene("qwen2", train(60, "model.shape=qwen2")).lightly(),
		scene("gpt2", train(60, "model.shape=gpt2")).lightly(),
		scene("gpt2, two workers", train(60, "model.shape=gpt2").on(2)).as("gpt2"),
		scene("configuration file", train(30, "--config", "$text/run.toml", "train.seed=9")),
		scene("head sizes", train(30, "model.heads=3", "model.head_size=6", "model.kv_heads=3", "model.width=18")),
	}
}

// late is a schedule whose last restart comes 15 steps before the end of a run of 110.
var late = []string{"schedule.period=30", "schedule.warmup=5"}

func courses() []scenario {
	return []scenario{
		scene("restarts", train(150, "schedule.period=50", "schedule.warmup=10")).lightly(),
		scene("a late restart", train(110, append(late, "schedule.late_restart=true")...)),
		scene("cosine", train(30, "schedule.kind=cosine")),
		scene("linear", train(30, "schedule.kind=linear", "schedule.floor=0.01")),
		scene("wsd", train(40, "schedule.kind=wsd")),
		scene("constant, exact warmup",
			train(40, "schedule.kind=constant", "schedule.warmup=20", "schedule.warmup_exact=true")),
		scene("rate by probe", train(3000, "optim.lr=probe", "schedule.warmup=10", "judge.patience=2", "eval.every=10",
			"--inject", "repetition@40")).lightly(), // stops early; the range test is made of the planned steps
		scene("rate by probe, too few steps", train(60, "optim.lr=probe")),
		scene("rate by article", train(30, "optim.lr=article")),
		scene("rate by article, literal", train(30, "optim.lr=article-literal")),
		scene("rate by auto", train(30, "optim.lr=auto")),
		scene("a rate that is nudged", train(330, "optim.lr=1e-6", "schedule.kind=constant", "schedule.warmup=10",
			"eval.every=330", "checkpoint.every=110")),
	}
}

func choices() []scenario {
	return []scenario{
		scene("other numbers of the optimizer", train(60, "optim.clip=0.7", "optim.beta1=0.8", "optim.beta2=0.97",
			"optim.eps=1e-6", "optim.weight_decay=0.3")),
		scene("layered clipping", train(140, "optim.agc=true")).lightly(),
		scene("dropout", train(60, "model.dropout=0.2")).lightly(),
		scene("dropout, two workers", train(60, "model.dropout=0.2").on(2)).as("dropout"),
		scene("averaged weights", train(300, "judge.average=true", "schedule.kind=cosine", "schedule.floor=1e-4",
			"schedule.warmup=10", "optim.lr=0.01", "eval.every=20", "eval.prompts=6")),
		scene("too few to average", train(60, "judge.average=true")),
		scene("an encoder of its own", train(40, "judge.encoder=$text/encoder", "eval.max_tokens=24")),
		scene("chosen as the article says",
			train(80, "judge.select=article", "judge.early_stop=article", "eval.every=10")),
		scene("chosen by loss",
			train(80, "judge.select=loss", "judge.early_stop=off", "eval.every=10", "checkpoint.keep=1")),
	}
}

func numerics() []scenario {
	// A bf16 multiply is emulated where the machine has none, and slow.
	bf16 := func(steps int, words ...string) command {
		return train(steps, append([]string{"numeric.mode=bf16", "checkpoint.every=5", "eval.every=10",
			"eval.prompts=1", "eval.samples=1"}, words...)...)
	}
	again := func(what string) command { return train(40, "numeric.checkpointing="+what) }
	return []scenario{
		scene("bf16", bf16(10)),
		scene("bf16, gpt2, block", bf16(6, "model.shape=gpt2", "numeric.checkpointing=block")),
		scene("bf16, NaN activation", bf16(6, "--inject", "nan-activation@3")),
		scene("checkpointing none", again("none")),
		scene("checkpointing attention", again("attention")).as("checkpointing none"),
		scene("checkpointing block", again("block")).as("checkpointing none").lightly(),
		scene("checkpointing block, dropout",
			train(40, "numeric.checkpointing=block", "model.dropout=0.1", "model.shape=gpt2")),
		scene("one pass a step", train(40, "train.micro_tokens=256")),
		scene("many passes a step", train(40, "train.micro_tokens=32")),
	}
}

func texts() []scenario {
	return []scenario{
		scene("conversations", trainOn("$text/chat.jsonl", 60, "tokenizer.kind=bpe", "tokenizer.vocab_size=280",
			"train.context=64")).lightly(),
		scene("conversations in plain text", trainOn("$text/chat.jsonl", 40, "train.context=64")),
		scene("prompts and completions", trainOn("$text/prompts.jsonl", 40, "train.context=64")),
		scene("characters", train(40, "tokenizer.kind=chars")),
		scene("pieces", train(40, "tokenizer.kind=bpe", "tokenizer.vocab_size=270")),
		scene("Go source, all automatic", trainOn("$text/code", 40, "tokenizer.kind=bpe", "numeric.mode=auto",
			"train.micro_tokens=auto", "eval.max_tokens=32")),
		scene("packed, with escapes", trainOn("$text/escapes.jsonl.gz", 40, "train.context=64")),
		scene("separator, start token none",
			trainOn("$text/lines.txt", 40, `data.separator="\n"`, "data.start=none")),
		scene("mixture", train(60, "--data", "$text/other", "data.weights=[1, 3]")),
		scene("copies", trainOn("$text/copies", 30)),
		scene("broken documents left out", trainOn("$text/broken.jsonl", 40, "data.bad_documents=skip",
			"data.bad_share=0.1", "train.context=64")),
		scene("statistics", told("data", "stats", "--data", "$text/text", "--data", "$text/other", "--json",
			"--set", "tokenizer.kind=bytes", "--set", "train.context=32", "--steps", "10")),
	}
}

// fault is a run with a planted fault; its name is the fault's, and the settings.
func fault(spec string, steps int, words ...string) scenario {
	name, _, _ := strings.Cut(spec, "@")
	return scene(strings.TrimSpace(name+" "+strings.Join(words, " ")),
		train(steps, append([]string{"--inject", spec}, words...)...))
}

// faults are all kinds of --inject, and what the guard does where it only observes, or halves for good.
func faults() []scenario {
	return []scenario{
		fault("nan-grad@30", 60).lightly(),
		fault("inf-grad:model.embed_tokens.weight@30", 60),
		fault("nan-activation:1@30", 60),
		fault("loss-spike@75", 110),
		fault("poison-batch@75", 110),
		fault("poison-batches@75", 130).lightly(),
		fault("repetition@30", 90),
		fault("lr-bomb@75", 150),
		fault("bit-flip@75", 110),
		fault("frozen-layer@1", 220, "eval.every=110"),
		fault("cut-residual@1", 110),
		fault("starved-init@1", 60),
		fault("torn-checkpoint@20", 60),
		fault("full-disk@20", 60),
		fault("slow-disk@20", 45),
		fault("poison-batches@75", 130, "guard.mode=observe"),
		fault("poison-batches@75", 130, "checkpoint.every=5"),                    // passes over the least
		fault("poison-batches@135", 170, "checkpoint.every=70", "eval.every=70"), // and the most
		fault("lr-bomb@75", 130, "guard.mode=observe"),
		fault("nan-grad@30", 60, "guard.mode=observe"),
		fault("loss-spike@75", 110, "guard.halve=article"),
	}
}

// mistakes are the faults that only the tag planted has.
func mistakes() []scenario {
	list := []scenario{
		fault("padding-in-loss@1", 30),
		fault("lost-eos@1", 30),
		fault("shifted-label@1", 90),
		fault("mean-of-means@1", 30),
		fault("document-leak@1", 30),
		fault("bf16-weights@1", 30),
		fault("one-paragraph@30", 110, "eval.every=10"),
		fault("shuffled-labels@75", 110),
		fault("random-tokens@75", 110),
	}
	for i := range list {
		list[i] = list[i].withPlanted()
	}
	return list
}

// processes are runs of several processes.
func processes() []scenario {
	long := train(300, "eval.every=100")
	poisoned := train(130, "--inject", "poison-batches@75")
	resume := plain("resume", "$run")
	to := func(steps string) command { return plain("resume", "$run", "--steps", steps) }
	return []scenario{
		scene("left alone", long),
		scene("killed and resumed", long.ended(killed, 35), resume.ended(killed, 130), resume).
			as("left alone").cutAnywhere().lightly(),
		scene("interrupted and resumed", long.ended(interrupted, 35), resume.ended(interrupted, 130), resume).
			as("left alone").cutAnywhere(),
		scene("killed around a rewind", poisoned.ended(killed, 70), resume).as("poison-batches").cutAnywhere(),
		scene("longer", train(60), to("100")).lightly(),
		scene("longer, with restarts", train(60, append(late, "schedule.late_restart=true")...), to("140")),
		scene("done, and resumed", train(30), resume),
		scene("a run of before, longer", train(60), to("100")).as("longer").begunBefore(),
		scene("a run of before, averaged", train(60, "judge.average=true"), to("100")).begunBefore(),
		scene("a run of before, measured", train(60, "model.shape=gpt2")).begunBefore(),
	}
}

// models are runs that begin with the weights of others, and models that are measured or compared.
func models() []scenario {
	dropped := []string{"model.", "tokenizer."} // the model that a run begins with brings them
	return []scenario{
		scene("from a run", train(40).into("$other"),
			train(40, "--from", "$other", "train.seed=3").without(dropped...)).lightly(),
		scene("from an exported model", train(40, "model.shape=gpt2").into("$other"), plain("export", "$other", "$other-hf"),
			plain("import", "$other-hf", "--out", "$other-back"),
			trainOn("$text/other", 40, "--from", "$other-back").without(dropped...)),
		scene("exported in bf16", train(40).into("$other"), plain("export", "$other", "$run-hf", "--dtype", "bf16"),
			plain("import", "$run-hf", "--out", "$run")),
		scene("measured on other text", train(40), told("eval", "$run", "--data", "$text/other", "--json", "--seed", "5"),
			told("eval", "$run", "--checkpoint", "step-20", "--loss-only", "--json")),
		scene("compared", train(40).into("$other"), train(40, "train.seed=3"), told("compare", "$other", "$run", "--json")),
	}
}

// endings are runs that end early, or do not begin.
func endings() []scenario {
	dry := train(110, "--dry-run", "--json")
	dry.record = true
	return []scenario{
		scene("early stop by patience",
			train(200, "judge.patience=2", "eval.every=10", "--inject", "repetition@40")).lightly(),
		scene("stopped by the guard", train(200, "optim.lr=3", "schedule.warmup=0", "schedule.kind=constant")),
		scene("dry run", dry),
		scene("refused: a late restart", train(110, late...), train(110, late...).asDoctor()),
		scene("refused: a broken document", trainOn("$text/broken.jsonl", 40)),
		scene("refused: too little text", train(40, "train.batch_tokens=8192", "train.micro_tokens=auto")),
		scene("refused: start token bos", train(40, "data.start=bos")),
		scene("refused: an unknown key", train(30, "train.stepz=4")),
		scene("refused: no such fault", train(30, "--inject", "no-such@3")),
		scene("doctor of a run", train(30), told("doctor", "$run", "--json")),
	}
}
