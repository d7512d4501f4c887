//go:build !purego

package kernel

import (
	"runtime"

	"gimbal/internal/cpu"
)

// machineTiers is what the tests must cover here.
func machineTiers() []Tier {
	var ts []Tier
	if cpu.AMXBF16 && amxMissing == "" && runtime.GOOS == "linux" {
		ts = append(ts, AMX)
	}
	if cpu.AVX512 {
		ts = append(ts, AVX512)
	}
	if cpu.AVX2FMA {
		ts = append(ts, AVX2)
	}
	return append(ts, Generic)
}
