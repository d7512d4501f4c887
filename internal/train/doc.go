// Package train runs a training: batch → forward → backward → check → update →
// record → save. It wires the rooms of the house together and owns no
// arithmetic of its own.
//
// [Run] starts a run in a new directory and [Resume] continues one, to the same
// bits as if it had never stopped. Both return when the run is done, when the
// context is cancelled ([ErrInterrupted], after a save) or when the guard ends it
// ([StopError]). What they do on the way is told through [Hooks] and written to
// the run's log.
//
// The order of one step is fixed: every micro-batch adds to the gradients under
// one denominator, the guard sees loss and gradient norm, and only then may the
// weights change.
package train
