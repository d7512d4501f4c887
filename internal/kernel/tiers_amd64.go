//go:build !purego

package kernel

import "gimbal/internal/cpu"

// tiers are the assembly tiers of this CPU, best first.
var tiers = assemblyTiers()

func assemblyTiers() []table[float32] {
	var ts []table[float32]
	if cpu.AVX512 {
		ts = append(ts, table[float32]{
			tier: AVX512, mr: 14, nr: 32, tile: tileAVX512,
			lanes: 16, packT: packTAVX512, packN: packNAVX512,
			vectors: generic32.vectors,
		})
	}
	if cpu.AVX2FMA {
		ts = append(ts, table[float32]{
			tier: AVX2, mr: 6, nr: 16, tile: tileAVX2,
			lanes: 8, packT: packTAVX2, packN: packNAVX2,
			vectors: generic32.vectors,
		})
	}
	return ts
}

//go:noescape
func tileAVX512(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTAVX512(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func tileAVX2(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)

//go:noescape
func packTAVX2(dst *float32, ldd int, src *float32, lds, k int)

//go:noescape
func packNAVX512(dst *float32, ldd int, src *float32, lds, k, cols int)

//go:noescape
func packNAVX2(dst *float32, ldd int, src *float32, lds, k, cols int)
