package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"gimbal/internal/runs"
	"gimbal/internal/screen"
)

// env is what a subcommand may touch: where results and messages go, and when to stop.
type env struct {
	ctx      context.Context
	stdin    io.Reader
	stdout   *screen.Sink     // results
	stderr   *screen.Sink     // messages
	progress *screen.Progress // messages of what takes a while
	program  string           // to type to start this program
	outlives bool             // it goes on where nobody reads what it writes

	instead atomic.Pointer[func()] // what an interrupt does; nil: it ends the program
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
	for _, w := range []*screen.Sink{e.stdout, e.stderr} {
		if err := w.Err(); err != nil {
			return fmt.Errorf("what the run tells is lost from here on: %w", err)
		}
	}
	return nil
}

// unwritten is the error of a result that could not be written; nil: it was written, or nobody wants it.
func (e *env) unwritten() error {
	err := e.stdout.Err()
	if err == nil || e.outlives && gone(err) {
		return nil
	}
	return fmt.Errorf("the result could not be written: %w", err)
}

// programName is what to type to start this program again as it was started.
func programName(arg string) string {
	if !strings.Contains(filepath.ToSlash(arg), "/go-build") {
		return runs.Quote(arg)
	}
	if _, err := os.Stat(filepath.Join("cmd", "gimbal", "main.go")); err == nil {
		return "go run ./cmd/gimbal"
	}
	return "gimbal"
}
