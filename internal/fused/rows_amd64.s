//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "rows_amd64.h"

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
// Those of GELU: bounds, -2u/ln 2 as a polynomial in x, the derivative of 2u,
// and the polynomial for 2ᶠ. Those of SiLU.
DATA rowConst<>+52(SB)/4, $9.0
DATA rowConst<>+56(SB)/4, $-9.0
DATA rowConst<>+60(SB)/4, $-2.302208198144325
DATA rowConst<>+64(SB)/4, $-0.1029432395800235
DATA rowConst<>+68(SB)/4, $1.5957691216057308
DATA rowConst<>+72(SB)/4, $0.21406444881478
DATA rowConst<>+76(SB)/4, $0.07802452147006989
DATA rowConst<>+80(SB)/4, $0.22606715559959412
DATA rowConst<>+84(SB)/4, $0.6958335638046265
DATA rowConst<>+88(SB)/4, $0.9999251961708069
DATA rowConst<>+92(SB)/4, $-1.44269504088896341
DATA rowConst<>+96(SB)/4, $100.0
GLOBL rowConst<>(SB), RODATA|NOPTR, $100

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

// GELU_CONSTANTS are in Z16-Z21, Z27 and, for its derivative, Z22, Z23, Z30, Z31.
#define GELU_CONSTANTS \
	VBROADCASTSS rowConst<>+60(SB), Z16; \
	VBROADCASTSS rowConst<>+64(SB), Z17; \
	VBROADCASTSS rowConst<>+76(SB), Z18; \
	VBROADCASTSS rowConst<>+80(SB), Z19; \
	VBROADCASTSS rowConst<>+84(SB), Z20; \
	VBROADCASTSS rowConst<>+88(SB), Z21; \
	VBROADCASTSS rowConst<>+52(SB), Z22; \
	VBROADCASTSS rowConst<>+56(SB), Z23; \
	VBROADCASTSS rowConst<>+44(SB), Z27; \
	VBROADCASTSS rowConst<>+68(SB), Z30; \
	VBROADCASTSS rowConst<>+72(SB), Z31

// GELU_SIGMOID is, for x and y: their squares in Z11 and Z13, e = exp(-2u) in Z0
// and Z5, and σ = 1/(1+e) in Z1 and Z6.
#define GELU_SIGMOID(x, y) \
	VMULPS x, x, Z11;             \
	VMULPS y, y, Z13;             \
	VMOVAPS Z16, Z0;              \
	VMOVAPS Z16, Z5;              \
	VFMADD231PS Z17, Z11, Z0;     \
	VFMADD231PS Z17, Z13, Z5;     \
	VMULPS x, Z0, Z0;             \
	VMULPS y, Z5, Z5;             \
	SIGMOID

// SIGMOID sets, for the t in Z0 and Z5, these to 2ᵗ and Z1 and Z6 to 1/(1+2ᵗ).
// As what becomes of them is rounded to bfloat16, a polynomial of degree 3 for
// 2ᶠ with f = t - ⌊t⌋ and an estimate of the reciprocal do: either is off by
// less than 8e-5 of its size. Infinite t have the right limits.
#define SIGMOID \
	VREDUCEPS $1, Z0, Z1;         \
	VREDUCEPS $1, Z5, Z6;         \
	VMOVAPS Z18, Z2;              \
	VMOVAPS Z18, Z7;              \
	VFMADD213PS Z19, Z1, Z2;      \
	VFMADD213PS Z19, Z6, Z7;      \
	VFMADD213PS Z20, Z1, Z2;      \
	VFMADD213PS Z20, Z6, Z7;      \
	VFMADD213PS Z21, Z1, Z2;      \
	VFMADD213PS Z21, Z6, Z7;      \
	VSCALEFPS Z0, Z2, Z0;         \
	VSCALEFPS Z5, Z7, Z5;         \
	VADDPS Z27, Z0, Z1;           \
	VADDPS Z27, Z5, Z6;           \
	VRCP14PS Z1, Z1;              \
	VRCP14PS Z6, Z6

// BIASED adds a bias to Z8 and Z9.
#define BIASED(load) \
	load(0, R8, K1, Z0);   \
	load(64, R8, K2, Z1);  \
	VADDPS Z0, Z8, Z8;     \
	VADDPS Z1, Z9, Z9

