//go:build !amd64

package cpu

func detect() features { return features{} }
