package screen

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"gimbal/internal/plain"
)

// Sink is where results or messages go. Whatever is written to it is made safe to show, so that no command can forget
// it; only control passes as it is. Writing never fails: what could not be written is remembered, and the program says
// so when it ends. It is safe for concurrent use.
type Sink struct {
	w    io.Writer
	pump *pump // in front of it; nil: who writes waits
	last *pump // what it has is written first, as far as it can be: both may be one terminal

	mu   sync.Mutex
	safe *plain.Writer // to control
	err  error         // the first
}

func newSink(w io.Writer) *Sink {
	o := &Sink{w: w}
	o.safe = plain.NewWriter(control{o})
	return o
}

// NewResults returns a sink of results. What messages hold is written first, as far as it can be.
func NewResults(w io.Writer, messages *Sink) *Sink {
	o := newSink(w)
	o.last = messages.pump
	return o
}

// NewMessages returns a sink of messages, whose writers wait for no reader.
func NewMessages(w io.Writer) *Sink {
	o := newSink(w)
	o.pump = &pump{w: w}
	return o
}

// Write implements io.Writer.
func (o *Sink) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.safe.Write(p)
}

// InColours returns a writer of text that may have colours.
func (o *Sink) InColours() io.Writer { return inColours{o} }

type inColours struct{ *Sink }

// Write implements io.Writer.
func (c inColours) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	io.WriteString(control(c), colouredText(string(p)))
	return len(p), nil
}

// Flush writes what is left of a character, and waits for a reader as long as it reads something within limit.
func (o *Sink) Flush(limit time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.safe.Flush(); o.pump != nil {
		o.pump.drain(limit)
	}
}

// control writes to a sink what the screen makes: its lines are drawn in place.
type control struct{ *Sink }

// Write implements io.Writer. Who calls it holds the mutex.
func (c control) Write(p []byte) (int, error) {
	w := c.w
	if c.pump != nil {
		w = c.pump
	}
	if c.last != nil {
		c.last.drain(Hasty)
	}
	if _, err := w.Write(p); err != nil && c.err == nil {
		c.err = err
	}
	return len(p), nil
}

// Err is the first error of writing; nil: there was none.
func (o *Sink) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.pump != nil {
		o.err = o.pump.failed()
	}
	return o.err
}

// Terminal is the terminal that w writes to; nil: it is none.
func Terminal(w io.Writer) *os.File {
	if o, ok := w.(*Sink); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
