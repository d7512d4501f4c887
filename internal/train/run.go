package train

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/engine"
	"gimbal/internal/evaluate"
	"gimbal/internal/exit"
	"gimbal/internal/faults"
	"gimbal/internal/mirror"
	"gimbal/internal/optim"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
	"gimbal/internal/runstate"
)

// Options say how a run is started, beside its configuration.
type Options struct {
	Out     string // run directory; empty: runs/<date>-<name>
	From    string // run or checkpoint to take weights and tokenizer from; empty: fresh weights
	Workers int    // 0: one per processor that Go may use
	Hooks   Hooks

	// Inject plants faults, each FAULT@STEP or FAULT:TARGET@STEP, so that anyone can watch the guard work; see
	// docs/guards.md. What comes of them is marked as injected in the log.
	Inject []string

	seams
}

// seams are what tests put something else in place of.
type seams struct {
	opener    engine.Opener // nil: the CPU's
	fs        durable.FS    // nil: durable.Inside the run
	unchecked bool          // no preflight
}

// run is one run in progress.
type run struct {
	start  start
	plan   *plan.Plan
	checks *runlog.Preflight // nil: not made
	text   *data.Text
	kept   *data.Text       // that the weights should not forget; nil: none was named
	tasks  []*evaluate.Task // that each evaluation asks
	opener engine.Opener
	engine engine.Engine
	opened engine.Spec   // of the engine
	faults *faults.Set   // planted on purpose; nil: none
	again  ResumeOptions // with which the run goes on after a lost device

	feed      *runstate.Feed
	acc       *engine.Accumulator
	layered   *optim.Layered // nil without optim.agc
	evaluator *evaluate.Evaluator
	written   *evaluate.Writing // at the last evaluation of this attempt; zero: nothing was
	record    *recorder
	store     *runstate.Store
	mirror    *mirror.Mirror    // nil: the run has no second copy
	named     bool              // somebody named its place with this command
	files     map[string][]byte // of every checkpoint; nil: not yet made
	state     runstate.State
	whole     bool // the state is that after a step, and not of one in progress
}

// Run trains from the beginning. It returns what the run came to; with ErrInterrupted and StopError the result is
// what there was until then.
func Run(ctx context.Context, cfg *config.Config, opt Options) (*Result, error) {
	t, err := prepare(ctx, cfg, opt, false)
	defer t.close()
	if err = exit.Preparing(ctx, err, exit.NothingBegun); err != nil {
		return nil, err
	}
	asked := t.plan.Config
	dir, lock, err := rundir.Create(opt.Out, rundir.Label(asked.Data.Paths, asked.Model.Preset), time.Now())
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	t.store.Dir, t.store.FS = dir, cmp.Or(t.store.FS, durable.Inside(dir))
	t.state.Attempt, t.named = 1, true
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.record.write(runlog.Start{Kind: "start", At: t.at(), Process: t.process("new run")}); err != nil {
		return nil, err
	}
	if err := t.recordPlan(); err != nil {
		return nil, err
	}
	if err := t.save(true); err != nil { // from here on the run can always be resumed
		return nil, err
	}
	return t.train(ctx)
}

// begin writes the configuration and the tokenizer and opens the log.
func (t *run) begin() error {
	tok, err := t.text.Tok.JSON()
	if err != nil {
		return err
	}
	s := t.store
	if err := durable.WriteFile(s.FS, filepath.Join(s.Dir, rundir.TokenizerFile), tok); err != nil {
		return err
	}
	if err := durable.WriteFile(s.FS, filepath.Join(s.Dir, rundir.ConfigFile), t.plan.Config.TOML()); err != nil {
		return err
	}
	t.record.log, err = s.OpenLog()
	return err
}

// process is what the log says of this process.
func (t *run) process(reason string) runlog.Process {
	return runlog.Process{ConfigHash: t.state.ConfigHash, Reason: reason, Version: runlog.Version(),
		Tier: t.plan.Hardware.Name, Mode: t.plan.Config.Numeric.Mode, Workers: t.plan.Hardware.Workers}
}

// recordPlan records the plan, what was measured for it and what the preflight found, and tells it.
func (t *run) recordPlan() error {
	p, b := t.plan, t.state.Baseline
	expected := t.expected()
	t.record.plan(p, t.store.Dir, expected)
	rules, err := json.Marshal(t.plan.Rules(t.state.RateLimit))
	if err != nil {
		return err
	}
	err = t.record.write(runlog.Plan{Kind: "plan", At: t.at(), Steps: p.Config.Train.Steps, Parameters: p.Params,
		TrainTokens: p.Text.Train, ValTokens: p.Text.Val, MemoryBytes: p.Memory.Total(), BaselineLoss: b.Loss,
		UnigramLoss: b.Unigram, ExpectedLoss: runlog.Float(expected.Value), ExpectedLow: runlog.Float(expected.Low),
		ExpectedHigh: runlog.Float(expected.High), Guard: rules})
	if err != nil {
		return err
	}
	if r := p.Rate.Test; r != nil && r.RangeTest != nil {
		argmin, best, _ := r.Argmin()
		err := t.record.write(runlog.Probe{At: t.at(), LR: runlog.Float(p.Rate.Schedule.Peak), Argmin: runlog.Float(argmin),
			Best: runlog.Float(best), Planned: r.Steps, Diverged: r.Diverged, Message: r.Message, Rates: runlog.Floats(r.Rates),
			Losses: runlog.Floats(r.Losses), Smoothed: runlog.Floats(r.Smoothed), Seconds: runlog.Float(r.Seconds)})
		if err != nil {
			return err
		}
	}
	if err := t.recordPreflight(); err != nil {
		return err
	}
	return t.openMirror()
}

