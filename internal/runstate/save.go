package runstate

import (
	"time"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/runlog"
)

// Save is one save of a run: what is written, and what came of it.
type Save struct {
	At       runlog.At      // where the run stands
	Anchor   int64          // of the run before; it is the run's again where the save fails
	State    State          // that is saved
	Config   *config.Config // of the run
	Log      *runlog.Writer // of the run
	FS       durable.FS     // of the checkpoint: the store's, with the planted faults
	Snapshot *checkpoint.Snapshot
	Took     time.Duration // to write the checkpoint; 0: it was not written
	Err      error         // set before Begin where there is nothing to write

	done  chan struct{}
	fault any // what the program panicked with: the run panics where it looks for the outcome
}

// Begin makes a save. It reports whether that goes on by itself, beside training: then it works on a copy.
func (s *Store) Begin(p *Save, beside bool) (under bool) {
	s.under, p.done = p, make(chan struct{})
	switch {
	case p.Err != nil:
		close(p.done)
		return false
	case beside:
		s.copy.Take(p.Snapshot)
		go p.write(s)
	default:
		p.write(s)
	}
	return beside
}

// write makes the log, the checkpoint and what follows from it durable, in this order.
func (p *Save) write(s *Store) {
	defer close(p.done)
	defer func() { p.fault = recover() }()
	if p.Err = p.Log.Sync(); p.Err != nil {
		return
	}
	began := time.Now()
	if _, p.Err = checkpoint.Save(p.FS, s.Checkpoints(), p.Snapshot); p.Err == nil {
		p.Took = time.Since(began)
		p.Err = s.derive(&p.State, p.Config)
	}
}

// Ended reports whether there is a save that has ended and that nobody has awaited.
func (s *Store) Ended() bool {
	if s.under == nil {
		return false
	}
	select {
	case <-s.under.done:
		return true
	default:
		return false
	}
}

// Await waits for the save that is under way and returns it with what came of it; nil: there is none.
func (s *Store) Await() *Save {
	p := s.under
	if p == nil {
		return nil
	}
	<-p.done
	s.under = nil
	switch {
	case p.fault != nil:
		panic(p.fault)
	case p.Err != nil:
		s.Failed++
	default:
		s.Saved, s.Due, s.Marked, s.Failed = p.At.Step, p.State.Due, p.State.Marks, 0
	}
	return p
}

// Close waits for the save that is under way, and drops what came of it.
func (s *Store) Close() {
	if s.under != nil {
		<-s.under.done
	}
}
