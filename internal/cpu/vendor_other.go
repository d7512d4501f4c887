//go:build purego || !amd64

package cpu

func vendorName() string { return "" }
