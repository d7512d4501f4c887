package cpu

import "golang.org/x/sys/cpu"

func detect() features {
	x := &cpu.X86
	f := features{avx2fma: x.HasAVX2 && x.HasFMA}
	f.avx512 = f.avx2fma && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ
	f.avx512bf16 = f.avx512 && x.HasAVX512BF16
	f.amxbf16 = f.avx512bf16 && x.HasAMXTile && x.HasAMXBF16
	return f
}
