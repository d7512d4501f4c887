package preflight

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/memory"
	"gimbal/internal/optim"
	"gimbal/internal/plan"
	"gimbal/internal/rundir"
)

const (
	tracedSteps   = 1 << 22 // most steps whose rate is computed; of a longer run, as many are spread evenly
	warmupShare   = 0.25    // of a run; a longer warmup is reported
	lateRestart   = 500     // steps that the last restart should leave,
	lateShare     = 5       // or one in this many of a short run
	namedKept     = 2       // checkpoints that are kept for their name
	stateOverhead = 1 << 20 // bytes of a checkpoint besides weights and moments
)

// checkRates computes the rates that are still to come.
func (c *checker) checkRates(context.Context) finding {
	s := c.Plan.Rate.Schedule
	stride := max(1, (s.Steps-c.Step)/tracedSteps)
	if step, lr := optim.FirstOutside(c.rate, c.Step+1, s.Steps, stride, s.Peak); step != 0 {
		return found(resultError, "the rate of step %d is %g, outside (0, %g]", step, lr, s.Peak).
			do("the program or its schedule settings are wrong; " + adviceReport).
			with(map[string]float64{"step": float64(step), "lr": lr, "peak": s.Peak})
	}
	last := c.rate(s.Steps)
	if want := s.Peak * s.Floor; s.Kind != "constant" && s.Warmup < s.Steps && !(last <= want*(1+1e-9)) {
		return found(resultError, "the run ends at a rate of %g and not at its floor of %g", last, want).
			do("the program is wrong; " + adviceReport).
			with(map[string]float64{"lr": last, "floor": want})
	}
	course := c.Plan.Rate.Course()
	if course != "" {
		course = "; it goes " + course
	}
	return found(resultOK, "every rate is in (0, %.3g], the last is %.3g%s", s.Peak, last, course).
		with(map[string]float64{"peak": s.Peak, "last": last})
}

// checkWarmupShare reports a warmup that takes more than a quarter of the run, or would have taken. A warmup that is
// over is not looked at.
func (c *checker) checkWarmupShare(context.Context) finding {
	s := c.Plan.Rate.Schedule
	share := float64(s.Warmup) / float64(s.Steps)
	numbers := map[string]float64{"warmup": float64(s.Warmup), "steps": float64(s.Steps), "share": share}
	switch {
	case c.Step > 0 && c.Step >= s.Warmup:
		return found(resultOK, "the warmup ended with step %d, and %s are done", s.Warmup, plural(c.Step, "step")).
			with(numbers)
	case share > warmupShare && s.Steps >= 4:
		return found(resultWarning, "the warmup of %s is %.0f %% of the run, which spends much of its time below the "+
			"planned rate", plural(s.Warmup, "step"), 100*share).
			do("train longer, or set schedule.warmup_exact = false, which cuts it to a quarter").with(numbers)
	case c.Plan.Rate.Capped:
		return found(resultInfo, "the warmup was cut to %s, a quarter of the run", plural(s.Warmup, "step")).with(numbers)
	}
	return found(resultOK, "the warmup has %s, %.0f %% of the run", plural(s.Warmup, "step"), 100*share).with(numbers)
}

// checkWarmupShort reports a warmup that is missing, or too short for the second moment to settle.
func (c *checker) checkWarmupShort(context.Context) finding {
	s, settle := c.Plan.Rate.Schedule, 2/(1-c.Plan.Spec.Optim.Beta2)
	numbers := map[string]float64{"warmup": float64(s.Warmup), "settle": settle}
	switch {
	case c.Step > 0 && c.Step >= s.Warmup:
		return found(resultOK, "the second moment has settled in %s", plural(c.Step, "step")).with(numbers)
	case s.Warmup == 0 && s.Steps > 1:
		return found(resultWarning, "there is no warmup, which at high rates makes the model worse without any spike").
			do("leave schedule.warmup at its default").with(numbers)
	case float64(s.Warmup) < settle:
		return found(resultInfo, "the warmup has %s; the second moment settles in 2/(1-beta2) = %.0f",
			plural(s.Warmup, "step"), settle).with(numbers)
	}
	return found(resultOK, "the warmup has %s; the second moment settles in %.0f", plural(s.Warmup, "step"), settle).
		with(numbers)
}

