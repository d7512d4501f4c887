// Package fused does what layers do with one row, the channels or scores of one position, in one call: norms,
// activations, softmax, rotation of heads and sums, forward and backward, with bias and rounding.
//
// The functions take rows of either kind, run on the calling goroutine and are safe for concurrent use. With
// AVX512-BF16 a loop in assembly reads a row of bfloat16 once. Without it, and in full precision, the functions on
// slices of package kernel follow one another. Rounding, and bounds on errors before rounding, concern rows of
// bfloat16; in full precision the errors are those of the functions on slices. temp is scratch memory. Misuse panics.
//
// The package does not know parameters, shapes of models or workers.
package fused
