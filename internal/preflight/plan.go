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
	tracedSteps   = 1 << 22 // steps whose rate is computed one by one; of a longer run as many, evenly spread
	warmupShare   = 0.25    // of a run, beyond which a warmup is long
	lateRestart   = 500     // steps before the end in which no restart should fall,
	lateShare     = 5       // or this part of a short run
	namedKept     = 2       // checkpoints that are kept for their name
	stateOverhead = 1 << 20 // bytes of a checkpoint beside weights, moments and tokenizer
)

// checkRates follows the rate through the run.
func (c *checker) checkRates(context.Context) finding {
	s := c.Plan.Rate.Schedule
	stride := max(1, s.Steps/tracedSteps)
	if step, lr := optim.FirstOutside(c.rate, s.Steps, stride, s.Peak); step != 0 {
		return found(resultError, "the rate of step %d is %g, outside (0, %g]", step, lr, s.Peak).
			do("this is a fault of the program or of its schedule settings; " + adviceReport).
			with(map[string]float64{"step": float64(step), "lr": lr, "peak": s.Peak})
	}
	last := c.rate(s.Steps)
	if want := s.Peak * s.Floor; s.Kind != "constant" && s.Warmup < s.Steps && !(last <= want*(1+1e-9)) {
		return found(resultError, "the run ends at a rate of %g and not at its floor of %g", last, want).
			do("this is a fault of the program; " + adviceReport).
			with(map[string]float64{"lr": last, "floor": want})
	}
	return found(resultOK, "every rate lies in (0, %.3g], the last is %.3g", s.Peak, last).
		with(map[string]float64{"peak": s.Peak, "last": last})
}

// checkWarmupShare reports a warmup that takes more than a quarter of the run, or would have.
func (c *checker) checkWarmupShare(context.Context) finding {
	s := c.Plan.Rate.Schedule
	share := float64(s.Warmup) / float64(s.Steps)
	numbers := map[string]float64{"warmup": float64(s.Warmup), "steps": float64(s.Steps), "share": share}
	switch {
	case share > warmupShare && s.Steps >= 4:
		return found(resultWarning, "the warmup of %d steps is %.0f %% of the run: most of it is spent below its "+
			"learning rate", s.Warmup, 100*share).
			do("train longer, or let schedule.warmup_exact be false, which cuts it to a quarter").with(numbers)
	case c.Plan.Rate.Capped:
		return found(resultInfo, "the warmup asked for is more than a quarter of the run and was cut to %d steps",
			s.Warmup).with(numbers)
	}
	return found(resultOK, "%d steps, %.0f %% of the run", s.Warmup, 100*share).with(numbers)
}

// checkWarmupShort reports a warmup that is missing, or shorter than what the second moment needs to settle.
func (c *checker) checkWarmupShort(context.Context) finding {
	s, settle := c.Plan.Rate.Schedule, 2/(1-c.Plan.Spec.Optim.Beta2)
	numbers := map[string]float64{"warmup": float64(s.Warmup), "settle": settle}
	switch {
	case s.Warmup == 0 && s.Steps > 1:
		return found(resultWarning, "there is no warmup: at high rates that costs quality without a spike to see").
			do("leave schedule.warmup at its rule").with(numbers)
	case float64(s.Warmup) < settle:
		return found(resultInfo, "%d steps are fewer than the 2/(1-beta2) = %.0f in which the second moment settles",
			s.Warmup, settle).with(numbers)
	}
	return found(resultOK, "%d steps, and the second moment settles in %.0f", s.Warmup, settle).with(numbers)
}

// checkRestarts refuses a restart so close to the end that the run cannot regain what it costs.
func (c *checker) checkRestarts(context.Context) finding {
	s := c.Plan.Rate.Schedule
	last := s.LastRestart()
	if last == 0 {
		return found(resultOK, "the rate is never raised again")
	}
	left, want := s.Steps-last+1, min(lateRestart, max(1, s.Steps/lateShare))
	numbers := map[string]float64{"restart": float64(last), "left": float64(left), "least": float64(want)}
	if left >= want {
		return found(resultOK, "the last restart, at step %d, leaves %d steps to regain it", last, left).with(numbers)
	}
	result := resultError
	if c.Begun || c.Plan.Config.Schedule.LateRestart {
		result = resultWarning // it was accepted before, or on purpose
	}
	return found(result, "the last restart, at step %d, leaves %d steps; what it costs is regained in about %d", last,
		left, want).
		do("choose another schedule.period or train.steps, or set schedule.late_restart to have it so").with(numbers)
}

// checkMemory compares what the plan still has to take with what is free now.
func (c *checker) checkMemory(context.Context) finding {
	free, held, total := c.free(), memory.Resident(), c.Plan.Memory.Total()
	if free == 0 {
		return found(resultSkipped, "this system does not say how much memory is free")
	}
	need := max(0, total-held)
	numbers := map[string]float64{"plan": float64(total), "held": float64(held), "free": float64(free)}
	text := fmt.Sprintf("the plan takes %s, of which %s are taken; %s are free", plan.BytesText(total),
		plan.BytesText(min(held, total)), plan.BytesText(free))
	switch {
	case need > free:
		return found(resultError, "%s", text).
			do("lower train.micro_tokens, train.context or the size of the model, or end other programs").with(numbers)
	case float64(need) > plan.MemoryShare*float64(free):
		return found(resultWarning, "%s: little is left for anything else", text).
			do("lower train.micro_tokens, or end other programs").with(numbers)
	}
	return found(resultOK, "%s", text).with(numbers)
}

// checkDisk compares the checkpoints that will be kept with the room on their disk.
func (c *checker) checkDisk(context.Context) finding {
	out := c.Out
	if out == "" {
		out = rundir.Parent
	}
	at := existing(out)
	space, err := c.space(at)
	if errors.Is(err, errors.ErrUnsupported) {
		return found(resultSkipped, "this system does not say how much room %s has", at)
	}
	if err != nil {
		return found(resultWarning, "the room of %s cannot be told: %v", at, err).
			do("see that the folder can be reached")
	}
	one := 3*4*c.Plan.Params + stateOverhead
	kept := 0
	if list, err := checkpoint.List(durable.OS, rundir.CheckpointsOf(out)); err == nil {
		kept = len(list)
	}
	more := max(1, c.Plan.Config.Checkpoint.Keep+namedKept+1-kept) // the newest is written before the oldest goes
	need := int64(more) * one
	numbers := map[string]float64{"checkpoint": float64(one), "more": float64(more), "free": float64(space)}
	text := fmt.Sprintf("a checkpoint takes %s, %d more will be there at a time, and %s has %s", plan.BytesText(one), more,
		at, plan.BytesText(int64(min(space, 1<<62))))
	switch {
	case space < uint64(one):
		return found(resultError, "%s: not even the first one fits", text).
			do("free some room, or choose another --out").with(numbers)
	case space < uint64(need):
		return found(resultWarning, "%s: the disk will fill", text).
			do("free some room, or lower checkpoint.keep").with(numbers)
	}
	return found(resultOK, "%s", text).with(numbers)
}

// existing returns the nearest folder on the way to path that exists.
func existing(path string) string {
	for path = filepath.Clean(path); ; path = filepath.Dir(path) {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path {
			return path
		}
	}
}