// checkRestarts refuses a restart so close to the end that the loss cannot recover from it.
func (c *checker) checkRestarts(context.Context) finding {
	s := c.Plan.Rate.Schedule
	last := s.LastRestart()
	switch {
	case last == 0:
		return found(resultOK, "the schedule has no restart")
	case last <= c.Step:
		return found(resultOK, "the last restart was at step %d", last)
	}
	left, want := s.Steps-last+1, min(lateRestart, max(1, s.Steps/lateShare))
	numbers := map[string]float64{"restart": float64(last), "left": float64(left), "least": float64(want)}
	if left >= want {
		return found(resultOK, "the last restart, at step %d, leaves %s to recover", last, plural(left, "step")).
			with(numbers)
	}
	result := resultError
	if c.Begun || c.Plan.Config.Schedule.LateRestart {
		result = resultWarning // it was accepted before, or on purpose
	}
	return found(result, "the last restart, at step %d, leaves %s; the loss recovers in about %d", last,
		plural(left, "step"), want).
		do("choose another schedule.period or train.steps, or allow it with schedule.late_restart = true").with(numbers)
}

// checkMemory compares the memory that the plan still needs with what is free now.
func (c *checker) checkMemory(context.Context) finding {
	free, held, total := c.free(), memory.Resident(), c.Plan.Memory.Total()
	if hw := c.Plan.Hardware; hw.Device != "" {
		free, held = hw.Free, 0 // of the devices, when the plan was made
	}
	if free == 0 {
		return found(resultSkipped, "this system does not say how much memory is free")
	}
	need := max(0, total-held)
	numbers := map[string]float64{"plan": float64(total), "held": float64(held), "free": float64(free)}
	text := fmt.Sprintf("the plan needs %s and already has %s; %s is free", plan.BytesText(total),
		plan.BytesText(min(held, total)), plan.BytesText(free))
	switch {
	case need > free:
		return found(resultError, "%s", text).
			do("lower train.micro_tokens, train.context or the size of the model, or end other programs").with(numbers)
	case float64(need) > plan.MemoryShare*float64(free):
		return found(resultWarning, "%s, so little is left for anything else", text).
			do("lower train.micro_tokens, or end other programs").with(numbers)
	}
	return found(resultOK, "%s", text).with(numbers)
}

// checkDisk compares the size of the checkpoints that will be kept with the free space on their disk.
func (c *checker) checkDisk(context.Context) finding {
	out := c.Out
	if out == "" {
		out = rundir.Parent
	}
	at := existing(out)
	space, err := c.space(at)
	if errors.Is(err, errors.ErrUnsupported) {
		return found(resultSkipped, "this system does not say how much space %s has", at)
	}
	if err != nil {
		return found(resultWarning, "the free space of %s is not known: %v", at, err).
			do("check that the folder can be reached")
	}
	one := 3*4*c.Plan.Params + stateOverhead
	kept := 0
	if list, err := checkpoint.List(durable.Inside(out), rundir.CheckpointsOf(out)); err == nil {
		kept = len(list)
	}
	more := max(1, c.Plan.Config.Checkpoint.Keep+namedKept+1-kept) // the newest is written before the oldest goes
	need := int64(more) * one
	numbers := map[string]float64{"checkpoint": float64(one), "more": float64(more), "free": float64(space)}
	text := fmt.Sprintf("a checkpoint takes %s; %d more will be kept, and %s has %s free", plan.BytesText(one), more,
		at, plan.BytesText(int64(min(space, 1<<62))))
	switch {
	case space < uint64(one):
		return found(resultError, "%s: not even one fits", text).
			do("free disk space, or choose another --out").with(numbers)
	case space < uint64(need):
		return found(resultWarning, "%s: the disk will fill up", text).
			do("free disk space, or lower checkpoint.keep").with(numbers)
	}
	return found(resultOK, "%s", text).with(numbers)
}

// existing returns path, or else the nearest folder above it that exists.
func existing(path string) string {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return path
		}
	}
}
