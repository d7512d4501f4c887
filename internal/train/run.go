package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/guard"
	"gimbal/internal/runlog"
)

// Options say how a run is started, beside its configuration.
type Options struct {
	Out     string // run directory; empty: runs/<date>-<name>
	From    string // run or checkpoint to take weights and tokenizer from; empty: fresh weights
	DryRun  bool   // plan, one step, one evaluation, one save and one reload, and leave nothing behind
	Workers int    // 0: one per processor that Go may use
	Hooks   Hooks

	// Inject plants faults, each FAULT@STEP or FAULT:TARGET@STEP, so that anyone can watch the guard work; see
	// docs/guards.md. What comes of them is marked as injected in the log.
	Inject []string

	arch      *config.Arch // of the weights that are loaded; nil: fresh ones
	template  string       // of conversations, of the checkpoint that is loaded; text without any keeps it
	fs        durable.FS   // tests; nil: durable.OS
	unchecked bool         // tests: no preflight
	checked   func(*Plan)  // Doctor: ends the run after its preflight
}

// Result is how a run ended.
type Result struct {
	Dir         string       `json:"dir"`
	Reason      string       `json:"reason"` // done, stopped early, already done, dry run, interrupted, "stopped: CODE" or "failed: …"
	Step        int64        `json:"step"`
	Tokens      int64        `json:"tokens"`
	Params      int64        `json:"parameters"`
	ValLoss     float64      `json:"val_loss"`      // nats per token; 0 when no evaluation was made
	BitsPerByte float64      `json:"bits_per_byte"` // of the same
	ValTokens   int64        `json:"val_tokens"`
	Baseline    Baseline     `json:"baseline"`
	Checkpoint  string       `json:"checkpoint"`       // the last one
	Stable      string       `json:"stable,omitempty"` // the one that was chosen, which sample and eval use
	Events      int          `json:"events"`
	Samples     []SampleText `json:"samples,omitempty"`
}

// Run trains from the beginning. It returns what the run came to; with ErrInterrupted and StopError the result is
// what there was until then.
func Run(ctx context.Context, cfg *config.Config, opt Options) (*Result, error) {
	cfg = cfg.Clone()
	docs, tok, base, err := findText(ctx, cfg, opt)
	if err != nil {
		return nil, err
	}
	if base != nil {
		defer base.Close()
		opt.arch = &base.arch
		if opt.template, err = templateOf(base.Checkpoint); err != nil {
			return nil, err
		}
	}
	text, err := prepare(ctx, cfg, docs, tok, opt.Workers)
	if err != nil {
		return nil, err
	}
	defer text.set.Close()
	if note := text.set.ChatNote(); note != "" {
		opt.Hooks.note("%s", note)
	}
	var grams Baseline
	if opt.checked == nil {
		opt.Hooks.note("fitting the n-gram baseline")
		grams = fitBaseline(text)
	}
	debug.FreeOSMemory() // the tables of the tokenizer and the n-grams, before the model takes its place

	t, err := assemble(cfg, text, opt)
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.weights = freshWeights
	t.model.Init(cfg.Train.Seed)
	if base != nil {
		t.weights = baseWeights
		if err := base.load(t.model.Params()); err != nil {
			return nil, err
		}
	}
	t.model.Refresh()
	if err := t.finishPlan(ctx); err != nil {
		return nil, err
	}
	if err := t.plantFaults(opt.Inject); err != nil {
		return nil, err
	}
	t.state.Baseline = grams
	err = t.preflight(opt.Out)
	if opt.checked != nil {
		opt.checked(t.plan)
	}
	if err != nil || opt.checked != nil {
		return nil, err
	}
	if opt.DryRun {
		return t.dryRun()
	}

	dir, lock, err := newDir(opt.Out, label(cfg.Data.Paths, cfg.Model.Preset), time.Now())
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	t.dir, t.plan.Dir = dir, dir
	t.state.Attempt = 1
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.log.Write(runlog.Start{Kind: "start", At: t.at(), Process: t.process("new run")}); err != nil {
		return nil, err
	}
	if err := t.tellPlan(); err != nil {
		return nil, err
	}
	if err := t.savePlanned(); err != nil { // from here on the run can always be resumed
		return nil, err
	}
	return t.train(ctx)
}

// absolutePaths makes the paths of the data independent of the folder from which the run will be resumed.
func absolutePaths(cfg *config.Config) error {
	if len(cfg.Data.Paths) == 0 {
		return nil
	}
	paths := make([]string, len(cfg.Data.Paths))
	for i, p := range cfg.Data.Paths {
		var err error
		if paths[i], err = filepath.Abs(p); err != nil {
			return fmt.Errorf("%w: %w", ErrData, err)
		}
	}
	return cfg.SetPlanned("data.paths", paths, cfg.Origin("data.paths"))
}

// where says which corpus stands in where none was named.
func where(cfg *config.Config) string {
	if len(cfg.Data.Paths) == 0 {
		return ": the source tree of the installed Go, as no --data was given"
	}
	return ""
}

