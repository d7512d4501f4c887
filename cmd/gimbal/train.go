package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"gimbal"
	"gimbal/internal/config"
)

type trainCmd struct {
	Text []string `arg:"" optional:"" name:"path" help:"File or folder to read, as with --data."`

	Config string `help:"Configuration file (TOML)." type:"path" placeholder:"FILE"`
	settings
	Out    string   `help:"Run directory. Default: runs/<date>-<name>." placeholder:"DIR"`
	From   string   `help:"Run or checkpoint to start from: weights, shape and tokenizer." placeholder:"CHECKPOINT"`
	Keep   []string `help:"Text that the weights know: what is forgotten of it is shown; repeatable." placeholder:"PATH" sep:"none"`
	Inject []string `help:"Plant a fault at a step to test the guard; repeatable." placeholder:"FAULT@STEP" sep:"none"`
	DryRun bool     `help:"Print the plan and what the checks find, and stop."`
	Target string   `help:"With --dry-run: plan for a card that is not here, such as h100." placeholder:"CARD"`
	JSON   bool     `name:"json" help:"Print the result as JSON."`
}

// Help implements kong.HelpProvider.
func (*trainCmd) Help() string {
	return `Every file is a document; a line of JSONL or a row of Parquet is one, too. Without --data it trains on the
source tree of the installed Go. Without --steps, size and steps are planned for the --budget.

An interrupt (Ctrl-C) saves the run. "gimbal resume" continues it, also after a kill or a power cut.

docs/config.md lists the keys of --set and --config, docs/guards.md the faults of --inject. --dry-run plans the run and
makes the checks of "gimbal doctor", which prints all of them.`
}

// settings are the flags that describe a run, over its configuration file.
type settings struct {
	Data   []string       `help:"File or folder to read; repeatable." placeholder:"PATH" sep:"none"`
	Steps  *int64         `help:"Updates to make. Default: planned from time and text." placeholder:"N"`
	Budget *time.Duration `help:"Time that the run may take, such as 10m or 2h. Default: 2.5m." placeholder:"TIME"`
	Seed   *uint64        `help:"Seed of all random numbers. Default: 1." placeholder:"N"`
	Device string         `help:"Where to compute: auto, cpu, cuda, rocm, oneapi, tpu, or a plugin." placeholder:"NAME|PATH"`
	Set    []string       `help:"Set a key of the configuration; repeatable." placeholder:"KEY=VALUE" sep:"none"`
}

// given reports whether there is any.
func (c *settings) given() bool {
	return len(c.Data) > 0 || c.Steps != nil || c.Budget != nil || c.Seed != nil || c.Device != "" || len(c.Set) > 0
}

// budget is --budget; 0: it is not given.
func (c *settings) budget() time.Duration {
	if c.Budget == nil {
		return 0
	}
	return *c.Budget
}

// load reads the configuration file, if one is named, and applies the settings over it.
func (c *settings) load(file string) (*config.Config, error) {
	return config.Flags{Data: c.Data, Steps: c.Steps, Budget: c.budget(), Seed: c.Seed, Device: c.Device,
		Set: c.Set}.Load(file)
}

// options are the settings for the library.
func (c *settings) options(file string) (opt gimbal.TrainOptions, err error) {
	if c.Budget != nil && *c.Budget <= 0 {
		return opt, usageError(fmt.Sprintf("--budget %v: a run takes some time", *c.Budget))
	}
	opt = gimbal.TrainOptions{Data: c.Data, Budget: c.budget(), Seed: c.Seed, Device: c.Device, Config: file,
		Set: c.Set}
	if c.Steps != nil {
		opt.Steps, err = *c.Steps, checkSteps(*c.Steps)
	}
	return opt, err
}

// checkSteps is what is wrong with a value of --steps.
func checkSteps(n int64) error {
	if n < 1 {
		return usageError(fmt.Sprintf("--steps %d: a run has at least one", n))
	}
	return nil
}

func (c *trainCmd) Run(e *env) error {
	opt, err := c.options(c.Config)
	if err != nil {
		return err
	}
	opt.Data = append(opt.Data, c.Text...)
	opt.Out, opt.From, opt.Keep, opt.Inject, opt.Progress = c.Out, c.From, c.Keep, c.Inject, e.progress.Tell
	if opt.Target = c.Target; c.Target != "" && !c.DryRun {
		return usageError("--target: a card that is not here can only be planned for, with --dry-run")
	}
	if c.DryRun {
		d, err := gimbal.Check(e.ctx, opt)
		e.progress.End()
		switch {
		case d == nil:
			return err
		case c.JSON:
			return firstError(err, printJSON(e.stdout, struct {
				Plan *gimbal.Plan `json:"plan"`
				*gimbal.Diagnosis
				ExitCode int `json:"exit_code"`
			}{d.Plan, d, exitCodeOf(err)}))
		}
		e.progress.DryRun(e.stdout, d)
		return err
	}
	e.outlive()
	opt.Lost = e.lost
	r, err := gimbal.Train(e.ctx, opt)
	return finish(e, r, err, c.JSON)
}

type resumeCmd struct {
	Run_  string `arg:"" name:"run" help:"Run directory, or its copy in object storage (s3://BUCKET/PREFIX)."`
	Out   string `help:"With s3://: directory to make. Default: runs/<last part of the name>." placeholder:"DIR"`
	Steps *int64 `help:"New total number of steps: extends the run, even one that is done." placeholder:"N"`

	Data []string `help:"Where the same text lies now, if it was moved; repeatable." placeholder:"PATH" sep:"none"`
	JSON bool     `name:"json" help:"Print the result as JSON."`

	Mirror string `help:"Where to copy the run from here on. Default: where its configuration says." placeholder:"s3://BUCKET/PREFIX"`
	Device string `help:"Where to compute from here on. Default: where the run has computed." placeholder:"NAME|PATH"`
}

func (c *resumeCmd) Run(e *env) error {
	opt := gimbal.ResumeOptions{Out: c.Out, Mirror: c.Mirror, Data: c.Data, Device: c.Device, Progress: e.progress.Tell,
		Lost: e.lost}
	if c.Steps != nil {
		opt.Steps = *c.Steps
		if err := checkSteps(opt.Steps); err != nil {
			return err
		}
	}
	e.outlive()
	r, err := gimbal.Resume(e.ctx, c.Run_, opt)
	return finish(e, r, err, c.JSON)
}

// finish prints what a run came to, also when it was interrupted or stopped.
func finish(e *env, r *gimbal.Result, err error, asJSON bool) error {
	e.progress.End()
	switch {
	case r == nil:
		return err
	case asJSON:
		return firstError(err, printJSON(e.stdout, r))
	}
	e.progress.Finish(e.stdout, e.program, r, err)
	return err
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
