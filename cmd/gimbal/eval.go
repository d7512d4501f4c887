package main

import (
	"fmt"
	"io"
	"math"
	"strings"

	"gimbal"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

type evalCmd struct {
	Run_       string   `arg:"" name:"run" help:"Run or checkpoint directory."`
	Data       []string `help:"Text; repeatable. Default: the held-out part." placeholder:"PATH" sep:"none"`
	Checkpoint string   `help:"${which}" placeholder:"NAME"`
	Seed       *uint64  `help:"Seed of prompts and samples. Default: that of the run." placeholder:"N"`
	Device     string   `help:"Where to compute, as for train. Default: auto." placeholder:"NAME|PATH"`
	LossOnly   bool     `help:"Measure only the loss; write nothing."`
	JSON       bool     `name:"json" help:"Print the result as JSON."`

	Tasks       []string `help:"Ask the questions of this file instead; repeatable." placeholder:"FILE|NAME" sep:"none"`
	FewShot     int      `help:"Examples before each question." placeholder:"N"`
	FewShotFrom string   `help:"File of examples. Default: that of the task." placeholder:"FILE"`
	Limit       int      `help:"Most questions of a task." placeholder:"N"`
	Pattern     string   `help:"Regular expression that finds the answer in what is written." placeholder:"REGEXP"`
}

// Help implements kong.HelpProvider.
func (*evalCmd) Help() string {
	return `--tasks asks questions with known answers, from a file of JSON lines in the layout of HellaSwag, ARC, PIQA or
gsm8k, or from NAME.jsonl in ~/.local/share/gimbal/tasks. Prompts and metrics are those of lm-evaluation-harness.`
}

func (c *evalCmd) Run(e *env) error {
	if len(c.Tasks) > 0 {
		return c.ask(e)
	}
	if c.FewShot != 0 || c.FewShotFrom != "" || c.Limit != 0 || c.Pattern != "" {
		return usageError("--few-shot, --few-shot-from, --limit and --pattern go with --tasks")
	}
	r, err := gimbal.Evaluate(e.ctx, c.Run_, gimbal.EvalOptions{Data: c.Data, Checkpoint: c.Checkpoint,
		LossOnly: c.LossOnly, Seed: c.Seed, Device: c.Device, Progress: e.progress.Tell})
	e.progress.End()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	fmt.Fprintf(e.stdout, "%s\non %s: %s, %s\n", r.Checkpoint, r.On, runs.Plural(r.Tokens, "token"),
		runs.Plural(r.Bytes, "byte"))
	printLosses(e.stdout, fmt.Sprintf("model, step %d", r.Step), r.Loss, r.BitsPerByte, r.Baseline)
	if b := r.Baseline; b != nil && r.Tokens >= b.Tokens {
		fmt.Fprintln(e.stdout, screen.Compared(r.Loss, b.Loss))
	}
	if r.Writing != nil {
		printWriting(e.stdout, r.Writing)
	}
	return nil
}

// ask asks the questions of tasks.
func (c *evalCmd) ask(e *env) error {
	switch {
	case len(c.Data) > 0 || c.LossOnly || c.Seed != nil:
		return usageError("--tasks goes without --data, --loss-only and --seed")
	case c.FewShot < 0 || c.Limit < 0:
		return usageError("--few-shot and --limit: numbers from 0 up")
	case c.FewShotFrom != "" && c.FewShot == 0:
		return usageError("--few-shot-from FILE goes with --few-shot N")
	}
	list, err := gimbal.Ask(e.ctx, c.Run_, gimbal.TaskOptions{Tasks: c.Tasks, Shots: c.FewShot,
		ShotsFrom: c.FewShotFrom, Limit: c.Limit, Pattern: c.Pattern, Checkpoint: c.Checkpoint, Device: c.Device,
		Progress: e.progress.Tell})
	e.progress.End()
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, list)
	}
	for _, r := range list {
		fmt.Fprintf(e.stdout, "%s: %s, %d-shot\n", r.Name, runs.Plural(int64(r.Items), "question"), r.Shots)
		for _, m := range r.Metrics {
			fmt.Fprintf(e.stdout, "  %-12s %.4f ± %.4f\n", m.Name, m.Value, m.SE)
		}
		if r.Cut > 0 {
			fmt.Fprintf(e.stdout, "note: %s longer than the context: the beginning was left out\n",
				runs.Plural(int64(r.Cut), "question"))
		}
	}
	return nil
}

