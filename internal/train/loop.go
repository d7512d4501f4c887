package train

import (
	"context"
	"fmt"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/judge"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/rng"
	"gimbal/internal/runlog"
)

// trainer is one run in progress.
type trainer struct {
	fs    durable.FS
	dir   string
	cfg   *config.Config
	hooks Hooks
	plan  *Plan

	weights weightsFrom // where they came from
	trial   bool        // a dry run: nothing is to come of it
	longer  bool        // a resume has changed the number of steps, and the schedule with it

	unchecked bool // leaves the preflight out: for tests that compare runs with and without it

	corpus   *corpus
	template string // of conversations, where the text has none
	arch     config.Arch
	exec     *kernel.Exec
	model    *model.Model[float32]
	adam     *optim.AdamW[float32]
	sched    optim.Schedule
	loader   *data.Loader

	layered  *optim.Layered[float32] // nil without optim.agc
	examiner *examiner

	decoder *model.Decoder[float32] // made at the first evaluation, like the next two
	writer  *writer
	judge   *judge.Judge
	report  *judge.Report // of the last evaluation of this attempt

	averaged *averaged // at the end of the run, with judge.average

	log    *runlog.Writer
	state  state
	saved  int64            // step of the newest checkpoint; -1: none
	marked map[string]int64 // of the newest save: which step has which name
	failed int              // saves that failed since the last that did not
	events []runlog.Event   // of this attempt

	batch  data.Batch
	micros []data.Micro
	keys   []rng.Key

	faults     []fault           // planted on purpose; state.Faults says how far each has come
	plants     []model.Plant     // of the step in progress
	rarest     int32             // token of the poison; -1: not counted yet
	quarantine map[sequence]bool // the state's list, to look up
	bad        badPass           // of the batch in progress
}

// maxFailedSaves in a row end the run: going on without being able to save is a promise that cannot be kept.
const maxFailedSaves = 3

// loop trains until the planned steps are done, the context is cancelled, or the guard ends the run. It returns the
// last evaluation, which is nil when none was reached.
func (t *trainer) loop(ctx context.Context) (*runlog.Eval, error) {
	var last *runlog.Eval
	for t.state.Step < t.cfg.Train.Steps && t.state.Stopped == "" {
		if ctx.Err() != nil {
			if t.saved != t.state.Step {
				if err := t.save(); err != nil {
					return last, fmt.Errorf("%w (and the save at the interrupt failed)", err)
				}
			}
			return last, ErrInterrupted
		}
		before := t.epoch()
		began := time.Now()
		rec, d, err := t.step()
		if err != nil {
			return last, err
		}
		if d.Action != guard.Apply {
			if err := t.refuse(d); err != nil {
				return last, err
			}
			continue
		}
		seconds := time.Since(began).Seconds()
		rec.TokensPerSecond = runlog.Float(float64(t.batch.Counted) / seconds)
		rec.MemoryBytes = residentBytes()
		if err := t.log.Write(rec); err != nil {
			return last, err
		}
		t.hooks.step(rec, seconds)

		evaluated := false
		if t.evalDue(before) {
			if last, err = t.evaluate(); err != nil {
				return last, err
			}
			evaluated = true
		}
		if t.saveDue(evaluated) {
			if err := t.saveOrGoOn(); err != nil {
				return last, err
			}
		}
	}
	switch {
	case t.state.Stopped != "":
		return t.stopEarly()
	case last == nil: // all steps were done before
		return lastEval(t.dir)
	}
	return last, nil
}

// epoch is the number of whole passes over the training part.
func (t *trainer) epoch() int64 { return t.state.Sequence / t.corpus.train.Sequences() }

