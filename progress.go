package gimbal

import (
	"math"
	"strings"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/evaluate"
	"gimbal/internal/inspect"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
	"gimbal/internal/train"
)

// Progress is something that a call has to tell while it works: a *[Plan], [Checks], a [Step], a [Look], an
// [Evaluation], an [Event], a [Note] or a [Detail]. A type switch tells them apart; more kinds may be added.
type Progress interface{ progress() }

func (Note) progress()       {}
func (Detail) progress()     {}
func (*Plan) progress()      {}
func (Checks) progress()     {}
func (Step) progress()       {}
func (Look) progress()       {}
func (Evaluation) progress() {}
func (Event) progress()      {}

// Note is a sentence that a person should read.
type Note string

// Detail is a sentence for whoever wants to know more: what is being done, what was found.
type Detail string

// Checks are the results of all checks before the first step. They are told once, before the [Plan].
type Checks []CheckResult

// Plan is what a run will do. It is told once, before the first step, and does not change.
type Plan struct {
	Dir   string `json:"dir"`   // of the run; empty if it is only checked
	Steps int64  `json:"steps"` // updates

	Parameters  int64   `json:"parameters"`   // of the model
	Vocabulary  int     `json:"vocabulary"`   // tokens
	Context     int     `json:"context"`      // longest sequence, in tokens
	Documents   int64   `json:"documents"`    // of the text, those held out included
	Files       int     `json:"files"`        // that hold them
	BatchTokens int     `json:"batch_tokens"` // most tokens of an update
	TrainTokens int64   `json:"train_tokens"` // of one pass over the text
	ValTokens   int64   `json:"val_tokens"`   // of the text that is held out
	HeldOut     string  `json:"held_out"`     // files that their names hold out for validation; empty: none
	LeftOut     string  `json:"left_out"`     // files that their names keep from training and validation; empty: none
	Ends        int64   `json:"ends"`         // documents that end in the text that is trained on
	Epochs      float64 `json:"epochs"`       // passes over the text
	PeakLR      float64 `json:"peak_lr"`      // highest learning rate
	Warmup      int64   `json:"warmup"`       // steps until the rate is at its peak
	RateCourse  string  `json:"rate_course"`  // from what to what it goes after ResumeOptions.Steps; empty: as planned
	Expected    Range   `json:"expected"`     // nats per token of the last evaluation; zero: nothing is expected
	EvalEvery   int64   `json:"eval_every"`   // steps between evaluations
	Evaluations int64   `json:"evaluations"`  // of the whole run, about: those at the ends of epochs are counted, too
	EvalShare   float64 `json:"eval_share"`   // of the training time, which they take together as planned

	MemoryBytes     int64         `json:"memory_bytes"`        // that the run takes
	Kernels         string        `json:"kernels"`             // instruction set, such as "avx2", or what the devices are
	Device          string        `json:"device,omitempty"`    // platform of the devices, such as "cuda"; empty: the CPU
	Attention       string        `json:"attention,omitempty"` // how devices compute it; empty: on the CPU
	Precision       string        `json:"precision"`           // of multiplies: "fp32" or "bf16"
	Workers         int           `json:"workers"`             // threads, or devices
	TokensPerSecond float64       `json:"tokens_per_second"`   // as measured by a trial; 0: there was none
	Duration        time.Duration `json:"duration_ns"`         // of all steps at that speed, without evaluations; 0: unknown

	Warnings []string  `json:"warnings"` // about these decisions, a sentence each
	Settings []Setting `json:"settings"` // the whole configuration as it was decided

	text string
}

// Range is a number that is expected, and the range in which it may be.
type Range struct {
	Value float64 `json:"value"` // that is expected
	Low   float64 `json:"low"`   // least that is likely
	High  float64 `json:"high"`  // most that is likely
}

// String is the plan for a person, in about fifteen lines.
func (p *Plan) String() string { return p.text }

// Setting is one value of a configuration.
type Setting struct {
	Key    string `json:"key"`    // such as "model.width"
	Value  string `json:"value"`  // as it is written in a file, without quotes
	Origin string `json:"origin"` // where it came from: "default", "preset nano", "run.toml:12", "--set", …
}

