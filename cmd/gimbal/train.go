package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"gimbal"
	"gimbal/internal/config"
)

type trainCmd struct {
	Config string `help:"Configuration file (TOML); docs/config.md lists the keys." type:"path" placeholder:"FILE"`
	settings
	Out    string   `help:"Run directory. Default: runs/<date>-<name>." placeholder:"DIR"`
	From   string   `help:"Run or checkpoint to start from: its weights, shape and tokenizer." placeholder:"CHECKPOINT"`
	Inject []string `help:"Plant a fault at a step, repeatable, to watch the guard work: nan-grad@100, loss-spike@200, … (docs/guards.md)." placeholder:"FAULT@STEP" sep:"none"`
	DryRun bool     `help:"Show the plan, make the checks of \"gimbal doctor\", and begin nothing."`
	JSON   bool     `name:"json" help:"Print the result as JSON on standard output."`
}

// settings are the flags that describe a run, over its configuration file.
type settings struct {
	Data  []string `help:"File or folder to read, repeatable. Default: the source tree of the installed Go." placeholder:"PATH" sep:"none"`
	Steps *int64   `help:"Updates of the run. Default: planned from time and data." placeholder:"N"`
	Seed  *uint64  `help:"Seed of every random number of the run. Default: 1." placeholder:"N"`
	Set   []string `help:"Set a key of the configuration, repeatable." placeholder:"KEY=VALUE" sep:"none"`
}

// given reports whether there is any.
func (c *settings) given() bool {
	return len(c.Data) > 0 || c.Steps != nil || c.Seed != nil || len(c.Set) > 0
}

// load reads the configuration file, if one is named, and applies the settings over it.
func (c *settings) load(file string) (*config.Config, error) {
	return config.Flags{Data: c.Data, Steps: c.Steps, Seed: c.Seed, Set: c.Set}.Load(file)
}

// options are the settings for the library.
func (c *settings) options(file string) (opt gimbal.TrainOptions, err error) {
	opt = gimbal.TrainOptions{Data: c.Data, Seed: c.Seed, Config: file, Set: c.Set}
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
	p := newProgress(e.stderr)
	opt.Out, opt.From, opt.Inject, opt.Progress = c.Out, c.From, c.Inject, p.tell
	if c.DryRun {
		d, err := gimbal.Check(e.ctx, opt)
		if d != nil {
			p.plan(d.Plan)
		}
		return err
	}
	r, err := gimbal.Train(e.ctx, opt)
	return finish(e, r, err, c.JSON)
}

type resumeCmd struct {
	Run_  string `arg:"" name:"run" help:"Run directory."`
	Steps *int64 `help:"New number of steps: extends a run, also one that is done." placeholder:"N"`
	JSON  bool   `name:"json" help:"Print the result as JSON on standard output."`
}

func (c *resumeCmd) Run(e *env) error {
	opt := gimbal.ResumeOptions{Progress: newProgress(e.stderr).tell}
	if c.Steps != nil {
		opt.Steps = *c.Steps
		if err := checkSteps(opt.Steps); err != nil {
			return err
		}
	}
	r, err := gimbal.Resume(e.ctx, c.Run_, opt)
	return finish(e, r, err, c.JSON)
}

// plan prints what a run will do.
func (p *progress) plan(plan *gimbal.Plan) {
	p.say("plan\n%s", plan)
	if plan.Dir != "" {
		p.say("  run         %s", plan.Dir)
	}
}

// note prints a sentence about what was found or done.
func (p *progress) note(format string, args ...any) { p.say("gimbal: "+format, args...) }

// tell tells a run on the terminal.
func (p *progress) tell(what gimbal.Progress) {
	switch v := what.(type) {
	case gimbal.Note, gimbal.Detail, *gimbal.Diagnosis, gimbal.Look:
		p.note("%s", v)
	case *gimbal.Plan:
		p.plan(v)
	case gimbal.Step:
		p.step(v)
	case gimbal.Evaluation:
		p.say("evaluation at step %d: validation loss %.4f nats/token, %.4f bits/byte (n-gram baseline %.4f nats/token)",
			v.Step, v.Loss, v.BitsPerByte, v.BaselineLoss)
		if rep, ok := v.Metrics["rep4"]; ok {
			p.say("  writing: %.1f %% of 4-grams repeated (people %.1f %%), prompt consistency %.3f, %.0f alarms", 100*rep,
				100*v.Metrics["rep4_human"], v.Metrics["consistency"], v.Metrics["alarms"])
		}
	case gimbal.Event:
		p.say("%s", v)
	}
}

// finish prints what a run came to: results on standard output, also when it was interrupted or stopped.
func finish(e *env, r *gimbal.Result, err error, asJSON bool) error {
	if r == nil {
		return err
	}
	if asJSON {
		return firstError(err, printJSON(e.stdout, r))
	}
	if r.Dir == "" || r.Reason == "already done" {
		return err
	}
	if r.ValTokens > 0 {
		printLosses(e.stdout, "model", r.ValLoss, r.BitsPerByte, &r.Baseline)
	}
	for _, s := range r.Samples {
		printSample(e.stdout, s.Prompt, s.Text)
	}
	fmt.Fprintf(e.stdout, "\n%s after step %d; %d events; the run lies in %s\n", r.Reason, r.Step, r.Events, r.Dir)
	next := []string{fmt.Sprintf("gimbal sample %s", r.Dir), fmt.Sprintf("gimbal eval %s", r.Dir)}
	if r.Reason == "done" {
		next = append(next, fmt.Sprintf("gimbal resume %s --steps %d", r.Dir, 2*r.Step))
	} else {
		next = append([]string{fmt.Sprintf("gimbal resume %s", r.Dir)}, next...)
	}
	fmt.Fprintf(e.stdout, "next:\n  %s\n", strings.Join(next, "\n  "))
	return err
}

// printLosses prints a loss beside the n-gram baseline.
func printLosses(w io.Writer, name string, loss, bits float64, b *gimbal.Baseline) {
	fmt.Fprintf(w, "\n%-34s %12s %12s\n", "validation loss", "nats/token", "bits/byte")
	row := func(name string, loss, bits float64) { fmt.Fprintf(w, "%-34s %12.4f %12.4f\n", name, loss, bits) }
	row(name, loss, bits)
	if b != nil {
		row(fmt.Sprintf("n-gram (Witten-Bell, order %d)", b.Order), b.Loss, b.BitsPerByte)
		row("unigram", b.UnigramLoss, b.UnigramBitsPerByte)
	}
}

// printSample prints a text with its prompt marked off.
func printSample(w io.Writer, prompt, text string) {
	fmt.Fprintf(w, "\n--- %s\n", strings.Repeat("-", 60))
	if prompt != "" {
		fmt.Fprintf(w, "[%s]", prompt)
	}
	fmt.Fprintln(w, strings.TrimRight(text, "\n"))
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
