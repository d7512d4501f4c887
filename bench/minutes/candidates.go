package main

import "strings"

// candidate is one way to learn: settings of "gimbal train", or a recipe of peers.py.
type candidate struct {
	name string
	set  string // KEY=VALUE of gimbal train, over those of base
	peer string // recipe of peers.py; empty: Gimbal
}

// base is what all candidates of Gimbal share: the default run of two slow cores, without what a run writes and may
// decide on the way, which costs time and is the same for all.
const base = "model.preset=nano train.batch_tokens=2048 eval.prompts=1 eval.samples=1 eval.max_tokens=1 " +
	"judge.early_stop=off"

// learners are the optimizers with their rates. A line is a candidate.
var learners = []candidate{
	{name: "default", set: ""},
	{name: "adamw", set: "optim.kind=adamw"},
	{name: "muon 0.0035", set: "optim.kind=muon optim.lr=0.0035"},
	{name: "muon 0.007", set: "optim.kind=muon optim.lr=0.007"},
	{name: "muon 0.014", set: "optim.kind=muon optim.lr=0.014"},
}

// variants are tried over the learners that varied names: each changes one thing, some on top of the momentum that
// short runs have.
var variants = []candidate{
	{name: "linear", set: "schedule.kind=linear"},
	{name: "wsd", set: "schedule.kind=wsd"},
	{name: "floor 0.01", set: "schedule.floor=0.01"},
	{name: "linear to 0.01", set: "schedule.kind=linear schedule.floor=0.01"},
	{name: "no decay", set: "optim.weight_decay=0"},
	{name: "betas 0.8 0.95", set: "optim.beta1=0.8 optim.beta2=0.95"},
	{name: "momentum 0.95", set: "optim.momentum=0.95"},
	{name: "momentum 0.9", set: "optim.momentum=0.9"},
	{name: "momentum 0.85", set: "optim.momentum=0.85"},
	{name: "warmup 20", set: "schedule.warmup=20"},
	{name: "warmup 50", set: "schedule.warmup=50"},
	{name: "warmup 100", set: "schedule.warmup=100"},
	{name: "batch 1024", set: "train.batch_tokens=1024"},
	{name: "batch 4096", set: "train.batch_tokens=4096"},
	{name: "vocabulary 1024", set: "tokenizer.vocab_size=1024"},
	{name: "vocabulary 2048", set: "tokenizer.vocab_size=2048"},
	{name: "vocabulary 8192", set: "tokenizer.vocab_size=8192"},
	{name: "4x192", set: "model.width=192"},
	{name: "6x192", set: "model.width=192 model.layers=6"},
	{name: "4x256", set: "model.width=256"},
	{name: "2 keys", set: "model.kv_heads=2 optim.momentum=0.9"},
	{name: "4 heads", set: "model.heads=4 model.kv_heads=4 optim.momentum=0.9"},
	{name: "context 64", set: "train.context=64 optim.momentum=0.9"},
	{name: "context 128", set: "train.context=128 optim.momentum=0.9"},
	{name: "context 512", set: "train.context=512 optim.momentum=0.9"},
	{name: "context 1024", set: "train.context=1024 optim.momentum=0.9"},
	{name: "4 heads, 2 keys", set: "model.heads=4 model.kv_heads=2 optim.momentum=0.9"},
}

var varied = []string{"default"}

// combined are candidates of more than one change, such as the winners of the first round together. A line is one.
var combined = []candidate{}

// peers are trained by other programs: peers.py says what each is.
var peers = []candidate{
	{name: "nanoGPT 12 x 64", peer: "nanogpt"},
	{name: "nanoGPT 8 x 256", peer: "nanogpt-256"},
	{name: "transformers Trainer", peer: "trainer"},
}

// candidates are all of them, in the order in which they are tried.
func candidates() (all []candidate) {
	all = append(all, learners...)
	for _, l := range learners {
		for _, v := range variants {
			for _, name := range varied {
				if l.name == name {
					all = append(all, candidate{name: l.name + ", " + v.name, set: l.set + " " + v.set})
				}
			}
		}
	}
	return append(append(all, combined...), peers...)
}

// settings are those of a run of gimbal on a corpus. Where two set the same key the last one holds.
func (c candidate) settings(t text) []string {
	list := append(strings.Fields(base), t.set...)
	for _, s := range strings.Fields(c.set) {
		if strings.HasPrefix(s, "tokenizer.vocab_size=") && len(t.set) > 0 {
			continue // characters have no vocabulary to choose
		}
		list = append(list, s)
	}
	return list
}
