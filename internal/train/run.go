package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/optim"
	"gimbal/internal/runlog"
	"gimbal/internal/tokenizer"
)

// Options say how a run is started, beside its configuration.
type Options struct {
	Out     string // run directory; empty: runs/<date>-<name>
	From    string // run or checkpoint to take weights and tokenizer from; empty: fresh weights
	DryRun  bool   // plan, one step, one evaluation, one save and one reload, and leave nothing behind
	Workers int    // 0: one per processor that Go may use
	Hooks   Hooks

	fs    durable.FS                                       // tests; nil: durable.OS
	plant func(step int64, loss *float64, grads []float32) // tests
}

// Result is how a run ended.
type Result struct {
	Dir         string       `json:"dir"`
	Reason      string       `json:"reason"` // done, already done, dry run
	Step        int64        `json:"step"`
	Tokens      int64        `json:"tokens"`
	Params      int64        `json:"parameters"`
	ValLoss     float64      `json:"val_loss"`      // nats per token; 0 when no evaluation was made
	BitsPerByte float64      `json:"bits_per_byte"` // of the same
	ValTokens   int64        `json:"val_tokens"`
	Baseline    Baseline     `json:"baseline"`
	Checkpoint  string       `json:"checkpoint"` // the last one
	Events      int          `json:"events"`
	Samples     []SampleText `json:"samples,omitempty"`
}

