package story

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Write tells the story of the run that lies in dir.
func (s *Story) Write(w io.Writer, dir string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", dir, s.State)
	for _, p := range s.Processes {
		s.writeProcess(&b, p)
	}
	if s.Plan != nil {
		row(&b, "plan", "%d steps, %d parameters, %d training tokens in an epoch; n-gram baseline %.4f nats/token",
			s.Plan.Steps, s.Plan.Parameters, s.Plan.TrainTokens, float64(s.Plan.BaselineLoss))
	}
	if len(s.Rate) == 3 {
		first, top, last := s.Rate[0], s.Rate[1], s.Rate[2]
		row(&b, "rate", "%.3g at step %d, highest %.3g at step %d, %.3g at step %d", float64(first.Value), first.Step, float64(top.Value), top.Step, float64(last.Value), last.Step)
		row(&b, "loss", "%.4f at the beginning, %.4f at step %d (medians of up to %d steps)", float64(s.Loss[0].Value), float64(s.Loss[1].Value), s.Loss[1].Step, lossSpan)
	}
	b.WriteString("\nwhat happened\n")
	for i, c := range s.Chapters {
		c.write(&b, i+1 == len(s.Chapters) || s.Chapters[i+1].Kind != "event" || s.Chapters[i+1].Batch != c.Batch)
	}
	events := 0
	for _, c := range s.Chapters {
		if c.Kind == "event" {
			events += c.Times
		}
	}
	fmt.Fprintf(&b, "  %d events, %d updates refused; docs/guards.md says what each code means\n", events, s.Refused)
	s.Replay.write(&b)
	if s.Garbled > 0 {
		row(&b, "log", "%d lines are no records: torn by a crash, or damaged", s.Garbled)
	}
	if s.Torn {
		row(&b, "log", "the last line is incomplete: torn by a crash, or being written now")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row writes a fact with its name.
func row(b *strings.Builder, name, format string, args ...any) {
	fmt.Fprintf(b, "%-9s %s\n", name, fmt.Sprintf(format, args...))
}

func (s *Story) writeProcess(b *strings.Builder, p Process) {
	text := fmt.Sprintf("at step %d", p.Step)
	if p.Step == 0 {
		text = "from the beginning"
	}
	for _, part := range []struct{ name, value string }{{"", when(p.Began)}, {"version ", p.Version}, {"kernels ", p.Tier}, {"", p.Mode}} {
		if part.value != "" {
			text += ", " + part.name + part.value
		}
	}
	switch {
	case p.End == "":
		text += "; no word of its end"
	case p.Ended.IsZero() || p.Began.IsZero():
		text += fmt.Sprintf("; %s after step %d, exit code %d", p.End, p.EndStep, *p.ExitCode)
	default:
		text += fmt.Sprintf("; %s after step %d and %s, exit code %d", p.End, p.EndStep, p.Ended.Sub(p.Began).Round(time.Second), *p.ExitCode)
	}
	row(b, fmt.Sprintf("attempt %d", p.Attempt), "%s", text)
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("2006-01-02 15:04")
}

// write tells a chapter, and what it did to the loss and the rate where it is the last of its batch.
func (c Chapter) write(b *strings.Builder, last bool) {
	where := fmt.Sprintf("step %d", c.Step)
	if c.LastStep != c.Step {
		where = fmt.Sprintf("steps %d to %d", c.Step, c.LastStep)
	}
	name := c.Kind
	if c.Code != "" {
		name = c.Code
	}
	fmt.Fprintf(b, "  %-10s %s", where, name)
	if c.Times > 1 {
		fmt.Fprintf(b, ", %d times, the first", c.Times)
	}
	if c.Injected {
		b.WriteString(" (planted)")
	}
	fmt.Fprintf(b, ": %s\n", c.Seen)
	const indent = "             "
	if c.Done != "" {
		fmt.Fprintf(b, "%sdone: %s", indent, c.Done)
		before, ok1 := c.Numbers["scale_before"]
		after, ok2 := c.Numbers["scale_after"]
		if last && ok1 && ok2 && before != after {
			fmt.Fprintf(b, " (factor on the rate %.4g → %.4g)", float64(before), float64(after))
		}
		b.WriteString("\n")
	}
	if last && c.Before != nil && c.After != nil {
		fmt.Fprintf(b, "%sloss: %.4f before, %.4f after\n", indent, float64(*c.Before), float64(*c.After))
	}
}

// mostDifferences are told one by one.
const mostDifferences = 20

func (r *Replay) write(b *strings.Builder) {
	b.WriteString("\n")
	verdict := "every decision is the recorded one"
	if n := len(r.Differences); n > 0 {
		verdict = fmt.Sprintf("%d differ from what was recorded", n)
	}
	if r.Observations == 0 {
		verdict = "nothing to compare"
	}
	row(b, "replay", "%d observations judged again, %d of them refused: %s", r.Observations, r.Refused, verdict)
	for i, d := range r.Differences {
		if i == mostDifferences {
			fmt.Fprintf(b, "  and %d more\n", len(r.Differences)-i)
			break
		}
		fmt.Fprintf(b, "  step %d, batch %d, attempt %d: %s is recorded as %s and judged again as %s\n", d.Step, d.Batch, d.Attempt, d.What, d.Recorded, d.Replayed)
	}
	if r.Left > 0 {
		fmt.Fprintf(b, "  %d observations could not be judged again\n", r.Left)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(b, "  %s\n", n)
	}
}