// expected is the loss that the last evaluation is expected to find.
func (t *run) expected() plan.Expected {
	b := t.state.Baseline
	return t.plan.Expect(float64(b.Loss), float64(b.Unigram))
}

// recordPreflight records every check, and every warning as an event.
func (t *run) recordPreflight() error {
	rec := t.checks
	if rec == nil {
		return nil
	}
	rec.At = t.at()
	if err := t.record.write(*rec); err != nil {
		return err
	}
	for _, e := range preflight.Events(rec, t.start.begun()) {
		e.At = t.at()
		if err := t.event(e); err != nil {
			return err
		}
	}
	return nil
}

// reasonEarly is how a run ended that the judge stopped.
const reasonEarly = "stopped early"

// train runs the loop and records how it ended.
func (t *run) train(ctx context.Context) (*Result, error) {
	for _, e := range t.text.Set.Events {
		err := t.event(runlog.Event{At: t.at(), Code: e.Code, Severity: "warning", Action: "none", Message: e.Text})
		if err != nil {
			return nil, err
		}
	}
	final, err := t.guarded(ctx)
	err = errors.Join(err, t.awaitSave(), t.watchOutput())
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = ErrInterrupted
	}
	reason, next := "done", ""
	var stop *StopError
	switch {
	case errors.Is(err, ErrInterrupted):
		reason = "interrupted"
	case errors.As(err, &stop):
		reason, next = "stopped: "+stop.Code, runs.Again(t.store.Dir, stop.From, stop.LR)
	case err != nil:
		reason = "failed: " + err.Error()
	case t.state.Stopped != "":
		reason = reasonEarly
	}
	err = errors.Join(err, t.writeReport(reason, next, final)) // first: an end record says that there is a report
	end := runlog.End{Kind: "end", At: t.at(), Process: t.process(reason), ExitCode: exit.Of(err)}
	err = errors.Join(err, t.record.write(end), t.record.log.Sync())
	t.endMirror(reason == "interrupted")
	return t.result(reason, final), err
}

// close gives back everything that is held; it may be called at any stage.
func (t *run) close() {
	if t == nil {
		return
	}
	t.store.Close()
	t.mirror.Close(0) // after an error
	t.record.close()
	if t.engine != nil {
		t.engine.Close()
	}
	if t.opener != nil {
		t.opener.Close()
	}
	t.text.Set.Close()
	if t.kept != nil {
		t.kept.Set.Close()
	}
}

// Result is how a run ended.
type Result struct {
	Dir string `json:"dir"`
	// Reason is done, stopped early, already done, interrupted, "stopped: CODE" or "failed: …".
	Reason      string            `json:"reason"`
	Step        int64             `json:"step"`
	Tokens      int64             `json:"tokens"`
	Params      int64             `json:"parameters"`
	ValLoss     float64           `json:"val_loss"`      // nats per token; 0 when no evaluation was made
	BitsPerByte float64           `json:"bits_per_byte"` // of the same
	ValTokens   int64             `json:"val_tokens"`
	Baseline    runlog.Baseline   `json:"baseline"`
	Checkpoint  string            `json:"checkpoint"`       // the last one
	Stable      string            `json:"stable,omitempty"` // the one that was chosen, which sample and eval use
	Expected    plan.Expected     `json:"-"`                // loss, as it was planned
	Tuned       *runstate.Tuned   `json:"-"`                // nil: the weights were fresh
	Events      int               `json:"events"`           // of all attempts
	Codes       map[string]int    `json:"event_codes"`      // of them, by code
	Refused     int               `json:"refused"`          // updates that were not made, in all attempts
	Samples     []evaluate.Sample `json:"samples,omitempty"`

	StableReason string `json:"-"` // why the stable one was chosen, in a sentence
}

func (t *run) result(reason string, final *runlog.Eval) *Result {
	r := &Result{Dir: t.store.Dir, Reason: reason, Step: t.state.Step, Tokens: t.state.Tokens, Params: t.plan.Params,
		Baseline: t.state.Baseline, Events: len(t.record.events), Codes: map[string]int{}, Refused: t.record.refused,
		Samples: t.written.Shown(shownTexts), Expected: t.expected()}
	for _, e := range t.record.events {
		r.Codes[e.Code]++
	}
	if final != nil {
		r.report(final)
	}
	r.Tuned = t.state.Tuned(t.store.Marked)
	if t.store.Saved >= 0 {
		r.Checkpoint = t.store.Checkpoint(t.store.Saved)
	}
	if step, ok := t.store.Marked[runstate.MarkStable]; ok && step >= 0 {
		r.Stable = t.store.Checkpoint(step)
		if choice, err := t.choose(); err == nil && choice.Step == step {
			r.StableReason = choice.Reason
		}
	}
	return r
}

// report fills in an evaluation.
func (r *Result) report(e *runlog.Eval) {
	r.ValLoss, r.BitsPerByte = float64(e.ValLoss), float64(e.BitsPerByte)
	r.ValTokens = int64(e.Metrics[evaluate.MetricTokens])
}
