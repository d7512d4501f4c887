package train

import (
	"fmt"
	"strings"

	"gimbal/internal/exit"
)

// ErrInterrupted says that the context was cancelled; the run was saved and can be resumed.
var ErrInterrupted error = interrupted{}

type interrupted struct{}

func (interrupted) Error() string { return "interrupted; the run is saved and can be resumed" }

// ExitCode implements exit.Coder.
func (interrupted) ExitCode() int { return exit.Interrupted }

// StopError is a run that the guard ended. The weights are those before the step that was refused.
type StopError struct {
	Code      string   // event code
	Step      int64    // the update that was refused
	Reason    string   // what was seen, with its numbers
	Tensor    string   // first bad tensor, empty when none is
	Documents []string // the documents behind it, as "file:byte"

	From string  // the newest healthy checkpoint, to start again from; empty: there is none
	LR   float64 // peak learning rate to try with it: half of what was in force
}

func (e *StopError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", e.Code, e.Reason)
	if e.Tensor != "" {
		fmt.Fprintf(&b, "; first bad tensor: %s", e.Tensor)
	}
	if len(e.Documents) > 0 {
		fmt.Fprintf(&b, "; documents: %s", strings.Join(e.Documents, "; "))
	}
	b.WriteString("; the weights were not changed")
	return b.String()
}

// ExitCode implements exit.Coder.
func (e *StopError) ExitCode() int { return exit.Stopped }
