package par

import "runtime/debug"

// OnPanic is what Guard does with a panic, and its stack; nil: nothing, and the panic ends the program. A command sets
// it before anything else runs, to end with an exit code of its own. It must not return.
var OnPanic func(value any, stack []byte)

// Guard returns f for a goroutine of its own, whose panic nobody up the stack can recover.
func Guard(f func()) func() {
	return func() {
		debug.SetPanicOnFault(true) // a mapped file may shrink
		defer func() {
			if OnPanic == nil {
				return
			}
			if v := recover(); v != nil {
				OnPanic(v, debug.Stack())
			}
		}()
		f()
	}
}
