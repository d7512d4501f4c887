package main

import (
	"fmt"
	"os"
	"path/filepath"

	"gimbal"
	"gimbal/internal/runlog"
)

type doctorCmd struct {
	Target string `arg:"" optional:"" help:"Run directory, or configuration file of a new run." placeholder:"RUN|CONFIG"`
	settings
	Out  string `help:"Directory of the new run, whose disk is checked." placeholder:"DIR"`
	From string `help:"Run or checkpoint that the new run starts from." placeholder:"CHECKPOINT"`
	JSON bool   `name:"json" help:"Print the checks as JSON."`
}

// Help implements kong.HelpProvider.
func (*doctorCmd) Help() string {
	return `Makes the checks that train and resume make before their first step and prints all of them: leaks, labels,
learning rates, memory, disk. It uses the run's own model, configuration and text, takes seconds and changes nothing.

"gimbal train --dry-run" prints the plan of a run, "gimbal data stats" counts its text.`
}

func (c *doctorCmd) Run(e *env) error {
	tell := e.progress.tell
	var d *gimbal.Diagnosis
	info, err := os.Stat(filepath.Join(c.Target, "config.toml"))
	switch {
	case c.Target != "" && err == nil && !info.IsDir():
		if c.given() || c.Out != "" || c.From != "" {
			return usageError("a run is checked as it is: --data, --set, --steps, --seed, --out and --from are for a new run")
		}
		d, err = gimbal.CheckRun(e.ctx, c.Target, gimbal.ResumeOptions{Progress: tell})
	default:
		opt, bad := c.options(c.Target)
		if bad != nil {
			return bad
		}
		opt.Out, opt.From, opt.Progress = c.Out, c.From, tell
		d, err = gimbal.Check(e.ctx, opt)
	}
	e.progress.end()
	if d == nil {
		return err
	}
	if c.JSON {
		return firstError(err, printJSON(e.stdout, struct { // the record of a log, with the exit code
			Kind string `json:"kind"`
			runlog.At
			*gimbal.Diagnosis
			ExitCode int `json:"exit_code"`
		}{Diagnosis: d, ExitCode: exitCodeOf(err)}))
	}
	printChecks(e.stdout, d.Checks)
	_, failed := fmt.Fprintf(e.stdout, "%.1f s; docs/events.md says what each check means\n", d.Seconds)
	return firstError(err, failed)
}
