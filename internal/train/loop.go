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

	corpus *corpus
	arch   config.Arch
	exec   *kernel.Exec
	model  *model.Model[float32]
	adam   *optim.AdamW[float32]
	sched  optim.Schedule
	loader *data.Loader

	decoder *model.Decoder[float32] // made at the first evaluation, like the next two
	writer  *writer
	judge   *judge.Judge
	report  *judge.Report // of the last evaluation of this attempt

	log    *runlog.Writer
	state  state
	saved  int64            // step of the newest checkpoint; -1: none
	marked map[string]int64 // of the newest save: which step has which name
	failed int              // saves that failed since the last that did not
	events []runlog.Event   // of this attempt

	batch  data.Batch
	micros []data.Micro
	keys   []rng.Key

	// plant lets a test put a fault into the gradients of a step, after they are summed.
	plant func(step int64, loss *float64, grads []float32)
}

// maxFailedSaves in a row end the run: going on without being able to save is a promise that cannot be kept.
const maxFailedSaves = 3

// loop trains until the planned steps are done, the context is cancelled, or the guard ends the run. It returns the
// last evaluation, which is nil when none was reached.
func (t *trainer) loop(ctx context.Context) (*runlog.Eval, error) {
	var last *runlog.Eval
	for t.state.Step < t.cfg.Train.Steps {
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
		rec, err := t.step()
		if err != nil {
			return last, err
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
		if t.state.Stopped != "" {
			return t.stopEarly()
		}
	}
	return last, nil
}

// epoch is the number of whole passes over the training part.
func (t *trainer) epoch() int64 { return t.state.Sequence / t.corpus.train.Sequences() }

// evalDue says whether the step just done ends with an evaluation: at equal distances, at the last step, and at the
// end of an epoch unless there are more epochs than evaluations.
func (t *trainer) evalDue(epochBefore int64) bool {
	every := t.evalEvery()
	switch {
	case t.state.Step == t.cfg.Train.Steps, t.state.Step%every == 0:
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
	err := t.save()
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
	e.Kind = "event"
	t.events = append(t.events, e)
	t.state.Trouble.note(e)
	t.hooks.event(e)
	return t.log.Write(e)
}

// step makes one update, or returns a StopError and changes nothing.
func (t *trainer) step() (runlog.Step, error) {
	next := t.loader.Next(&t.batch, data.Cursor{Batch: t.state.Batch, Seq: t.state.Sequence})
	grads := t.model.Grads()
	clear(grads)
	loss := t.accumulate(&t.batch)
	step := t.state.Step + 1
	if t.plant != nil {
		planted := loss // of its own, so that loss stays off the heap
		t.plant(step, &planted, grads)
		loss = planted
	}
	norm := t.adam.GlobalNorm(grads)

	gs, decision := guard.Next(t.state.Guard, guard.Observation{Step: step, Loss: loss, GradNorm: norm})
	if decision.Action != guard.Apply {
		return runlog.Step{}, t.refuse(step, loss, norm, decision)
	}
	scale, err := optim.ClipScale(norm, t.cfg.Optim.Clip)
	if err != nil {
		return runlog.Step{}, err
	}
	lr := optim.LR(t.sched, step)
	t.adam.Update(t.model.Params().Flat, grads, step, lr, scale)
	t.model.Refresh()

	t.state.Step, t.state.Guard = step, gs
	t.state.Batch, t.state.Sequence = next.Batch, next.Seq
	t.state.Tokens += int64(t.batch.Counted)
	return runlog.Step{
		Kind: "step", At: t.at(), Tokens: t.state.Tokens,
		Loss: runlog.Float(loss), GradNorm: runlog.Float(norm), LR: runlog.Float(lr), ClipScale: runlog.Float(scale),
	}, nil
}

// accumulate adds the gradient of the mean loss of a batch to the gradients, micro-batch by micro-batch under one
// denominator, and returns that loss in nats per token.
func (t *trainer) accumulate(b *data.Batch) float64 {
	nats, scale := 0.0, 1/float64(b.Counted)
	t.micros = data.SplitMicro(t.micros[:0], b, t.cfg.Train.MicroTokens)
	keys := t.dropoutKeys(len(b.Spans))
	for _, m := range t.micros {
		in := input(m)
		if keys != nil {
			in.Dropout, keys = keys[:len(m.Spans)], keys[len(m.Spans):]
		}
		nats += t.model.Backward(in, scale)
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

// refuse ends the run before an update that must not be made: it finds what is bad, records it, and leaves
// weights and moments as they are.
func (t *trainer) refuse(step int64, loss, norm float64, d guard.Decision) error {
	e := d.Events[0]
	stop := &StopError{Code: e.Code, Step: step, Reason: e.Message}
	if name, index, _, bad := t.model.Params().FirstNonFinite(t.model.Grads()); bad {
		stop.Tensor = fmt.Sprintf("%s[%d] (gradient)", name, index)
	}
	if name, index, _, bad := t.model.Params().FirstNonFinite(t.model.Params().Flat); bad {
		stop.Tensor = fmt.Sprintf("%s[%d] (weight)", name, index)
	}
	stop.Documents = t.blame()
	at := t.at()
	at.Step = step // the update that was refused
	err := t.event(runlog.Event{
		At: at, Code: e.Code, Severity: e.Severity, Action: e.Action, Message: e.Message,
		Tensor: stop.Tensor, Documents: stop.Documents,
		Numbers: map[string]runlog.Float{"loss": runlog.Float(loss), "grad_norm": runlog.Float(norm)},
	})
	if err != nil {
		return err
	}
	return stop
}

// blame names the documents whose sequences alone give a loss or a gradient that is not finite. It runs the batch
// again, one sequence at a time; where no single one is guilty it names the whole batch.
func (t *trainer) blame() []string {
	var guilty, all []string
	grads := t.model.Grads()
	b := &t.batch
	for _, s := range b.Spans {
		where, lo, hi := t.corpus.set.Describe(s.Doc), s.Start, s.Start+s.Len
		all = append(all, where)
		clear(grads)
		alone := model.Input{Tokens: b.Tokens[lo:hi], Labels: b.Labels[lo:hi], Counts: b.Counts[lo:hi], Bounds: []int32{0, int32(s.Len)}}
		nats := t.model.Backward(alone, 1/float64(b.Counted))
		if _, d := guard.Next(guard.New(guard.Rules{Act: true}), guard.Observation{Loss: nats, GradNorm: t.adam.GlobalNorm(grads)}); d.Action != guard.Apply {
			guilty = append(guilty, where)
		}
	}
	clear(grads)
	if len(guilty) == 0 {
		guilty = all
	}
	const limit = 8
	if len(guilty) > limit {
		guilty = append(guilty[:limit:limit], fmt.Sprintf("and %d more", len(guilty)-limit))
	}
	return guilty
}
