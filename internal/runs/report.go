package runs

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
)

// Report is what report.md says about a run when it ends. The trainer fills it in.
type Report struct {
	Run     string // its name
	Reason  string // why it ended
	Step    int64  // updates done
	Steps   int64  // planned
	Attempt int64
	Tokens  int64  // trained on
	Stopped string // why the judge stopped it; empty: it did not

	Final    *runlog.Eval // nil: no evaluation was reached
	Baseline runlog.Baseline

	Guard   Guarding
	Events  []runlog.Event // of all attempts, as far as they count
	Refused int            // updates that were not made, likewise
	Writing string         // of the last evaluation, by Writing.Section; empty: nothing was written
	Kept    Kept
	Human   HumanCheck
	Next    string // what to type next; empty: nothing in particular
	Plan    string // as it was printed
}

// Guarding is what the guard did in a run.
type Guarding struct {
	State       guard.State
	Rewinds     int
	Quarantined int // sequences that were left out
}

// Writing is the texts of the last evaluation, as they were measured.
type Writing struct {
	Step         int64
	Plan         judge.Plan
	Report       *judge.Report
	Notes        []string // of the judge
	LossWarnings []string // reasons why the loss may look better than it is
}

// Kept is the checkpoints that a run keeps.
type Kept struct {
	Last     int64
	BestStep int64   // with the lowest loss on the evaluation sample; 0: there was no evaluation
	Best     float64 // that loss, nats per token, or per pair of preferences
	Unit     string  // of Best; empty: nats per token
	Choice   judge.Choice
}

// Write writes report.md.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s after step %d of %d in attempt %d, trained on %s.\n\n", Escape(r.Run),
		Escape(r.Reason), r.Step, r.Steps, r.Attempt, Plural(r.Tokens, "token"))
	if r.Stopped != "" {
		fmt.Fprintf(&b, "The judge stopped it: %s.\n\n", Escape(r.Stopped))
	}
	b.WriteString("## Result\n\n")
	if r.Final == nil {
		b.WriteString("No evaluation was reached.\n")
	} else {
		b.WriteString("| | nats per token | bits per byte |\n|---|---|---|\n")
		line := func(what string, loss, bits runlog.Float) {
			fmt.Fprintf(&b, "| %s | %.4f | %.4f |\n", what, float64(loss), float64(bits))
		}
		line(fmt.Sprintf("model, step %d", r.Final.Step), r.Final.ValLoss, r.Final.BitsPerByte)
		line(fmt.Sprintf("n-gram baseline (Witten-Bell, order %d)", r.Baseline.Order), r.Baseline.Loss, r.Baseline.Bits)
		line("unigram", r.Baseline.Unigram, r.Baseline.UnigramBits)
		if m := r.Final.Metrics; m["pairs"] > 0 {
			fmt.Fprintf(&b, "\nThe model prefers the chosen answer in %.1f %% of %.0f held-out pairs: loss of a pair %.4f, "+
				"margin %.4g.\n", 100*float64(m["accuracy"]), float64(m["pairs"]), float64(m["pair_loss"]),
				float64(m["margin"]))
		}
	}
	g := r.Guard
	fmt.Fprintf(&b, "\n## Guard\n\nThe guard checked %s before the update. Not finite: %d; outliers: %d; sustained: %d; "+
		"rewinds: %d; sequences left out: %d; events: %d.\n", Plural(g.State.Checked, "step"), g.State.Nonfinite,
		g.State.Outlier, g.State.Sustained, g.Rewinds, g.Quarantined, len(r.Events))
	if r.Refused > 0 {
		fmt.Fprintf(&b, "Updates refused: %d.\n", r.Refused)
	}
	list(&b, "", r.Events)
	b.WriteString("\n## Writing\n\n" + cmp.Or(r.Writing, "Nothing was written.\n"))
	r.Kept.write(&b)
	r.Human.write(&b)
	if r.Next != "" {
		fmt.Fprintf(&b, "\n## Next\n\nResumed, this run would end as it did. Start again with another rate:\n\n    %s\n",
			Escape(r.Next))
	}
	fmt.Fprintf(&b, "\n## Plan\n\n```\n%s```\n", r.Plan)
	_, err := io.WriteString(w, EscapeText(b.String())) // what others wrote is in it
	return err
}

// list writes a list of Markdown.
func list[T any](b *strings.Builder, label string, items []T) {
	for _, item := range items {
		fmt.Fprintf(b, "- %s%s\n", label, Escape(fmt.Sprint(item)))
	}
}

// Section returns what report.md says about the generated texts, below the heading.
func (w Writing) Section() string {
	b := new(strings.Builder)
	fmt.Fprintf(b, "Step %d: %s; %d of them long enough to be measured. Human text is held-out text, cut to the same "+
		"lengths.\n\n| metric | model | 95 %% interval | human text |\n|---|---|---|---|\n", w.Step, w.Plan, w.Report.Counted)
	for _, d := range judge.Tabulated {
		m, ok := w.Report.Metrics[d.Name]
		if !ok {
			continue
		}
		human := "–"
		if m.Compared {
			human = fmt.Sprintf("%.3f", m.Human)
		}
		fmt.Fprintf(b, "| %s: %s | %.3f | %.3f – %.3f | %s |\n", d.Name, d.What, m.Value, m.Lo, m.Hi, human)
	}
	b.WriteString("\n")
	for _, a := range w.Report.Alarms {
		fmt.Fprintf(b, "- alarm: %s\n", a.Text)
	}
	if len(w.Report.Alarms) == 0 {
		b.WriteString("No metric differs from human text by more than chance.\n")
	}
	list(b, "", w.Notes)
	b.WriteString("\n## Is the loss misleading?\n\n")
	list(b, "warning: ", w.LossWarnings)
	if len(w.LossWarnings) == 0 {
		b.WriteString("No sign of it: repetition does not grow while the loss falls, and the validation text is neither " +
			"repetitive nor found in the training text.\n")
	}
	return b.String()
}

