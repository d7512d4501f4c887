//go:build !linux

package engine

// freeMemory is what this machine can still give, in bytes; 0 when it cannot be known.
func freeMemory() int64 { return 0 }
