//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "rows_amd64.h"
#include "norm_amd64.h"

#define NORM_SUM(load, store, loadH, storeH) \
	load(0, SI, K1, Z0);  \
	load(64, SI, K2, Z1); \
	VADDPS Z0, Z12, Z12;  \
	VADDPS Z1, Z13, Z13

// func layerNormRow(dst *uint16, src, gain, bias *float32, n int, eps float64) (mean, rstd float32)
//
// The last pass fetches the row that follows src.
TEXT ·layerNormRow(SB), NOSPLIT, $0-56
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ gain+16(FP), R8
	MOVQ bias+24(FP), R9
	MOVQ n+32(FP), CX
	MOVQ CX, DX
	LEAQ (SI)(CX*4), R12
	SPAN
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	EACH(NORM_SUM, sum, sumTail, sumDone)
	VADDPS Z13, Z12, Z12
	TOTAL(Z12, Y12, X12)
	VXORPS X1, X1, X1
	VCVTSI2SSQ DX, X1, X1
	VDIVSS X1, X12, X12
	VMOVSS X12, mean+48(FP)
	VBROADCASTSS X12, Z11
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	VXORPS Z14, Z14, Z14
	VXORPS Z15, Z15, Z15
	XORQ AX, AX

square:
	CMPQ AX, R11
	JGE  squareTail
	VMOVUPS (SI)(AX*2), Z0
	VMOVUPS 64(SI)(AX*2), Z1
	VSUBPS Z11, Z0, Z0
	VSUBPS Z11, Z1, Z1
	SQUARES
	ADDQ $64, AX
	JMP  square

squareTail:
	TESTQ CX, CX
	JEQ  squareDone
	VMOVUPS.Z (SI)(AX*2), K1, Z0
	VMOVUPS.Z 64(SI)(AX*2), K2, Z1
	VSUBPS.Z Z11, Z0, K1, Z0
	VSUBPS.Z Z11, Z1, K2, Z1
	SQUARES

squareDone:
	DEVIATION(eps+40(FP))
	VMOVSS X1, rstd+52(FP)
	VBROADCASTSS X1, Z10

#define NORM_WRITE(load, store, loadH, storeH) \
	AHEAD_H(DI); \
	load(0, SI, K1, Z0);        \
	load(64, SI, K2, Z1);       \
	PREFETCHT0 (R12)(AX*2);     \
	PREFETCHT0 64(R12)(AX*2);   \
	load(0, R8, K1, Z2);        \
	load(64, R8, K2, Z3);       \
	VSUBPS Z11, Z0, Z0;         \
	VSUBPS Z11, Z1, Z1;         \
	load(0, R9, K1, Z4);        \
	load(64, R9, K2, Z5);       \
	VMULPS Z10, Z0, Z0;         \
	VMULPS Z10, Z1, Z1;         \
	VFMADD231PS Z2, Z0, Z4;     \
	VFMADD231PS Z3, Z1, Z5;     \
	VCVTNE2PS2BF16(4, 5, 4);    \
	storeH(Z4, DI)

	EACH(NORM_WRITE, write, writeTail, writeDone)
	VZEROUPPER
	RET

// NORM_LOAD sets Z0, Z1 = dy, Z2, Z3 = (src-mean)·rstd and Z4, Z5 = gain.
#define NORM_LOAD(load, loadH) \
	loadH(0, DX, K1, Z0);      \
	loadH(32, DX, K2, Z1);     \
	load(0, SI, K1, Z2);       \
	load(64, SI, K2, Z3);      \
	load(0, R13, K1, Z4);      \
	load(64, R13, K2, Z5);     \
	VFMADD213PS Z11, Z10, Z2;  \
	VFMADD213PS Z11, Z10, Z3

#define NORM_SUMS(load, store, loadH, storeH) \
	AHEAD_H(DX); \
	NORM_LOAD(load, loadH);    \
	PREFETCHT0 (DI)(AX*2);     \
	PREFETCHT0 64(DI)(AX*2);   \
	load(0, R8, K1, Z6);       \
	load(64, R8, K2, Z7);      \
	load(0, R9, K1, Z8);       \
	load(64, R9, K2, Z9);      \
	VFMADD231PS Z0, Z2, Z6;    \
	VFMADD231PS Z1, Z3, Z7;    \
	VADDPS Z0, Z8, Z8;         \
	VADDPS Z1, Z9, Z9;         \
	store(Z6, K1, 0, R8);      \
	store(Z7, K2, 64, R8);     \
	store(Z8, K1, 0, R9);      \
	store(Z9, K2, 64, R9);     \
	VMULPS Z4, Z0, Z0;         \
	VMULPS Z5, Z1, Z1;         \
	VADDPS Z0, Z12, Z12;       \
	VADDPS Z1, Z13, Z13;       \
	VFMADD231PS Z0, Z2, Z14;   \
	VFMADD231PS Z1, Z3, Z15

