package train

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrInterrupted says that the context was cancelled; the run was saved and can be resumed.
	ErrInterrupted = errors.New("interrupted; the run is saved and can be resumed")
	// ErrResume says that a run cannot be continued: nothing valid to resume, or its inputs changed.
	ErrResume = errors.New("cannot resume")
	// ErrData says that the corpus cannot be trained on.
	ErrData = errors.New("unusable data")
	// ErrExists says that the output directory already holds a run.
	ErrExists = errors.New("a run lies there already")
	// ErrMemory says that the run would need more memory than the machine has.
	ErrMemory = errors.New("not enough memory")
)

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