// begin writes the configuration and the tokenizer and opens the log.
func (t *trainer) begin() error {
	tok, err := t.corpus.tok.JSON()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(t.fs, filepath.Join(t.dir, tokenizerName), tok); err != nil {
		return err
	}
	if err := durable.WriteFile(t.fs, filepath.Join(t.dir, configName), t.cfg.TOML()); err != nil {
		return err
	}
	t.log, err = runlog.OpenWriter(t.fs, filepath.Join(t.dir, logName))
	return err
}

// process is what the log says of this process.
func (t *trainer) process(reason string) runlog.Process {
	return runlog.Process{ConfigHash: t.state.ConfigHash, Reason: reason, Version: Version(), Tier: t.exec.Tier().String(), Mode: t.cfg.Numeric.Mode, Workers: t.exec.Workers()}
}

// tellPlan records the plan and tells it.
func (t *trainer) tellPlan() error {
	p, b := t.plan, t.state.Baseline
	if t.hooks.Plan != nil {
		t.hooks.Plan(p)
	}
	rules, err := json.Marshal(t.rules())
	if err != nil {
		return fmt.Errorf("train: rules of the guard: %w", err)
	}
	err = t.log.Write(runlog.Plan{Kind: "plan", At: t.at(), Steps: t.cfg.Train.Steps, Parameters: p.Params, TrainTokens: p.TrainTokens, ValTokens: p.ValTokens,
		MemoryBytes: p.bytes(), BaselineLoss: b.Loss, UnigramLoss: b.Unigram, Guard: rules})
	return errors.Join(err, t.tellProbe(), t.tellPreflight())
}

// reasonEarly is how a run ended that the judge stopped.
const reasonEarly = "stopped early"

// train runs the loop and records how it ended.
func (t *trainer) train(ctx context.Context) (*Result, error) {
	var texts []SampleText
	inner := t.hooks.Eval
	t.hooks.Eval = func(rec runlog.Eval, samples []SampleText) {
		texts = samples
		if inner != nil {
			inner(rec, samples)
		}
	}
	for _, e := range t.corpus.set.Events {
		if err := t.event(runlog.Event{At: t.at(), Code: e.Code, Severity: "warning", Action: "none", Message: e.Text}); err != nil {
			return nil, err
		}
	}
	final, err := t.loop(ctx)
	if err == nil && t.cfg.Judge.Average {
		err = t.average()
	}
	reason := "done"
	var stop *StopError
	switch {
	case errors.Is(err, ErrInterrupted):
		reason = "interrupted"
	case errors.As(err, &stop):
		reason = "stopped: " + stop.Code
	case err != nil:
		reason = "failed: " + err.Error()
	case t.state.Stopped != "":
		reason = reasonEarly
	}
	endErr := t.log.Write(runlog.End{Kind: "end", At: t.at(), Process: t.process(reason), ExitCode: ExitCode(err)})
	err = errors.Join(err, endErr, t.log.Sync(), t.writeReport(reason, final))
	return t.result(reason, final, texts), err
}

func (t *trainer) result(reason string, final *runlog.Eval, texts []SampleText) *Result {
	r := &Result{Dir: t.dir, Reason: reason, Step: t.state.Step, Tokens: t.state.Tokens, Params: t.plan.Params,
		Baseline: t.state.Baseline, Events: len(t.events), Samples: texts}
	if final != nil {
		r.report(final)
	}
	if t.saved >= 0 {
		r.Checkpoint = filepath.Join(t.dir, checkpointsName, fmt.Sprintf("step-%d", t.saved))
	}
	if step, ok := t.marked["stable"]; ok {
		r.Stable = filepath.Join(t.dir, checkpointsName, checkpoint.StepName(step))
	}
	return r
}

// report fills in an evaluation.
func (r *Result) report(e *runlog.Eval) {
	r.ValLoss, r.BitsPerByte, r.ValTokens = float64(e.ValLoss), float64(e.BitsPerByte), int64(e.Metrics[metricTokens])
}

// dryRun makes one step, one evaluation, one save and one reload in a directory that it removes again.
func (t *trainer) dryRun() (*Result, error) {
	dir, err := os.MkdirTemp("", "gimbal-dry-run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	t.dir = dir
	if err := os.MkdirAll(filepath.Join(dir, samplesName), 0o777); err != nil {
		return nil, err
	}
	t.state.Attempt = 1
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.tellPlan(); err != nil {
		return nil, err
	}
	began := time.Now()
	rec, d, err := t.step()
	if err != nil {
		return nil, err
	}
	if d.Action != guard.Apply {
		return nil, &StopError{Code: d.Events[0].Code, Step: 1, Reason: d.Events[0].Message}
	}
	seconds := time.Since(began).Seconds()
	rec.TokensPerSecond = runlog.Float(float64(t.batch.Counted) / seconds)
	t.hooks.step(rec, seconds)
	final, err := t.evaluate()
	if err != nil {
		return nil, err
	}
	if err := t.save(); err != nil {
		return nil, err
	}
	c, err := checkpoint.Open(t.fs, filepath.Join(dir, checkpointsName, fmt.Sprintf("step-%d", t.state.Step)))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := t.restore(c); err != nil {
		return nil, err
	}
	t.hooks.note("one step, one evaluation, one save and one reload went well; nothing was left behind")
	r := t.result("dry run", final, nil)
	r.Dir, r.Checkpoint = "", ""
	return r, nil
}
