package train

import (
	"cmp"
	"fmt"
	"slices"

	"gimbal/internal/evaluate"
	"gimbal/internal/plan"
	"gimbal/internal/runlog"
)

// Hooks tell what a run does while it does it. Any of them may be nil. They are called from the goroutine of the
// run, one at a time, and must return soon.
type Hooks struct {
	Note   func(text string)                                // a sentence that a person should read
	Detail func(text string)                                // a sentence for whoever wants to know more
	Plan   func(p *plan.Plan, dir string, e plan.Expected)  // once, before the first step
	Check  func(rec *runlog.Preflight)                      // once, what the preflight found
	Step   func(rec runlog.Step, seconds float64)           // after each update
	Look   func(rec *runlog.Layers, alarms int)             // every 100 steps: the health of every block
	Eval   func(rec runlog.Eval, samples []evaluate.Sample) // after each evaluation
	Event  func(rec runlog.Event)                           // whenever the guard or a fault speaks
	Lost   func() error                                     // why what was told before was not heard; nil: it was
}

// call calls a hook that may be nil.
func call[A any](hook func(A), a A) {
	if hook != nil {
		hook(a)
	}
}

func call2[A, B any](hook func(A, B), a A, b B) {
	if hook != nil {
		hook(a, b)
	}
}

// recorder is the one sink of what a run does: its log, and whoever watches.
type recorder struct {
	hooks   Hooks
	log     *runlog.Writer // nil until the run has a directory
	events  []runlog.Event // of all attempts, as far as they still count
	refused int            // updates that were not made, likewise
}

// note tells a sentence. It does not go to the log.
func (r *recorder) note(format string, args ...any) {
	call(r.hooks.Note, fmt.Sprintf(format, args...))
}

// detail tells a sentence to whoever wants to know more.
func (r *recorder) detail(format string, args ...any) {
	call(r.hooks.Detail, fmt.Sprintf(format, args...))
}

// write appends a record that nobody watches.
func (r *recorder) write(rec any) error { return r.log.Write(rec) }

func (r *recorder) plan(p *plan.Plan, dir string, e plan.Expected) {
	if r.hooks.Plan != nil {
		r.hooks.Plan(p, dir, e)
	}
}

func (r *recorder) look(rec *runlog.Layers, alarms int) error {
	if err := r.log.Write(*rec); err != nil {
		return err
	}
	call2(r.hooks.Look, rec, alarms)
	return nil
}

func (r *recorder) step(rec runlog.Step, seconds float64) error {
	if err := r.log.Write(rec); err != nil {
		return err
	}
	call2(r.hooks.Step, rec, seconds)
	return nil
}

func (r *recorder) eval(rec runlog.Eval, samples []evaluate.Sample) error {
	if err := r.log.Write(rec); err != nil {
		return err
	}
	call2(r.hooks.Eval, rec, samples)
	return nil
}

func (r *recorder) event(e runlog.Event) error {
	e.Kind = "event"
	r.events = append(r.events, e)
	r.sort()
	call(r.hooks.Event, e)
	return r.log.Write(e)
}

// sort puts events in the order of what they are about: that of a save is known later.
func (r *recorder) sort() {
	slices.SortStableFunc(r.events, func(a, b runlog.Event) int { return cmp.Compare(a.Batch, b.Batch) })
}

func (r *recorder) close() error {
	if r.log == nil {
		return nil
	}
	return r.log.Close()
}
