//go:build !linux

package memory

func hugePages[T any]([]T) {}
