package runs

import (
	"fmt"
	"io"
	"strings"

	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// Report is what a run says of itself when it ends: what happened, what was kept and why. The trainer fills it in.
type Report struct {
	Run     string // its name
	Reason  string // why it ended
	Step    int64  // updates done
	Steps   int64  // planned
	Attempt int64
	Tokens  int64  // learned from
	Stopped string // why the judge ended it; empty: it did not

	Final    *runlog.Eval // nil: no evaluation was reached
	Baseline runlog.Baseline

	Guard   Guarding
	Events  []runlog.Event // of this attempt
	Writing *Writing       // nil: nothing was written in this attempt
	Kept    Kept
	Human   HumanCheck
	Plan    string // as it was printed
}

// Guarding is what the guard did in a run.
type Guarding struct {
	State       guard.State
	Rewinds     int // times the run went back to a checkpoint
	Quarantined int // sequences that were set aside
}

// Writing is what the texts of the last evaluation came to.
type Writing struct {
	Step     int64
	Plan     judge.Plan
	Report   *judge.Report
	Notes    []string // of the judge
	Flatters []string // reasons for which the loss looks better than it is
}

// Kept is the checkpoints that a run keeps.
type Kept struct {
	Last     int64
	BestStep int64   // with the lowest loss on the evaluation sample; 0: there was no evaluation
	Best     float64 // that loss, nats per token
	Choice   judge.Choice
}

// Write writes report.md.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n", r.Run)
	fmt.Fprintf(&b, "%s after step %d of %d, attempt %d, %d tokens learned from.\n\n", r.Reason, r.Step, r.Steps,
		r.Attempt, r.Tokens)
	if r.Stopped != "" {
		fmt.Fprintf(&b, "The judge stopped it: %s.\n\n", r.Stopped)
	}
	r.writeResult(&b)
	b.WriteString("\n## Guard\n\n")
	fmt.Fprintf(&b, "%d steps checked before their update, %d events.\n", r.Guard.State.Checked, len(r.Events))
	fmt.Fprintf(&b, "Seen: %d not finite, %d outliers, %d times sustained. "+
		"The run went back %d times; %d sequences are quarantined.\n",
		r.Guard.State.Nonfinite, r.Guard.State.Outlier, r.Guard.State.Sustained, r.Guard.Rewinds, r.Guard.Quarantined)
	writeEvents(&b, r.Events)
	r.Writing.write(&b)
	r.Kept.write(&b)
	r.Human.write(&b)
	fmt.Fprintf(&b, "\n## Plan\n\n```\n%s```\n", r.Plan)
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Report) writeResult(b *strings.Builder) {
	b.WriteString("## Result\n\n")
	if r.Final == nil {
		b.WriteString("No evaluation was reached.\n")
		return
	}
	b.WriteString("| | nats per token | bits per byte |\n|---|---|---|\n")
	line := func(what string, loss, bits runlog.Float) {
		fmt.Fprintf(b, "| %s | %.4f | %.4f |\n", what, float64(loss), float64(bits))
	}
	line(fmt.Sprintf("model, step %d", r.Final.Step), r.Final.ValLoss, r.Final.BitsPerByte)
	line(fmt.Sprintf("n-gram baseline (Witten-Bell, order %d)", r.Baseline.Order), r.Baseline.Loss, r.Baseline.Bits)
	line("unigram", r.Baseline.Unigram, r.Baseline.UnigramBits)
}

func writeEvents(b *strings.Builder, events []runlog.Event) {
	for _, e := range events {
		fmt.Fprintf(b, "- %s\n", e)
	}
}

// PostMortem is what a run that the guard ended says of itself.
type PostMortem struct {
	Run    string // its name
	Code   string // of the event that ended it
	Step   int64  // the update that was refused
	Reason string
	Guard  Guarding
	Peak   float64        // planned learning rate
	Events []runlog.Event // of this attempt
}

// Write writes post-mortem.md: why the run was ended, what was seen before, and what to do.
func (p *PostMortem) Write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Post-mortem of %s\n\n%s at step %d: %s.\n\n", p.Run, p.Code, p.Step, p.Reason)
	fmt.Fprintf(&b, "%d observations were judged. The run went back to a healthy checkpoint %d times; "+
		"%d sequences are quarantined; the guard's factor on the learning rate stood at %.4g (planned rate %.4g).\n",
		p.Guard.State.Checked, p.Guard.Rewinds, p.Guard.Quarantined, p.Guard.State.Scale(), p.Peak)
	b.WriteString("\n## Events\n\n")
	writeEvents(&b, p.Events)
	b.WriteString("\n## What to do\n\n" +
		"The weights of the stopped run were not saved: its checkpoints are those from before, " +
		"and the newest healthy one is intact.\n" +
		"The same run, resumed, meets the same end, for everything is deterministic. Instead:\n\n" +
		"- read the documents that the events name;\n" +
		"- start a new run from a checkpoint (`gimbal train --from RUN`) with half the `optim.lr`, " +
		"or a longer `schedule.warmup`;\n" +
		"- `gimbal why RUN` tells the story step by step.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
