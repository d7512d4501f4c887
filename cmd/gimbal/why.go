package main

import (
	"fmt"
	"os"
	"path/filepath"

	"gimbal/internal/durable"
	"gimbal/internal/runlog"
	"gimbal/internal/story"
)

type whyCmd struct {
	Run_ string `arg:"" name:"run" help:"Run directory, or a log.jsonl."`
	JSON bool   `name:"json" help:"Print the story as JSON on standard output."`
}

func (c *whyCmd) Run(e *env) error {
	path := c.Run_
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "log.jsonl")
	}
	log, err := runlog.Read(durable.OS, path)
	if err != nil {
		return fmt.Errorf("%w; name the directory of a run", err)
	}
	if len(log.Records) == 0 {
		return fmt.Errorf("%s holds no record of a run", path)
	}
	s := story.Tell(log)
	if c.JSON {
		err = printJSON(e.stdout, s)
	} else {
		err = s.Write(e.stdout, c.Run_)
	}
	if n := len(s.Replay.Differences); err == nil && n > 0 {
		return fmt.Errorf("judged again, the guard says another thing than is recorded in %d places", n)
	}
	return err
}