// evalDue says whether the step just done ends with an evaluation: at equal distances, at the last step, at the end of
// each cycle of the learning rate, and at the end of an epoch unless there are more epochs than evaluations.
func (t *trainer) evalDue(epochBefore int64) bool {
	every := t.evalEvery()
	switch {
	case t.state.Step == t.cfg.Train.Steps, t.state.Step%every == 0, endsCycle(t.sched, t.state.Step):
		return true
	case t.cfg.Eval.Every == 0 && t.plan.Epochs <= defaultEvals:
		return t.epoch() > epochBefore
	}
	return false
}

func (t *trainer) evalEvery() int64 {
	if t.cfg.Eval.Every > 0 {
		return t.cfg.Eval.Every
	}
	return max(1, t.cfg.Train.Steps/defaultEvals)
}

// saveDue says whether the step just done ends with a save: every evaluation does, so that what is judged can be kept.
func (t *trainer) saveDue(evaluated bool) bool {
	every := t.cfg.Checkpoint.Every
	return evaluated || t.state.Step == t.cfg.Train.Steps || every > 0 && t.state.Step%every == 0
}

// saveOrGoOn saves. A save that fails (a full disk) is told and the run goes on, for what was saved before is
// intact; the last save of a run, and the third in a row, must not fail.
func (t *trainer) saveOrGoOn() error {
	err := t.savePlanned()
	if err == nil {
		t.failed = 0
		t.hooks.note("saved step %d", t.state.Step)
		return nil
	}
	t.failed++
	if t.failed >= maxFailedSaves || t.state.Step == t.cfg.Train.Steps {
		return err
	}
	return t.event(runlog.Event{At: t.at(), Code: "F-SAVE-FAILED", Severity: "error", Action: "go on, save again later", Message: err.Error()})
}

// at is where the run stands, as every record says it.
func (t *trainer) at() runlog.At {
	return runlog.At{Step: t.state.Step, Batch: t.state.Batch, Attempt: t.state.Attempt, Time: time.Now()}
}

// event writes an event to the log and tells it.
func (t *trainer) event(e runlog.Event) error {
	e.Kind, e.Injected = "event", t.tainted(e.Batch)
	t.events = append(t.events, e)
	t.state.Trouble.note(e)
	t.hooks.event(e)
	return t.log.Write(e)
}

// step takes the next batch and makes one update, or refuses it: the decision says which. What the guard saw is recorded
// either way; the record of an update that was made is the caller's to complete and write.
func (t *trainer) step() (rec runlog.Step, d guard.Decision, err error) {
	next := t.loader.Next(&t.batch, t.cursor())
	step := t.state.Step + 1
	switch {
	case len(t.batch.Spans) == 0:
		return rec, d, fmt.Errorf("%w: nothing is left to train on: all sequences are quarantined (%d)", ErrData, len(t.state.Quarantine))
	case t.batch.Counted == 0: // prompts without an answer: the mean of no losses is not a loss
		t.state.Batch, t.state.Sequence = next.Batch, next.Seq
		at := t.at()
		at.Step = step
		return rec, guard.Decision{Action: guard.Skip}, t.event(runlog.Event{At: at, Code: "W-NO-LABELS", Severity: "warning", Action: "take the next batch",
			Message: "no label of the batch counts", Documents: t.describe(t.batch.Spans)})
	}
	t.injectBefore(step, next.Batch)
	grads := t.model.Grads()
	t.model.ClearGrads()
	loss := t.injectAfter(next.Batch, t.accumulate(&t.batch), grads)
	norm := t.adam.GlobalNorm(grads)
	planned := optim.LR(t.sched, step)

	o := guard.Observation{Step: step, Batch: next.Batch, Loss: loss, GradNorm: norm, LR: planned}
	scale, clipErr := optim.ClipScale(norm, t.cfg.Optim.Clip)
	if clipErr == nil {
		o.UpdateRatio = t.adam.Glance(t.model.Params().Flat, grads, step, t.injectLR(next.Batch, planned*t.state.Guard.Scale()), scale)
	}
	if err := t.examine(o, t.injectLR(next.Batch, planned*t.state.Guard.Scale()), scale); err != nil {
		return rec, d, err
	}
	t.state.Guard, d = guard.Next(t.state.Guard, o)
	if err := t.witness(o, d); err != nil {
		return rec, d, err
	}
	t.state.Batch, t.state.Sequence = next.Batch, next.Seq
	if d.Action != guard.Apply {
		return rec, d, nil
	}
	if clipErr != nil { // only a guard that never acts comes here
		scale = 1
	}
	clipped := 0
	if t.layered != nil {
		scale, clipped = t.clipLayered(grads)
	}
	lr := t.injectLR(next.Batch, planned*d.Scale)
	t.adam.Update(t.model.Params().Flat, grads, step, lr, scale)
	t.model.Refresh()
	t.misround(next.Batch)
	t.state.Step = step
	t.state.Tokens += int64(t.batch.Counted)
	rec = runlog.Step{
		Kind: "step", At: t.at(), Tokens: t.state.Tokens, Injected: t.injected(next.Batch),
		Loss: runlog.Float(loss), GradNorm: runlog.Float(norm), LR: runlog.Float(lr), UpdateRatio: runlog.Float(o.UpdateRatio), ClipScale: runlog.Float(scale), ClippedTensors: clipped,
	}
	if d.Scale != 1 {
		rec.LRScale = runlog.Float(d.Scale)
	}
	if lr != planned {
		rec.LRPlanned = runlog.Float(planned)
	}
	return rec, d, nil
}

