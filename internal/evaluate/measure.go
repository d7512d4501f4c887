package evaluate

import (
	"context"
	"fmt"
	"runtime/debug"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/hub"
	"gimbal/internal/judge"
	"gimbal/internal/runlog"
)

// MeasureOptions say which model is measured, on what and how.
type MeasureOptions struct {
	Model  *hub.Model
	Opener engine.Opener

	Text  *data.Text // in the model's tokens: Val is scored and gives the prompts
	On    string     // what Val is, in a sentence
	Own   *data.Text // what the model was trained on; nil: it is not here
	Start string     // data.start

	MicroTokens int        // most positions of one pass
	Seed        uint64     // of the prompts and the sampling
	Samples     judge.Plan // what is written
	LossOnly    bool       // write no texts

	Encoder       string // path of the encoder of sentences; empty: the judge's own
	EncoderOrigin string // where it was set, for errors

	Note func(format string, args ...any) // is told what takes a while; may be nil
}

// Result is a measurement.
type Result struct {
	Checkpoint  string           `json:"checkpoint"`
	Step        int64            `json:"step"`
	On          string           `json:"on"`            // what was scored, in a sentence
	Loss        float64          `json:"val_loss"`      // nats per token
	BitsPerByte float64          `json:"bits_per_byte"` // of the same
	Tokens      int64            `json:"val_tokens"`
	Bytes       int64            `json:"val_bytes"`
	Baseline    *runlog.Baseline `json:"baseline,omitempty"` // n-grams of the run's training part; none without a run
	Writing     *Summary         `json:"writing,omitempty"`  // the generated texts
}

// Summary is the part of a Writing that a Result holds.
type Summary struct {
	Plan    string                  `json:"plan"` // what was written, in a sentence
	Counted int                     `json:"texts_counted"`
	Metrics map[string]judge.Metric `json:"metrics"`
	Alarms  []string                `json:"alarms"` // what differs from human text by more than chance
	Notes   []string                `json:"notes,omitempty"`
	Samples []Sample                `json:"samples"` // the worst texts
}

// summarised is how many texts a Summary has.
const summarised = 3

// Measure measures a model: its loss next to the n-grams of the text it was trained on, and what it writes next to
// human text. It scores at most two million labels.
//
// The error is data.ErrUnusable if there is nothing to score; others are those of the engine, of Write and of ctx.
func Measure(ctx context.Context, opt MeasureOptions) (_ *Result, err error) {
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	if opt.Text.Val.Counted() == 0 {
		return nil, fmt.Errorf("%w: there is no text to measure on", data.ErrUnusable)
	}
	eng, err := open(opt)
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	s, err := New(Options{Engine: eng, Text: opt.Text, MicroTokens: opt.MicroTokens}).whole(ctx)
	if err != nil {
		return nil, err
	}
	r := &Result{
		Checkpoint: opt.Model.Path(), Step: opt.Model.Step(), On: opt.On,
		Loss: s.Loss(), BitsPerByte: s.BitsPerByte(), Tokens: s.Tokens, Bytes: s.Bytes,
	}
	if opt.Own != nil {
		if opt.Note != nil {
			opt.Note("fitting the n-gram baseline")
		}
		grams, err := Fit(ctx, &data.Text{Tok: opt.Text.Tok, Train: opt.Own.Train, Val: opt.Text.Val})
		if err != nil {
			return nil, err
		}
		r.Baseline = &grams.Baseline
	}
	if !opt.LossOnly {
		if r.Writing, err = summarise(ctx, eng, opt); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// MeasureTasks asks a model the questions of tasks. Of the options it needs model, opener and MicroTokens.
func MeasureTasks(ctx context.Context, opt MeasureOptions, tasks []*Task) ([]TaskResult, error) {
	eng, err := open(opt)
	if err != nil {
		return nil, err
	}
	defer eng.Close()
	return New(Options{Engine: eng, MicroTokens: opt.MicroTokens, Tasks: tasks, Tok: opt.Model.Tok,
		Start: opt.Model.Start()}).Tasks(ctx)
}

// open opens an engine with the weights of the model, in the precision that is fastest here.
func open(opt MeasureOptions) (engine.Engine, error) {
	mode := "fp32"
	if opt.Opener.Hardware().FasterBF16 {
		mode = "bf16"
	}
	eng, err := opt.Opener.Open(engine.Spec{
		Arch: opt.Model.Arch, MicroTokens: opt.MicroTokens, Checkpointing: "block", Mode: mode, Forward: true,
	})
	if err != nil {
		return nil, err
	}
	if err := eng.Set(opt.Model.Model(), nil); err != nil {
		eng.Close()
		return nil, &hub.Error{Dir: opt.Model.Path(), Err: err}
	}
	return eng, nil
}

// summarise lets the model write and measures the texts; nil if there is no prompt. Without opt.Own, half of the text
// takes the place of the training text, the other half gives the prompts, and copying is not measured.
func summarise(ctx context.Context, eng engine.Engine, opt MeasureOptions) (*Summary, error) {
	text := *opt.Text
	if opt.Own != nil {
		text.Train = opt.Own.Train
	} else {
		half, err := data.Prepare(ctx, text.Docs, text.Tok, data.PrepareOptions{
			ValFraction: 0.5, Start: opt.Start, Workers: opt.Opener.Hardware().Workers,
		})
		if err != nil {
			return nil, err
		}
		defer half.Close()
		length := text.Val.Context()
		text.Train, text.Val = half.Train(length), half.Val(length)
	}
	w, err := New(Options{
		Engine: eng, Text: &text, Own: opt.Own != nil, Seed: opt.Seed, Samples: opt.Samples,
		Start: StartToken(text.Tok, opt.Start), Encoder: opt.Encoder, EncoderOrigin: opt.EncoderOrigin,
	}).Write(ctx)
	if err != nil || len(w.Texts) == 0 {
		return nil, err
	}
	return &Summary{
		Plan: w.Plan.String(), Counted: w.Report.Counted, Metrics: w.Report.Metrics,
		Alarms: w.alarms(), Notes: w.Notes, Samples: w.Worst(summarised),
	}, nil
}