#define NORM_BACK(load, store, loadH, storeH) \
	NORM_LOAD(load, loadH);    \
	PREFETCHT0 (R12)(AX*2);    \
	PREFETCHT0 64(R12)(AX*2);  \
	load(0, DI, K1, Z6);       \
	load(64, DI, K2, Z7);      \
	VFMADD213PS Z12, Z14, Z2;  \
	VFMADD213PS Z12, Z14, Z3;  \
	VFMSUB213PS Z2, Z4, Z0;    \
	VFMSUB213PS Z3, Z5, Z1;    \
	VFMADD231PS Z0, Z10, Z6;   \
	VFMADD231PS Z1, Z10, Z7;   \
	store(Z6, K1, 0, DI);      \
	store(Z7, K2, 64, DI)

// func layerNormBackRow(dx, dgain, dbias *float32, dy *uint16, src, gain *float32, mean, rstd float32, n int)
//
// The first pass fetches dx, the second the row that follows src.
TEXT ·layerNormBackRow(SB), NOSPLIT, $0-64
	MOVQ dx+0(FP), DI
	MOVQ dgain+8(FP), R8
	MOVQ dbias+16(FP), R9
	MOVQ dy+24(FP), DX
	MOVQ src+32(FP), SI
	MOVQ gain+40(FP), R13
	VBROADCASTSS mean+48(FP), Z11
	VBROADCASTSS rstd+52(FP), Z10
	MOVQ n+56(FP), CX
	MOVQ CX, BX
	LEAQ (SI)(CX*4), R12
	SPAN
	VXORPS Z12, Z12, Z12
	VFNMADD213PS Z12, Z10, Z11
	VXORPS Z13, Z13, Z13
	VXORPS Z14, Z14, Z14
	VXORPS Z15, Z15, Z15
	EACH(NORM_SUMS, sum, sumTail, sumDone)
	VADDPS Z13, Z12, Z12
	VADDPS Z15, Z14, Z14
	TOTAL(Z12, Y12, X12)
	TOTAL(Z14, Y14, X14)
	VXORPS X1, X1, X1
	VCVTSI2SSQ BX, X1, X1
	VDIVSS X1, X12, X12
	VDIVSS X1, X14, X14
	VBROADCASTSS X12, Z12
	VBROADCASTSS X14, Z14
	EACH(NORM_BACK, back, backTail, backDone)
	VZEROUPPER
	RET

#define RMS_SQUARES(load, store, loadH, storeH) \
	load(0, SI, K1, Z0);   \
	load(64, SI, K2, Z1);  \
	SQUARES

#define RMS_WRITE(load, store, loadH, storeH) \
	load(0, SI, K1, Z0);        \
	load(64, SI, K2, Z1);       \
	AHEAD_H(DI);                \
	PREFETCHT0 (R12)(AX*2);     \
	PREFETCHT0 64(R12)(AX*2);   \
	load(0, R8, K1, Z2);        \
	load(64, R8, K2, Z3);       \
	VMULPS Z10, Z0, Z0;         \
	VMULPS Z10, Z1, Z1;         \
	VMULPS Z2, Z0, Z0;          \
	VMULPS Z3, Z1, Z1;          \
	VCVTNE2PS2BF16(0, 1, 0);    \
	storeH(Z0, DI)

// func rmsNormRow(dst *uint16, src, gain *float32, n int, eps float64) (rstd float32)
TEXT ·rmsNormRow(SB), NOSPLIT, $0-44
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ gain+16(FP), R8
	MOVQ n+24(FP), CX
	MOVQ CX, DX
	LEAQ (SI)(CX*4), R12
	SPAN
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	VXORPS Z14, Z14, Z14
	VXORPS Z15, Z15, Z15
	EACH(RMS_SQUARES, sum, sumTail, sumDone)
	DEVIATION(eps+32(FP))
	VMOVSS X1, rstd+40(FP)
	VBROADCASTSS X1, Z10
	EACH(RMS_WRITE, write, writeTail, writeDone)
	VZEROUPPER
	RET

#define RMS_SUMS(load, store, loadH, storeH) \
	AHEAD_H(DX);               \
	NORM_LOAD(load, loadH);    \
	PREFETCHT0 (DI)(AX*2);     \
	PREFETCHT0 64(DI)(AX*2);   \
	load(0, R8, K1, Z6);       \
	load(64, R8, K2, Z7);      \
	VFMADD231PS Z0, Z2, Z6;    \
	VFMADD231PS Z1, Z3, Z7;    \
	store(Z6, K1, 0, R8);      \
	store(Z7, K2, 64, R8);     \
	VMULPS Z4, Z0, Z0;         \
	VMULPS Z5, Z1, Z1;         \
	VFMADD231PS Z0, Z2, Z14;   \
	VFMADD231PS Z1, Z3, Z15

