package train

import (
	"errors"
	"fmt"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/durable"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/tokenizer"
)

// ErrInterrupted says that the context was cancelled; the run was saved and can be resumed.
var ErrInterrupted = errors.New("interrupted; the run is saved and can be resumed")

// ExitCode is the exit code of a program that ends with err, as the log records it.
func ExitCode(err error) int {
	var stop *StopError
	var refused *preflight.Refusal
	var faults *config.Error
	var bad *data.Error
	var unseen *tokenizer.UnseenCharError
	var invalid *tokenizer.InvalidByteError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &stop):
		return 3
	case errors.As(err, &refused):
		return refused.Exit
	case errors.Is(err, ErrInterrupted):
		return 75
	case errors.Is(err, durable.ErrNoSpace), errors.Is(err, plan.ErrMemory):
		return 6
	case errors.As(err, &bad), errors.Is(err, data.ErrUnusable), errors.As(err, &unseen), errors.As(err, &invalid),
		errors.Is(err, tokenizer.ErrNoText):
		return 4
	case errors.Is(err, rundir.ErrResume), errors.Is(err, rundir.ErrCheckpoint), errors.Is(err, checkpoint.ErrCorrupt),
		errors.Is(err, checkpoint.ErrNone), errors.Is(err, checkpoint.ErrVersion), errors.Is(err, durable.ErrLocked):
		return 5
	case errors.As(err, &faults), errors.Is(err, rundir.ErrExists):
		return 2
	}
	return 1
}

// StopError is a run that the guard ended. The weights are those before the step that was refused.
type StopError struct {
	Code      string   // event code
	Step      int64    // the update that was refused
	Reason    string   // what was seen, with its numbers
	Tensor    string   // first bad tensor, empty when none is
	Documents []string // the documents behind it, as "file:byte"
}

func (e *StopError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, e.Reason)
	if e.Tensor != "" {
		fmt.Fprintf(&b, "; first bad tensor: %s", e.Tensor)
	}
	if len(e.Documents) > 0 {
		fmt.Fprintf(&b, "; documents: %s", strings.Join(e.Documents, ", "))
	}
	b.WriteString("; the weights were not changed")
	return b.String()
}