// Step is an update that was made.
type Step struct {
	Step            int64         // from 1
	Steps           int64         // that the run will make
	Tokens          int64         // learned so far, in all steps
	Loss            float64       // of the batch, before the update; nats per token
	GradNorm        float64       // global, before it was clipped
	ClipScale       float64       // the gradient was multiplied by it: 1 when it was not clipped
	LR              float64       // learning rate as it was applied
	UpdateRatio     float64       // size of the update relative to the weights, median over matrices; 0: not measured
	Duration        time.Duration // of the step
	TokensPerSecond float64       // learned in the step
	MemoryBytes     int64         // held by the process
	Injected        bool          // a fault was planted in it
}

// Look is a look at the health of every block, at step 1 and every 100 steps, before the update of that step.
type Look struct {
	Step        int64   // the update that follows
	Bottom      float64 // mean |gradient| of attention and MLP in the first block
	Top         float64 // the same in the last block
	Alarms      int     // that are new; each is an Event, too
	UpdateRatio float64 // size of the update relative to the weights, median over matrices
	Layers      []Layer // of every block
	text        string
}

// String tells the look in a line.
func (l Look) String() string { return l.text }

// Layer is the tensors of one kind in one block. Its numbers are those before clipping.
type Layer struct {
	Block     int     // from 0; -1: outside of the blocks
	Tensor    string  // the kind: "attn", "mlp", "norm", "embed" or "head"
	GradMean  float64 // mean of the absolute values of the gradient
	GradRMS   float64 // root mean square of the gradient
	GradMax   float64 // largest absolute value of the gradient
	WeightRMS float64 // root mean square of the weights
	UpdateRMS float64 // root mean square of what the update adds
	NonFinite int64   // elements of the gradient that are NaN or infinite; they are in no other number
}

// Evaluation is a measurement on the text that is held out.
type Evaluation struct {
	Step         int64    // updates made
	Loss         float64  // nats per token
	BitsPerByte  float64  // the same on a scale that does not depend on the tokenizer
	BaselineLoss float64  // of the best n-gram model on the same tokens, nats per token; NaN: unknown
	Metrics      Numbers  // of what the model wrote, by name; docs/judge.md defines them
	Samples      []Sample // some texts that it wrote, not chosen by quality
}

// Event is something that was detected, and what was done about it.
type Event struct {
	Step      int64    // updates made, or the one that was refused
	Code      string   // such as "E0-NONFINITE"; docs/events.md lists them
	Severity  string   // "info", "warning" or "error"
	Action    string   // what was done, "none" for nothing
	Message   string   // what was seen
	Tensor    string   // the first that is affected; empty: none
	Documents []string // what was being learned, each with its file and place
	Numbers   Numbers  // that led to it, by name
	Injected  bool     // it comes from a planted fault
}

// String tells the event in a line.
func (e Event) String() string {
	return runlog.Event{At: runlog.At{Step: e.Step}, Code: e.Code, Action: e.Action, Message: e.Message, Tensor: e.Tensor,
		Documents: e.Documents, Injected: e.Injected}.String()
}

