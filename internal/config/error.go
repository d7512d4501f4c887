package config

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	Where string // "run.toml:12", "--set", "flag --steps"; empty if there is no such place
	Key   string // dotted name as it was written; empty for a fault of the whole file
	Text  string // what is wrong and what to do
}

// String returns the fault in one line, without a full stop.
func (f Fault) String() string {
	parts := []string{f.Where, f.Key, f.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Error holds every fault that was found, in the order of the file and then of the command line. The command exits with
// the code for a configuration fault when errors.As finds it.
type Error struct{ Faults []Fault }

// Error returns the fault, or one line for each.
func (e *Error) Error() string {
	if len(e.Faults) == 1 {
		return "config: " + e.Faults[0].String()
	}
	text := fmt.Sprintf("config: %d faults", len(e.Faults))
	for _, f := range e.Faults {
		text += "\n  " + f.String()
	}
	return text
}
