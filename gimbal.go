// Package gimbal trains autoregressive language models on the CPU, and keeps
// them level: text in, a correctly trained decoder out, watched while it
// trains and saved so that nothing is lost.
//
// The two calls most programs want are [Train] and [Open]:
//
//	cfg, err := gimbal.LoadConfig("run.toml")
//	res, err := gimbal.Train(ctx, cfg, gimbal.Options{})
//
//	m, err := gimbal.Open(res.Dir, "")
//	defer m.Close()
//	texts, err := m.Generate(ctx, "Once upon", gimbal.GenerateOptions{Samples: 3})
//
// A configuration holds every choice of a run; docs/config.md lists the keys.
// A run lives in a directory that [Resume] can continue after a stop, a kill
// or a power cut, to the same bits. Each of its checkpoints is a Hugging Face
// model directory.
//
// Errors that a program may want to tell apart match [ErrConfig], [ErrData],
// [ErrCheckpoint], [ErrInterrupted], [ErrNoSpace], [ErrMemory] or are a
// [StopError]. Everything else of the module is internal and may change.
package gimbal

import (
	"context"
	"errors"

	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/evaluate"
	"gimbal/internal/judge"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
	"gimbal/internal/train"
)

// Config is every choice of a run; the zero value is not useful. Keys are set by name, as on the command line.
type Config = config.Config

// ConfigError is every fault of a configuration, each with its place.
type ConfigError = config.Error

// Options say how a run is started, beside its configuration.
type Options = train.Options

// ResumeOptions say how a run is continued.
type ResumeOptions = train.ResumeOptions

// Hooks tell what a run does while it does it.
type Hooks = train.Hooks

// Plan is what a run will do, known before its first step.
type Plan = plan.Plan

// Result is how a run ended; losses are in nats per token.
type Result = train.Result

// EvalResult is what a measurement came to; the loss is in nats per token.
type EvalResult = evaluate.Result

// Writing is what a model wrote, measured beside people's texts.
type Writing = evaluate.Summary

// Comparison is runs side by side.
type Comparison = runs.Comparison

// Page is the texts of one evaluation of a run, as a person reviews them.
type Page = runs.Page

// Baseline is the n-gram losses that a model is shown beside.
type Baseline = runlog.Baseline

// SampleText is a text that the model wrote at an evaluation.
type SampleText = evaluate.Sample

// StepRecord, EvalRecord and EventRecord are lines of a run's log; see docs/format/log.md.
type (
	StepRecord  = runlog.Step
	EvalRecord  = runlog.Eval
	EventRecord = runlog.Event
)

// Diagnosis is every check that Doctor or DoctorRun made, with what it came to.
type Diagnosis = train.Diagnosis

// PreflightError is a run that its checks refused before its first step.
type PreflightError = preflight.Refusal

// StopError is a run that the guard ended before a harmful update.
type StopError = train.StopError

var (
	// ErrInterrupted says that the context was cancelled; the run is saved and can be resumed.
	ErrInterrupted = train.ErrInterrupted
	// ErrNoSpace says that the disk is full. What was saved before is intact.
	ErrNoSpace = durable.ErrNoSpace
	// ErrMemory says that the run needs more memory than there is.
	ErrMemory = plan.ErrMemory
	// ErrConfig is matched by faults of a configuration.
	ErrConfig = errors.New("configuration")
	// ErrData is matched by text that cannot be trained on.
	ErrData = errors.New("data")
	// ErrCheckpoint is matched when there is nothing valid to resume or to open.
	ErrCheckpoint = errors.New("checkpoint")
)

// classed gives an error the class that callers tell it apart by, and keeps its text.
type classed struct{ class, err error }

func (c *classed) Error() string   { return c.err.Error() }
func (c *classed) Unwrap() []error { return []error{c.class, c.err} }

// classify puts an internal error into the class that the package documents.
func classify(err error) error {
	switch train.ExitCode(err) {
	case 2:
		return &classed{ErrConfig, err}
	case 4:
		return &classed{ErrData, err}
	case 5:
		return &classed{ErrCheckpoint, err}
	}
	return err
}

// DefaultConfig returns the configuration of a run without any setting.
func DefaultConfig() *Config { return config.Default() }

// LoadConfig reads a configuration file (TOML; "" for none) and applies settings of the form key=value over it.
//
// It fails with every fault at once, as a [ConfigError] that matches [ErrConfig].
func LoadConfig(path string, settings ...string) (*Config, error) {
	sets := make([]config.Assignment, len(settings))
	for i, s := range settings {
		sets[i] = config.Set(s)
	}
	cfg, err := config.Load(path, sets)
	return cfg, classify(err)
}

// Train trains a model in a new run directory and returns what it came to.
//
// With an error that matches [ErrInterrupted], or a [StopError], the result is what there was until then and the run
// directory is whole. Runs of one process may go on at the same time, in different directories.
func Train(ctx context.Context, cfg *Config, opt Options) (*Result, error) {
	r, err := train.Run(ctx, cfg, opt)
	return r, classify(err)
}

// Resume continues the run in dir from its newest checkpoint that verifies, to the same weights and log, bit for
// bit, as if it had never stopped. It never starts over: with nothing valid to resume it fails with [ErrCheckpoint].
func Resume(ctx context.Context, dir string, opt ResumeOptions) (*Result, error) {
	r, err := train.Resume(ctx, dir, opt)
	return r, classify(err)
}

// Doctor makes the checks that Train makes before its first step, and begins nothing. A run that they would refuse
// is a [PreflightError]; the diagnosis is there, too.
func Doctor(ctx context.Context, cfg *Config, opt Options) (*Diagnosis, error) {
	d, err := train.Check(ctx, cfg, opt)
	return d, classify(err)
}

// DoctorRun makes the checks that Resume makes before its first step. It only reads the run.
func DoctorRun(ctx context.Context, dir string, opt ResumeOptions) (*Diagnosis, error) {
	d, err := train.CheckRun(ctx, dir, opt)
	return d, classify(err)
}

// Compare shows runs side by side and says which of their differences are real.
func Compare(dirs []string) (*Comparison, error) {
	c, err := runs.Compare(dirs)
	return c, classify(err)
}

// OpenPage reads the texts of an evaluation of a run, worst first; evaluation 0 is the newest.
func OpenPage(dir string, evaluation int) (*Page, error) {
	p, err := runs.OpenPage(dir, evaluation)
	return p, classify(err)
}

// MetricNames are the metrics of [Writing], in the order in which they are shown; docs/judge.md defines each.
func MetricNames() []string { return judge.MetricNames() }

// ExitCode is the exit code of a program that ends with err: what "gimbal version" lists.
func ExitCode(err error) int {
	switch {
	case errors.Is(err, ErrConfig):
		return 2
	case errors.Is(err, ErrData):
		return 4
	case errors.Is(err, ErrCheckpoint):
		return 5
	}
	return train.ExitCode(err)
}

// Version is the version of this build.
func Version() string { return train.Version() }
