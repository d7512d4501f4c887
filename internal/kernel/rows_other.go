//go:build !amd64 || purego

package kernel

func rowsSIMD(*Exec) bool { return false }

func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32) {
	panic("kernel: no such assembly")
}

func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int) {
	panic("kernel: no such assembly")
}
