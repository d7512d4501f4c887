package train

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/judge"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
)

// shownTexts of an evaluation are in the result and on the terminal.
const shownTexts = 3

// newEvaluator returns what measures the run.
func (t *run) newEvaluator() *evaluate.Evaluator {
	cfg := t.plan.Config
	return evaluate.New(evaluate.Options{Engine: t.engine, Text: t.text, Own: true, Old: t.kept, Tasks: t.tasks,
		Prefer: t.acc.Prefer, MicroTokens: t.plan.Spec.MicroTokens,
		Seed: cfg.Train.Seed, SampleSize: t.plan.Writing.SampleSize, Start: t.startToken(), Samples: t.plan.Writing.Samples,
		Encoder: cfg.Judge.Encoder, EncoderOrigin: cfg.Origin("judge.encoder"), Note: t.record.note})
}

// evaluate scores the validation part, lets the model write and measures that, records both, remembers the best loss,
// and decides whether to go on. Where ctx is done first, nothing has changed and the evaluation is still due.
//
// Every evaluation scores the same seeded sample of sequences, which is what the best loss compares; the last one
// scores the whole validation part beside it and reports that.
func (t *run) evaluate(ctx context.Context) (*runlog.Eval, error) {
	loss, err := t.evaluator.Loss(ctx, t.state.Step == t.plan.Config.Train.Steps)
	if err != nil {
		return nil, err
	}
	some := t.plan.Writing.Usual
	if t.state.Whole {
		some = judge.Plan{}
	}
	w, err := t.evaluator.WriteSome(ctx, some)
	if err != nil {
		return nil, err
	}
	answered, err := t.evaluator.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	s := &t.state
	old, err := s.Before.Score(ctx, t.evaluator, s.Step)
	if err != nil {
		return nil, err
	}
	t.whole = false
	s.Due = false
	s.Evals++
	sample := loss.Sample.Objective()
	if len(s.History) == 0 || sample < float64(s.Best) {
		s.Best, s.BestStep = runlog.Float(sample), s.Step
	}
	if len(w.Texts) > 0 {
		name := filepath.Join(t.store.Dir, rundir.Samples, rundir.PageName(s.Evals))
		if err := durable.WriteFile(t.store.FS, name, w.Page(s.Evals, s.Step)); err != nil {
			return nil, err
		}
		t.written = w
	}
	point := judge.NewPoint(s.Step, sample, s.Disturbed(), w.FewDocuments, w.Report)
	if err := t.evaluatePairs(loss.Sample, w, &point); err != nil {
		return nil, err
	}
	s.History = append(s.History, point)
	if len(w.Texts) > 0 {
		s.Writing = runs.Writing{Step: s.Step, Plan: w.Plan, Report: w.Report, Notes: w.Notes,
			LossWarnings: judge.Illusion(s.History, w.Report)}.Section()
	}
	rec := loss.Record(t.at(), s.Baseline)
	maps.Copy(rec.Metrics, w.Metrics())
	for _, r := range answered {
		r.Log(rec.Metrics)
		t.record.note("%s", r)
	}
	if b := s.Before; b != nil {
		b.Compare(s.Step, loss.Sample, old, func(name string, v float64) {
			point.Metrics[name] = judge.Metric{Estimate: judge.Estimate{Value: v}}
			rec.Metrics[name] = runlog.Float(v)
		})
	}
	if err := t.record.eval(rec, w.Shown(shownTexts)); err != nil {
		return nil, err
	}
	return &rec, errors.Join(t.watchRestart(sample), t.decide())
}

// decide applies the rules of the judge to the history: an alarm becomes an event, a stop ends the run after the save
// to come.
func (t *run) decide() error {
	s := &t.state
	if w := judge.Illusion(s.History, t.written.Report); len(w) > 0 && !s.Illusion {
		s.Illusion = true
		err := t.event(runlog.Event{At: t.at(), Code: judge.CodeIllusion, Severity: "warning", Action: "none",
			Message: strings.Join(w, "; ")})
		if err != nil {
			return err
		}
	}
	rules := t.plan.Config.Judge
	v := judge.Stop(s.History, judge.StopOptions{Rule: rules.EarlyStop, Warmup: t.plan.Rate.Schedule.Warmup,
		Patience: rules.Patience})
	if v.Code == "" {
		return nil
	}
	e := runlog.Event{At: t.at(), Code: v.Code, Severity: "warning", Action: "none", Message: v.Reason}
	if v.Stop {
		s.Stopped = fmt.Sprintf("%s: %s", v.Code, v.Reason)
		e.Action = "stop; the checkpoint that was chosen is restored"
	}
	return t.event(e)
}

// watchRestart reports a restart of the learning rate whose cost is not regained by its cycle's end. It is asked at
// each evaluation, and there is one at the end of each cycle.
func (t *run) watchRestart(loss float64) error {
	before := t.state.Cycle
	var wrong string
	if t.state.Cycle, wrong = t.plan.Rate.Schedule.Regained(before, t.state.Step, loss); wrong == "" {
		return nil
	}
	return t.event(runlog.Event{At: t.at(), Code: "W-RESTART-NOT-REGAINED", Severity: "warning", Action: "none",
		Message: wrong + "; schedule.kind = cosine or linear has no restarts",
		Numbers: map[string]runlog.Float{"loss": runlog.Float(loss), "loss_before": runlog.Float(before.Loss),
			"step_before": runlog.Float(before.Step)}})
}

// stopEarly ends a run that the judge stopped: the chosen weights are restored and scored on the whole validation part.
func (t *run) stopEarly(ctx context.Context) (*runlog.Eval, error) {
	if err := t.awaitSave(); err != nil {
		return nil, err
	}
	choice, err := t.choose()
	if err != nil {
		return nil, err
	}
	if choice.Step < 0 {
		return nil, fmt.Errorf("%w: %s was stopped early (%s), and no checkpoint of an evaluation is there",
			rundir.ErrCheckpoint, t.store.Dir, t.state.Stopped)
	}
	c, err := checkpoint.Open(t.store.FS, t.store.Checkpoint(choice.Step))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := t.engine.Set(c.Model(), nil); err != nil {
		return nil, err
	}
	t.record.note("stopped early: %s; restored %s", t.state.Stopped, choice.Reason)
	loss, err := t.evaluator.Loss(ctx, true)
	if err != nil {
		return nil, err
	}
	at := t.at()
	at.Step = choice.Step
	rec := loss.Record(at, t.state.Baseline)
	return &rec, nil
}

// startToken begins a text that has no prompt.
func (t *run) startToken() int32 { return evaluate.StartToken(t.text.Tok, t.plan.Config.Data.Start) }
