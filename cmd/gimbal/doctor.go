package main

import (
	"fmt"
	"os"

	"gimbal"
	"gimbal/internal/rundir"
	"gimbal/internal/runlog"
	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

type doctorCmd struct {
	Target string `arg:"" optional:"" help:"Run directory, or configuration file of a new run." placeholder:"RUN|CONFIG"`
	settings
	Out  string `help:"Directory of the new run, whose disk is checked." placeholder:"DIR"`
	From string `help:"Run or checkpoint that the new run starts from." placeholder:"CHECKPOINT"`
	JSON bool   `name:"json" help:"Print the checks as JSON."`

	Repair bool `help:"Make anew what follows from the rest of a run, and move aside what killed processes left."`
}

// Help implements kong.HelpProvider.
func (*doctorCmd) Help() string {
	return `Makes the checks that train and resume make before their first step and prints all of them: leaks, labels,
learning rates, memory, disk. It uses the run's own model, configuration and text, takes seconds and changes nothing.
Of a run it first reads every file, and says what is whole, what a resume would do, and what --repair mends. Nothing is
deleted.

"gimbal train --dry-run" prints the plan of a run, "gimbal data stats" counts its text.`
}

// run returns the directory of the run that is named; "" if it is a configuration file.
func (c *doctorCmd) run() (run string, err error) {
	info, missing := os.Stat(c.Target)
	if c.Target == "" || missing == nil && !info.IsDir() {
		return "", nil
	}
	if run, err = rundir.Find(c.Target); err != nil { // a file that is not there is told as such
		return "", nil
	}
	if run == "" {
		err = usageError(c.Target + " is no run: name the directory of a run, or a configuration file")
	}
	return run, err
}

func (c *doctorCmd) Run(e *env) error {
	tell := e.progress.Tell
	var d *gimbal.Diagnosis
	var x *runs.Examination
	run, err := c.run()
	switch {
	case err != nil:
		return err
	case run != "":
		c.Target = run
		if c.given() || c.Out != "" || c.From != "" {
			return usageError("a run is checked as it is: --data, --set, --steps, --seed, --out and --from are for a new run")
		}
		if x, err = c.examine(e); err != nil {
			return err
		}
		d, err = gimbal.CheckRun(e.ctx, c.Target, gimbal.ResumeOptions{Progress: tell})
	case c.Repair:
		return usageError("--repair: name the directory of a run")
	default:
		opt, bad := c.options(c.Target)
		if bad != nil {
			return bad
		}
		opt.Out, opt.From, opt.Progress = c.Out, c.From, tell
		d, err = gimbal.Check(e.ctx, opt)
	}
	e.progress.End()
	if d == nil {
		return err
	}
	if c.JSON {
		return firstError(err, printJSON(e.stdout, struct { // the record of a log, with the exit code
			Kind string `json:"kind"`
			runlog.At
			*gimbal.Diagnosis
			Run      *runs.Examination `json:"run,omitempty"`
			ExitCode int               `json:"exit_code"`
		}{Diagnosis: d, Run: x, ExitCode: exitCodeOf(err)}))
	}
	if x != nil && (!x.Healthy() || x.Mended != nil) {
		if err := x.Write(e.stdout); err != nil {
			return err
		}
	}
	screen.PrintChecks(e.stdout, d.Checks)
	_, failed := fmt.Fprintf(e.stdout, "%.1f s; docs/events.md says what each check means\n", d.Seconds)
	return firstError(err, failed)
}

// examine reads all of the run, and repairs it if that is asked for. A run that a resume would refuse is shown, and is
// an error.
func (c *doctorCmd) examine(e *env) (x *runs.Examination, err error) {
	if c.Repair {
		x, err = runs.Repair(c.Target)
	} else {
		x, err = runs.Examine(c.Target)
	}
	if err != nil || x.GoesOn {
		return x, err
	}
	write := func() error { return x.Write(e.stdout) }
	if c.JSON {
		write = func() error { return printJSON(e.stdout, x) }
	}
	return nil, firstError(write(), x.Err(), fmt.Errorf("%w: %s", rundir.ErrResume, x.Resume))
}
