package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// sink is where results or messages go. Writing to it never fails: what could not be written is remembered, and the
// program says so when it ends. It is safe for concurrent use.
type sink struct {
	w io.Writer

	mu  sync.Mutex
	err error // the first
}

// Write implements io.Writer.
func (o *sink) Write(p []byte) (int, error) {
	if _, err := o.w.Write(p); err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return len(p), nil
}

// failed is the first error of writing; nil: there was none.
func (o *sink) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// terminal is the terminal that w writes to; nil: it is none.
func terminal(w io.Writer) *os.File {
	if o, ok := w.(*sink); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// gone reports whether nobody reads any more: a pipe was closed, or the terminal is not there.
func gone(err error) bool { return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.EIO) }

// outlive lets a run outlive whoever reads its messages. What is then not read is no fault: the run has a report.
func (e *env) outlive() {
	signal.Ignore(syscall.SIGPIPE)
	e.outlives = true
}

// lost says why what was told was not read; nil: it was, as far as is known.
func (e *env) lost() error {
	for _, w := range []io.Writer{e.stdout, e.stderr} {
		if o, ok := w.(*sink); ok && o.failed() != nil {
			return fmt.Errorf("what the run tells is lost from here on: %w", o.failed())
		}
	}
	return nil
}

// unwritten is the error of a result that could not be written; nil: it was written, or nobody wants it.
func (e *env) unwritten() error {
	o, ok := e.stdout.(*sink)
	if !ok || o.failed() == nil || e.outlives && gone(o.failed()) {
		return nil
	}
	return fmt.Errorf("the result could not be written: %w", o.failed())
}
