//go:build !purego

package kernel

//go:noescape
func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32)

//go:noescape
func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int)

//go:noescape
func geluRow(dst, src *uint16, bias *float32, n int)

//go:noescape
func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int)

//go:noescape
func layerNormRow(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32)

//go:noescape
func layerNormBackRow(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int)

//go:noescape
func addRow(dst, src *float32, term *uint16, bias *float32, n int)

//go:noescape
func roundSumRow(dst *uint16, src, sum *float32, n int)

//go:noescape
func rmsNormRow(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32)

//go:noescape
func rmsNormBackRow(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int)

//go:noescape
func swigluRow(dst, gate, up *uint16, n int)

//go:noescape
func swigluBackRow(dgate, dup, dy, gate, up *uint16, n int)

//go:noescape
func headsRow(a *headsArgs)

//go:noescape
func headsBackRow(a *headsArgs)

//go:noescape
func scaleRow(dst *uint16, src *float32, scale float32, n int)

//go:noescape
func dotRow(a, b *uint16, n int) float32
