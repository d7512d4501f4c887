// Package par runs loops on a fixed set of workers. New makes a pool of workers, and Do runs one loop on it and returns
// when the loop is done. Between loops the workers spin for about 30 microseconds, because the next loop of a training
// step follows at once. Then they park, so that an idle pool costs no CPU time.
//
// A fixed rule cuts a loop into one contiguous share per worker. A share depends only on the length, the grain and the
// number of workers. Results must not depend on the cut: one worker computes each output element in one order, and sums
// over everything use blocks of fixed size whose partial sums are added in block order.
//
// There is no work stealing, no task queue, no future and no nesting. Do is for one caller at a time, and a Job must
// not call Do on its own pool.
package par

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Job is the body of a loop. Part handles the indices [lo, hi). No other running Part has the same worker, a number in
// [0, Workers), so it can index scratch space.
type Job interface {
	Part(worker, lo, hi int)
}

// spinTime is how long a worker spins before it parks.
const spinTime = 30 * time.Microsecond

// Pool is a fixed set of workers. Worker 0 is the goroutine that calls Do.
type Pool struct {
	helpers []helper // workers 1 to Workers-1
	spin    time.Duration
	pending atomic.Int32 // helpers still busy with the current loop
	done    signal       // set by the last of them
	busy    atomic.Bool
	closed  atomic.Bool

	// The current loop; written before the helpers are signalled.
	job                 Job
	n, grain            int
	units, participants int
}

type helper struct {
	start signal
	fault *Panic
	_     [64]byte // keeps the flags of two helpers in different cache lines
}

// Panic is what Do panics with when a Part panicked on another goroutine: the original value and its stack. A panic in
// the caller's own share passes through as it is.
type Panic struct {
	Worker int
	Value  any
	Stack  []byte
}

// Error makes an uncaught Panic print its origin.
func (p *Panic) Error() string {
	return fmt.Sprintf("par: worker %d: %v\n\n%s", p.Worker, p.Value, p.Stack)
}

// Unwrap returns Value if it is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// most is the most workers of a pool: no machine has more processors, and results do not depend on how many there are.
const most = 1 << 10

// New starts a pool of workers, the caller of Do included; workers <= 0 means GOMAXPROCS, and more than 1024 mean 1024.
// Close ends it.
func New(workers int) *Pool {
	procs := runtime.GOMAXPROCS(0)
	if workers <= 0 {
		workers = procs
	}
	workers = min(workers, most)
	p := &Pool{helpers: make([]helper, workers-1), spin: spinTime}
	if workers > procs {
		p.spin = 0 // a spinning worker would take the processor of a working one
	}
	p.done.wake = make(chan struct{}, 1)
	for i := range p.helpers {
		p.helpers[i].start.wake = make(chan struct{}, 1)
		go p.help(i)
	}
	return p
}

// Workers returns the number of workers, the caller of Do included.
func (p *Pool) Workers() int { return len(p.helpers) + 1 }

// Do cuts [0, n) into contiguous shares, one per worker, at multiples of grain (grain < 1 counts as 1), runs j.Part
// on each and returns when all are done. Shares differ by at most one grain. With fewer grains than workers the last
// workers get nothing. It allocates nothing.
//
// If a Part panics, the others finish first and Do panics in the caller; the pool stays usable. Panics on nested or
// concurrent use and after Close.
func (p *Pool) Do(n, grain int, j Job) {
	if n <= 0 {
		return
	}
	if !p.busy.CompareAndSwap(false, true) {
		panic("par: nested or concurrent Do")
	}
	if p.closed.Load() {
		p.busy.Store(false)
		panic("par: Do after Close")
	}
	p.job, p.n, p.grain = j, n, max(grain, 1)
	p.units = (n + p.grain - 1) / p.grain
	p.participants = min(p.units, p.Workers())
	p.pending.Store(int32(p.participants - 1))
	for i := range p.participants - 1 {
		p.helpers[i].start.set()
	}
	defer p.join()
	p.part(0)
}

// join waits for the helpers, frees the pool and passes on a helper's panic. It is deferred, so that a panic in the
// caller's share waits for them, too.
func (p *Pool) join() {
	if p.participants > 1 {
		p.done.wait(p.spin)
	}
	var fault *Panic
	for i := range p.helpers {
		h := &p.helpers[i]
		if fault == nil {
			fault = h.fault
		}
		h.fault = nil
	}
	p.job = nil
	p.busy.Store(false)
	if fault != nil {
		panic(fault)
	}
}

func (p *Pool) part(worker int) {
	lo := p.units * worker / p.participants * p.grain
	hi := min(p.units*(worker+1)/p.participants*p.grain, p.n)
	p.job.Part(worker, lo, hi)
}

// help runs the shares of helper i until Close.
func (p *Pool) help(i int) {
	debug.SetPanicOnFault(true) // a mapped file may shrink
	for p.helpers[i].start.wait(p.spin); !p.closed.Load(); p.helpers[i].start.wait(p.spin) {
		p.run(i)
	}
}

// run runs one share of helper i.
func (p *Pool) run(i int) {
	finished := false
	defer func() {
		if !finished {
			f := &Panic{Worker: i + 1, Value: recover(), Stack: debug.Stack()}
			if f.Value == nil { // runtime.Goexit ends this goroutine, as testing.T.FailNow does
				f.Value = "goroutine exited inside a Job"
				go p.help(i)
			}
			p.helpers[i].fault = f
		}
		if p.pending.Add(-1) == 0 {
			p.done.set()
		}
	}()
	p.part(i + 1)
	finished = true
}

// Close ends the workers. It must not be called while Do runs. A second call does nothing.
func (p *Pool) Close() {
	if p.busy.Load() {
		panic("par: Close during Do")
	}
	if p.closed.Swap(true) {
		return
	}
	for i := range p.helpers {
		p.helpers[i].start.set()
	}
}

// signal is a flag that one goroutine sets and one other waits for.
type signal struct {
	state atomic.Uint32
	wake  chan struct{}
}

const (
	unset  = iota
	set    // not yet seen by the waiter
	parked // the waiter sleeps on wake
)

func (s *signal) set() {
	if s.state.Swap(set) == parked {
		s.wake <- struct{}{}
	}
}

// wait returns once the flag is set, and clears it. It spins for the given time before it parks.
func (s *signal) wait(spin time.Duration) {
	if spin > 0 {
		for start := time.Now(); ; {
			for range 64 {
				if s.state.Load() == set {
					s.state.Store(unset)
					return
				}
			}
			if time.Since(start) > spin {
				break
			}
			runtime.Gosched() // the other goroutine may be waiting for this processor
		}
	}
	if s.state.CompareAndSwap(unset, parked) {
		<-s.wake
	}
	s.state.Store(unset)
}
