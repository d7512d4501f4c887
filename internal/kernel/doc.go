// Package kernel holds the arithmetic that takes the time: matrix multiplies and element-wise loops in SIMD assembly.
// Each has a generic twin in Go, which is always compiled and serves as fallback and as reference in tests.
//
// NewExec chooses a tier (the instruction set) and owns workers and scratch memory. A Weights handle does the three
// multiplies of a training step (Forward, BackInput, BackWeight). Gemm multiplies small matrices inside a worker. The
// functions on slices (Exp, Dot, GELU, AdamW, ...) run on the calling goroutine.
//
// Everything is generic over float32 and float64. Assembly exists for float32; float64 always takes the twin and is
// there to check gradients. With float32 the operands of multiplies may be bfloat16: NewWeightsBF16 makes such a
// handle, and MulPacked and MulTransPacked are the serial multiplies.
//
// Order of summation: an element of a product is the sum over ascending blocks of kBlock terms. Within a block the
// terms are added one after the other, from zero, in ascending order. So the bits of an element depend on its row, its
// column and the tier, never on the number of rows, the position or the number of workers. With bfloat16 operands an
// element is one chain over the terms in ascending order, as the tier's instructions add them. A weight's gradient
// gains one such sum for each tokenBlock rows, a float32 result one for each slab terms. A reduction over a slice uses
// a fixed number of lanes; its bits depend on the slice's length and the tier only.
//
// The package does not know layers, shapes of models or files. It imports par and cpu. Misuse panics. Layouts and
// measurements are in docs/kernels.md.
package kernel
