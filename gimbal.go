// Package gimbal trains autoregressive language models, and uses them: a folder of text goes in, a correctly trained
// decoder comes out, watched while it trains and saved so that nothing is lost.
//
// Most programs need two calls, [Train] and [Open]:
//
//	res, err := gimbal.Train(ctx, gimbal.TrainOptions{Data: []string{"books/"}, Out: "runs/books"})
//
//	m, err := gimbal.Open("runs/books", gimbal.OpenOptions{})
//	defer m.Close()
//	texts, err := m.Generate(ctx, "Once upon", gimbal.GenerateOptions{})
//
// # Runs
//
// A run is a directory. [Resume] continues it after an interrupt, a kill or a power cut, to the same bits. [Check] says
// before a run begins whether it should, [Evaluate] measures a model beside an n-gram baseline, [Runs] lists runs and
// [Compare] puts them side by side. Wherever a path names a run or a model it is the directory of a run, the name of a
// run below runs/, a checkpoint, or a Hugging Face model directory that [Import] or [Export] has made.
//
// # Models
//
// [Model.Generate] writes whole texts, [Model.Stream] their tokens as they are drawn, and [Model.Score] says how
// probable a text is. A model may be used by many goroutines at once.
//
// # Configuration
//
// A run has some fifty settings, each with a default and a key, such as "model.width". They are set by key, in a file
// or in TrainOptions.Set, exactly as on the command line; docs/config.md lists them. [Train] reports every fault of a
// configuration at once.
//
// # Errors
//
// What a program may want to tell apart is a type that holds what failed: [ConfigError], [DataError],
// [CheckpointError], [RefusedError], [StopError] and [PromptError], for errors.As. [ErrInterrupted], [ErrClosed],
// [ErrExists], [ErrLocked], [ErrMemory] and [ErrNoSpace] have nothing to hold and are for errors.Is. Messages name
// options as the command line does: --set is Set, --out is Out.
//
// # Contexts
//
// A context that is done ends every call that takes one: a generation between two tokens, a score between two pieces,
// an evaluation between two passes, a training after its current step, once it is saved. The error matches that of the
// context. [Train] and [Resume] then match [ErrInterrupted] as well if there is a run to resume.
//
// # Compatibility
//
// Within a major version this package only grows. Names, meanings, defaults and the keys of the configuration stay;
// fields and functions are added, so name the fields of a struct literal. Files keep their meaning as docs/format says.
// Not promised: the texts of messages, and which tokens a seed draws with another version or on another CPU. Everything
// under internal may change at any time.
package gimbal

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/measure"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/train"
)

// TrainOptions say what [Train] trains, on what, and where. The zero value trains a small model on the source tree of
// the installed Go.
type TrainOptions struct {
	// Data is the text: files and folders. A file is a document, a line of JSONL or a row of Parquet is one.
	// Empty: data.paths of the configuration.
	Data []string
	// Steps is the number of updates. 0: train.steps of the configuration; where that is not set either, a number that
	// follows from the measured speed and the amount of text.
	Steps int64
	// Budget is the time that the whole run may take where Steps is 0. 0: train.budget of the configuration, which is
	// two and a half minutes by default.
	Budget time.Duration
	// Seed is that of every random number of the run. nil: train.seed of the configuration, which is 1 by default.
	Seed *uint64
	// Config is the path of a configuration file (TOML). Empty: none. The config.toml of a run repeats that run.
	Config string
	// Set changes settings, each as "key=value": "model.width=128". It takes precedence over what stands above.
	Set []string

	// Out is the directory of the run, which must not hold one. Empty: runs/<date>-<name>.
	Out string
	// From is a run, a checkpoint or an imported model to start from: its weights, shape and tokenizer. Empty: fresh
	// weights.
	From string
	// Keep is text that the weights of From know, files and folders: how much of it they forget is measured. Empty:
	// eval.keep of the configuration, or else texts that the model writes before it is trained.
	Keep []string
	// Workers is the number of threads that compute. 0: one for each processor that Go may use. Results do not depend
	// on it.
	Workers int
	// Device is what computes: "cpu", "cuda", "rocm", "oneapi", "tpu", the path of a PJRT plugin, or "auto", an
	// accelerator that passes its tests, else the CPU. Empty: numeric.device of the configuration, which is "auto" by
	// default.
	Device string
	// Inject plants faults, each "FAULT@STEP" or "FAULT:TARGET@STEP", to watch the guard work; docs/guards.md lists
	// them. What comes of them is marked as injected.
	Inject []string

	// Target is a card that is not there, for [Check]: the plan is made by programs that are compiled for it, such as
	// "h100". It needs the plugin of its vendor, and Steps. Empty: the hardware that is there.
	Target string

	// Progress hears what the run does. nil: nobody does. It is called by the goroutine that called Train, never twice
	// at a time, and training waits until it returns. It may cancel the context.
	Progress func(Progress)
	// Lost is asked between two steps why what Progress heard was lost on its way to a person; nil: it was not. The
	// first error is recorded as an event, and the training goes on.
	Lost func() error
}

// MaxWorkers is the most threads that may be asked for.
const MaxWorkers = 1 << 10

// threads refuses a number of workers before anything is made for them.
func threads(workers int) error {
	if workers < 0 || workers > MaxWorkers {
		fault := config.Fault{Where: "workers",
			Text: fmt.Sprintf("%d threads; ask for 1 to %d, or 0 for one for each processor",
				workers, MaxWorkers)}
		return classify(&config.Error{Faults: []config.Fault{fault}}, "")
	}
	return nil
}

