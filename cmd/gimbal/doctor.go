package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gimbal"
	"gimbal/internal/runlog"
)

type doctorCmd struct {
	Target string `arg:"" optional:"" help:"Run directory, or configuration file of a run to come." placeholder:"RUN|CONFIG"`
	settings
	Out  string `help:"Run directory that the run would have: its disk is checked." placeholder:"DIR"`
	From string `help:"Run or checkpoint that the run would start from." placeholder:"CHECKPOINT"`
	JSON bool   `name:"json" help:"Print every check as JSON on standard output."`
}

func (c *doctorCmd) Run(e *env) error {
	tell := newProgress(e.stderr).tell
	var d *gimbal.Diagnosis
	info, err := os.Stat(filepath.Join(c.Target, "config.toml"))
	switch {
	case c.Target != "" && err == nil && !info.IsDir():
		if c.given() || c.Out != "" || c.From != "" {
			return usageError("a run is checked as it is: --data, --set, --steps, --seed, --out and --from are for a run to come")
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
	printDiagnosis(e.stdout, d)
	return err
}

// printDiagnosis prints each check in a line, and what to do below those that want something done.
func printDiagnosis(w io.Writer, d *gimbal.Diagnosis) {
	count := map[string]int{}
	for _, c := range d.Checks {
		count[c.Result]++
		fmt.Fprintf(w, "%-21s %-8s %s\n", c.Code, c.Result, c.Message)
		if c.Advice != "" {
			fmt.Fprintf(w, "%-30s → %s\n", "", c.Advice)
		}
	}
	fmt.Fprintf(w, "\n%d checks in %.1f s: %d ok, %d notes, %d warnings, %d errors, %d skipped; docs/guards.md says what each means\n",
		len(d.Checks), d.Seconds, count["ok"], count["info"], count["warning"], count["error"], count["skipped"])
}
