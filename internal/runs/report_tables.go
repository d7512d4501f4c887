package runs

import (
	"fmt"
	"math"
	"strings"

	"gimbal/internal/judge"
)

// write writes what a report says of the texts of the last evaluation.
func (w *Writing) write(b *strings.Builder) {
	b.WriteString("\n## Writing\n\n")
	if w == nil {
		b.WriteString("Nothing was written in this attempt.\n")
		return
	}
	fmt.Fprintf(b, "Step %d: %s; %d of them long enough to be measured. "+
		"People's texts are held-out text, cut to the same lengths.\n\n", w.Step, w.Plan, w.Report.Counted)
	writeMetrics(b, w.Report)
	for _, a := range w.Report.Alarms {
		fmt.Fprintf(b, "- alarm: %s\n", a.Text)
	}
	if len(w.Report.Alarms) == 0 {
		b.WriteString("No metric differs from people's texts by more than chance.\n")
	}
	for _, note := range w.Notes {
		fmt.Fprintf(b, "- %s\n", note)
	}
	b.WriteString("\n## Does the loss flatter?\n\n")
	for _, f := range w.Flatters {
		fmt.Fprintf(b, "- warning: %s\n", f)
	}
	if len(w.Flatters) == 0 {
		b.WriteString("No sign of it: repetition does not grow while the loss falls, " +
			"and the validation text is neither repetitive nor found in the training text.\n")
	}
}

// writeMetrics writes the metrics that could be measured, beside people's.
func writeMetrics(b *strings.Builder, r *judge.Report) {
	b.WriteString("| metric | model | 95 % interval | people |\n|---|---|---|---|\n")
	for _, k := range judge.Tabulated {
		m, ok := r.Metrics[k.Name]
		if !ok {
			continue
		}
		people := "–"
		if m.Compared {
			people = fmt.Sprintf("%.3f", m.Human)
		}
		fmt.Fprintf(b, "| %s: %s | %.3f | %.3f – %.3f | %s |\n", k.Name, k.What, m.Value, m.Lo, m.Hi, people)
	}
	b.WriteString("\n")
}

// write writes which checkpoints are kept, and why each was chosen or not.
func (k Kept) write(b *strings.Builder) {
	b.WriteString("\n## Checkpoints\n\n")
	fmt.Fprintf(b, "- last: step %d\n", k.Last)
	if k.BestStep > 0 {
		fmt.Fprintf(b, "- best-loss: step %d, validation loss %.4f nats per token (on the evaluation sample)\n",
			k.BestStep, k.Best)
	}
	if k.Choice.Step < 0 {
		fmt.Fprintf(b, "- stable: none; %s\n", k.Choice.Reason)
		return
	}
	fmt.Fprintf(b, "- stable: %s\n\n", k.Choice.Reason)
	b.WriteString("| step | validation loss | excess rep-3 | excess rep-4 | C | X | spread | chosen |\n" +
		"|---|---|---|---|---|---|---|---|\n")
	for _, c := range k.Choice.Candidates {
		spread := "–"
		if !math.IsNaN(c.Spread) {
			spread = fmt.Sprintf("%.2g", c.Spread)
		}
		fmt.Fprintf(b, "| %d | %.4f | %s | %s | %s | %s | %s | %s |\n", c.Step, c.Loss,
			cell(c, "rep3", judge.Metric.Excess), cell(c, "rep4", judge.Metric.Excess),
			cell(c, "consistency", value), cell(c, "between", value), spread, c.Why)
	}
}

func value(m judge.Metric) float64 { return m.Value }

// cell is a number of a metric of a candidate, where it was measured.
func cell(c judge.Candidate, name string, number func(judge.Metric) float64) string {
	m, ok := c.Metrics[name]
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.3f", number(m))
}
