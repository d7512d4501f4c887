//go:build !linux

package memory

import "runtime"

// Resident is the memory that the Go runtime holds: the nearest figure that every system gives.
func Resident() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// Free is what this machine can still give, in bytes; 0 when it cannot be known.
func Free() int64 { return 0 }
