package train

import (
	"io"
	"path/filepath"
	"strings"

	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// writeReport writes report.md: what happened, what was kept and why. next is what to type next, empty for nothing.
func (t *run) writeReport(reason, next string, final *runlog.Eval) error {
	choice, err := t.choose()
	if err != nil {
		return err
	}
	human, err := runs.ReadHumanCheck(t.store.FS, t.store.Dir)
	if err != nil {
		return err
	}
	var plan strings.Builder
	t.plan.Write(&plan)
	s, unit := &t.state, ""
	if t.acc.Prefer != nil {
		unit = "nats per pair"
	}
	r := &runs.Report{Run: filepath.Base(t.store.Dir), Reason: reason, Step: s.Step, Steps: t.plan.Config.Train.Steps,
		Attempt: s.Attempt, Tokens: s.Tokens, Stopped: s.Stopped, Final: final, Baseline: s.Baseline, Guard: t.guarding(),
		Events: t.record.events, Refused: t.record.refused, Human: human, Next: next, Plan: plan.String(),
		Writing: s.Writing,
		Kept: runs.Kept{Last: t.store.Saved, BestStep: s.BestStep, Best: float64(s.Best), Unit: unit,
			Choice: choice}}
	return durable.WriteWith(t.store.FS, filepath.Join(t.store.Dir, rundir.ReportFile),
		func(w io.Writer) error { return r.Write(w) })
}

// guarding is what the guard did in the run.
func (t *run) guarding() runs.Guarding {
	return runs.Guarding{State: t.state.Guard, Rewinds: t.state.Rewinds, Quarantined: len(t.state.Quarantine)}
}
