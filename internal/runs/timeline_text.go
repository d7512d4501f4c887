package runs

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"gimbal/internal/runlog"
)

// Write prints the timeline of the run that is called name.
func (t *Timeline) Write(w io.Writer, name string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", name, t.State)
	for _, p := range t.Processes {
		p.write(&b)
	}
	if p := t.Plan; p != nil {
		row(&b, "plan", "%s, %s, %s in an epoch; n-gram baseline %.4f nats/token", Plural(p.Steps, "step"),
			Plural(p.Parameters, "parameter"), Plural(p.TrainTokens, "training token"), float64(p.BaselineLoss))
	}
	if len(t.Rate) == 3 {
		first, top, last := t.Rate[0], t.Rate[1], t.Rate[2]
		row(&b, "rate", "%.3g at step %d, highest %.3g at step %d, %.3g at step %d", float64(first.Value), first.Step,
			float64(top.Value), top.Step, float64(last.Value), last.Step)
		row(&b, "loss", "%.4f at the beginning, %.4f at step %d (medians of up to %d steps)",
			float64(t.Loss[0].Value), float64(t.Loss[1].Value), t.Loss[1].Step, lossSpan)
	}
	b.WriteString("\nwhat happened\n")
	events := 0
	for i, e := range t.Entries {
		last := i+1 == len(t.Entries) || t.Entries[i+1].Kind != "event" || t.Entries[i+1].Batch != e.Batch
		e.write(&b, last)
		if e.Kind == "event" {
			events += e.Times
		}
	}
	fmt.Fprintf(&b, "  %s, %s refused\n", Plural(events, "event"), Plural(t.Refused, "update"))
	t.writeAdvice(&b)
	t.Replay.write(&b)
	if t.Garbled > 0 {
		row(&b, "log", "%s could not be parsed: torn by a crash, or damaged", Plural(t.Garbled, "line"))
	}
	if t.Altered > 0 {
		row(&b, "log", "lines were altered, removed or put in since they were written, in %s",
			Plural(t.Altered, "place"))
	}
	if t.Torn {
		row(&b, "log", "the last line is incomplete: torn by a crash, or being written now")
	}
	_, err := io.WriteString(w, EscapeText(b.String()))
	return err
}

// writeAdvice prints what to do about each code that occurred, once.
func (t *Timeline) writeAdvice(b *strings.Builder) {
	told := map[string]bool{}
	for _, e := range t.Entries {
		// The message of a check before step 1 has its own advice.
		advice := runlog.Advice(e.Code)
		if told[e.Code] || advice == "" || strings.HasPrefix(e.Code, "P-") {
			continue
		}
		if len(told) == 0 {
			b.WriteString("\nwhat to do (docs/events.md explains the codes)\n")
		}
		told[e.Code] = true
		fmt.Fprintf(b, "  %s: %s\n", e.Code, strings.ReplaceAll(advice, "`", ""))
	}
}

// row prints a fact with its name.
func row(b *strings.Builder, name, format string, args ...any) {
	fmt.Fprintf(b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
}

func (p Process) write(b *strings.Builder) {
	text := fmt.Sprintf("at step %d", p.Step)
	if p.Step == 0 {
		text = "from the beginning"
	}
	if !p.Began.IsZero() {
		text += ", " + p.Began.Format("2006-01-02 15:04")
	}
	for _, part := range [][2]string{{"version ", p.Version}, {"kernels ", p.Tier}, {"", p.Mode}} {
		if part[1] != "" {
			text += ", " + part[0] + part[1]
		}
	}
	switch {
	case p.End == "":
		text += "; no end record"
	case p.Ended.IsZero() || p.Began.IsZero():
		text += fmt.Sprintf("; %s after step %d, exit code %d", p.End, p.EndStep, *p.ExitCode)
	default:
		text += fmt.Sprintf("; %s after step %d and %s, exit code %d", p.End, p.EndStep,
			p.Ended.Sub(p.Began).Round(time.Second), *p.ExitCode)
	}
	row(b, fmt.Sprintf("attempt %d", p.Attempt), "%s", text)
}

// write prints an entry. The last of its batch also shows the change of the rate and of the loss.
func (e Entry) write(b *strings.Builder, last bool) {
	where := fmt.Sprintf("step %d", e.Step)
	if e.LastStep != e.Step {
		where = fmt.Sprintf("steps %d to %d", e.Step, e.LastStep)
	}
	fmt.Fprintf(b, "  %-10s %s", where, cmp.Or(e.Code, e.Kind))
	if e.Times > 1 {
		fmt.Fprintf(b, ", %d times, the first", e.Times)
	}
	if e.Injected {
		b.WriteString(" (planted)")
	}
	fmt.Fprintf(b, ": %s\n", e.Seen)
	const indent = "             "
	if e.Done != "" {
		fmt.Fprintf(b, "%sdone: %s", indent, e.Done)
		before, ok1 := e.Numbers["scale_before"]
		after, ok2 := e.Numbers["scale_after"]
		if last && ok1 && ok2 && before != after {
			fmt.Fprintf(b, " (factor on the rate %.4g → %.4g)", float64(before), float64(after))
		}
		b.WriteString("\n")
	}
	if last && e.Before != nil && e.After != nil {
		fmt.Fprintf(b, "%sloss: %.4f before, %.4f after\n", indent, float64(*e.Before), float64(*e.After))
	}
}

// mostDifferences is how many are printed one by one.
const mostDifferences = 20

func (r *Replay) write(b *strings.Builder) {
	verdict := "all as recorded"
	if n := len(r.Differences); n > 0 {
		verdict = Plural(n, "difference") + " from what was recorded"
	}
	if r.Observations == 0 {
		verdict = "nothing to compare"
	}
	b.WriteString("\n")
	row(b, "replay", "%s, %s: %s", Plural(r.Observations, "decision"), Plural(r.Refused, "update")+" refused", verdict)
	for i, d := range r.Differences {
		if i == mostDifferences {
			fmt.Fprintf(b, "  and %d more\n", len(r.Differences)-i)
			break
		}
		fmt.Fprintf(b, "  step %d, batch %d, attempt %d: %s recorded as %s, replayed as %s\n", d.Step, d.Batch,
			d.Attempt, d.What, d.Recorded, d.Replayed)
	}
	if r.Left > 0 {
		fmt.Fprintf(b, "  %s could not be replayed\n", Plural(r.Left, "observation"))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "  %s\n", n)
	}
}
