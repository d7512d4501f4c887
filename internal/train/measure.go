package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gimbal/internal/config"
	text "gimbal/internal/corpus"
	"gimbal/internal/data"
	"gimbal/internal/judge"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
)

// EvalOptions say what a model is measured on.
type EvalOptions struct {
	Data       []string // files and folders; empty: the validation part of the run
	LossOnly   bool     // do not let the model write
	Seed       *uint64  // of the prompts and draws of what is written; nil: those of the run
	Checkpoint string   // which one of the run: stable, best-loss, last, averaged or step-N; empty: stable, else last
	Workers    int
	Hooks      Hooks
}

// EvalResult is what a measurement came to.
type EvalResult struct {
	Checkpoint  string    `json:"checkpoint"`
	Step        int64     `json:"step"`
	On          string    `json:"on"`            // what was scored, in a sentence
	Loss        float64   `json:"val_loss"`      // nats per token
	BitsPerByte float64   `json:"bits_per_byte"` // of the same
	Tokens      int64     `json:"val_tokens"`
	Bytes       int64     `json:"val_bytes"`
	Baseline    *Baseline `json:"baseline,omitempty"` // n-grams counted on the run's training part; none without a run
	Writing     *Writing  `json:"writing,omitempty"`  // what the model wrote, measured
}

// Writing is what a model wrote, measured beside people's texts.
type Writing struct {
	Plan    string                  `json:"plan"` // what was written, in a sentence
	Counted int                     `json:"texts_counted"`
	Metrics map[string]judge.Metric `json:"metrics"`
	Alarms  []string                `json:"alarms"` // what differs from people's texts by more than chance
	Notes   []string                `json:"notes,omitempty"`
	Samples []SampleText            `json:"samples"` // the worst by the detectors
}

// longestPiece bounds the sequences on which a checkpoint without its run is measured: its context may be larger than memory.
const longestPiece = 2048

