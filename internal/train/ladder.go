package train

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// rules are what the guard needs to know of the run.
func (t *trainer) rules() guard.Rules {
	return guard.Rules{
		Act: t.cfg.Guard.Mode == "act", StayHalved: t.cfg.Guard.Halve == "article",
		Steps: t.cfg.Train.Steps, Warmup: t.sched.Warmup, LossLimit: math.Log(float64(t.arch.Vocab)), Clip: t.cfg.Optim.Clip, MaxRate: t.sched.Peak, MaxScale: t.nudgeCeiling(),
	}
}

// maxNudge is how far the guard may raise a learning rate that no probe has measured: three times by a tenth.
const maxNudge = 1.1 * 1.1 * 1.1

// sequence names a sequence for good: the document it is cut from and where it begins in it.
type sequence struct {
	Source int32 `json:"source"`
	Offset int64 `json:"offset"` // of the document in its source, bytes
	First  int64 `json:"first"`  // text token of the document that is its first label
}

func sequenceOf(s data.Span) sequence { return sequence{s.Doc.Source, s.Doc.Offset, s.First} }

// setAside leaves sequences out for the rest of the run.
func (t *trainer) setAside(spans []data.Span) {
	for _, s := range spans {
		if q := sequenceOf(s); !t.quarantine[q] {
			t.state.Quarantine = append(t.state.Quarantine, q)
		}
	}
	t.applyQuarantine()
}

// applyQuarantine makes the loader leave out what the state names.
func (t *trainer) applyQuarantine() {
	if len(t.state.Quarantine) == 0 {
		return
	}
	t.quarantine = make(map[sequence]bool, len(t.state.Quarantine))
	for _, q := range t.state.Quarantine {
		t.quarantine[q] = true
	}
	t.loader.Skip = func(s data.Span) bool { return t.quarantine[sequenceOf(s)] }
}

// witness records what the guard saw in the batch in progress: the observation if its update is refused, and the
// events with the tensor and the documents behind them. It runs before anything is done about them.
func (t *trainer) witness(o guard.Observation, d guard.Decision) error {
	at := t.at()
	at.Step, at.Batch = o.Step, o.Batch
	if d.Action != guard.Apply {
		err := t.log.Write(runlog.Refused{At: at, Loss: runlog.Float(o.Loss), GradNorm: runlog.Float(o.GradNorm), LR: runlog.Float(o.LR),
			UpdateRatio: runlog.Float(o.UpdateRatio), Action: d.Action.String(), Injected: t.injected(o.Batch)})
		if err != nil {
			return err
		}
	}
	for _, e := range d.Events {
		rec := runlog.Event{At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message, Numbers: map[string]runlog.Float{}}
		for name, v := range e.Numbers {
			rec.Numbers[name] = runlog.Float(v)
		}
		switch e.Code {
		case guard.CodeNonfinite:
			t.explainNonfinite(&rec, d)
		case guard.CodeOutlier:
			t.explainOutlier(&rec, d)
		}
		if err := t.event(rec); err != nil {
			return err
		}
	}
	return nil
}

// refuse does what the guard decided about a step that was not made. It returns an error where the run ends.
func (t *trainer) refuse(d guard.Decision) error {
	switch d.Action {
	case guard.Skip:
		return nil
	case guard.Rewind:
		return t.rewind()
	}
	stop := &StopError{Code: guard.CodeDiverged, Step: t.state.Step + 1, Reason: "the guard ended the run"}
	if n := len(d.Events); n > 0 {
		stop.Code, stop.Reason = d.Events[n-1].Code, d.Events[n-1].Message
	}
	return t.stop(stop)
}

// stop writes the post-mortem and returns the reason.
func (t *trainer) stop(stop *StopError) error {
	if err := t.writePostMortem(stop); err != nil {
		return err
	}
	return stop
}

// Data passed over after a rewind, beyond what was used up: twice as many batches, within these bounds. Far-apart
// checkpoints would otherwise throw away a good part of the corpus for a few bad batches.
const (
	leastSkipped = 20
	mostSkipped  = 100
)