#define GELU_OF(storeH) \
	GELU_SIGMOID(Z8, Z9);     \
	VMULPS Z8, Z1, Z8;        \
	VMULPS Z9, Z6, Z9;        \
	VCVTNE2PS2BF16(8, 9, 8);  \
	storeH(Z8, DI)

#define GELU(load, store, loadH, storeH) \
	AHEAD_H(SI);               \
	AHEAD_H(DI);               \
	loadH(0, SI, K1, Z8);     \
	loadH(32, SI, K2, Z9);    \
	GELU_OF(storeH)

#define GELU_BIASED(load, store, loadH, storeH) \
	AHEAD_H(SI);               \
	AHEAD_H(DI);               \
	loadH(0, SI, K1, Z8);     \
	loadH(32, SI, K2, Z9);    \
	BIASED(load);             \
	GELU_OF(storeH)

// func geluRow(dst, src *uint16, bias *float32, n int)
TEXT ·geluRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ bias+16(FP), R8
	MOVQ n+24(FP), CX
	GELU_CONSTANTS
	SPAN
	TESTQ R8, R8
	JEQ  unbiased
	EACH(GELU_BIASED, loop, tail, done)
	VZEROUPPER
	RET

unbiased:
	EACH(GELU, loop2, tail2, done2)
	VZEROUPPER
	RET

// GELU_SLOPE multiplies the gradients in Z3 and Z4 by σ + z·σ·(e·σ)·slope for
// the x in Z8 and Z9, where z is x within bounds.
#define GELU_SLOPE \
	VMINPS Z8, Z22, Z10;       \
	VMINPS Z9, Z22, Z12;       \
	VMAXPS Z10, Z23, Z10;      \
	VMAXPS Z12, Z23, Z12;      \
	GELU_SIGMOID(Z10, Z12);    \
	VMULPS Z0, Z1, Z0;         \
	VMULPS Z5, Z6, Z5;         \
	VMULPS Z1, Z10, Z10;       \
	VMULPS Z6, Z12, Z12;       \
	VMOVAPS Z30, Z2;           \
	VMOVAPS Z30, Z7;           \
	VFMADD231PS Z31, Z11, Z2;  \
	VFMADD231PS Z31, Z13, Z7;  \
	VMULPS Z10, Z0, Z0;        \
	VMULPS Z12, Z5, Z5;        \
	VFMADD231PS Z2, Z0, Z1;    \
	VFMADD231PS Z7, Z5, Z6;    \
	VMULPS Z1, Z3, Z3;         \
	VMULPS Z6, Z4, Z4

#define GELU_LOAD(loadH) \
	AHEAD_H(SI);               \
	AHEAD_H(DX);               \
	AHEAD_H(DI);               \
	loadH(0, SI, K1, Z8);      \
	loadH(32, SI, K2, Z9);     \
	loadH(0, DX, K1, Z3);      \
	loadH(32, DX, K2, Z4)

#define GELU_SUMMED(load, store) \
	load(0, R9, K1, Z0);       \
	load(64, R9, K2, Z1);      \
	VADDPS Z3, Z0, Z0;         \
	VADDPS Z4, Z1, Z1;         \
	store(Z0, K1, 0, R9);      \
	store(Z1, K2, 64, R9)

#define GELU_WRITE(storeH) \
	VCVTNE2PS2BF16(3, 4, 3);   \
	storeH(Z3, DI)

#define GELU_BACK(load, store, loadH, storeH) \
	GELU_LOAD(loadH);          \
	GELU_SLOPE;                \
	GELU_WRITE(storeH)

#define GELU_BACK_BIASED(load, store, loadH, storeH) \
	GELU_LOAD(loadH);          \
	BIASED(load);             \
	GELU_SLOPE;                \
	GELU_WRITE(storeH)

#define GELU_BACK_SUMMED(load, store, loadH, storeH) \
	GELU_LOAD(loadH);          \
	GELU_SLOPE;                \
	GELU_SUMMED(load, store);  \
	GELU_WRITE(storeH)

#define GELU_BACK_BOTH(load, store, loadH, storeH) \
	GELU_LOAD(loadH);          \
	BIASED(load);             \
	GELU_SLOPE;                \
	GELU_SUMMED(load, store);  \
	GELU_WRITE(storeH)

