//go:build !linux

package model

func hugePages[T any]([]T) {}
