//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "rows_amd64.h"
#include "norm_amd64.h"

// Heads of a row. AX and CX are the byte offsets, in bfloat16, of the same
// channel of a head's two halves; float32 lies at twice that. R11 is the length
// of a half. Z0 and Z1 hold a vector of each half.

// PAIR loads, or adds, a vector of both halves.
#define PAIR(base, a, b) \
	VPMOVZXWD (base)(AX*1), a; \
	VPMOVZXWD (base)(CX*1), b; \
	VPSLLD    $16, a, a;       \
	VPSLLD    $16, b, b
#define PAIRADD(base, a, b) \
	VADDPS (base)(AX*2), a, a; \
	VADDPS (base)(CX*2), b, b
#define PAIRMUL(base, a, b) \
	VMULPS (base)(AX*2), a, a; \
	VMULPS (base)(CX*2), b, b
#define ROUNDED(base) \
	VCVTNE2PS2BF16(0, 1, 4);                \
	VMOVDQU       Y4, (base)(AX*1);         \
	VEXTRACTI64X4 $1, Z4, (base)(CX*1)

// HALVES is a loop's beginning, ONWARD its end.
#define HALVES \
	XORQ AX, AX; \
	MOVQ R11, CX
#define ONWARD(label) \
	ADDQ $32, AX; \
	ADDQ $32, CX; \
	CMPQ AX, R11; \
	JLT  label

// func headsRow(a *headsArgs)
TEXT ·headsRow(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), R15
	MOVQ headsArgs_dst(R15), DI
	MOVQ headsArgs_src(R15), SI
	MOVQ headsArgs_bias(R15), BX
	MOVQ headsArgs_gain(R15), R8
	MOVQ headsArgs_cos(R15), R9
	MOVQ headsArgs_sin(R15), R10
	MOVQ headsArgs_half(R15), R11
	MOVQ headsArgs_heads(R15), R12
	MOVQ headsArgs_rstd(R15), R13
	LEAQ (R11)(R11*1), DX // channels of a head, bytes of a half
	MOVQ DX, R11
	VBROADCASTSS headsArgs_scale(R15), Z11

head:
	TESTQ R8, R8
	JEQ   turn
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	VXORPS Z14, Z14, Z14
	VXORPS Z15, Z15, Z15
	HALVES

square:
	PAIR(SI, Z0, Z1)
	TESTQ BX, BX
	JEQ   plain
	PAIRADD(BX, Z0, Z1)

plain:
	SQUARES
	ONWARD(square)
	DEVIATION(headsArgs_eps(R15))
	VMOVSS X1, (R13)
	ADDQ   $4, R13
	VBROADCASTSS X1, Z10

turn:
	HALVES

pair:
	PAIR(SI, Z0, Z1)
	TESTQ BX, BX
	JEQ   biased
	PAIRADD(BX, Z0, Z1)

biased:
	TESTQ R8, R8
	JEQ   normed
	VMULPS Z10, Z0, Z0
	VMULPS Z10, Z1, Z1
	PAIRMUL(R8, Z0, Z1)

normed:
	TESTQ R9, R9
	JEQ   turned
	VMOVUPS (R9)(AX*2), Z2
	VMOVUPS (R10)(AX*2), Z3
	VMULPS Z2, Z0, Z4
	VFNMADD231PS Z3, Z1, Z4
	VMULPS Z2, Z1, Z1
	VFMADD231PS Z3, Z0, Z1
	VMOVAPS Z4, Z0

turned:
	VMULPS Z11, Z0, Z0
	VMULPS Z11, Z1, Z1
	ROUNDED(DI)
	ONWARD(pair)
	LEAQ (SI)(R11*2), SI
	LEAQ (DI)(R11*2), DI
	TESTQ BX, BX
	JEQ   next
	LEAQ (BX)(R11*4), BX

next:
	DECQ R12
	JNZ  head
	VZEROUPPER
	RET

// func headsBackRow(a *headsArgs)
TEXT ·headsBackRow(SB), NOSPLIT, $0-8
	MOVQ a+0(FP), R15
	MOVQ headsArgs_dst(R15), DI
	MOVQ headsArgs_dy(R15), SI
	MOVQ headsArgs_src(R15), DX
	MOVQ headsArgs_bias(R15), BX
	MOVQ headsArgs_gain(R15), R8
	MOVQ headsArgs_cos(R15), R9
	MOVQ headsArgs_sin(R15), R10
	MOVQ headsArgs_half(R15), R11
	MOVQ headsArgs_rstd(R15), R13
	SHLQ $1, R11
	MOVQ headsArgs_sum(R15), R14
	MOVQ R14, headsArgs_wsum(R15)

