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
