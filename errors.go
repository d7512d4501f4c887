package gimbal

import (
	"context"
	"errors"
	"fmt"

	"gimbal/internal/config"
	"gimbal/internal/data"
	"gimbal/internal/device"
	"gimbal/internal/durable"
	"gimbal/internal/exit"
	"gimbal/internal/plan"
	"gimbal/internal/preflight"
	"gimbal/internal/rundir"
	"gimbal/internal/tokenizer"
	"gimbal/internal/train"
)

// Errors that have nothing more to say than what they are, for errors.Is.
var (
	// ErrInterrupted says that the context was done. The run is saved and can be resumed.
	ErrInterrupted = train.ErrInterrupted
	// ErrExists says that the directory for a new run holds a run already.
	ErrExists = rundir.ErrExists
	// ErrLocked says that another process, or another call of this one, works on the run.
	ErrLocked = durable.ErrLocked
	// ErrNoSpace says that the disk is full. What was saved before is intact.
	ErrNoSpace = durable.ErrNoSpace
	// ErrMemory says that the run needs more memory than there is.
	ErrMemory = plan.ErrMemory
	// ErrDeviceLost says that an accelerator, or the process that owns it, was lost more often than a run survives.
	// What was saved before is intact.
	ErrDeviceLost = device.ErrLost
	// ErrClosed says that a [Model] was used after its Close.
	ErrClosed = errors.New("gimbal: the model is closed")
)

// ConfigError is a configuration that cannot be used, with everything that is wrong with it.
type ConfigError struct {
	Faults []Fault // in the order of the file, then of the options; at least one
	Err    error   // the cause, with the whole message
}

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Where   string // "run.toml:12", "--set", "flag --steps"; empty when it is nowhere in particular
	Key     string // of the setting, as it was written; empty for a fault of the whole file
	Message string // what is wrong and what to do
}

// DataError is text that cannot be read, trained on or scored.
type DataError struct {
	Path   string // file; empty if the text is no file, or if no single one is to blame
	Line   int64  // in the file or the text, from 1; 0: unknown
	Column int64  // byte in the line of a file, from 1; 0: unknown
	Offset int64  // in a prompt or a scored text, the bytes before the character that the tokenizer does not know
	Err    error  // the cause, with the whole message
}

// CheckpointError is a run or a model that holds nothing usable: nothing is there, it is damaged, or this program
// cannot compute it.
type CheckpointError struct {
	Path string // as it was named in the call
	Err  error  // the cause, with the whole message
}

// RefusedError is a run that its checks refused before the first step.
type RefusedError struct {
	Failed []CheckResult // at least one
	Err    error         // the cause, with the whole message
}

// StopError is a run that the guard ended. The weights are those before the update that was refused, and the
// checkpoints are intact.
type StopError struct {
	Code      string   // of the event, such as "E3-DIVERGED"; docs/events.md lists them
	Step      int64    // the update that was refused
	Reason    string   // what was seen, with its numbers
	Tensor    string   // the first tensor with a number that is not finite; empty: none
	Documents []string // what was being learned, each with its file and place
	Err       error    // the cause, with the whole message

	From string  // the newest healthy checkpoint, from which another run may start; empty: there is none
	LR   float64 // a peak learning rate to try then, half of what was in force
}

// PromptError is a prompt that is too long for the model.
type PromptError struct {
	Tokens  int // of the prompt, with the token that starts a text
	Context int // most tokens that the model takes
}

// Their messages are those of their causes.

func (e *ConfigError) Error() string     { return e.Err.Error() }
func (e *DataError) Error() string       { return e.Err.Error() }
func (e *CheckpointError) Error() string { return e.Err.Error() }
func (e *RefusedError) Error() string    { return e.Err.Error() }
func (e *StopError) Error() string       { return e.Err.Error() }

func (e *ConfigError) Unwrap() error     { return e.Err }
func (e *DataError) Unwrap() error       { return e.Err }
func (e *CheckpointError) Unwrap() error { return e.Err }
func (e *RefusedError) Unwrap() error    { return e.Err }
func (e *StopError) Unwrap() error       { return e.Err }

func (e *PromptError) Error() string {
	return fmt.Sprintf("the prompt has %d tokens, and the context of the model is %d: shorten the prompt", e.Tokens,
		e.Context)
}

// classify gives an internal error the type that this package documents. path is what the call was about.
func classify(err error, path string) error {
	var stop *train.StopError
	var refused *preflight.Refusal
	var faults *config.Error
	switch {
	case errors.As(err, &stop):
		return &StopError{stop.Code, stop.Step, stop.Reason, stop.Tensor, stop.Documents, err, stop.From, stop.LR}
	case errors.As(err, &refused):
		return &RefusedError{checkResults(refused.Failed), err}
	}
	switch exit.Of(err) {
	case exit.Data:
		return dataError(err)
	case exit.Checkpoint:
		return &CheckpointError{path, err}
	case exit.Usage:
		if errors.As(err, &faults) {
			e := &ConfigError{Err: err}
			for _, f := range faults.Faults {
				e.Faults = append(e.Faults, Fault{f.Where, f.Key, f.Text})
			}
			return e
		}
	}
	return err
}

func dataError(err error) error {
	var file *data.Error
	var unseen *tokenizer.UnseenCharError
	var invalid *tokenizer.InvalidByteError
	e := &DataError{Err: err}
	if errors.As(err, &file) {
		e.Path, e.Line, e.Column = file.Path, file.Line, file.Byte
	}
	if errors.As(err, &unseen) {
		e.Line, e.Offset = unseen.Line, unseen.Offset
	}
	if errors.As(err, &invalid) {
		e.Line, e.Offset = invalid.Line, invalid.Offset
	}
	return e
}

// ended makes the error of a run that ctx has interrupted match the error of ctx, too.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, ErrInterrupted) && ctx.Err() != nil {
		return &also{err, ctx.Err()}
	}
	return err
}

// unusable is a CheckpointError about path.
func unusable(path, format string, args ...any) error {
	return &CheckpointError{path, &also{fmt.Errorf(format, args...), rundir.ErrCheckpoint}}
}

// also is an error that matches a second one, too, and keeps its text.
type also struct{ first, second error }

func (e *also) Error() string   { return e.first.Error() }
func (e *also) Unwrap() []error { return []error{e.first, e.second} }
