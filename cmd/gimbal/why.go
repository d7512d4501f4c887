package main

import (
	"fmt"

	"gimbal/internal/runs"
)

type whyCmd struct {
	Run_ string `arg:"" name:"run" help:"Run directory, name of a run below runs/, or a log.jsonl."`
	JSON bool   `name:"json" help:"Print what happened as JSON."`
}

func (c *whyCmd) Run(e *env) error {
	t, err := runs.Why(c.Run_)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.stdout, t)
	} else {
		err = t.Write(e.stdout, c.Run_)
	}
	if n := len(t.Replay.Differences); err == nil && n > 0 {
		return fmt.Errorf("replaying the log disagrees with it in %s", runs.Plural(n, "place"))
	}
	return err
}
