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

// archTables are the tables of all tiers of this architecture.
func archTables() []tierTable {
	vectors, tiles := avx512, avx512
	vectors.bf16, tiles.tier, tiles.bf16 = avx512BF16, AMX, amxBF16
	return []tierTable{avx512, vectors, tiles, avx2}
}
