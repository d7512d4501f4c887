//go:build !amd64 || purego

package kernel

func peakFP32(Tier) peakLoop { return peakGeneric }

func peakBF16(*Exec) *peakLoop { return nil }
