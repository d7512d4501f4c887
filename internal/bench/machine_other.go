//go:build !linux

package bench

import "runtime"

// peakMemory is the memory that the Go runtime has asked for: the nearest figure that every system gives.
func peakMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// CPUName is the architecture: this system is not asked for the model.
func CPUName() string { return runtime.GOARCH }
