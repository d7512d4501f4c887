//go:build !amd64 || purego

package kernel

func rowsSIMD(*Exec) bool { return false }

func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32) {
	panic("kernel: no such assembly")
}

func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int) {
	panic("kernel: no such assembly")
}

func geluRow(dst, src *uint16, bias *float32, n int) { panic("kernel: no such assembly") }

func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int) {
	panic("kernel: no such assembly")
}

func layerNormRow(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32) {
	panic("kernel: no such assembly")
}

func layerNormBackRow(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int) {
	panic("kernel: no such assembly")
}

func addRow(dst, src *float32, term *uint16, bias *float32, n int) {
	panic("kernel: no such assembly")
}

func roundSumRow(dst *uint16, src, sum *float32, n int) { panic("kernel: no such assembly") }

func rmsNormRow(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32) {
	panic("kernel: no such assembly")
}

func rmsNormBackRow(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int) {
	panic("kernel: no such assembly")
}

func swigluRow(dst, gate, up *uint16, n int) { panic("kernel: no such assembly") }

func swigluBackRow(dgate, dup, dy, gate, up *uint16, n int) { panic("kernel: no such assembly") }

func headsRow(*headsArgs) { panic("kernel: no such assembly") }

func headsBackRow(*headsArgs) { panic("kernel: no such assembly") }

func scaleRow(dst *uint16, src *float32, scale float32, n int) { panic("kernel: no such assembly") }

func dotRow(a, b *uint16, n int) float32 { panic("kernel: no such assembly") }
