package main

import (
	"fmt"
	"strings"

	"gimbal/internal/rundir"
	"gimbal/internal/runs"
)

type checkpointCmd struct {
	List   checkpointListCmd   `cmd:"" default:"withargs" help:"List the checkpoints of a run. This is the default."`
	Verify checkpointVerifyCmd `cmd:"" help:"Read all of each checkpoint, and say which are whole."`
	Prune  checkpointPruneCmd  `cmd:"" help:"Delete the checkpoints that a resume would delete."`
}

// ofRun is the argument of commands on a run.
type ofRun struct {
	Run_ string `arg:"" name:"run" help:"Run directory, or name of a run below runs/."`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

// dir is the directory of the run.
func (c *ofRun) dir() (string, error) {
	dir, err := rundir.Find(c.Run_)
	if err == nil && dir == "" {
		err = fmt.Errorf("%w: %s is no run", rundir.ErrCheckpoint, c.Run_)
	}
	return dir, err
}

type checkpointListCmd struct{ ofRun }

func (c *checkpointListCmd) Run(e *env) error { return c.print(e, false) }

type checkpointVerifyCmd struct{ ofRun }

func (c *checkpointVerifyCmd) Run(e *env) error { return c.print(e, true) }

// print prints the checkpoints. Those that are damaged are an error of a verification.
func (c *ofRun) print(e *env, verify bool) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	list, err := runs.Checkpoints(dir, verify)
	if err != nil {
		return err
	}
	damaged := 0
	for _, s := range list {
		if verify && s.Err != "" {
			damaged++
		}
	}
	if damaged > 0 {
		err = fmt.Errorf("%w: %s of %s damaged; \"gimbal doctor %s\" says what a resume would do", rundir.ErrCheckpoint,
			runs.Plural(damaged, "checkpoint"), runs.Escape(dir), runs.Quote(dir))
	}
	if c.JSON {
		return firstError(err, printJSON(e.stdout, list))
	}
	for _, s := range list {
		what := s.Health
		if s.Err != "" {
			what = "damaged: " + s.Err
		} else if verify {
			what = "whole, " + what
		}
		fmt.Fprintf(e.stdout, "%-12s %9s  %-24s %s\n", s.Name, runs.Size(s.Bytes), strings.Join(s.Marks, " "),
			runs.EscapeText(what))
	}
	_, failed := fmt.Fprintln(e.stdout, runs.Plural(len(list), "checkpoint"))
	return firstError(err, failed)
}

type checkpointPruneCmd struct {
	ofRun
	Keep int `help:"Newest ones to keep, beside those with a name. Default: checkpoint.keep of the run." placeholder:"N"`
}

func (c *checkpointPruneCmd) Run(e *env) error {
	if c.Keep < 0 {
		return usageError(fmt.Sprintf("--keep %d: from 1 up", c.Keep))
	}
	dir, err := c.dir()
	if err != nil {
		return err
	}
	removed, err := runs.Prune(dir, c.Keep)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, append([]string{}, removed...))
	}
	_, err = fmt.Fprintln(e.stdout, strings.TrimSpace("deleted "+runs.Plural(len(removed), "checkpoint")+" "+
		runs.Escape(strings.Join(removed, " "))))
	return err
}
