//go:build !amd64 || purego

package fused

// avx512BF16 is empty: no tier has the instructions.
var avx512BF16 loops