// func geluBackRow(dsrc, dy, src *uint16, bias, sum *float32, n int)
TEXT ·geluBackRow(SB), NOSPLIT, $0-48
	MOVQ dsrc+0(FP), DI
	MOVQ dy+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ bias+24(FP), R8
	MOVQ sum+32(FP), R9
	MOVQ n+40(FP), CX
	GELU_CONSTANTS
	SPAN
	TESTQ R8, R8
	JEQ  unbiased
	TESTQ R9, R9
	JEQ  unsummed
	EACH(GELU_BACK_BOTH, loop, tail, done)
	VZEROUPPER
	RET

unsummed:
	EACH(GELU_BACK_BIASED, loop2, tail2, done2)
	VZEROUPPER
	RET

unbiased:
	TESTQ R9, R9
	JEQ  neither
	EACH(GELU_BACK_SUMMED, loop3, tail3, done3)
	VZEROUPPER
	RET

neither:
	EACH(GELU_BACK, loop4, tail4, done4)
	VZEROUPPER
	RET

#define SWIGLU_LOAD(loadH) \
	AHEAD_H(SI);               \
	AHEAD_H(BX);               \
	AHEAD_H(DI);               \
	loadH(0, SI, K1, Z8);      \
	loadH(32, SI, K2, Z9);     \
	loadH(0, BX, K1, Z10);     \
	loadH(32, BX, K2, Z12);    \
	VMULPS Z8, Z16, Z0;        \
	VMULPS Z9, Z16, Z5

#define SWIGLU(load, store, loadH, storeH) \
	SWIGLU_LOAD(loadH);        \
	SIGMOID;                   \
	VMULPS Z1, Z8, Z8;         \
	VMULPS Z6, Z9, Z9;         \
	VMULPS Z8, Z10, Z10;       \
	VMULPS Z9, Z12, Z12;       \
	VCVTNE2PS2BF16(10, 12, 8); \
	storeH(Z8, DI)

// func swigluRow(dst, gate, up *uint16, n int)
TEXT ·swigluRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), BX
	MOVQ n+24(FP), CX
	GELU_CONSTANTS
	VBROADCASTSS rowConst<>+92(SB), Z16
	SPAN
	EACH(SWIGLU, loop, tail, done)
	VZEROUPPER
	RET

// SWIGLU_BACK is, with silu = gate·σ, dup = dy·silu and dgate = dy·up·(σ + silu·e·σ).
#define SWIGLU_BACK(load, store, loadH, storeH) \
	SWIGLU_LOAD(loadH);        \
	AHEAD_H(DX);               \
	AHEAD_H(R8);               \
	loadH(0, DX, K1, Z3);      \
	loadH(32, DX, K2, Z4);     \
	VMINPS Z0, Z22, Z0;        \
	VMINPS Z5, Z22, Z5;        \
	SIGMOID;                   \
	VMULPS Z1, Z8, Z8;         \
	VMULPS Z6, Z9, Z9;         \
	VMULPS Z0, Z1, Z0;         \
	VMULPS Z5, Z6, Z5;         \
	VFMADD231PS Z8, Z0, Z1;    \
	VFMADD231PS Z9, Z5, Z6;    \
	VMULPS Z3, Z10, Z10;       \
	VMULPS Z4, Z12, Z12;       \
	VMULPS Z3, Z8, Z8;         \
	VMULPS Z4, Z9, Z9;         \
	VMULPS Z1, Z10, Z10;       \
	VMULPS Z6, Z12, Z12;       \
	VCVTNE2PS2BF16(8, 9, 8);   \
	VCVTNE2PS2BF16(10, 12, 10); \
	storeH(Z10, DI);           \
	storeH(Z8, R8)

// func swigluBackRow(dgate, dup, dy, gate, up *uint16, n int)
TEXT ·swigluBackRow(SB), NOSPLIT, $0-48
	MOVQ dgate+0(FP), DI
	MOVQ dup+8(FP), R8
	MOVQ dy+16(FP), DX
	MOVQ gate+24(FP), SI
	MOVQ up+32(FP), BX
	MOVQ n+40(FP), CX
	GELU_CONSTANTS
	VBROADCASTSS rowConst<>+92(SB), Z16
	VBROADCASTSS rowConst<>+96(SB), Z22
	SPAN
	EACH(SWIGLU_BACK, loop, tail, done)
	VZEROUPPER
	RET
