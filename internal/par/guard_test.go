package par

import (
	"strings"
	"sync"
	"testing"
)

// A panic of a guarded goroutine reaches OnPanic with the place of it, and without one it ends the program.
func TestGuard(t *testing.T) {
	var value any
	var where string
	OnPanic = func(v any, stack []byte) { value, where = v, string(stack) }
	defer func() { OnPanic = nil }()
	var wg sync.WaitGroup
	wg.Go(Guard(func() { panicsHere() }))
	wg.Wait()
	if value != "planted" || !strings.Contains(where, "panicsHere") {
		t.Errorf("%v at %s", value, where)
	}
	OnPanic = nil
	defer func() {
		if v := recover(); v != "planted" {
			t.Errorf("unguarded: %v", v)
		}
	}()
	Guard(panicsHere)()
}

func panicsHere() { panic("planted") }
