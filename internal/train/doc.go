// Package train runs a training: batch → engine → guard → act → record → save. It sees numbers and events, and holds no
// array: parameters, gradients and the optimizer's slots belong to the engine.
//
// [Run] starts a run in a new directory and [Resume] continues one, to the same bits as if it had never stopped. Both
// return when the run is done, when the context is cancelled ([ErrInterrupted], after a save) or when the guard ends it
// ([StopError]). What they do on the way is told through [Hooks] and written to the run's log. [Check] and [CheckRun]
// make the checks that come before the first step, and begin nothing.
//
// Where to read: run.go and resume.go assemble a run, loop.go has the loop and the order of one step, act.go does what
// the guard decided, explain.go finds out why, evaluate.go and save.go are what a step may end with.
package train
