//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "amx_amd64.h"

// Rows of bf16 mode; 32 elements at a time, as many as a register of bfloat16
// holds. An element takes the same instructions in the loop and in the tail.

// The constants of EXP (see vector_amd64.h), in registers Z16-Z27.
DATA rowConst<>+0(SB)/4, $88.8
DATA rowConst<>+4(SB)/4, $-104.0
DATA rowConst<>+8(SB)/4, $1.44269504088896341
DATA rowConst<>+12(SB)/4, $0.693359375
DATA rowConst<>+16(SB)/4, $-2.12194440e-4
DATA rowConst<>+20(SB)/4, $1.9875691500e-4
DATA rowConst<>+24(SB)/4, $1.3981999507e-3
DATA rowConst<>+28(SB)/4, $8.3334519073e-3
DATA rowConst<>+32(SB)/4, $4.1665795894e-2
DATA rowConst<>+36(SB)/4, $1.6666665459e-1
DATA rowConst<>+40(SB)/4, $5.0000001201e-1
DATA rowConst<>+44(SB)/4, $1.0
DATA rowConst<>+48(SB)/4, $0xff800000
// Those of GELU.
DATA rowConst<>+52(SB)/4, $9.0
DATA rowConst<>+56(SB)/4, $-9.0
DATA rowConst<>+60(SB)/4, $-1.5957691216057308
DATA rowConst<>+64(SB)/4, $-0.07135481627159
DATA rowConst<>+68(SB)/4, $1.5957691216057308
DATA rowConst<>+72(SB)/4, $0.21406444881478
GLOBL rowConst<>(SB), RODATA|NOPTR, $76

#define EXP_CONSTANTS \
	VBROADCASTSS rowConst<>+0(SB), Z16;  \
	VBROADCASTSS rowConst<>+4(SB), Z17;  \
	VBROADCASTSS rowConst<>+8(SB), Z18;  \
	VBROADCASTSS rowConst<>+12(SB), Z19; \
	VBROADCASTSS rowConst<>+16(SB), Z20; \
	VBROADCASTSS rowConst<>+20(SB), Z21; \
	VBROADCASTSS rowConst<>+24(SB), Z22; \
	VBROADCASTSS rowConst<>+28(SB), Z23; \
	VBROADCASTSS rowConst<>+32(SB), Z24; \
	VBROADCASTSS rowConst<>+36(SB), Z25; \
	VBROADCASTSS rowConst<>+40(SB), Z26; \
	VBROADCASTSS rowConst<>+44(SB), Z27

// EXP2 replaces x and y by their exponentials; it uses n, p, m, q. The two
// chains hide each other's latency.
#define EXP2(x, n, p, y, m, q) \
	VMINPS x, Z16, x;           \
	VMINPS y, Z16, y;           \
	VMAXPS x, Z17, x;           \
	VMAXPS y, Z17, y;           \
	EXP2_WITHIN(x, n, p, y, m, q)

// EXP2_WITHIN is EXP2 for arguments that are within its bounds.
#define EXP2_WITHIN(x, n, p, y, m, q) \
	VMULPS x, Z18, n;           \
	VMULPS y, Z18, m;           \
	VRNDSCALEPS $0, n, n;       \
	VRNDSCALEPS $0, m, m;       \
	VFNMADD231PS Z19, n, x;     \
	VFNMADD231PS Z19, m, y;     \
	VFNMADD231PS Z20, n, x;     \
	VFNMADD231PS Z20, m, y;     \
	VMOVAPS Z21, p;             \
	VMOVAPS Z21, q;             \
	VFMADD213PS Z22, x, p;      \
	VFMADD213PS Z22, y, q;      \
	VFMADD213PS Z23, x, p;      \
	VFMADD213PS Z23, y, q;      \
	VFMADD213PS Z24, x, p;      \
	VFMADD213PS Z24, y, q;      \
	VFMADD213PS Z25, x, p;      \
	VFMADD213PS Z25, y, q;      \
	VFMADD213PS Z26, x, p;      \
	VFMADD213PS Z26, y, q;      \
	VFMADD213PS Z27, x, p;      \
	VFMADD213PS Z27, y, q;      \
	VFMADD213PS Z27, x, p;      \
	VFMADD213PS Z27, y, q;      \
	VSCALEFPS n, p, x;          \
	VSCALEFPS m, q, y

// TAIL selects the first CX (< 32) elements: K1 and K2 of the two halves, K3 of
// both as words.
#define TAIL \
	MOVQ  $1, R10;  \
	SHLQ  CX, R10;  \
	DECQ  R10;      \
	KMOVD R10, K3;  \
	KMOVW R10, K1;  \
	SHRQ  $16, R10; \
	KMOVW R10, K2

