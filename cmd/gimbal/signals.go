package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gimbal/internal/exit"
	"gimbal/internal/screen"
)

const (
	// sameInterrupt is how soon a second signal is taken for an echo of the first: a terminal or a supervisor may send
	// one to the process and one to its group.
	sameInterrupt = 500 * time.Millisecond
	// patience is how long a command that saves nothing may take to end.
	patience = 800 * time.Millisecond
)

// interruptible returns a context that the first signal cancels. A run that trains saves then, for as long as that
// takes; everything else ends within a second, at once if need be: it has nothing to lose but what the next start
// sweeps.
//
// A second signal leaves at once: what was saved is complete, and what was being saved is litter that the next start
// sweeps. A terminal that is closed is a signal, too, unless the program was started to outlive it; it may say so
// twice.
func interruptible(e *env) (context.Context, func()) {
	p := e.progress
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	done := make(chan struct{})
	go func() {
		var first time.Time
		var late <-chan time.Time
		for {
			select {
			case <-done:
				return
			case <-late:
				if !p.Checked() {
					leave(p, &exit.NotBegun{Cause: ctx.Err(), Left: exit.NothingBegun})
				}
			case s := <-signals:
				if f := e.instead.Load(); f != nil && s == os.Interrupt {
					(*f)()
				} else if first.IsZero() {
					first, late = time.Now(), time.After(patience)
					cancel()
					go p.Interrupted() // a terminal may not take it now
				} else if time.Since(first) >= sameInterrupt && s != syscall.SIGHUP {
					leave(p, nil)
				}
			}
		}
	}()
	return ctx, func() { signal.Stop(signals); close(done); cancel() }
}

// insteadOfEnding makes an interrupt call f. What it returns makes an interrupt end the program again.
func (e *env) insteadOfEnding(f func()) (restore func()) {
	e.instead.Store(&f)
	return func() { e.instead.Store(nil) }
}

// leave ends the program at once, for an error, or without one for a second signal.
func leave(p *screen.Progress, err error) {
	code := exit.SecondInterrupt
	if err != nil {
		code = exit.Of(err)
	}
	p.Leave(err)
	os.Exit(code)
}