// write writes which checkpoints are kept, and why each was chosen or not.
func (k Kept) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n## Checkpoints\n\n- last: step %d\n", k.Last)
	if k.BestStep > 0 {
		fmt.Fprintf(b, "- best-loss: step %d, validation loss %.4f %s (on the evaluation sample)\n",
			k.BestStep, k.Best, cmp.Or(k.Unit, "nats per token"))
	}
	if k.Choice.Step < 0 {
		fmt.Fprintf(b, "- stable: none; %s\n", k.Choice.Reason)
		return
	}
	fmt.Fprintf(b, "- stable: %s\n\n", k.Choice.Reason)
	b.WriteString("Excess is the model's value minus that of human text. C is the prompt consistency, X the similarity " +
		"of texts of\ndifferent prompts, and spread the variance of the excess over three evaluations.\n\n" +
		"| step | validation loss | excess rep-3 | excess rep-4 | C | X | spread | chosen |\n" +
		"|---|---|---|---|---|---|---|---|\n")
	value := func(m judge.Metric) float64 { return m.Value }
	for _, c := range k.Choice.Candidates {
		spread := "–"
		if !math.IsNaN(c.Spread) {
			spread = fmt.Sprintf("%.2g", c.Spread)
		}
		cell := func(name string, number func(judge.Metric) float64) string {
			if m, ok := c.Metrics[name]; ok {
				return fmt.Sprintf("%.3f", number(m))
			}
			return "–"
		}
		fmt.Fprintf(b, "| %d | %.4f | %s | %s | %s | %s | %s | %s |\n", c.Step, c.Loss, cell("rep3", judge.Metric.Excess),
			cell("rep4", judge.Metric.Excess), cell("consistency", value), cell("between", value), spread, c.Why)
	}
}

// PostMortem is what post-mortem.md says about a run that the guard stopped.
type PostMortem struct {
	Run    string // its name
	Code   string // of the event that ended it
	Step   int64  // the update that was refused
	Reason string
	Guard  Guarding
	Peak   float64        // planned learning rate
	Events []runlog.Event // of all attempts, as far as they count
	Next   string         // what to type next
}

// Again is the command that starts the run in dir again from a checkpoint, with another peak learning rate; from is
// empty where there is none.
func Again(dir, from string, lr float64) string {
	command := "gimbal train --config " + Quote(filepath.Join(dir, rundir.ConfigFile))
	if from != "" {
		command += " --from " + Quote(from)
	}
	return command + fmt.Sprintf(" --set optim.lr=%.2g", lr)
}

// Write writes post-mortem.md: why the run was stopped, what was seen before, and what to do.
func (p *PostMortem) Write(w io.Writer) error {
	var b strings.Builder
	g, reason := p.Guard, strings.TrimPrefix(p.Reason, fmt.Sprintf("step %d: ", p.Step))
	fmt.Fprintf(&b, "# Post-mortem of %s\n\n%s at step %d: %s.\n\n", Escape(p.Run), p.Code, p.Step, Escape(reason))
	fmt.Fprintf(&b, "The guard checked %s; rewinds: %d; sequences left out: %d. %s (planned rate %.4g).\n\n## Events\n\n",
		Plural(g.State.Checked, "step"), g.Rewinds, g.Quarantined, p.factor(), p.Peak)
	list(&b, "", p.Events)
	fmt.Fprintf(&b, strings.ReplaceAll(whatToDo, "'", "`"), Escape(p.Next))
	_, err := io.WriteString(w, EscapeText(b.String()))
	return err
}

// factor says what the guard's factor on the learning rate was, as the last event that names it has it. The state of
// the guard does not: a stop resets its counters.
func (p *PostMortem) factor() string {
	for _, e := range slices.Backward(p.Events) {
		before, ok := e.Numbers["scale_before"]
		if after := e.Numbers["scale_after"]; ok && before != after {
			return fmt.Sprintf("Its factor on the learning rate was %.4g, and %.4g after the last event", float64(before),
				float64(after))
		} else if ok {
			return fmt.Sprintf("Its factor on the learning rate was %.4g", float64(before))
		}
	}
	return fmt.Sprintf("Its factor on the learning rate was %.4g", p.Guard.State.Scale())
}

const whatToDo = `
## What to do

The weights at the stop were not saved. The checkpoints from before are intact, the newest healthy one among them.
Training is deterministic, so resuming this run would stop it again. Instead:

- read the documents that the events name;
- start a new run from the newest healthy checkpoint, at half the rate that was in force, or with a longer
  'schedule.warmup':

      %s

- run 'gimbal why RUN' to see what happened, step by step.
`