// func softmaxRow(dst *uint16, src *float32, n int) (top, sum float32)
TEXT ·softmaxRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	EXP_CONSTANTS
	VBROADCASTSS rowConst<>+48(SB), Z11
	VMOVAPS Z11, Z12
	VMOVAPS Z11, Z13
	VMOVAPS Z11, Z14
	VMOVAPS Z11, Z15
	MOVQ SI, R8
	MOVQ CX, R9
	SUBQ $64, CX
	JLT  max2

max4:
	VMAXPS (R8), Z12, Z12
	VMAXPS 64(R8), Z13, Z13
	VMAXPS 128(R8), Z14, Z14
	VMAXPS 192(R8), Z15, Z15
	ADDQ $256, R8
	SUBQ $64, CX
	JGE  max4

max2:
	ADDQ $64, CX
	CMPQ CX, $32
	JLT  maxTail
	VMAXPS (R8), Z12, Z12
	VMAXPS 64(R8), Z13, Z13
	ADDQ $128, R8
	SUBQ $32, CX

maxTail:
	TAIL
	VMOVAPS Z11, Z0
	VMOVAPS Z11, Z1
	VMOVUPS (R8), K1, Z0
	VMOVUPS 64(R8), K2, Z1
	VMAXPS Z0, Z14, Z14
	VMAXPS Z1, Z15, Z15
	VMAXPS Z13, Z12, Z12
	VMAXPS Z15, Z14, Z14
	VMAXPS Z14, Z12, Z12
	VEXTRACTF64X4 $1, Z12, Y1
	VMAXPS Y1, Y12, Y12
	VEXTRACTF128 $1, Y12, X1
	VMAXPS X1, X12, X12
	VPERMILPS $0x4e, X12, X1
	VMAXPS X1, X12, X12
	VPERMILPS $0xb1, X12, X1
	VMAXPS X1, X12, X12
	VMOVSS X12, top+24(FP)
	VBROADCASTSS X12, Z11
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	MOVQ R9, CX
	SUBQ $32, CX
	JLT  expTail

exp32:
	VMOVUPS (SI), Z0
	VMOVUPS 64(SI), Z5
	VSUBPS Z11, Z0, Z0
	VSUBPS Z11, Z5, Z5
	EXP2(Z0, Z1, Z2, Z5, Z6, Z7)
	VADDPS Z0, Z12, Z12
	VADDPS Z5, Z13, Z13
	VCVTNE2PS2BF16(0, 5, 0)
	VMOVUPS Z0, (DI)
	ADDQ $128, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JGE  exp32

expTail:
	ADDQ $32, CX
	JEQ  expDone
	TAIL
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z 64(SI), K2, Z5
	VSUBPS Z11, Z0, Z0
	VSUBPS Z11, Z5, Z5
	EXP2(Z0, Z1, Z2, Z5, Z6, Z7)
	VMOVAPS.Z Z0, K1, Z0
	VMOVAPS.Z Z5, K2, Z5
	VADDPS Z0, Z12, Z12
	VADDPS Z5, Z13, Z13
	VCVTNE2PS2BF16(0, 5, 0)
	VMOVDQU16 Z0, K3, (DI)

expDone:
	VADDPS Z13, Z12, Z12
	VEXTRACTF64X4 $1, Z12, Y1
	VADDPS Y1, Y12, Y12
	VEXTRACTF128 $1, Y12, X1
	VADDPS X1, X12, X12
	VPERMILPS $0x4e, X12, X1
	VADDPS X1, X12, X12
	VPERMILPS $0xb1, X12, X1
	VADDPS X1, X12, X12
	VMOVSS X12, sum+28(FP)
	VZEROUPPER
	RET

// BACK32 turns scores Z0, Z5 less lse and gradients Z8, Z9 less delta into
// probabilities in Z1 and gradients of scores in Z8, as bfloat16.
#define BACK32 \
	EXP2(Z0, Z1, Z2, Z5, Z6, Z7); \
	VMULPS Z0, Z8, Z8;            \
	VMULPS Z5, Z9, Z9;            \
	VCVTNE2PS2BF16(0, 5, 1);      \
	VCVTNE2PS2BF16(8, 9, 8)

// func softmaxBackRow(p, dscore *uint16, score, dp, lse, delta *float32, n int)
TEXT ·softmaxBackRow(SB), NOSPLIT, $0-56
	MOVQ p+0(FP), DI
	MOVQ dscore+8(FP), DX
	MOVQ score+16(FP), SI
	MOVQ dp+24(FP), BX
	MOVQ lse+32(FP), R8
	MOVQ delta+40(FP), R9
	MOVQ n+48(FP), CX
	EXP_CONSTANTS
	XORQ AX, AX
	SUBQ $32, CX
	JLT  tail

