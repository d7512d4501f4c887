package train

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// writeReport writes report.md: what happened, what was kept and why.
func (t *trainer) writeReport(reason string, final *runlog.Eval) error {
	return durable.WriteWith(t.fs, filepath.Join(t.dir, reportName), func(w io.Writer) error {
		var b strings.Builder
		fmt.Fprintf(&b, "# %s\n\n", filepath.Base(t.dir))
		fmt.Fprintf(&b, "%s after step %d of %d, attempt %d, %d tokens learned from.\n\n", reason, t.state.Step, t.cfg.Train.Steps, t.state.Attempt, t.state.Tokens)
		if t.state.Stopped != "" {
			fmt.Fprintf(&b, "The judge stopped it: %s.\n\n", t.state.Stopped)
		}
		b.WriteString("## Result\n\n")
		if final == nil {
			b.WriteString("No evaluation was reached.\n")
		} else {
			fmt.Fprintf(&b, "| | nats per token | bits per byte |\n|---|---|---|\n")
			fmt.Fprintf(&b, "| model, step %d | %.4f | %.4f |\n", final.Step, float64(final.ValLoss), float64(final.BitsPerByte))
			base := t.state.Baseline
			fmt.Fprintf(&b, "| n-gram baseline (Witten-Bell, order %d) | %.4f | %.4f |\n", base.Order, float64(base.Loss), float64(base.Bits))
			fmt.Fprintf(&b, "| unigram | %.4f | %.4f |\n", float64(base.Unigram), float64(base.UnigramBits))
		}
		b.WriteString("\n## Guard\n\n")
		fmt.Fprintf(&b, "%d steps checked before their update, %d events.\n", t.state.Guard.Checked, len(t.events))
		fmt.Fprintf(&b, "Seen: %d not finite, %d outliers, %d times sustained. The run went back %d times; %d sequences are quarantined.\n",
			t.state.Guard.Nonfinite, t.state.Guard.Outlier, t.state.Guard.Sustained, t.state.Rewinds, len(t.state.Quarantine))
		for _, e := range t.events {
			fmt.Fprintf(&b, "- %s\n", e)
		}
		t.writeWriting(&b)
		if err := t.writeCheckpoints(&b); err != nil {
			return err
		}
		if err := writeHumanCheck(&b, t.fs, t.dir); err != nil {
			return err
		}
		b.WriteString("\n## Plan\n\n```\n")
		t.plan.Write(&b)
		b.WriteString("```\n")
		_, err := io.WriteString(w, b.String())
		return err
	})
}
