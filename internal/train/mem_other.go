//go:build !linux

package train

import "runtime"

// residentBytes is the memory that the Go runtime holds: the nearest figure that every system gives.
func residentBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}

// freeMemory is what this machine can still give, in bytes; 0 when it cannot be known.
func freeMemory() int64 { return 0 }