loop:
	VMOVUPS (SI)(AX*2), Z0
	VMOVUPS 64(SI)(AX*2), Z5
	VMOVUPS (BX)(AX*2), Z8
	VMOVUPS 64(BX)(AX*2), Z9
	VSUBPS (R8)(AX*2), Z0, Z0
	VSUBPS 64(R8)(AX*2), Z5, Z5
	VSUBPS (R9)(AX*2), Z8, Z8
	VSUBPS 64(R9)(AX*2), Z9, Z9
	BACK32
	VMOVUPS Z1, (DI)(AX*1)
	VMOVUPS Z8, (DX)(AX*1)
	ADDQ $64, AX
	SUBQ $32, CX
	JGE  loop

tail:
	ADDQ $32, CX
	JEQ  done
	TAIL
	VMOVUPS.Z (SI)(AX*2), K1, Z0
	VMOVUPS.Z 64(SI)(AX*2), K2, Z5
	VMOVUPS.Z (BX)(AX*2), K1, Z8
	VMOVUPS.Z 64(BX)(AX*2), K2, Z9
	VMOVUPS.Z (R8)(AX*2), K1, Z3
	VMOVUPS.Z 64(R8)(AX*2), K2, Z4
	VMOVUPS.Z (R9)(AX*2), K1, Z10
	VMOVUPS.Z 64(R9)(AX*2), K2, Z11
	VSUBPS Z3, Z0, Z0
	VSUBPS Z4, Z5, Z5
	VSUBPS Z10, Z8, Z8
	VSUBPS Z11, Z9, Z9
	BACK32
	VMOVDQU16 Z1, K3, (DI)(AX*1)
	VMOVDQU16 Z8, K3, (DX)(AX*1)

done:
	VZEROUPPER
	RET

// The constants of GELU take the place of the bounds of EXP, and more.
#define GELU_CONSTANTS \
	EXP_CONSTANTS;                       \
	VBROADCASTSS rowConst<>+52(SB), Z16; \
	VBROADCASTSS rowConst<>+56(SB), Z17; \
	VBROADCASTSS rowConst<>+60(SB), Z28; \
	VBROADCASTSS rowConst<>+64(SB), Z29; \
	VBROADCASTSS rowConst<>+68(SB), Z30; \
	VBROADCASTSS rowConst<>+72(SB), Z31

// WIDEN32 makes float32 of 32 bfloat16 in Z0: in a and b.
#define WIDEN32(a, b) \
	VEXTRACTI64X4 $1, Z0, Y1; \
	VPMOVZXWD Y0, a;          \
	VPMOVZXWD Y1, b;          \
	VPSLLD $16, a, a;         \
	VPSLLD $16, b, b

// GELU_SIGMOID is, for the x in Z8 and Z9: z, x within bounds, in Z10 and Z12,
// its square in Z11 and Z13, e = exp(-2u) in Z0 and Z5, and σ = 1/(1+e) in Z1
// and Z6. A division takes longer than everything else here; an estimate and a
// step of Newton's method do as well.
#define GELU_SIGMOID \
	VMINPS Z8, Z16, Z10;          \
	VMINPS Z9, Z16, Z12;          \
	VMAXPS Z10, Z17, Z10;         \
	VMAXPS Z12, Z17, Z12;         \
	VMULPS Z10, Z10, Z11;         \
	VMULPS Z12, Z12, Z13;         \
	VMOVAPS Z28, Z0;              \
	VMOVAPS Z28, Z5;              \
	VFMADD231PS Z29, Z11, Z0;     \
	VFMADD231PS Z29, Z13, Z5;     \
	VMULPS Z10, Z0, Z0;           \
	VMULPS Z12, Z5, Z5;           \
	EXP2_WITHIN(Z0, Z1, Z2, Z5, Z6, Z7); \
	VADDPS Z27, Z0, Z2;           \
	VADDPS Z27, Z5, Z7;           \
	VRCP14PS Z2, Z1;              \
	VRCP14PS Z7, Z6;              \
	VFNMADD213PS Z27, Z1, Z2;     \
	VFNMADD213PS Z27, Z6, Z7;     \
	VFMADD231PS Z2, Z1, Z1;       \
	VFMADD231PS Z7, Z6, Z6

// func geluRow(dst, src *uint16, bias *float32, n int)
TEXT ·geluRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ bias+16(FP), R8
	MOVQ n+24(FP), CX
	GELU_CONSTANTS
	XORQ AX, AX
	SUBQ $32, CX
	JLT  tail

loop:
	VMOVDQU64 (SI)(AX*1), Z0
	WIDEN32(Z8, Z9)
	TESTQ R8, R8
	JEQ  unbiased
	VADDPS (R8)(AX*2), Z8, Z8
	VADDPS 64(R8)(AX*2), Z9, Z9

