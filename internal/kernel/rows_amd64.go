//go:build !purego

package kernel

// rowsSIMD reports whether the tier of x may run the loops below, which need
// AVX-512 with bfloat16 conversions.
func rowsSIMD(x *Exec) bool { return x.bf16.simd }

//go:noescape
func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32)

//go:noescape
func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int)

//go:noescape
func geluRow(dst, src *uint16, bias *float32, n int)

//go:noescape
func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int)