// rewind takes the run back to its newest healthy checkpoint, and past the data that was used up since. Weights, moments
// and evaluations become those of the checkpoint; what the guard knows, the quarantine and the place in the data do not.
//
// Checkpoints that are newer than the healthy one go first: a run that is killed at any moment from here on resumes
// from the healthy one, meets the same batches and decides the same.
func (t *trainer) rewind() error {
	dir := filepath.Join(t.dir, checkpointsName)
	c, err := t.openAnchor(dir)
	if err != nil {
		return t.stop(&StopError{Code: guard.CodeDiverged, Step: t.state.Step + 1, Reason: fmt.Sprintf("there is no healthy checkpoint to go back to: %v", err)})
	}
	defer c.Close()
	if err := t.log.Sync(); err != nil {
		return err
	}
	if err := checkpoint.Forget(t.fs, dir, c.Step()); err != nil {
		return err
	}
	before := t.state
	if err := t.restore(c); err != nil {
		return err
	}
	was := t.state.Batch
	t.state.Guard, t.state.Quarantine, t.state.Faults = before.Guard, before.Quarantine, before.Faults
	t.state.Attempt, t.state.ConfigHash, t.state.Numerics = before.Attempt, before.ConfigHash, before.Numerics
	t.state.Trouble = before.Trouble
	t.state.Trouble.Step = t.state.Step
	t.state.Rewinds = before.Rewinds + 1

	skip := min(max(2*(before.Batch-was), leastSkipped), mostSkipped)
	cur := data.Cursor{Batch: before.Batch, Seq: before.Sequence}
	for range skip {
		cur = t.loader.Next(&t.batch, cur)
	}
	t.state.Batch, t.state.Sequence = cur.Batch, cur.Seq
	if err := checkpoint.SetMark(t.fs, dir, "last", t.state.Step); err != nil {
		return err
	}
	t.hooks.note("went back from step %d to step %d; %d batches are passed over", before.Step, t.state.Step, cur.Batch-was)
	return t.log.Write(runlog.Rewind{At: t.at(), From: before.Step, Skipped: skip})
}

// openAnchor opens the checkpoint to go back to: the newest planned one that was healthy, or, where that is damaged, the
// newest healthy one that is whole, which it tells.
func (t *trainer) openAnchor(dir string) (*checkpoint.Checkpoint, error) {
	c, err := checkpoint.Open(t.fs, filepath.Join(dir, checkpoint.StepName(t.state.Anchor)))
	if err == nil {
		return c, nil
	}
	path, _, none := checkpoint.NewestHealthy(t.fs, dir)
	if none != nil {
		return nil, fmt.Errorf("%w; %w", err, none)
	}
	t.hooks.note("warning: %v; going back to %s instead", err, path)
	return checkpoint.Open(t.fs, path)
}

// writePostMortem writes post-mortem.md: why the run was ended, what was seen before, and what to do.
func (t *trainer) writePostMortem(stop *StopError) error {
	return durable.WriteWith(t.fs, filepath.Join(t.dir, postMortemName), func(w io.Writer) error {
		var b strings.Builder
		g := t.state.Guard
		fmt.Fprintf(&b, "# Post-mortem of %s\n\n%s at step %d: %s.\n\n", filepath.Base(t.dir), stop.Code, stop.Step, stop.Reason)
		fmt.Fprintf(&b, "%d observations were judged. The run went back to a healthy checkpoint %d times; %d sequences are quarantined; the guard's factor on the learning rate stood at %.4g (planned rate %.4g).\n",
			g.Checked, t.state.Rewinds, len(t.state.Quarantine), g.Scale(), t.sched.Peak)
		b.WriteString("\n## Events\n\n")
		for _, e := range t.events {
			fmt.Fprintf(&b, "- %s\n", e)
		}
		b.WriteString("\n## What to do\n\n" +
			"The weights of the stopped run were not saved: its checkpoints are those from before, and the newest healthy one is intact.\n" +
			"The same run, resumed, meets the same end, for everything is deterministic. Instead:\n\n" +
			"- read the documents that the events name;\n" +
			"- start a new run from a checkpoint (`gimbal train --from RUN`) with half the `optim.lr`, or a longer `schedule.warmup`;\n" +
			"- `gimbal why RUN` tells the story step by step.\n")
		_, err := io.WriteString(w, b.String())
		return err
	})
}
