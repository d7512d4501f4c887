package testmem

import (
	"runtime/debug"
	"testing"
	"unsafe"
)

// TestFence: memory ends, or begins, where a touch faults.
func TestFence(t *testing.T) {
	f := NewFence(t)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	faults := func(p unsafe.Pointer) (did bool) {
		defer func() { did = recover() != nil }()
		*(*byte)(p) = 1
		return false
	}
	first, last := f.Take(3, false), f.Take16(3, true)
	begin, end := unsafe.Pointer(&first[0]), unsafe.Pointer(&last[2])
	if faults(begin) || faults(unsafe.Add(end, 1)) {
		t.Error("the memory itself faults")
	}
	if !faults(unsafe.Add(begin, -1)) || !faults(unsafe.Add(end, 2)) {
		t.Error("the pages around it can be touched")
	}
}