// config returns the configuration that the options describe, or an error with all its faults.
func (o TrainOptions) config() (*config.Config, error) {
	if err := threads(o.Workers); err != nil {
		return nil, err
	}
	f := config.Flags{Data: o.Data, Budget: o.Budget, Seed: o.Seed, Device: o.Device, Keep: o.Keep, Set: o.Set}
	if o.Steps != 0 {
		f.Steps = &o.Steps
	}
	return f.Load(o.Config)
}

// options returns the options beside the configuration.
func (o TrainOptions) options() train.Options {
	return train.Options{Out: o.Out, From: o.From, Workers: o.Workers, Inject: o.Inject, Hooks: hooks(o.Progress, o.Lost)}
}

// ResumeOptions say how [Resume] continues a run.
type ResumeOptions struct {
	// Steps is a new number of steps, counted from the beginning of the run. It extends a run, also one that is done.
	// 0: as planned.
	Steps int64
	// Out is the directory for a run that is fetched from its copy in object storage. Empty: runs/ and the last part
	// of the name of the copy.
	Out string
	// Mirror is the checkpoint.mirror of the run from here on. Empty: what its configuration says, if this user has
	// named that place before.
	Mirror string
	// Data is where the text of the run lies now, in the order of its paths. Empty: where it was, or where it is now as
	// seen from the run. It must be the same text.
	Data []string
	// Workers is the number of threads that compute. 0: one for each processor that Go may use.
	Workers int
	// Device is what computes from here on, as in [TrainOptions]; numbers then differ a little from those of a run that
	// stays where it was. Empty: what the run has used.
	Device string
	// Progress hears what the run does, as in [TrainOptions].
	Progress func(Progress)
	// Lost is asked what became of that, as in [TrainOptions].
	Lost func() error
}

func (o ResumeOptions) options() train.ResumeOptions {
	return train.ResumeOptions{Steps: o.Steps, Out: o.Out, Mirror: o.Mirror, Data: o.Data, Workers: o.Workers,
		Device: o.Device, Hooks: hooks(o.Progress, o.Lost)}
}

// Train trains a model in a new run directory and returns how that ended.
//
// Errors: [ConfigError], [DataError], [RefusedError] if a check found something wrong, [ErrExists] if Out holds a run,
// [ErrLocked], [CheckpointError] for From, [ErrMemory], [ErrNoSpace]. When ctx is done the run is saved and the error
// matches [ErrInterrupted]; when the guard ends the run it is a [StopError]. In these two cases the result is there as
// well.
//
// Several runs may train at the same time, in different directories.
func Train(ctx context.Context, opt TrainOptions) (_ *Result, err error) {
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	cfg, err := opt.config()
	if err != nil {
		return nil, classify(err, opt.Config)
	}
	r, err := train.Run(ctx, cfg, opt.options())
	return result(r), ended(ctx, classify(err, opt.From))
}

// Resume continues the run in dir from its newest checkpoint that verifies. Weights and log become the same, bit for
// bit, as if it had never stopped. A run that is done is left as it is, unless ResumeOptions.Steps extends it. Where
// dir is the checkpoint.mirror of a run (s3://…), the run is fetched from there first.
//
// Errors: [CheckpointError] where nothing valid is there to resume, since Resume never starts over; [DataError] if the
// text has changed; [ErrLocked] if a process works on the run; else those of [Train].
func Resume(ctx context.Context, dir string, opt ResumeOptions) (_ *Result, err error) {
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	if err := threads(opt.Workers); err != nil {
		return nil, err
	}
	r, err := train.Resume(ctx, runDir(dir), opt.options())
	return result(r), ended(ctx, classify(err, dir))
}

// Check plans the run that opt describes and makes the checks that [Train] makes before its first step: leaks, labels,
// learning rates, memory, disk. It begins nothing and takes seconds.
//
// With a [RefusedError] the diagnosis is there as well. The other errors are those of [Train].
func Check(ctx context.Context, opt TrainOptions) (_ *Diagnosis, err error) {
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	cfg, err := opt.config()
	if err != nil {
		return nil, classify(err, opt.Config)
	}
	if opt.Target != "" {
		with := measure.PlanOptions{Target: opt.Target, Out: opt.Out, From: opt.From, Workers: opt.Workers,
			Note: func(string) {}}
		if opt.Progress != nil {
			with.Note = func(text string) { opt.Progress(Note(text)) }
		}
		p, err := measure.Plan(ctx, cfg, with)
		if err != nil {
			return nil, classify(err, opt.From)
		}
		return &Diagnosis{Plan: publicPlan(p, "")}, nil
	}
	d, err := train.Check(ctx, cfg, opt.options())
	return diagnosis(d), classify(err, opt.From)
}

// CheckRun makes the checks that [Resume] makes before its first step. It only reads the run, so the run may be in
// progress. Results and errors are as those of [Check].
func CheckRun(ctx context.Context, dir string, opt ResumeOptions) (_ *Diagnosis, err error) {
	defer data.CatchShrunk(debug.SetPanicOnFault(true), &err)
	if err := threads(opt.Workers); err != nil {
		return nil, err
	}
	d, err := train.CheckRun(ctx, runDir(dir), opt.options())
	return diagnosis(d), classify(err, dir)
}

// runDir is the directory of the run that a path names; the path itself where it names none.
func runDir(path string) string {
	if run, err := rundir.Find(path); err == nil && run != "" {
		return run
	}
	return path
}

// Version is the version of this build, with its revision where the go command recorded one.
func Version() string { return runlog.Version() }