unbiased:
	GELU_SIGMOID
	VMULPS Z8, Z1, Z8
	VMULPS Z9, Z6, Z9
	VCVTNE2PS2BF16(8, 9, 8)
	VMOVUPS Z8, (DI)(AX*1)
	ADDQ $64, AX
	SUBQ $32, CX
	JGE  loop

tail:
	ADDQ $32, CX
	JEQ  done
	TAIL
	VMOVDQU16.Z (SI)(AX*1), K3, Z0
	WIDEN32(Z8, Z9)
	TESTQ R8, R8
	JEQ  unbiasedTail
	VMOVUPS.Z (R8)(AX*2), K1, Z2
	VMOVUPS.Z 64(R8)(AX*2), K2, Z3
	VADDPS Z2, Z8, Z8
	VADDPS Z3, Z9, Z9

unbiasedTail:
	GELU_SIGMOID
	VMULPS Z8, Z1, Z8
	VMULPS Z9, Z6, Z9
	VCVTNE2PS2BF16(8, 9, 8)
	VMOVDQU16 Z8, K3, (DI)(AX*1)

done:
	VZEROUPPER
	RET

// GELU_SLOPE multiplies the gradients in Z3 and Z4 by σ + z·σ·(e·σ)·slope.
#define GELU_SLOPE \
	VMULPS Z0, Z1, Z0;         \
	VMULPS Z5, Z6, Z5;         \
	VMULPS Z1, Z0, Z0;         \
	VMULPS Z6, Z5, Z5;         \
	VMULPS Z10, Z0, Z0;        \
	VMULPS Z12, Z5, Z5;        \
	VMOVAPS Z30, Z2;           \
	VMOVAPS Z30, Z7;           \
	VFMADD231PS Z31, Z11, Z2;  \
	VFMADD231PS Z31, Z13, Z7;  \
	VFMADD231PS Z2, Z0, Z1;    \
	VFMADD231PS Z7, Z5, Z6;    \
	VMULPS Z1, Z3, Z3;         \
	VMULPS Z6, Z4, Z4

// func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int)
TEXT ·geluBackRow(SB), NOSPLIT, $0-48
	MOVQ dsrc+0(FP), DI
	MOVQ dy+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ bias+24(FP), R8
	MOVQ sum+32(FP), R9
	MOVQ n+40(FP), CX
	GELU_CONSTANTS
	XORQ AX, AX
	SUBQ $32, CX
	JLT  tail

loop:
	VMOVDQU64 (SI)(AX*1), Z0
	WIDEN32(Z8, Z9)
	VMOVDQU64 (DX)(AX*1), Z0
	WIDEN32(Z3, Z4)
	TESTQ R8, R8
	JEQ  unbiased
	VADDPS (R8)(AX*2), Z8, Z8
	VADDPS 64(R8)(AX*2), Z9, Z9

unbiased:
	GELU_SIGMOID
	GELU_SLOPE
	TESTQ R9, R9
	JEQ  unsummed
	VADDPS (R9)(AX*2), Z3, Z0
	VADDPS 64(R9)(AX*2), Z4, Z1
	VMOVUPS Z0, (R9)(AX*2)
	VMOVUPS Z1, 64(R9)(AX*2)

unsummed:
	VCVTNE2PS2BF16(3, 4, 3)
	VMOVUPS Z3, (DI)(AX*1)
	ADDQ $64, AX
	SUBQ $32, CX
	JGE  loop

tail:
	ADDQ $32, CX
	JEQ  done
	TAIL
	VMOVDQU16.Z (SI)(AX*1), K3, Z0
	WIDEN32(Z8, Z9)
	VMOVDQU16.Z (DX)(AX*1), K3, Z0
	WIDEN32(Z3, Z4)
	TESTQ R8, R8
	JEQ  unbiasedTail
	VMOVUPS.Z (R8)(AX*2), K1, Z0
	VMOVUPS.Z 64(R8)(AX*2), K2, Z1
	VADDPS Z0, Z8, Z8
	VADDPS Z1, Z9, Z9

unbiasedTail:
	GELU_SIGMOID
	GELU_SLOPE
	TESTQ R9, R9
	JEQ  unsummedTail
	VMOVUPS.Z (R9)(AX*2), K1, Z0
	VMOVUPS.Z 64(R9)(AX*2), K2, Z1
	VADDPS Z3, Z0, Z0
	VADDPS Z4, Z1, Z1
	VMOVUPS Z0, K1, (R9)(AX*2)
	VMOVUPS Z1, K2, 64(R9)(AX*2)

unsummedTail:
	VCVTNE2PS2BF16(3, 4, 3)
	VMOVDQU16 Z3, K3, (DI)(AX*1)

done:
	VZEROUPPER
	RET
