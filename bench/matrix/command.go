package main

import (
	"fmt"
	"slices"
	"strings"
)

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

// tiny is a model whose steps take a millisecond, with evaluations that take little more.
var tiny = []string{"data.val_fraction=0.2", "tokenizer.kind=bytes", "model.layers=2", "model.width=16",
	"model.heads=2", "model.mlp=32", "train.context=32", "train.batch_tokens=256", "train.micro_tokens=128",
	"optim.lr=0.002", "numeric.mode=fp32", "eval.every=40", "eval.prompts=3", "eval.samples=2", "eval.max_tokens=12",
	"checkpoint.every=20"}

// train is a training of the tiny model; words that hold "=" are settings, the others stand as they are.
func train(steps int, words ...string) command { return trainOn("$text/text", steps, words...) }

func trainOn(data string, steps int, words ...string) command {
	c := command{words: []string{"train", "--out", "$run", "--data", data, "--steps", fmt.Sprint(steps)}}
	for _, w := range slices.Concat(tiny, words) {
		if strings.Contains(w, "=") {
			c.words = append(c.words, "--set")
		}
		c.words = append(c.words, w)
	}
	return c
}

// told records the JSON that a command prints.
func told(words ...string) command { return command{words: words, record: true} }

func plain(words ...string) command { return command{words: words} }

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

// asDoctor checks the run that a training would be, and records every check.
func (c command) asDoctor() command {
	c.words = append([]string{"doctor", "--json"}, c.words[1:]...)
	c.record = true
	return c
}

// without takes settings out.
func (c command) without(prefixes ...string) command {
	var words []string
	for i := 0; i < len(c.words); i++ {
		starts := func(p string) bool { return strings.HasPrefix(c.words[i+1], p) }
		if c.words[i] == "--set" && slices.ContainsFunc(prefixes, starts) {
			i++
			continue
		}
		words = append(words, c.words[i])
	}
	c.words = words
	return c
}
