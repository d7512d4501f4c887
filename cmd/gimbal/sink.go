package main

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"gimbal/internal/plain"
)

// sink is where results or messages go. Whatever is written to it is made safe to show, so that no command can forget
// it; only control passes as it is. Writing never fails: what could not be written is remembered, and the program says
// so when it ends. It is safe for concurrent use.
type sink struct {
	w    io.Writer
	pump *pump // in front of it; nil: who writes waits
	last *pump // what it has is written first, as far as it can be: both may be one terminal

	mu   sync.Mutex
	safe *plain.Writer // to control
	err  error         // the first
}

func newSink(w io.Writer) *sink {
	o := &sink{w: w}
	o.safe = plain.NewWriter(control{o})
	return o
}

// newMessages returns a sink whose writers wait for no reader.
func newMessages(w io.Writer) *sink {
	o := newSink(w)
	o.pump = &pump{w: w}
	return o
}

// Write implements io.Writer.
func (o *sink) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.safe.Write(p)
}

// inColours returns a writer of text that may have colours.
func (o *sink) inColours() io.Writer { return inColours{o} }

type inColours struct{ *sink }

// Write implements io.Writer.
func (c inColours) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(control{c.sink}, colouredText(string(p)))
	return len(p), nil
}

// flush writes what is left of a character, and waits for a reader as drain does.
func (o *sink) flush(limit time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.safe.Flush(); o.pump != nil {
		o.pump.drain(limit)
	}
}

// control writes to a sink what the screen makes: its lines are drawn in place.
type control struct{ *sink }

// Write implements io.Writer. Who calls it holds the mutex.
func (c control) Write(p []byte) (int, error) {
	w := c.w
	if c.pump != nil {
		w = c.pump
	}
	if c.last != nil {
		c.last.drain(hasty)
	}
	if _, err := w.Write(p); err != nil && c.err == nil {
		c.err = err
	}
	return len(p), nil
}

// failed is the first error of writing; nil: there was none.
func (o *sink) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.pump != nil {
		o.err = o.pump.failed()
	}
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