head:
	TESTQ R8, R8
	JEQ   start
	VBROADCASTSS (R13), Z10
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13

start:
	HALVES

pair:
	PREFETCHT0 2048(SI)(AX*2)
	PAIR(SI, Z0, Z1)

	// The gradients of a head's group lie a head apart.
	MOVQ SI, R14
	MOVQ headsArgs_group(R15), R12

more:
	DECQ R12
	JEQ  added
	LEAQ (R14)(R11*2), R14
	PAIR(R14, Z2, Z3)
	VADDPS Z2, Z0, Z0
	VADDPS Z3, Z1, Z1
	JMP    more

added:
	TESTQ R9, R9
	JEQ   turned
	VMOVUPS (R9)(AX*2), Z2
	VMOVUPS (R10)(AX*2), Z3
	VMULPS Z2, Z1, Z4
	VFNMADD231PS Z3, Z0, Z4
	VMULPS Z2, Z0, Z0
	VFMADD231PS Z3, Z1, Z0
	VMOVAPS Z4, Z1

turned:
	TESTQ R8, R8
	JEQ   finish
	MOVQ headsArgs_temp(R15), R14
	VMOVUPS Z0, (R14)(AX*2)
	VMOVUPS Z1, (R14)(CX*2)
	PAIR(DX, Z2, Z3)
	TESTQ BX, BX
	JEQ   plain
	PAIRADD(BX, Z2, Z3)

plain:
	VMULPS Z0, Z2, Z2
	VMULPS Z1, Z3, Z3
	VFMADD231PS (R8)(AX*2), Z2, Z12
	VFMADD231PS (R8)(CX*2), Z3, Z13
	MOVQ headsArgs_dgain(R15), R14
	VMOVUPS (R14)(AX*2), Z4
	VMOVUPS (R14)(CX*2), Z5
	VFMADD231PS Z10, Z2, Z4
	VFMADD231PS Z10, Z3, Z5
	VMOVUPS Z4, (R14)(AX*2)
	VMOVUPS Z5, (R14)(CX*2)
	ONWARD(pair)

	// Z9 = -r³·mean
	VADDPS Z13, Z12, Z12
	TOTAL(Z12, Y12, X12)
	VMOVSS (R13), X1
	ADDQ $4, R13
	VMULSS X1, X12, X12
	VMULSS X1, X12, X12
	VXORPS X2, X2, X2
	VCVTSI2SSQ R11, X2, X2 // bytes of a half: channels of a head
	VDIVSS X2, X12, X12
	VMULSS X1, X12, X12
	VXORPS X2, X2, X2
	VSUBSS X12, X2, X12
	VBROADCASTSS X12, Z9
	HALVES

slope:
	MOVQ headsArgs_temp(R15), R14
	VMOVUPS (R14)(AX*2), Z0
	VMOVUPS (R14)(CX*2), Z1
	PAIRMUL(R8, Z0, Z1)
	VMULPS Z10, Z0, Z0
	VMULPS Z10, Z1, Z1
	PAIR(DX, Z2, Z3)
	TESTQ BX, BX
	JEQ   sloped
	PAIRADD(BX, Z2, Z3)

sloped:
	VFMADD231PS Z9, Z2, Z0
	VFMADD231PS Z9, Z3, Z1

	// Without a norm the first loop goes on here.
finish:
	MOVQ headsArgs_wsum(R15), R14
	TESTQ R14, R14
	JEQ   summed
	VADDPS (R14)(AX*2), Z0, Z2
	VADDPS (R14)(CX*2), Z1, Z3
	VMOVUPS Z2, (R14)(AX*2)
	VMOVUPS Z3, (R14)(CX*2)

summed:
	ROUNDED(DI)
	ADDQ $32, AX
	ADDQ $32, CX
	CMPQ AX, R11
	JGE  next
	TESTQ R8, R8
	JEQ  pair
	JMP  slope

next:
	LEAQ (DI)(R11*2), DI
	LEAQ (DX)(R11*2), DX
	MOVQ headsArgs_group(R15), R12

skip:
	LEAQ (SI)(R11*2), SI
	DECQ R12
	JNZ  skip
	TESTQ BX, BX
	JEQ   unbiased
	LEAQ (BX)(R11*4), BX

unbiased:
	TESTQ R14, R14
	JEQ   counted
	LEAQ (R14)(R11*4), R14
	MOVQ R14, headsArgs_wsum(R15)

counted:
	DECQ headsArgs_heads(R15)
	JNZ  head
	VZEROUPPER
	RET