// func rmsNormBackRow(dx, dgain *float32, dy *uint16, src, gain *float32, rstd float32, n int)
//
// It is layerNormBackRow with means of zero.
TEXT ·rmsNormBackRow(SB), NOSPLIT, $0-56
	MOVQ dx+0(FP), DI
	MOVQ dgain+8(FP), R8
	MOVQ dy+16(FP), DX
	MOVQ src+24(FP), SI
	MOVQ gain+32(FP), R13
	VBROADCASTSS rstd+40(FP), Z10
	MOVQ n+48(FP), CX
	MOVQ CX, BX
	LEAQ (SI)(CX*4), R12
	SPAN
	VXORPS Z11, Z11, Z11
	VXORPS Z12, Z12, Z12
	VXORPS Z14, Z14, Z14
	VXORPS Z15, Z15, Z15
	EACH(RMS_SUMS, sum, sumTail, sumDone)
	VADDPS Z15, Z14, Z14
	TOTAL(Z14, Y14, X14)
	VXORPS X1, X1, X1
	VCVTSI2SSQ BX, X1, X1
	VDIVSS X1, X14, X14
	VBROADCASTSS X14, Z14
	EACH(NORM_BACK, back, backTail, backDone)
	VZEROUPPER
	RET

#define ADD_BIASED(load, store, loadH, storeH) \
	AHEAD(DI); \
	AHEAD(SI); \
	AHEAD_H(BX); \
	loadH(0, BX, K1, Z0);    \
	loadH(32, BX, K2, Z1);   \
	load(0, R8, K1, Z2);     \
	load(64, R8, K2, Z3);    \
	load(0, SI, K1, Z4);     \
	load(64, SI, K2, Z5);    \
	VADDPS Z0, Z2, Z0;       \
	VADDPS Z1, Z3, Z1;       \
	VADDPS Z0, Z4, Z4;       \
	VADDPS Z1, Z5, Z5;       \
	store(Z4, K1, 0, DI);    \
	store(Z5, K2, 64, DI)

#define ADD(load, store, loadH, storeH) \
	AHEAD(DI); \
	AHEAD(SI); \
	AHEAD_H(BX); \
	loadH(0, BX, K1, Z0);    \
	loadH(32, BX, K2, Z1);   \
	load(0, SI, K1, Z4);     \
	load(64, SI, K2, Z5);    \
	VADDPS Z0, Z4, Z4;       \
	VADDPS Z1, Z5, Z5;       \
	store(Z4, K1, 0, DI);    \
	store(Z5, K2, 64, DI)

// func addRow(dst, src *float32, term *uint16, bias *float32, n int)
TEXT ·addRow(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ term+16(FP), BX
	MOVQ bias+24(FP), R8
	MOVQ n+32(FP), CX
	SPAN
	TESTQ R8, R8
	JEQ  unbiased
	EACH(ADD_BIASED, loop, tail, done)
	VZEROUPPER
	RET

unbiased:
	EACH(ADD, loop2, tail2, done2)
	VZEROUPPER
	RET

#define ROUND_SUM(load, store, loadH, storeH) \
	AHEAD(SI); \
	AHEAD_H(DI); \
	load(0, SI, K1, Z0);     \
	load(64, SI, K2, Z1);    \
	load(0, R8, K1, Z2);     \
	load(64, R8, K2, Z3);    \
	VADDPS Z0, Z2, Z2;       \
	VADDPS Z1, Z3, Z3;       \
	store(Z2, K1, 0, R8);    \
	store(Z3, K2, 64, R8);   \
	VCVTNE2PS2BF16(0, 1, 0); \
	storeH(Z0, DI)

// func roundSumRow(dst *uint16, src, sum *float32, n int)
TEXT ·roundSumRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ sum+16(FP), R8
	MOVQ n+24(FP), CX
	SPAN
	EACH(ROUND_SUM, loop, tail, done)
	VZEROUPPER
	RET

#define SCALE_ROUND(load, store, loadH, storeH) \
	load(0, SI, K1, Z0);     \
	load(64, SI, K2, Z1);    \
	VMULPS Z11, Z0, Z0;      \
	VMULPS Z11, Z1, Z1;      \
	VCVTNE2PS2BF16(0, 1, 0); \
	storeH(Z0, DI)

// func scaleRow(dst *uint16, src *float32, scale float32, n int)
TEXT ·scaleRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	VBROADCASTSS scale+16(FP), Z11
	MOVQ n+24(FP), CX
	SPAN
	EACH(SCALE_ROUND, loop, tail, done)
	VZEROUPPER
	RET

#define DOT_ROUNDED(load, store, loadH, storeH) \
	loadH(0, SI, K1, Z0);     \
	loadH(32, SI, K2, Z1);    \
	loadH(0, DI, K1, Z2);     \
	loadH(32, DI, K2, Z3);    \
	VFMADD231PS Z0, Z2, Z12;  \
	VFMADD231PS Z1, Z3, Z13

// func dotRow(a, b *uint16, n int) float32
TEXT ·dotRow(SB), NOSPLIT, $0-28
	MOVQ a+0(FP), DI
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), CX
	VXORPS Z12, Z12, Z12
	VXORPS Z13, Z13, Z13
	SPAN
	EACH(DOT_ROUNDED, loop, tail, done)
	VADDPS Z13, Z12, Z12
	TOTAL(Z12, Y12, X12)
	VMOVSS X12, ret+24(FP)
	VZEROUPPER
	RET