// printLosses prints a loss beside the n-gram baseline.
func printLosses(w io.Writer, name string, loss, bits float64, b *gimbal.Baseline) {
	fmt.Fprintf(w, "\n%-34s %12s %12s\n", "validation loss", "nats/token", "bits/byte")
	row := func(name string, loss, bits float64) { fmt.Fprintf(w, "%-34s %12.4f %12.4f\n", name, loss, bits) }
	row(name, loss, bits)
	if b != nil {
		row(fmt.Sprintf("n-gram (Witten-Bell, order %d)", b.Order), b.Loss, b.BitsPerByte)
		row("unigram", b.UnigramLoss, b.UnigramBitsPerByte)
	}
}

// printWriting prints the metrics of what a model wrote, beside those of human text.
func printWriting(w io.Writer, r *gimbal.Writing) {
	fmt.Fprintf(w, "\nwriting: %s, %d measured\n%-16s %10s   %-21s %10s\n", r.Plan, r.Counted, "", "model",
		"95 % interval", "people")
	for _, name := range gimbal.MetricNames() {
		m, ok := r.Metrics[name]
		if !ok {
			continue
		}
		people := "-"
		if m.Compared {
			people = fmt.Sprintf("%.3f", m.Human)
		}
		fmt.Fprintf(w, "%-16s %10.3f   %-21s %10s\n", name, m.Value, fmt.Sprintf("%.3f to %.3f", m.Lo, m.Hi), people)
	}
	for _, s := range r.Samples {
		printSample(w, s.Prompt, s.Text)
		if len(s.Reasons) > 0 {
			fmt.Fprintf(w, "(%s)\n", strings.Join(s.Reasons, "; "))
		}
	}
	fmt.Fprintln(w)
	for _, a := range r.Alarms {
		fmt.Fprintf(w, "alarm: %s\n", a)
	}
	if len(r.Alarms) == 0 {
		fmt.Fprintln(w, "no metric differs from human text by more than chance")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

type compareCmd struct {
	Runs []string `arg:"" name:"run" help:"Two runs or more; the others are compared with the first."`
	JSON bool     `name:"json" help:"Print the comparison as JSON."`
}

func (c *compareCmd) Run(e *env) error {
	if len(c.Runs) < 2 {
		return usageError("compare: name at least two runs")
	}
	r, err := runs.Compare(c.Runs)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, r)
	}
	for i, run := range r.Runs {
		which := "its last evaluation"
		if run.Chosen {
			which = "its chosen checkpoint"
		}
		fmt.Fprintf(e.stdout, "%c  %s, step %d (%s), %d parameters, n-gram baseline %.4f nats/token\n", 'A'+rune(i), run.Dir,
			run.Step, which, run.Parameters, float64(run.Baseline.Loss))
	}
	fmt.Fprintf(e.stdout, "\n%-16s", "")
	for i := range r.Runs {
		fmt.Fprintf(e.stdout, "  %-28c", 'A'+rune(i))
	}
	fmt.Fprintln(e.stdout, "  people (A)")
	real := 0
	for _, row := range r.Rows {
		fmt.Fprintf(e.stdout, "%-16s", row.Metric)
		for _, v := range row.Values {
			text := "-"
			if !v.Missing {
				text = fmt.Sprintf("%.3f", float64(v.Value))
				if !math.IsInf(float64(v.Lo), 0) { // of a single pass nothing else is known
					text += fmt.Sprintf(" [%.3f, %.3f]", float64(v.Lo), float64(v.Hi))
				}
				if v.Real {
					text += " *"
					real++
				}
			}
			fmt.Fprintf(e.stdout, "  %-28s", text)
		}
		if h := float64(row.Values[0].Human); !math.IsNaN(h) {
			fmt.Fprintf(e.stdout, "  %.3f", h)
		}
		fmt.Fprintln(e.stdout)
	}
	fmt.Fprintf(e.stdout, "\n* differs from A by more than chance (3 standard errors): %s; the others are within noise\n",
		runs.Plural(real, "real difference"))
	if r.Note != "" {
		fmt.Fprintf(e.stdout, "note: %s\n", r.Note)
	}
	return nil
}
