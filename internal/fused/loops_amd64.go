//go:build !purego

package fused

// avx512BF16 needs AVX-512 with bfloat16 conversions.
var avx512BF16 = loops{
	softmax:       softmaxRow,
	softmaxBack:   softmaxBackRow,
	gelu:          geluRow,
	geluBack:      geluBackRow,
	swiglu:        swigluRow,
	swigluBack:    swigluBackRow,
	layerNorm:     layerNormRow,
	layerNormBack: layerNormBackRow,
	rmsNorm:       rmsNormRow,
	rmsNormBack:   rmsNormBackRow,
	heads:         func(a headsArgs) { headsRow(&a) },
	headsBack:     func(a headsArgs) { headsBackRow(&a) },
	add:           addRow,
	roundSum:      roundSumRow,
	scale:         scaleRow,
	dot:           dotRow,
}

// The assembly. What Go calls directly has //go:noescape; other calls go through the table, where the compiler lets
// every pointer escape.

func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32)
func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int)
func geluRow(dst, src *uint16, bias *float32, n int)
func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int)
func layerNormRow(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32)
func layerNormBackRow(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int)
func addRow(dst, src *float32, term *uint16, bias *float32, n int)
func roundSumRow(dst *uint16, src, sum *float32, n int)
func rmsNormRow(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32)
func rmsNormBackRow(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int)
func swigluRow(dst, gate, up *uint16, n int)
func swigluBackRow(dgate, dup, dy, gate, up *uint16, n int)
func scaleRow(dst *uint16, src *float32, scale float32, n int)
func dotRow(a, b *uint16, n int) float32

//go:noescape
func headsRow(a *headsArgs)

//go:noescape
func headsBackRow(a *headsArgs)
