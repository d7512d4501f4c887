package config

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Where string // "run.toml:12", "--set", "flag --steps"; empty when it is nowhere in particular
	Key   string // dotted name as it was written; empty for a fault of the whole file
	Text  string // what is wrong and what to do
}

// String returns the fault in one line, without a full stop.
func (f Fault) String() string {
	var parts []string
	for _, s := range []string{f.Where, f.Key, f.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Error is every fault that was found, in the order of the file and then of the command line. Whoever meets it
// with errors.As ends with the exit code of a configuration fault.
type Error struct{ Faults []Fault }

// Error returns the fault, or one line for each.
func (e *Error) Error() string {
	if len(e.Faults) == 1 {
		return "config: " + e.Faults[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "config: %d faults", len(e.Faults))
	for _, f := range e.Faults {
		b.WriteString("\n  " + f.String())
	}
	return b.String()
}
