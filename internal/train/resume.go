package train

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// ResumeOptions say how a run is continued.
type ResumeOptions struct {
	Steps   int64 // new number of steps; 0: as planned
	Workers int
	Hooks   Hooks
}

// Resume continues a run from its newest checkpoint that verifies. Weights, moments and log become the same bits as
// if it had never stopped, on the same kernel tier. A run that is done says so and returns. Where there is nothing
// valid to resume, or the data changed, the error matches ErrResume: it never starts over.
func Resume(ctx context.Context, dir string, opt ResumeOptions) (*Result, error) {
	cfg, err := runConfig(dir)
	if err != nil {
		return nil, err
	}
	lock, err := durable.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResume, err)
	}
	defer lock.Unlock()

	c, refused, saved, err := newestState(dir)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	extended := opt.Steps != 0 && opt.Steps != cfg.Train.Steps
	if extended {
		if opt.Steps < saved.Step {
			return nil, fmt.Errorf("%w: --steps %d is less than the %d steps already done", ErrResume, opt.Steps, saved.Step)
		}
		if err := cfg.SetPlanned("train.steps", opt.Steps, fmt.Sprintf("resume --steps at step %d, %d before", saved.Step, cfg.Train.Steps)); err != nil {
			return nil, err
		}
	}
	unaveraged := false // it ended, but died before the average was made
	if cfg.Judge.Average && !extended && (saved.Stopped != "" || saved.Step >= cfg.Train.Steps) {
		if unaveraged, err = lacksAverage(dir, saved.Step); err != nil {
			return nil, err
		}
	}
	if saved.Stopped != "" && !extended && !unaveraged && saved.Step < cfg.Train.Steps {
		opt.Hooks.note("%s was stopped early at step %d of %d (%s); \"gimbal resume %s --steps N\" goes on with another number of steps", dir, saved.Step, cfg.Train.Steps, saved.Stopped, dir)
		return alreadyDone(dir, c, saved)
	}
	if saved.Step >= cfg.Train.Steps && !unaveraged {
		for _, r := range refused {
			opt.Hooks.note("refused %s", r)
		}
		opt.Hooks.note("%s is done: %d of %d steps; \"gimbal resume %s --steps N\" extends it", dir, saved.Step, cfg.Train.Steps, dir)
		return alreadyDone(dir, c, saved)
	}
	text, arch, err := reprepare(ctx, cfg, c, saved, opt.Workers)
	if err != nil {
		return nil, err
	}
	defer text.set.Close()
	template, err := templateOf(c)
	if err != nil {
		return nil, err
	}
	t, err := assemble(cfg, text, Options{Workers: opt.Workers, Hooks: opt.Hooks, arch: arch, template: template})
	if err != nil {
		return nil, err
	}
	defer t.close()
	if err := t.finishPlan(ctx); err != nil {
		return nil, err
	}
	t.dir, t.plan.Dir = dir, dir
	hash := t.state.ConfigHash
	numerics := t.state.Numerics
	if err := t.restore(c); err != nil {
		return nil, err
	}
	t.longer = extended
	if err := t.preflight(dir); err != nil {
		return nil, err
	}
	if !t.calm() {
		opt.Hooks.note("warning: %s was saved soon after %v; the run goes on from it as it would have gone on by itself", c.Path(), t.state.Trouble.Codes)
	}
	if saved.Numerics != numerics {
		opt.Hooks.note("warning: the run computed on %s and goes on with %s: its bits will differ from those of an unbroken run", saved.Numerics, numerics)
	}
	t.state.ConfigHash, t.state.Numerics = hash, numerics
	t.state.Guard.Rules = t.rules()
	t.applyQuarantine()
	if err := t.restoreFaults(); err != nil {
		return nil, err
	}
	t.state.Attempt = saved.Attempt + 1
	if t.log, err = runlog.OpenWriter(t.fs, filepath.Join(dir, logName)); err != nil {
		return nil, err
	}
	past, err := runlog.Read(t.fs, filepath.Join(dir, logName))
	if err != nil {
		return nil, err
	}
	for _, r := range past.Records { // an attempt that never came to a save has left only its records
		t.state.Attempt = max(t.state.Attempt, r.At.Attempt+1)
	}
	reason := "continue"
	if extended {
		t.state.Stopped = "" // somebody wants it to go on
		reason = "extended: " + cfg.Origin("train.steps")
		if err := durable.WriteFile(t.fs, filepath.Join(dir, configName), cfg.TOML()); err != nil {
			return nil, err
		}
	}
	if !extended && hash != saved.ConfigHash {
		reason = "continue with an edited configuration"
		opt.Hooks.note("warning: %s was edited since the run began: from here on it is another run", configName)
	}
	if err := t.log.Write(runlog.Resume{Kind: "resume", At: t.at(), Process: t.process(reason), Checkpoint: c.Path(), Refused: refused}); err != nil {
		return nil, err
	}
	for _, r := range refused {
		if err := t.event(runlog.Event{At: t.at(), Code: "F-CHECKPOINT-REFUSED", Severity: "error", Action: "took an older one", Message: r}); err != nil {
			return nil, err
		}
	}
	opt.Hooks.note("resuming %s at step %d of %d, attempt %d", dir, t.state.Step, cfg.Train.Steps, t.state.Attempt)
	if err := t.tellPlan(); err != nil {
		return nil, err
	}
	return t.train(ctx)
}

