package corpus

import (
	"fmt"
	"strings"
)

// Error is a fault of the user's data: what is wrong, where, and what to do about it.
//
// Line and Byte count from 1 and are 0 when they say nothing; Byte is the position in its line.
type Error struct {
	Path       string
	Line, Byte int64
	What       string
	Advice     string
	Err        error // the cause, where there is one
}

// Error returns "data: path:line:byte: what: cause; advice" without the parts that are empty.
func (e *Error) Error() string {
	var s strings.Builder
	s.WriteString("data: ")
	if e.Path != "" {
		s.WriteString(e.Path)
		if e.Line > 0 {
			fmt.Fprintf(&s, ":%d:%d", e.Line, e.Byte)
		}
		s.WriteString(": ")
	}
	s.WriteString(e.What)
	if e.Err != nil {
		if e.What != "" {
			s.WriteString(": ")
		}
		s.WriteString(e.Err.Error())
	}
	if e.Advice != "" {
		s.WriteString("; ")
		s.WriteString(e.Advice)
	}
	return s.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
