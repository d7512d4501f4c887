package train

import (
	"fmt"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/judge"
)

// reportedMetrics are those of the report's table, with what each is.
var reportedMetrics = []struct{ name, what string }{
	{"rep3", "share of 3-grams that come again in a text"},
	{"rep4", "share of 4-grams that come again in a text"},
	{"loop", "longest loop, tokens"},
	{"distinct2", "share of different 2-grams in all texts"},
	{"distinct3", "share of different 3-grams in all texts"},
	{"compression", "compression ratio of all texts"},
	{"self_bleu", "Self-BLEU"},
	{"consistency", "prompt consistency C"},
	{"within", "likeness of texts of one prompt, W"},
	{"between", "likeness of texts of different prompts, X"},
	{"topic", "how much nearer the end of a text is to its own prompt"},
	{"unknown_words", "share of words that the training text does not have"},
	{"unbalanced", "unmatched brackets and quotes in 100 tokens"},
	{"ngram_nats", "nats per token by n-grams of the training text"},
	{"garbled", "share of texts above people's n-gram band"},
	{"predictable", "share of texts below it"},
	{"parses", "share that the Go parser accepts"},
	{"finish_rate", "share of texts that come to an end"},
	{"short_rate", "share of texts too short to be measured"},
	{"length", "tokens of a text"},
	{"match", "longest match with the training text, tokens"},
	{"novel5", "share of 5-grams that the training text does not have"},
	{"copied", "share of texts that are copied"},
}

// MetricNames are the metrics of what is written, in the order in which they are shown.
func MetricNames() (names []string) {
	for _, m := range reportedMetrics {
		names = append(names, m.name)
	}
	return names
}

// writeWriting writes what the report says of the texts of the last evaluation.
func (t *trainer) writeWriting(b *strings.Builder) {
	b.WriteString("\n## Writing\n\n")
	r := t.report
	if r == nil {
		b.WriteString("Nothing was written in this attempt.\n")
		return
	}
	fmt.Fprintf(b, "Step %d: %s; %d of them long enough to be measured. People's texts are held-out text, cut to the same lengths.\n\n", t.state.History[len(t.state.History)-1].Step,
		t.judge.Plan(), r.Counted)
	writeMetrics(b, r)
	for _, a := range r.Alarms {
		fmt.Fprintf(b, "- alarm: %s\n", a.Text)
	}
	if len(r.Alarms) == 0 {
		b.WriteString("No metric differs from people's texts by more than chance.\n")
	}
	for _, note := range t.judge.Notes() {
		fmt.Fprintf(b, "- %s\n", note)
	}
	b.WriteString("\n## Does the loss flatter?\n\n")
	warnings := judge.Illusion(t.state.History, r)
	for _, w := range warnings {
		fmt.Fprintf(b, "- warning: %s\n", w)
	}
	if len(warnings) == 0 {
		b.WriteString("No sign of it: repetition does not grow while the loss falls, and the validation text is neither repetitive nor found in the training text.\n")
	}
}

// writeMetrics writes the table of a report.
func writeMetrics(b *strings.Builder, r *judge.Report) {
	b.WriteString("| metric | model | 95 % interval | people |\n|---|---|---|---|\n")
	for _, k := range reportedMetrics {
		m, ok := r.Metrics[k.name]
		if !ok {
			continue
		}
		people := "–"
		if m.Compared {
			people = fmt.Sprintf("%.3f", m.Human)
		}
		fmt.Fprintf(b, "| %s: %s | %.3f | %.3f – %.3f | %s |\n", k.name, k.what, m.Value, m.Lo, m.Hi, people)
	}
	b.WriteString("\n")
}

// writeCheckpoints writes which checkpoints are kept, and why each was chosen or not.
func (t *trainer) writeCheckpoints(b *strings.Builder) error {
	b.WriteString("\n## Checkpoints\n\n")
	fmt.Fprintf(b, "- last: step %d\n", t.saved)
	if t.state.BestStep > 0 {
		fmt.Fprintf(b, "- best-loss: step %d, validation loss %.4f nats per token (on the evaluation sample)\n", t.state.BestStep, float64(t.state.Best))
	}
	if a := t.averaged; a != nil {
		fmt.Fprintf(b, "- averaged: %s\n", a.what)
	}
	c, err := t.choose()
	if err != nil {
		return err
	}
	if c.Step < 0 {
		fmt.Fprintf(b, "- stable: none; %s\n", c.Reason)
		return nil
	}
	fmt.Fprintf(b, "- stable: %s\n\n", c.Reason)
	b.WriteString("| step | validation loss | excess rep-3 | excess rep-4 | C | X | spread | chosen |\n|---|---|---|---|---|---|---|---|\n")
	rows := c.Candidates
	if a := t.averaged; a != nil && a.made {
		rows = append(rows, a.Candidate)
	}
	for i, k := range rows {
		label := fmt.Sprint(k.Step)
		if i == len(c.Candidates) {
			label = averagedName
		}
		num := func(name string, human bool) string {
			m, ok := k.Metrics[name]
			switch {
			case !ok:
				return "–"
			case human:
				return fmt.Sprintf("%.3f", m.Excess())
			}
			return fmt.Sprintf("%.3f", m.Value)
		}
		spread := "–"
		if k.Spread == k.Spread {
			spread = fmt.Sprintf("%.2g", k.Spread)
		}
		fmt.Fprintf(b, "| %s | %.4f | %s | %s | %s | %s | %s | %s |\n", label, k.Loss, num("rep3", true), num("rep4", true), num("consistency", false), num("between", false), spread, k.Why)
	}
	return nil
}

const humanCheck = "## Human check"

// writeHumanCheck says whether anybody looked at the texts.
func writeHumanCheck(b *strings.Builder, fsys durable.FS, dir string) error {
	looked, name, err := lookedAt(fsys, dir)
	if err != nil {
		return err
	}
	b.WriteString("\n" + humanCheck + "\n\n")
	if name == "" {
		b.WriteString("Nothing was written yet.\n")
		return nil
	}
	fmt.Fprintf(b, "%s: %s.", filepath.Join(samplesName, name), looked)
	if looked.Marked == 0 {
		fmt.Fprintf(b, " \"gimbal review %s\" shows them, worst first.", filepath.Base(dir))
	}
	b.WriteString("\n")
	return nil
}