// runConfig reads the configuration of the run in dir.
func runConfig(dir string) (*config.Config, error) {
	raw, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return nil, fmt.Errorf("%w: %s holds no run: %w", ErrResume, dir, err)
	}
	cfg, err := config.Reread(configName, raw, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResume, err)
	}
	return cfg, nil
}

// newestState opens the newest checkpoint of a run that verifies, tells which were refused, and reads its state.
func newestState(dir string) (c *checkpoint.Checkpoint, refused []string, saved state, err error) {
	if c, refused, err = newest(dir); err != nil {
		return nil, nil, saved, err
	}
	if saved, err = readState(c); err != nil {
		c.Close()
		return nil, nil, saved, err
	}
	return c, refused, saved, nil
}

// alreadyDone is the result of a run that ended before.
func alreadyDone(dir string, c *checkpoint.Checkpoint, saved state) (*Result, error) {
	r := &Result{Dir: dir, Reason: "already done", Step: saved.Step, Tokens: saved.Tokens, Baseline: saved.Baseline, Checkpoint: c.Path()}
	_, arch, err := Describe(c)
	if err != nil {
		return nil, err
	}
	r.Params, _ = arch.Params()
	last, err := lastEval(dir)
	if err == nil && last != nil {
		r.report(last)
	}
	return r, err
}

// lastEval returns the last evaluation in the log of a run, nil if there is none.
func lastEval(dir string) (*runlog.Eval, error) {
	past, err := runlog.Read(durable.OS, filepath.Join(dir, logName))
	if err != nil {
		return nil, err
	}
	evals := runlog.All[runlog.Eval](past.Effective())
	if len(evals) == 0 {
		return nil, nil
	}
	return &evals[len(evals)-1], nil
}

// newest opens the newest checkpoint of a run that verifies, and tells which it refused and why.
func newest(dir string) (*checkpoint.Checkpoint, []string, error) {
	path, bad, err := checkpoint.Newest(durable.OS, filepath.Join(dir, checkpointsName))
	var refused []string
	for _, r := range bad {
		refused = append(refused, fmt.Sprintf("%s: %v", r.Path, r.Err))
	}
	if err != nil {
		if len(refused) > 0 {
			return nil, nil, fmt.Errorf("%w: no checkpoint of %s is whole: %w\n  %s", ErrResume, dir, err, strings.Join(refused, "\n  "))
		}
		return nil, nil, fmt.Errorf("%w: %s has no checkpoint, it ended before its first save; delete it and start again: %w", ErrResume, dir, err)
	}
	c, err := checkpoint.Open(durable.OS, path)
	return c, refused, err
}

// readState reads the state of a checkpoint.
func readState(c *checkpoint.Checkpoint) (s state, err error) {
	raw, err := c.File(stateName)
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrResume, err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("%w: %s: %w", ErrResume, stateName, err)
	}
	if s.Version != stateVersion {
		return s, fmt.Errorf("%w: %s has version %d, this program knows %d", ErrResume, stateName, s.Version, stateVersion)
	}
	return s, nil
}

// reprepare makes the corpus of a saved run again, from the same text and the tokenizer that was saved, and refuses a
// text that is no longer the one it was. It returns the architecture that was saved, too, which the configuration must
// describe.
func reprepare(ctx context.Context, cfg *config.Config, c *checkpoint.Checkpoint, saved state, workers int) (*corpus, *config.Arch, error) {
	tok, arch, err := Describe(c)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrResume, err)
	}
	if err := adopt(cfg, arch, c.Path()); err != nil {
		return nil, nil, err
	}
	docs, err := discover(cfg)
	if err != nil {
		return nil, nil, err
	}
	text, err := prepare(ctx, cfg, docs, tok, workers)
	if err != nil {
		return nil, nil, err
	}
	if got := text.set.Hash; got != saved.DataHash {
		text.set.Close()
		return nil, nil, fmt.Errorf("%w: the text is not what the run was trained on (hash %.12s, was %.12s); bring the files back, or start a new run with --from %s",
			ErrData, got, saved.DataHash, c.Path())
	}
	debug.FreeOSMemory()
	return text, &arch, nil
}
