package runstate

import (
	"fmt"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
	"gimbal/internal/runs"
)

// Saved is a run that began before, at its newest checkpoint that verifies.
type Saved struct {
	Dir     string
	Config  *config.Config
	Model   *hub.Model
	State   State
	Refused []string // checkpoints that are newer, and why they were not taken
	Changes []string // of the configuration, by whoever resumes
}

// Open reads a run. The caller closes the model.
func Open(dir string) (*Saved, error) {
	cfg, err := rundir.Config(dir)
	if err != nil {
		return nil, err
	}
	c, refused, err := rundir.Newest(dir)
	if err != nil {
		return nil, err
	}
	s := &Saved{Dir: dir, Config: cfg, Refused: refused}
	if _, err = rundir.Verify(dir, c); err == nil {
		err = rundir.ReadState(c, &s.State)
	}
	if err == nil {
		if s.Model, err = hub.ModelOf(c); err != nil {
			err = fmt.Errorf("%w: %w", rundir.ErrResume, err)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return s, nil
}

// Change is what a run is resumed with that is not as it was.
type Change struct {
	Steps  int64    // new number of steps; 0: as planned
	Mirror string   // checkpoint.mirror; empty: as it was
	Data   []string // where the text lies now; none: where it was
	Device string   // numeric.device; empty: as it was
}

// Apply puts a change into the configuration, and reports whether the run has another number of steps with it.
func (s *Saved) Apply(c Change) (extended bool, err error) {
	step, before := s.State.Step, s.Config.Train.Steps
	if c.Mirror != "" && c.Mirror != s.Config.Checkpoint.Mirror {
		if err := s.Config.SetPlanned("checkpoint.mirror", c.Mirror, "resume --mirror"); err != nil {
			return false, err
		}
	}
	if len(c.Data) > 0 {
		if err := s.Config.SetPlanned("data.paths", c.Data, "resume --data"); err != nil {
			return false, err
		}
		s.Changes = append(s.Changes, "its text was named again")
	} else if moved := rundir.Moved(s.Dir, s.Config.Data.Paths); moved != nil {
		if err := s.Config.SetPlanned("data.paths", moved, "moved with the run"); err != nil {
			return false, err
		}
		s.Changes = append(s.Changes, "its text has moved with it")
	}
	switch d := s.Config.Numeric; {
	case c.Device != "" && c.Device != d.Device:
		if err := s.move(c.Device); err != nil {
			return false, err
		}
	case c.Device == "" && d.Plugin():
		return false, fmt.Errorf("%w: its %s names the plugin %s, which is a program: to run it, name it yourself "+
			"with --device", rundir.ErrResume, rundir.ConfigFile, d.Device)
	}
	if c.Steps == 0 || c.Steps == before {
		return false, nil
	}
	if c.Steps < step {
		return false, fmt.Errorf("%w: --steps %d is less than the %d steps already done", rundir.ErrResume, c.Steps,
			step)
	}
	origin := fmt.Sprintf("resume --steps at step %d, %d before", step, before)
	s.Changes, s.State.Stopped = append(s.Changes, "extended: "+origin), "" // somebody wants it to go on
	return true, plan.Extend(s.Config, step, c.Steps, origin)
}

// move puts the run on other hardware, and leaves open again what was planned for the old.
func (s *Saved) move(device string) error {
	const origin = "resume --device"
	for _, key := range []string{"numeric.mode", "numeric.checkpointing", "numeric.devices", "train.micro_tokens"} {
		if strings.HasPrefix(s.Config.Origin(key), "planned") {
			if err := s.Config.SetPlanned(key, "auto", origin); err != nil {
				return err
			}
		}
	}
	s.Changes = append(s.Changes, "it moved to "+device)
	return s.Config.SetPlanned("numeric.device", device, origin)
}

// Ended says why nothing is left to do, in notes for whoever resumes; none: something is.
func (s *Saved) Ended() (notes []string) {
	step, steps := s.State.Step, s.Config.Train.Steps
	switch {
	case s.State.Due, !runs.Ended(s.Dir): // it was killed before it had said so
		return nil
	case step >= steps:
		for _, r := range s.Refused {
			notes = append(notes, "refused "+r)
		}
		return append(notes, fmt.Sprintf("%s is done: %d of %d steps; \"gimbal resume %s --steps N\" extends it", s.Dir,
			step, steps, s.Dir))
	case s.State.Stopped != "":
		return []string{fmt.Sprintf("%s was stopped early at step %d of %d (%s); \"gimbal resume %s --steps N\" "+
			"continues it with another number of steps", s.Dir, step, steps, s.State.Stopped, s.Dir)}
	}
	return nil
}
