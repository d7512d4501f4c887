package screen

import (
	"errors"
	"io"
	"sync"
	"time"
)

const pumpBytes = 1 << 20 // of messages that wait for their reader

// Limits of Flush.
const (
	Patient = 5 * time.Second // how long the end of the program waits for a reader that reads nothing
	Hasty   = 200 * time.Millisecond
)

var errUnread = errors.New("nobody reads it, and there is no room for more")

// pump writes in a goroutine of its own, so that who writes never waits for who reads: a run goes on and takes its
// signals while a pipe is full. What finds no room is lost, and is an error.
type pump struct {
	w io.Writer

	mu    sync.Mutex
	buf   []byte
	err   error         // the first
	wrote int           // bytes, so far
	stuck int           // wrote + 1, when drain gave up; 0: it never did
	busy  bool          // the goroutine runs
	done  chan struct{} // closed when it ends
}

// Write implements io.Writer.
func (p *pump) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	if len(p.buf)+len(b) > pumpBytes {
		return 0, errUnread
	}
	if p.buf = append(p.buf, b...); !p.busy {
		p.busy, p.done = true, make(chan struct{})
		go p.run(p.done)
	}
	return len(b), nil
}

// run writes until nothing is left.
func (p *pump) run(done chan struct{}) {
	defer close(done)
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buf) > 0 && p.err == nil {
		b := p.buf
		p.buf = nil
		p.mu.Unlock()
		n, err := p.w.Write(b)
		p.mu.Lock()
		p.wrote, p.err = p.wrote+n, err
	}
	p.busy = false
}

// failed is the first error of writing.
func (p *pump) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// drain waits until everything is written, as long as something is within limit. It does not wait again where nothing
// was written since.
func (p *pump) drain(limit time.Duration) {
	for last := -1; ; {
		p.mu.Lock()
		busy, wrote, done := p.busy, p.wrote+1, p.done
		if wrote == last {
			p.stuck = wrote
		}
		stuck := wrote == p.stuck
		p.mu.Unlock()
		if !busy || stuck {
			return
		}
		last = wrote
		select {
		case <-done:
		case <-time.After(limit):
		}
	}
}
