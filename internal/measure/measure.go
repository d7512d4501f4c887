// Package measure opens a model and the text that it is to be measured on, and measures it: what a command or a program
// asks of package evaluate, when no run is in progress.
package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/device"
	"gimbal/internal/evaluate"
	"gimbal/internal/hub"
	"gimbal/internal/judge"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
)

// Options say what a model is measured on.
type Options struct {
	Data       []string // files and folders; empty: the validation part of the run
	LossOnly   bool     // do not let the model write
	Seed       *uint64  // of the prompts and draws of what is written; nil: that of the run
	Checkpoint string   // which one of the run; see rundir.OpenCheckpoint
	Workers    int
	Device     string            // as numeric.device; empty: auto
	Note       func(text string) // told what takes a while
}

// longestPiece is the tokens in which texts are scored for a model without a run: its context may be larger than
// memory.
const longestPiece = 2048

// Measure measures a run, a checkpoint or an imported model that path names. Its errors are those of
// rundir.OpenCheckpoint, plan.OpenText and evaluate.Measure, and match data.ErrUnusable where there is nothing to
// measure on.
func Measure(ctx context.Context, path string, opt Options) (*evaluate.Result, error) {
	run, err := rundir.Find(path)
	if err != nil {
		return nil, err
	}
	m, err := hub.OpenModel(path, opt.Checkpoint)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	say := func(format string, args ...any) { opt.Note(fmt.Sprintf(format, args...)) }
	cfg, err := rundir.Config(run)
	isRun := run != "" && err == nil
	switch {
	case isRun:
		if _, err := rundir.Verify(run, m.Checkpoint); err != nil {
			return nil, err
		}
	case run != "" && !errors.Is(err, fs.ErrNotExist): // what was imported has checkpoints and no configuration
		return nil, err
	case len(opt.Data) == 0:
		return nil, fmt.Errorf("%w: %s is a checkpoint without its run: say what to measure it on with --data",
			data.ErrUnusable, path)
	default:
		cfg = config.Default()
		cfg.Train.Context = min(m.Arch.Context, longestPiece)
		cfg.Data.Start = m.Tok.DataStart()
		for _, note := range m.Notes {
			say("%s", note)
		}
	}
	with := evaluate.MeasureOptions{Model: m, Start: cfg.Data.Start, Seed: cfg.Train.Seed, LossOnly: opt.LossOnly,
		Note:        say,
		MicroTokens: max(cfg.Train.Context, min(plan.AutoMicro(m.Arch), 16*cfg.Train.Context)),
		Samples:     judge.PlanFor(cfg.Eval.Prompts, cfg.Eval.Samples, cfg.Eval.MaxTokens, cfg.Train.Context-1),
		Encoder:     cfg.Judge.Encoder, EncoderOrigin: cfg.Origin("judge.encoder")}
	if opt.Seed != nil {
		with.Seed = *opt.Seed
	}
	if isRun {
		if moved := rundir.Moved(run, cfg.Data.Paths); moved != nil {
			cfg.Data.Paths = moved
		}
		own, err := ownText(ctx, cfg, m, opt.Workers)
		switch {
		case err == nil:
			defer own.Close()
			with.Own, with.Text, with.On = own.Text, own.Text, "the run's validation part: "+own.Text.Set.SplitNote
		case len(opt.Data) > 0 && errors.Is(err, plan.ErrChanged):
			say("no baseline: %v", err)
		default:
			return nil, err
		}
	}
	if len(opt.Data) > 0 {
		if with.Text, err = plan.OpenOther(ctx, cfg, opt.Data, m, opt.Workers); err != nil {
			return nil, err
		}
		defer with.Text.Set.Close()
		for _, f := range with.Text.Findings() {
			say("%s", f.Text)
		}
		with.On = plan.SizeOf(with.Text.Docs, "other text")
	}
	numeric := config.Default().Numeric
	numeric.Device = cmp.Or(opt.Device, numeric.Device)
	if with.Opener, err = device.Choose(ctx, numeric, opt.Workers, say); err != nil {
		return nil, err
	}
	defer with.Opener.Close()
	return evaluate.Measure(ctx, with)
}

// ownText prepares the text that a run was trained on.
func ownText(ctx context.Context, cfg *config.Config, m *hub.Model, workers int) (*plan.Draft, error) {
	facts, err := rundir.ReadFacts(m.Checkpoint)
	if err != nil {
		return nil, err
	}
	return plan.OpenText(ctx, cfg, plan.TextOptions{Model: m, Hash: facts.DataHash, Little: true, Workers: workers})
}
