// Package exit has the exit codes of the command, and [Of] says which one an error means. The command ends with it, and
// the end record of a run's log has it, also where another program made the run.
package exit

import (
	"context"
	"errors"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/hub"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/tokenizer"
)

// The exit codes.
const (
	Done            = 0
	Error           = 1
	Usage           = 2 // or configuration
	Stopped         = 3 // by the guard, or refused before the first step
	Data            = 4
	Checkpoint      = 5  // or resume
	Resources       = 6  // disk, memory or device
	Fault           = 70 // of the program itself
	Interrupted     = 75
	SecondInterrupt = 130 // interrupted a second time
)

// Coder is an error that says its exit code.
type Coder interface {
	error
	ExitCode() int
}

// NotBegun is an interrupt before anything was begun. It matches the error of the context that was done.
type NotBegun struct {
	Cause error  // of the context
	Left  string // what it leaves, in a sentence; empty: nobody knows
}

func (e *NotBegun) Error() string { return strings.TrimSuffix("interrupted, "+e.Left, ", ") }
func (e *NotBegun) Unwrap() error { return e.Cause }

// ExitCode implements Coder.
func (e *NotBegun) ExitCode() int { return Interrupted }

// What an interrupt before the first step leaves.
const (
	NothingBegun = "nothing was begun"    // of a new run
	AsItWas      = "the run is as it was" // of one that was to go on
)

// Preparing returns err, or where ctx is done, whatever came of that, what it leaves.
func Preparing(ctx context.Context, err error, left string) error {
	if cause := ctx.Err(); cause != nil {
		return &NotBegun{cause, left}
	}
	return err
}

// Shrunk is the error of a recovered panic if a mapped file got shorter, else nil; see durable.Shrunk.
func Shrunk(value any) error { return durable.Shrunk(value) }

// Of is the exit code of the command where it ends with err.
func Of(err error) int {
	var own Coder
	var refused *preflight.Refusal
	var faults *config.Error
	var text *data.Error
	var directory *hub.Error
	var unseen *tokenizer.UnseenCharError
	var invalid *tokenizer.InvalidByteError
	is := func(any ...error) bool {
		for _, target := range any {
			if errors.Is(err, target) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return Done
	case errors.As(err, &own):
		return own.ExitCode()
	case errors.As(err, &refused):
		return refused.Exit
	case is(context.Canceled):
		return Interrupted
	case is(durable.ErrNoSpace, plan.ErrMemory, device.ErrLost):
		return Resources
	case errors.As(err, &text), errors.As(err, &unseen), errors.As(err, &invalid),
		is(data.ErrUnusable, tokenizer.ErrNoText, durable.ErrShrunk):
		return Data
	case errors.As(err, &directory), is(rundir.ErrResume, rundir.ErrCheckpoint, checkpoint.ErrCorrupt,
		checkpoint.ErrNone, checkpoint.ErrVersion, durable.ErrLocked):
		return Checkpoint
	case errors.As(err, &faults), is(rundir.ErrExists):
		return Usage
	}
	return Error
}