// Run trains from the beginning. It returns what the run came to; with ErrInterrupted and StopError the result is
// what there was until then.
func Run(ctx context.Context, cfg *config.Config, opt Options) (*Result, error) {
	cfg = cfg.Clone()
	if err := absolutePaths(cfg); err != nil {
		return nil, err
	}
	docs, err := discover(cfg)
	if err != nil {
		return nil, err
	}
	opt.Hooks.note("found %s of text in %d files%s", bytesText(docs.Bytes()), len(docs.Sources), where(cfg))
	base, err := openBase(opt.From)
	if err != nil {
		return nil, err
	}
	var tok *tokenizer.Tokenizer
	if base != nil {
		defer base.Close()
		tok = base.tok
	} else {
		if err := choosePreset(cfg, docs.Bytes()); err != nil {
			return nil, err
		}
		if tok, err = makeTokenizer(ctx, cfg, docs, opt.Workers, opt.Hooks.note); err != nil {
			return nil, err
		}
	}
	t, err := assemble(ctx, cfg, docs, tok, base, opt)
	if err != nil {
		return nil, err
	}
	defer t.close()
	t.model.Init(cfg.Train.Seed)
	if base != nil {
		if err := base.load(t.model.Params()); err != nil {
			return nil, err
		}
	}
	t.model.Refresh()
	if err := t.finishPlan(); err != nil {
		return nil, err
	}
	opt.Hooks.note("fitting the n-gram baseline")
	t.state.Baseline = fitBaseline(t.corpus)
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

// assemble makes everything a run needs but its directory: corpus, model, optimizer, schedule and plan.
func assemble(ctx context.Context, cfg *config.Config, docs *data.Corpus, tok *tokenizer.Tokenizer, base *base, opt Options) (_ *trainer, err error) {
	if cfg.Numeric.Mode == "bf16" {
		return nil, &config.Error{Faults: []config.Fault{{Where: cfg.Origin("numeric.mode"), Key: "numeric.mode", Text: "this version trains in fp32 only; use fp32 or auto"}}}
	}
	t := &trainer{fs: opt.fs, cfg: cfg, hooks: opt.Hooks, plant: opt.plant}
	if t.fs == nil {
		t.fs = durable.OS
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.corpus, err = prepare(ctx, cfg, docs, tok, opt.Workers); err != nil {
		return nil, err
	}
	if base != nil {
		t.arch = base.arch
		t.arch.Context = cfg.Train.Context
	} else if t.arch, err = cfg.Arch(tok.VocabSize()); err != nil {
		return nil, err
	}
	if t.exec, err = kernel.NewExec(opt.Workers, kernel.TierAuto); err != nil {
		return nil, &config.Error{Faults: []config.Fault{{Text: err.Error()}}}
	}
	if warning := t.exec.Warning(); warning != "" {
		t.hooks.note("warning: %s", warning)
	}
	if cfg.Train.MicroTokens == 0 {
		micro := min(cfg.Train.BatchTokens, max(cfg.Train.Context, autoMicro))
		if err := cfg.SetPlanned("train.micro_tokens", micro, "planned: large enough for the multiplies"); err != nil {
			return nil, err
		}
	}
	if err := t.planMemory(); err != nil {
		return nil, err
	}
	if t.model, err = model.New[float32](t.arch, t.exec, t.modelOptions()); err != nil {
		return nil, err
	}
	p := t.model.Params()
	segments := make([]optim.Segment, len(p.Views))
	for i, v := range p.Views {
		segments[i] = optim.Segment{Lo: v.Lo, Hi: v.Hi, Decay: v.Decay}
	}
	o := cfg.Optim
	t.adam = optim.NewAdamW[float32](t.exec, len(p.Flat), segments, optim.Options{
		Beta1: o.Beta1, Beta2: o.Beta2At(cfg.Train.BatchTokens), Eps: o.Eps, WeightDecay: o.WeightDecay})
	if t.loader, err = data.NewLoader(t.corpus.train, cfg.Train.Seed, cfg.Train.BatchTokens); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *trainer) modelOptions() model.Options {
	return model.Options{MicroTokens: t.cfg.Train.MicroTokens, Checkpointing: t.cfg.Numeric.Checkpointing, Workers: t.exec.Workers()}
}

// planMemory picks the cheapest checkpointing that fits the memory there is, and refuses what does not fit at all.
func (t *trainer) planMemory() error {
	modes := []string{t.cfg.Numeric.Checkpointing}
	if modes[0] == "auto" {
		modes = []string{"none", "attention", "block"}
	}
	total, _ := t.arch.Params()
	free := freeMemory()
	t.plan = &Plan{Config: t.cfg, Arch: t.arch, Moments: 8 * total}
	for _, mode := range modes {
		opt := t.modelOptions()
		opt.Checkpointing = mode
		t.plan.Memory = model.Memory(t.arch, opt)
		if free == 0 || float64(t.plan.bytes()) <= memoryShare*float64(free) {
			if t.cfg.Numeric.Checkpointing == "auto" {
				return t.cfg.SetPlanned("numeric.checkpointing", mode, "planned: the fastest that fits the memory")
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the run needs %s and %s are free; lower train.micro_tokens (%d), train.context or the size of the model",
		ErrMemory, bytesText(t.plan.bytes()), bytesText(free), t.cfg.Train.MicroTokens)
}

// finishPlan decides what is still open (the number of steps, from the speed of a trial pass) and completes the plan.
func (t *trainer) finishPlan() error {
	speed := 0.0
	if t.cfg.Train.Steps == 0 {
		speed = t.trialSpeed()
		if err := planSteps(t.cfg, t.corpus.train.Tokens(), speed); err != nil {
			return err
		}
	}
	if err := t.cfg.Check(); err != nil {
		return err
	}
	sched, rates, warning, capped, err := schedule(t.cfg, t.arch)
	if err != nil {
		return &config.Error{Faults: []config.Fault{{Where: t.cfg.Origin("optim.lr"), Key: "optim.lr", Text: err.Error()}}}
	}
	if warning != "" {
		t.hooks.note("warning: %s", warning)
	}
	t.sched = sched
	p := t.plan
	p.Params, p.Multiplied = t.arch.Params()
	p.Census, p.SplitBy = t.corpus.set.Census(), t.corpus.set.SplitNote
	p.TrainTokens, p.ValTokens = t.corpus.train.Tokens(), t.corpus.val.Tokens()
	p.Epochs = float64(t.cfg.Train.Steps) * float64(t.cfg.Train.BatchTokens) / float64(p.TrainTokens)
	p.Schedule, p.Rates, p.Capped = sched, rates, capped
	p.Tier, p.Workers, p.Speed = t.exec.Tier(), t.exec.Workers(), speed
	if speed > 0 {
		p.Estimated = time.Duration(float64(t.cfg.Train.Steps) * float64(t.cfg.Train.BatchTokens) / speed * float64(time.Second))
	}
	t.state = state{Version: stateVersion, ConfigHash: t.cfg.Hash(), DataHash: t.corpus.set.Hash, TokenizerHash: t.corpus.tok.Hash(),
		Numerics: fmt.Sprintf("%s fp32", t.exec.Tier())}
	return nil
}

// trialSpeed measures tokens per second on the first batch. It changes nothing: gradients are cleared, nothing is
// updated, and random numbers have no state.
func (t *trainer) trialSpeed() float64 {
	t.loader.Next(&t.batch, data.Cursor{})
	best := 0.0
	for range 3 {
		began := time.Now()
		t.accumulate(&t.batch)
		best = max(best, float64(t.batch.Counted)/time.Since(began).Seconds())
	}
	clear(t.model.Grads())
	const updateShare = 0.9 // what norm, update and records leave of it
	return updateShare * best
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
	return runlog.Process{ConfigHash: t.state.ConfigHash, Reason: reason, Version: Version(), Tier: t.exec.Tier().String(), Mode: "fp32", Workers: t.exec.Workers()}
}

// tellPlan records the plan and tells it.
func (t *trainer) tellPlan() error {
	p, b := t.plan, t.state.Baseline
	if t.hooks.Plan != nil {
		t.hooks.Plan(p)
	}
	return t.log.Write(runlog.Plan{Kind: "plan", At: t.at(), Steps: t.cfg.Train.Steps, Parameters: p.Params, TrainTokens: p.TrainTokens, ValTokens: p.ValTokens,
		MemoryBytes: p.bytes(), BaselineLoss: b.Loss, UnigramLoss: b.Unigram})
}

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
	reason := "done"
	var stop *StopError
	switch {
	case errors.Is(err, ErrInterrupted):
		reason = "interrupted"
	case errors.As(err, &stop):
		reason = "stopped: " + stop.Code
	case err != nil:
		reason = "failed: " + err.Error()
	}
	endErr := t.log.Write(runlog.End{Kind: "end", At: t.at(), Process: t.process(reason)})
	err = errors.Join(err, endErr, t.log.Sync(), t.writeReport(reason, final))
	return t.result(reason, final, texts), err
}

func (t *trainer) result(reason string, final *runlog.Eval, texts []SampleText) *Result {
	r := &Result{Dir: t.dir, Reason: reason, Step: t.state.Step, Tokens: t.state.Tokens, Params: t.plan.Params,
		Baseline: t.state.Baseline, Events: len(t.events), Samples: texts}
	if final != nil {
		r.ValLoss, r.BitsPerByte, r.ValTokens = float64(final.ValLoss), float64(final.BitsPerByte), int64(final.Metrics[metricTokens])
	}
	if t.saved > 0 {
		r.Checkpoint = filepath.Join(t.dir, checkpointsName, fmt.Sprintf("step-%d", t.saved))
	}
	return r
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
	rec, err := t.step()
	if err != nil {
		return nil, err
	}
	t.hooks.step(rec, time.Since(began).Seconds())
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

// close gives back everything that is held; it may be called at any stage.
func (t *trainer) close() {
	if t.log != nil {
		t.log.Close()
	}
	if t.exec != nil {
		t.exec.Close()
	}
	if t.corpus != nil {
		t.corpus.set.Close()
	}
}
