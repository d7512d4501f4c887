package main

import (
	"fmt"
	"slices"
)

// comparison is a line of the table of proof: a clean run, the fault without its guard, the fault with it.
type comparison struct {
	id      string
	fault   string
	guard   string
	clean   func(seed int) arm
	without func(seed int) arm
	with    func(seed int) arm // nil: the fault cannot be made with it, and the run is the clean one
	refused func(seed int) arm // the run does not begin: what follows is the clean one
	value   func(outcome) float64
	unit    string // of value; empty: nats
}

func (c comparison) name() string { return c.id }

func (c comparison) arms(seeds int) (list []arm) {
	for seed := 1; seed <= seeds; seed++ {
		for _, make := range []func(int) arm{c.clean, c.without, c.with, c.refused} {
			if make != nil {
				list = append(list, make(seed))
			}
		}
	}
	return list
}

func labelled(label string, seed int, a arm) arm {
	a.label = fmt.Sprintf("%s, seed %d", label, seed)
	return a
}

// loss is what most comparisons are about; right is the share of texts of the grammar that are right and end.
func loss(o outcome) float64  { return float64(o.Loss) }
func share(o outcome) float64 { return 100 * float64(o.Right) }

func cleanDocuments(seed int) arm {
	return labelled("the grammar, clean", seed, arm{Set: documents(seed)})
}

func misbuilt(fault string) func(int) arm {
	return func(seed int) arm {
		return labelled("the grammar, "+fault, seed, arm{Set: documents(seed), Inject: []string{fault + "@1"}})
	}
}

func guarded(fault string) func(int) arm { return func(seed int) arm { return faulted(fault, seed) } }

func unguarded(fault string) func(int) arm {
	return func(seed int) arm { return faulted(fault, seed, "guard.mode=observe") }
}

// setting is the task with settings of its own.
func setting(label string, more ...string) func(int) arm {
	return func(seed int) arm { return labelled(label, seed, arm{Set: task(seed, more...)}) }
}

const (
	lateBy = 110 // steps before the end at which G8 restarts
	killAt = 330 // between two saves
)

func comparisons() []comparison {
	tooLow := "optim.lr=0.0004" // an eighth of what the rule auto gives here
	late := []string{fmt.Sprintf("schedule.period=%d", (steps-lateBy-150)/2),
		"schedule.warmup=150"} // a rest of half a cycle or more is one of its own
	long := func(label string, more ...string) func(int) arm { // nudges need room behind the warmup
		return func(seed int) arm {
			set := task(seed, more...)
			set[slices.Index(set, fmt.Sprintf("train.steps=%d", steps))] = "train.steps=1000"
			set[slices.Index(set, fmt.Sprintf("eval.every=%d", steps))] = "eval.every=1000"
			return labelled(label, seed, arm{Set: set})
		}
	}
	judged := func(settings []string, inject ...string) func(int) arm {
		return func(seed int) arm {
			set := with(task(seed, "eval.every=50", "eval.prompts=20", "eval.samples=3", "eval.max_tokens=40",
				"checkpoint.keep=20"), settings...)
			return labelled(fmt.Sprintf("judged %v, %v", settings, inject), seed, arm{Set: set, Inject: inject})
		}
	}
	sound := []string{"judge.early_stop=sound", "judge.select=sound"}
	return []comparison{
		{id: "G1a", fault: "padding counted in the loss", guard: "no padding exists", clean: cleanDocuments,
			without: misbuilt("padding-in-loss"), value: loss},
		{id: "G1b", fault: "padding counted in the loss", guard: "no padding exists", clean: cleanDocuments,
			without: misbuilt("padding-in-loss"), value: share, unit: " % right texts"},
		{id: "G1c", fault: "EOS left out of the loss by its id", guard: "labels count by length", clean: cleanDocuments,
			without: misbuilt("lost-eos"), value: share, unit: " % right texts"},
		{id: "G1d", fault: "labels not shifted", guard: "labels are cut with the inputs", clean: cleanDocuments,
			without: misbuilt("shifted-label"), value: loss},
		{id: "G2", fault: "mean of the passes' means", guard: "one denominator a step", clean: cleanDocuments,
			without: misbuilt("mean-of-means"), value: loss},
		{id: "G3", fault: "documents see their neighbours", guard: "attention within a span", clean: cleanDocuments,
			without: misbuilt("document-leak"), value: loss},
		{id: "G4", fault: "rate × 30 for 50 steps", guard: "the ladder", clean: cleanTask,
			without: unguarded("lr-bomb" + at(faultAt)), with: guarded("lr-bomb" + at(faultAt)), value: loss},
		{id: "G5", fault: "20 batches of one token", guard: "the ladder", clean: cleanTask,
			without: unguarded("poison-batches" + at(faultAt)), with: guarded("poison-batches" + at(faultAt)), value: loss},
		{id: "G6", fault: "one NaN in a gradient", guard: "finiteness before the update", clean: cleanTask,
			without: unguarded("nan-grad" + at(faultAt)), with: guarded("nan-grad" + at(faultAt)), value: loss},
		{id: "G7a", fault: "rate an eighth of the rule's", guard: "nudges", clean: long("1000 steps"),
			without: long("low rate, observed", tooLow, "guard.mode=observe"), with: long("low rate, nudged", tooLow),
			value: loss},
		{id: "G7b", fault: "rate an eighth of the rule's", guard: "optim.lr = probe", clean: long("1000 steps"),
			without: long("low rate, observed", tooLow, "guard.mode=observe"), with: long("probed", "optim.lr=probe"),
			value: loss},
		{id: "G8", fault: fmt.Sprintf("a restart %d steps before the end", lateBy), guard: "refused before step 1",
			clean:   cleanTask,
			without: setting("a late restart", with(late, "schedule.late_restart=true")...),
			refused: setting("a late restart, checked", late...), value: loss},
		{id: "G9", fault: "no gradient below block 1", guard: "alarm A1 (it repairs nothing)", clean: cleanTask,
			without: unguarded("frozen-layer:1@1"), with: guarded("frozen-layer:1@1"), value: loss},
		{id: "G10", fault: "one paragraph for the last 180 steps", guard: "early stop and choice by the judge",
			clean: judged(sound), without: judged(nil, "one-paragraph@420"), with: judged(sound, "one-paragraph@420"),
			value: func(o outcome) float64 { // of the checkpoint that is kept: the judge's choice, or the last
				if o.Stable != 0 {
					return float64(o.Stable)
				}
				return float64(o.Loss)
			}},
		{id: "G11", fault: "weights in bf16", guard: "fp32 masters", clean: setting("fp32", "numeric.mode=fp32"),
			without: guarded("bf16-weights@1"), with: cleanTask, value: loss},
		{id: "G12", fault: "kill -9", guard: "resume of the whole state", clean: cleanTask,
			without: func(seed int) arm {
				return labelled("killed, from the weights alone", seed, arm{Set: task(seed), How: howRestart, At: killAt})
			},
			with: func(seed int) arm {
				return labelled("killed twice, resumed", seed, arm{Set: task(seed), How: howKill, At: killAt})
			}, value: loss},
	}
}
