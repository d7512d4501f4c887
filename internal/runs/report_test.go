package runs

import (
	"io"
	"math"
	"strings"
	"testing"

	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// metric is a measured one.
func metric(value, human float64, compared bool) judge.Metric {
	return judge.Metric{Estimate: judge.Estimate{Value: value, Lo: value - 0.1, Hi: value + 0.1}, Human: human,
		Compared: compared}
}

var reportEvents = []runlog.Event{
	{At: runlog.At{Step: 7}, Code: "E1-OUTLIER", Message: "step 7: loss 9", Action: "skip"},
}

func TestReport(t *testing.T) {
	r := Report{
		Run: "x", Reason: "stopped early", Step: 20, Steps: 30, Attempt: 2, Tokens: 4096, Stopped: "J-STOP: worse",
		Final:    &runlog.Eval{At: runlog.At{Step: 10}, ValLoss: 2, BitsPerByte: 1},
		Baseline: runlog.Baseline{Order: 5, Loss: 2.5, Bits: 1.25, Unigram: 3, UnigramBits: 1.5},
		Guard: Guarding{State: guard.State{Checked: 21, Nonfinite: 1, Outlier: 2, Sustained: 3}, Rewinds: 4,
			Quarantined: 5},
		Events: reportEvents,
		Writing: Writing{Step: 20, Plan: judge.Plan{Prompts: 4, Samples: 2, PromptTokens: 7, MaxTokens: 12},
			Report: &judge.Report{Counted: 6, Alarms: []judge.Alarm{{Metric: "rep4", Text: "rep4 is high"}},
				Metrics: map[string]judge.Metric{"rep4": metric(0.5, 0.1, true), "match": metric(3, 0, false)}},
			Notes: []string{"few documents"}, LossWarnings: []string{"it repeats"}}.Section(),
		Kept: Kept{Last: 20, BestStep: 10, Best: 2.01, Choice: judge.Choice{Step: 10, Reason: "step 10: best",
			Candidates: []judge.Candidate{
				{Point: judge.Point{Step: 10, Loss: 2, Metrics: map[string]judge.Metric{
					"rep3": metric(0.4, 0.1, true), "rep4": metric(0.5, 0.1, true),
					"consistency": metric(0.2, 0, false), "between": metric(0.3, 0, false)},
				}, Spread: 0.0123, Why: "chosen"},
				{Point: judge.Point{Step: 20, Loss: 2.2}, Spread: math.NaN(), Why: "loss too high"}}}},
		Human: HumanCheck{Run: "x", Page: "samples/eval-2.md",
			Looked: judge.Looked{Texts: 8, Marked: 2, Marks: map[string]int{"good": 2}}},
		Plan: "  model  small\n",
	}
	golden(t, r.Write, "# x\n\n"+
		"stopped early after step 20 of 30 in attempt 2, trained on 4096 tokens.\n\n"+
		"The judge stopped it: J-STOP: worse.\n\n"+
		"## Result\n\n"+
		"| | nats per token | bits per byte |\n|---|---|---|\n"+
		"| model, step 10 | 2.0000 | 1.0000 |\n"+
		"| n-gram baseline (Witten-Bell, order 5) | 2.5000 | 1.2500 |\n"+
		"| unigram | 3.0000 | 1.5000 |\n\n"+
		"## Guard\n\n"+
		"The guard checked 21 steps before the update. Not finite: 1; outliers: 2; sustained: 3; rewinds: 4; "+
		"sequences left out: 5; events: 1.\n"+
		"- E1-OUTLIER at step 7: loss 9 → skip\n\n"+
		"## Writing\n\n"+
		"Step 20: 8 texts (4 prompts of 7 tokens × 2), at most 12 tokens each; 6 of them long enough to be measured. "+
		"Human text is held-out text, cut to the same lengths.\n\n"+
		"| metric | model | 95 % interval | human text |\n|---|---|---|---|\n"+
		"| rep4: share of 4-grams that repeat in a text | 0.500 | 0.400 – 0.600 | 0.100 |\n"+
		"| match: longest match with the training text, tokens | 3.000 | 2.900 – 3.100 | – |\n\n"+
		"- alarm: rep4 is high\n- few documents\n\n"+
		"## Is the loss misleading?\n\n- warning: it repeats\n\n"+
		"## Checkpoints\n\n"+
		"- last: step 20\n"+
		"- best-loss: step 10, validation loss 2.0100 nats per token (on the evaluation sample)\n"+
		"- stable: step 10: best\n\n"+
		"Excess is the model's value minus that of human text. C is the prompt consistency, X the similarity of texts "+
		"of\ndifferent prompts, and spread the variance of the excess over three evaluations.\n\n"+
		"| step | validation loss | excess rep-3 | excess rep-4 | C | X | spread | chosen |\n"+
		"|---|---|---|---|---|---|---|---|\n"+
		"| 10 | 2.0000 | 0.300 | 0.400 | 0.200 | 0.300 | 0.012 | chosen |\n"+
		"| 20 | 2.2000 | – | – | – | – | – | loss too high |\n\n"+
		"## Human check\n\n"+
		"samples/eval-2.md: a person marked 2 of 8 texts: 2 good.\n\n"+
		"## Plan\n\n```\n  model  small\n```\n")
}

// TestReportOfNothing: a run that ended at once has a report, too.
func TestReportOfNothing(t *testing.T) {
	r := Report{Run: "x", Reason: "interrupted",
		Kept: Kept{Last: -1, Choice: judge.Choice{Step: -1, Reason: "too early"}}}
	var b strings.Builder
	check(t, r.Write(&b))
	for _, want := range []string{"No evaluation was reached.\n", "Nothing was written.\n",
		"- stable: none; too early\n", "Nothing was written yet.\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestPostMortem(t *testing.T) {
	s := guard.New(guard.Rules{})
	s.Checked = 42
	p := PostMortem{Run: "x", Code: "E3-DIVERGED", Step: 43, Reason: "it does not come back", Peak: 0.001,
		Guard: Guarding{State: s, Rewinds: 2, Quarantined: 3}, Events: reportEvents,
		Next: Again("x", "a b", 5e-4)}
	golden(t, p.Write, "# Post-mortem of x\n\n"+
		"E3-DIVERGED at step 43: it does not come back.\n\n"+
		"The guard checked 42 steps; rewinds: 2; sequences left out: 3. Its factor on the learning rate was 1 "+
		"(planned rate 0.001).\n\n"+
		"## Events\n\n- E1-OUTLIER at step 7: loss 9 → skip\n\n"+
		"## What to do\n\n"+
		"The weights at the stop were not saved. The checkpoints from before are intact, the newest healthy one among "+
		"them.\nTraining is deterministic, so resuming this run would stop it again. Instead:\n\n"+
		"- read the documents that the events name;\n"+
		"- start a new run from the newest healthy checkpoint, at half the rate that was in force, or with a longer\n"+
		"  `schedule.warmup`:\n\n      gimbal train --config x/config.toml --from 'a b' --set optim.lr=0.0005\n\n"+
		"- run `gimbal why RUN` to see what happened, step by step.\n")
}

// The factor is that of the last event: the state of the guard, whose counters a stop resets, says 1.
func TestPostMortemNamesTheFactor(t *testing.T) {
	numbers := map[string]runlog.Float{"scale_before": 0.0625, "scale_after": 0.03125}
	p := PostMortem{Peak: 0.01, Events: []runlog.Event{{Code: "E1-OUTLIER"}, {Code: "E3-DIVERGED", Numbers: numbers},
		{Code: "A4-FALLING"}}}
	for after, want := range map[runlog.Float]string{
		0.03125: "Its factor on the learning rate was 0.0625, and 0.03125 after the last event (planned rate 0.01).",
		0.0625:  "Its factor on the learning rate was 0.0625 (planned rate 0.01).",
	} {
		numbers["scale_after"] = after
		var b strings.Builder
		check(t, p.Write(&b))
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

func golden(t *testing.T, write func(io.Writer) error, want string) {
	t.Helper()
	var b strings.Builder
	check(t, write(&b))
	if got := b.String(); got != want {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("%s\nit differs from what is wanted at %q", got, want[i:])
	}
}