// Evaluate measures a checkpoint, or one of a run, on the run's validation part or on other text: its loss beside the
// n-gram baseline that counted the run's training part, and what it writes beside people's texts. At most 2M tokens are scored.
func Evaluate(ctx context.Context, path string, opt EvalOptions) (*EvalResult, error) {
	c, err := OpenCheckpoint(path, opt.Checkpoint)
	if err != nil {
		return nil, err
	}
	b := &base{Checkpoint: c}
	defer b.Close()
	if b.tok, b.arch, err = Describe(c); err != nil {
		return nil, err
	}
	cfg, isRun := config.Default(), false
	if raw, err := os.ReadFile(filepath.Join(path, configName)); err == nil {
		if cfg, err = config.Reread(configName, raw, nil); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrResume, err)
		}
		isRun = true
	} else if len(opt.Data) == 0 {
		return nil, fmt.Errorf("%w: %s is a checkpoint without its run: say what to measure it on with --data", ErrData, path)
	}
	if !isRun {
		cfg.Train.Context = min(b.arch.Context, longestPiece)
	}
	if opt.Seed != nil {
		cfg.Train.Seed = *opt.Seed
	}
	cfg.Train.BatchTokens = 1 // nothing is trained: any amount of text will do

	var own, other *corpus // the run's text, and the text to measure on
	if isRun {
		own, err = ownText(ctx, cfg, b, opt.Workers)
		switch {
		case err == nil:
			defer own.set.Close()
			other = own
		case len(opt.Data) > 0 && errors.Is(err, errOtherText):
			opt.Hooks.note("no baseline: %v", err)
		default:
			return nil, err
		}
	}
	r := &EvalResult{Checkpoint: c.Path(), Step: c.Step()}
	if len(opt.Data) > 0 {
		docs, err := text.Discover(opt.Data, text.Options{Separator: cfg.Data.Separator, BadDocuments: cfg.Data.BadDocuments, BadShare: cfg.Data.BadShare})
		if err != nil {
			return nil, err
		}
		set, err := data.Prepare(ctx, docs, b.tok, data.PrepareOptions{Start: cfg.Data.Start, Workers: opt.Workers})
		if err != nil {
			return nil, err
		}
		defer set.Close()
		other = &corpus{docs: docs, tok: b.tok, set: set, val: set.All(cfg.Train.Context)}
		r.On = fmt.Sprintf("%s of other text in %d files", bytesText(docs.Bytes()), len(docs.Sources))
	} else {
		r.On = "the run's validation part: " + own.set.SplitNote
	}
	if other.val.Tokens() == 0 {
		return nil, fmt.Errorf("%w: there is no text to measure on", ErrData)
	}
	x, err := kernel.NewExec(opt.Workers, kernel.TierAuto)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	micro := max(cfg.Train.Context, min(autoMicro(b.arch), 16*cfg.Train.Context))
	m, err := model.New[float32](b.arch, x, model.Options{MicroTokens: micro, Checkpointing: model.CheckpointBlock, Mode: model.ModeAuto})
	if err != nil {
		return nil, err
	}
	if err := b.load(m.Params()); err != nil {
		return nil, err
	}
	m.Refresh()
	var s score
	sc := scorer{micro: micro, loss: func(mb data.Micro) float64 { return m.Loss(input(mb)) }}
	sc.run(&s, other.val, inOrder(other.val), maxEvalTokens)
	r.Loss, r.BitsPerByte, r.Tokens, r.Bytes = s.loss(), s.bitsPerByte(), s.tokens, s.bytes
	if own != nil {
		opt.Hooks.note("fitting the n-gram baseline")
		base := fitBaseline(&corpus{tok: b.tok, train: own.train, val: other.val})
		r.Baseline = &base
	}
	if !opt.LossOnly {
		if r.Writing, err = writeAndMeasure(ctx, cfg, b, m, own, other, opt.Workers); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// worstShown texts are part of a measurement's result.
const worstShown = 3

// writeAndMeasure lets a model continue held-out text and measures that. What is known of the training text comes from own;
// without it half of other stands in, and copying is not measured.
func writeAndMeasure(ctx context.Context, cfg *config.Config, b *base, m *model.Model[float32], own, other *corpus, workers int) (*Writing, error) {
	text := &corpus{tok: b.tok, set: other.set, val: other.val}
	if own != nil {
		text.train = own.train
	} else {
		half, err := data.Prepare(ctx, other.docs, b.tok, data.PrepareOptions{ValFraction: 0.5, Start: cfg.Data.Start, Workers: workers})
		if err != nil {
			return nil, err
		}
		defer half.Close()
		text.train, text.val = half.Train(cfg.Train.Context), half.Val(cfg.Train.Context)
	}
	j, err := judgeOf(cfg, text, judge.PlanFor(cfg.Eval.Prompts, cfg.Eval.Samples, cfg.Eval.MaxTokens, cfg.Train.Context-1), own != nil)
	if err != nil {
		return nil, err
	}
	if len(j.Prompts()) == 0 {
		return nil, nil
	}
	d, err := m.Decoder(model.DecoderOptions{Tokens: readAtOnce, Rows: rowsFor(b.arch, j.Plan())})
	if err != nil {
		return nil, err
	}
	w := newWriter(b.arch, d, b.tok, startToken(b.tok, cfg.Data.Start), j.Plan())
	texts, samples, err := w.write(ctx, j, cfg.Train.Seed)
	if err != nil {
		return nil, err
	}
	report := j.Measure(texts)
	out := &Writing{Plan: j.Plan().String(), Counted: report.Counted, Metrics: report.Metrics, Alarms: []string{}, Notes: j.Notes()}
	for _, a := range report.Alarms {
		out.Alarms = append(out.Alarms, a.Text)
	}
	written := w.written(j, samples, report)
	for _, i := range report.WorstFirst()[:min(worstShown, len(written))] {
		out.Samples = append(out.Samples, SampleText{Prompt: written[i].Prompt, Text: written[i].Text, Finish: written[i].Finish, Reasons: written[i].Reading.Reasons})
	}
	return out, nil
}

// errOtherText says that the text of a run is not there, or not what it was.
var errOtherText = errors.New("the text of the run has changed or is gone")

// ownText prepares the text that a run was trained on.
func ownText(ctx context.Context, cfg *config.Config, b *base, workers int) (*corpus, error) {
	docs, err := discover(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherText, err)
	}
	c, err := prepare(ctx, cfg, docs, b.tok, workers)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errOtherText, err)
	}
	s, err := readState(b.Checkpoint)
	if err == nil && s.DataHash != c.set.Hash {
		err = fmt.Errorf("%w: %w (hash %.12s, was %.12s); measure on other text with --data", ErrData, errOtherText, c.set.Hash, s.DataHash)
	}
	if err != nil {
		c.set.Close()
		return nil, err
	}
	return c, nil
}
