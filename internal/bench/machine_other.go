//go:build !linux

package bench

import "runtime"

// peakMemory is the memory that the Go runtime has asked for: the nearest figure that every system gives.
func peakMemory() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

func cpuName() string { return runtime.GOARCH }
