package gimbal

import (
	"context"

	"gimbal/internal/judge"
	"gimbal/internal/measure"
)

// EvalOptions say what [Evaluate] measures a model on.
type EvalOptions struct {
	// Data is the text: files and folders. Empty: the part of the run's text that is held out.
	Data []string
	// LossOnly leaves out what the model writes.
	LossOnly bool
	// Seed is that of the prompts and draws of what the model writes. nil: that of the run.
	Seed *uint64
	// Checkpoint chooses a checkpoint of a run, as in [OpenOptions].
	Checkpoint string
	// Workers is the number of threads that compute. 0: one for each processor that Go may use.
	Workers int
	// Device is what computes, as in [TrainOptions]. Empty: "auto".
	Device string
	// Progress hears what takes a while, each a [Note]. nil: nobody does.
	Progress func(Progress)
}

// EvalResult is what a model was measured to be.
type EvalResult struct {
	Checkpoint  string    `json:"checkpoint"`         // path of it
	Step        int64     `json:"step"`               // updates behind it
	On          string    `json:"on"`                 // what was scored, in a sentence
	Loss        float64   `json:"val_loss"`           // nats per token
	BitsPerByte float64   `json:"bits_per_byte"`      // the same on a scale that does not depend on the tokenizer
	Tokens      int64     `json:"val_tokens"`         // scored
	Bytes       int64     `json:"val_bytes"`          // that they spell
	Baseline    *Baseline `json:"baseline,omitempty"` // to compare Loss with; nil: the text of the run is not there
	Writing     *Writing  `json:"writing,omitempty"`  // what the model wrote, measured; nil: nothing was written
}

// Writing is what a model wrote, measured beside texts of the same length that people wrote.
type Writing struct {
	Plan    string            `json:"plan"`            // what was written, in a sentence
	Counted int               `json:"texts_counted"`   // texts that were long enough to be measured
	Metrics map[string]Metric `json:"metrics"`         // by name; MetricNames has their order, docs/judge.md defines them
	Alarms  []string          `json:"alarms"`          // what differs from human text, a sentence each
	Notes   []string          `json:"notes,omitempty"` // what could not be measured, a sentence each
	Samples []Sample          `json:"samples"`         // the worst texts
}

// Metric is one metric of what a model wrote.
type Metric struct {
	Value    float64 `json:"value"`    // as measured
	Lo       float64 `json:"lo"`       // lower end of its 95 % interval
	Hi       float64 `json:"hi"`       // upper end
	SE       float64 `json:"se"`       // standard error
	Human    float64 `json:"human"`    // the same metric of human text, if Compared
	HumanSE  float64 `json:"human_se"` // standard error of Human
	Compared bool    `json:"compared"` // whether Human says something
}

// MetricNames are the names of the metrics of a [Writing], in the order in which tables show them.
func MetricNames() []string { return judge.MetricNames() }

// Evaluate measures a run, a checkpoint or an imported model: its loss beside n-grams that counted the training part,
// and what it writes beside texts of people. At most two million tokens are scored.
//
// It fails with a [CheckpointError], with a [DataError] (also if the path is no run and no Data is given), or with the
// error of ctx.
func Evaluate(ctx context.Context, path string, opt EvalOptions) (*EvalResult, error) {
	if err := threads(opt.Workers); err != nil {
		return nil, err
	}
	with := measure.Options{Data: opt.Data, LossOnly: opt.LossOnly, Seed: opt.Seed, Checkpoint: opt.Checkpoint,
		Workers: opt.Workers, Device: opt.Device, Note: func(string) {}}
	if opt.Progress != nil {
		with.Note = func(text string) { opt.Progress(Note(text)) }
	}
	r, err := measure.Measure(ctx, path, with)
	if err != nil {
		return nil, classify(err, path)
	}
	public := &EvalResult{Checkpoint: r.Checkpoint, Step: r.Step, On: r.On, Loss: r.Loss, BitsPerByte: r.BitsPerByte,
		Tokens: r.Tokens, Bytes: r.Bytes}
	if r.Baseline != nil {
		b := baseline(*r.Baseline)
		public.Baseline = &b
	}
	if w := r.Writing; w != nil {
		public.Writing = &Writing{Plan: w.Plan, Counted: w.Counted, Metrics: make(map[string]Metric, len(w.Metrics)),
			Alarms: w.Alarms, Notes: w.Notes, Samples: samples(w.Samples)}
		for name, v := range w.Metrics {
			public.Writing.Metrics[name] = Metric{v.Value, v.Lo, v.Hi, v.SE, v.Human, v.HumanSE, v.Compared}
		}
	}
	return public, nil
}