// hooks tell a trainer's progress to a function, and ask another what became of that.
func hooks(tell func(Progress), lost func() error) train.Hooks {
	if tell == nil {
		return train.Hooks{Lost: lost}
	}
	steps := int64(0)
	return train.Hooks{
		Lost:   lost,
		Note:   func(text string) { tell(Note(text)) },
		Detail: func(text string) { tell(Detail(text)) },
		Check:  func(r *runlog.Preflight) { tell(Checks(checkResults(r.Checks))) },
		Plan: func(p *plan.Plan, dir string, e plan.Expected) {
			steps = p.Config.Train.Steps
			public := publicPlan(p, dir)
			public.Expected = Range(e)
			tell(public)
		},
		Step: func(r runlog.Step, seconds float64) {
			tell(Step{Step: r.Step, Steps: steps, Tokens: r.Tokens, Loss: float64(r.Loss), GradNorm: float64(r.GradNorm),
				ClipScale: float64(r.ClipScale), LR: float64(r.LR), UpdateRatio: float64(r.UpdateRatio),
				Duration:        time.Duration(seconds * float64(time.Second)),
				TokensPerSecond: float64(r.TokensPerSecond), MemoryBytes: r.MemoryBytes, Injected: r.Injected})
		},
		Look: func(rec *runlog.Layers, alarms int) { tell(publicLook(rec, alarms)) },
		Eval: func(r runlog.Eval, written []evaluate.Sample) {
			tell(Evaluation{Step: r.Step, Loss: float64(r.ValLoss), BitsPerByte: float64(r.BitsPerByte),
				BaselineLoss: float64(r.BaselineLoss), Metrics: numbers(r.Metrics), Samples: samples(written)})
		},
		Event: func(r runlog.Event) {
			tell(Event{Step: r.Step, Code: r.Code, Severity: r.Severity, Action: r.Action, Message: r.Message,
				Tensor: r.Tensor, Documents: r.Documents, Numbers: numbers(r.Numbers), Injected: r.Injected})
		},
	}
}

// forwardShare is how many forward passes take the time of a training pass.
const forwardShare = 3

func publicLook(rec *runlog.Layers, alarms int) Look {
	l := Look{Step: rec.Step, Alarms: alarms, UpdateRatio: float64(rec.UpdateRatio), text: inspect.Line(rec, alarms)}
	last := 0
	for _, v := range rec.Layers {
		last = max(last, v.Block)
		l.Layers = append(l.Layers, Layer{v.Block, v.Tensor, float64(v.GradMean), float64(v.GradRMS), float64(v.GradMax),
			float64(v.WeightRMS), float64(v.UpdateRMS), v.NonFinite})
	}
	mean := func(block int) float64 {
		sum, n := 0.0, 0.0
		for _, r := range rec.Layers {
			if r.Block == block && (r.Tensor == "attn" || r.Tensor == "mlp") {
				sum, n = sum+float64(r.GradMean), n+1
			}
		}
		return sum / n
	}
	l.Bottom, l.Top = mean(0), mean(last)
	return l
}

func publicPlan(p *plan.Plan, dir string) *Plan {
	var text strings.Builder
	p.Write(&text)
	c := p.Config
	public := &Plan{Dir: dir, Steps: c.Train.Steps, Parameters: p.Params, Vocabulary: p.Spec.Arch.Vocab,
		Context: p.Spec.Arch.Context, Documents: int64(p.Text.Census.Documents),
		Files: int(p.Text.Census.Sources), BatchTokens: c.Train.BatchTokens,
		TrainTokens: p.Text.Train, ValTokens: p.Text.Val, Ends: p.Text.Ends,
		HeldOut: p.Text.Held, LeftOut: p.Text.LeftOut, Epochs: p.Text.Epochs, PeakLR: p.Rate.Schedule.Peak,
		Warmup: p.Rate.Schedule.Warmup, RateCourse: p.Rate.Course(), EvalEvery: p.EvalEvery(),
		MemoryBytes: p.Memory.Total(), Kernels: p.Hardware.Name, Device: p.Hardware.Device, Attention: p.Hardware.Attention,
		Precision: p.Spec.Mode, Workers: p.Hardware.Workers, TokensPerSecond: p.Speed, Duration: p.Estimated,
		Warnings: p.Warnings, text: text.String()}
	public.Evaluations = int64(math.Ceil(p.Writing.Evaluations))
	if c.Eval.Every == 0 && p.Text.Epochs <= plan.DefaultEvals {
		public.Evaluations = min(public.Evaluations+int64(p.Text.Epochs), c.Train.Steps)
	}
	tokens := float64(c.Train.Steps) * float64(c.Train.BatchTokens)
	public.EvalShare = p.Writing.Share + p.Writing.Evaluations*float64(p.Writing.SampleSize)/(forwardShare*tokens)
	for _, key := range config.Keys() {
		value, _ := c.Value(key)
		public.Settings = append(public.Settings, Setting{key, value, c.Origin(key)})
	}
	return public
}
