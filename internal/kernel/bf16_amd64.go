//go:build !purego

package kernel

import (
	"unsafe"

	"gimbal/internal/cpu"
)

var (
	avx512BF16 = bfTable{name: "avx512_bf16", simd: true, panel: panelAVX512BF16, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512}
	amxBF16    = bfTable{name: "amx", simd: true, panel: panelAMX, toBF16: toBF16AVX512, fromBF16: fromBF16AVX512}
)

// bfTableOf returns how a tier multiplies bfloat16.
func bfTableOf(t Tier) *bfTable {
	switch {
	case t == AMX:
		return &amxBF16
	case t == AVX512 && cpu.AVX512BF16:
		return &avx512BF16
	}
	return &genericBF16
}

// fasterBF16 knows the rates of VDPBF16PS, which makes twice the multiply-adds of
// VFMADD231PS: AMD's cores begin as many of either in a cycle, the Xeon of
// docs/kernels.md a quarter as many. Makers not listed are not known to gain.
func fasterBF16(name string) bool {
	return name == "amx" || name == "avx512_bf16" && cpu.Vendor == "AuthenticAMD"
}

func packBlocks(kind packKind, simd bool, dst *uint16, step int, src *uint16, stride, blocks int) {
	switch {
	case !simd:
		packBlocksGo(kind, dst, step, src, stride, blocks)
	case kind == pairs:
		packPairsAVX512(dst, step, src, stride, blocks)
	case kind == natural:
		packNaturalAVX512(dst, step, src, stride, blocks)
	default:
		transposeAVX512(dst, step, src, stride, blocks)
	}
}

func packBlocksF32(kind packKind, simd bool, dst *uint16, step int, src *float32, stride, blocks int) {
	switch {
	case !simd:
		packBlocksF32Go(kind, dst, step, src, stride, blocks)
	case kind == pairs:
		packPairsF32AVX512(dst, step, src, stride, blocks)
	default:
		packNaturalF32AVX512(dst, step, src, stride, blocks)
	}
}

// peakBF16 is the loop of the bf16 multiplies of x, nil if it has none.
func peakBF16(x *Exec) *peakLoop {
	var l peakLoop
	switch x.BF16() {
	case "amx":
		l = peakLoop{operands: 4 * 256, sums: 4 * 256, flops: 4 * 2 * 16 * 16 * 32, run: peakAMX}
	case "avx512_bf16":
		l = peakLoop{operands: 20 * 16, sums: 12 * 16, flops: 2 * 24 * 32, run: peakAVX512BF16}
	default:
		return nil
	}
	loop := l.run
	l.run = func(operands, sums []float32, turns int) {
		words := unsafe.Slice((*uint16)(unsafe.Pointer(&operands[0])), 2*len(operands))
		for i := 0; i < len(words); i += 2 {
			words[i] = words[i+1] // the lower half of a random number is no useful bfloat16
		}
		loop(operands, sums, turns)
	}
	return &l
}

//go:noescape
func panelAMX(d *panel)

//go:noescape
func panelAVX512BF16(d *panel)

//go:noescape
func packPairsAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func packNaturalAVX512(dst *uint16, step int, src *uint16, stride, blocks int)

//go:noescape
func packPairsF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)

//go:noescape
func packNaturalF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)

//go:noescape
func transposeAVX512(dst *uint16, ldd int, src *uint16, stride, blocks int)

//go:noescape
func toBF16AVX512(dst []uint16, src []float32)

//go:noescape
func fromBF16AVX512(dst []float32, src []uint16)

//go:noescape
func peakAMX(operands, sums []float32, turns int)