// clipLayered clips each tensor by its own history and returns how many it clipped, and the factor that clips the global
// norm of what is left.
func (t *trainer) clipLayered(grads []float32) (scale float64, clipped int) {
	norm, clipped := t.layered.Clip(grads)
	t.state.Layered = t.layered.State()
	scale, err := optim.ClipScale(norm, t.cfg.Optim.Clip)
	if err != nil { // only a guard that never acts comes here
		scale = 1
	}
	return scale, clipped
}

// cursor is the place in the data that the run has come to.
func (t *trainer) cursor() data.Cursor {
	return data.Cursor{Batch: t.state.Batch, Seq: t.state.Sequence}
}

// accumulate adds the gradient of the mean loss of a batch to the gradients, micro-batch by micro-batch under one
// denominator, and returns that loss in nats per token.
func (t *trainer) accumulate(b *data.Batch) float64 {
	nats, scale := 0.0, 1/float64(b.Counted)
	t.bad = badPass{micro: -1}
	t.micros = data.SplitMicro(t.micros[:0], b, t.cfg.Train.MicroTokens)
	keys := t.dropoutKeys(len(b.Spans))
	for i, m := range t.micros {
		in := input(m)
		if keys != nil {
			in.Dropout, keys = keys[:len(m.Spans)], keys[len(m.Spans):]
		}
		weight := t.misweigh(m, scale)
		sum := t.model.Backward(in, weight)
		if t.bad.micro < 0 && !finite(sum) {
			t.bad = t.findBad(i)
		}
		nats += sum
		t.injectPassed()
	}
	return nats * scale
}

// input is what the model needs of a micro-batch: it knows no documents.
func input(m data.Micro) model.Input {
	return model.Input{Tokens: m.Tokens, Labels: m.Labels, Counts: m.Counts, Bounds: m.Bounds}
}

// dropoutKeys returns a key for each sequence of the step to come, nil where nothing is dropped. They depend on the
// seed, the step and the sequence's place in the batch, and not on how the batch is cut into passes.
func (t *trainer) dropoutKeys(sequences int) []rng.Key {
	if t.arch.Dropout == 0 {
		return nil
	}
	step := rng.New(t.cfg.Train.Seed, rng.Dropout).Sub(uint64(t.state.Step + 1))
	t.keys = t.keys[:0]
	for i := range sequences {
		t.keys = append(t.keys, step.Sub(uint64(i)))
	}
	return t.keys
}
