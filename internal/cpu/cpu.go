// Package cpu names the instruction sets that this program may use on the machine it runs on. The variables are set
// before main and never change. They are true only if both the processor and the operating system support the set,
// which must save its registers.
//
// Package kernel chooses which set is best.
package cpu

// Features of the running CPU. All are false off amd64.
var (
	AVX2FMA    = detect().avx2fma    // AVX2 with FMA3: 256-bit vectors
	AVX512     = detect().avx512     // AVX-512 F, BW, VL and DQ: 512-bit vectors, masks
	AVX512BF16 = detect().avx512bf16 // AVX-512 conversions and dot products of bfloat16
	AMXBF16    = detect().amxbf16    // AMX tiles of bfloat16; the system must permit their use, too
)

// Vendor is the maker's name as amd64 processors spell it (AuthenticAMD, GenuineIntel), empty elsewhere. The same set
// can be fast in one maker's processors and slow in another's.
var Vendor = vendorName()

type features struct{ avx2fma, avx512, avx512bf16, amxbf16 bool }
