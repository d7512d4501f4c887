//go:build !purego

#include "textflag.h"

// Products of a matrix and one vector, for decoding. An element is the same chain of fused multiply-adds as in the tile
// kernel; rows of W are the lanes, so that W is read once.

// STEP adds four terms of 8 rows, four from p and four from q on, to acc. It transposes them as packTAVX2 does.
#define STEP(off, p, q, acc) \
	VMOVUPS off(p), X0;                      \
	VMOVUPS off(p)(R12*1), X1;               \
	VMOVUPS off(p)(R12*2), X2;               \
	VMOVUPS off(p)(R13*1), X3;               \
	VINSERTF128 $1, off(q), Y0, Y0;          \
	VINSERTF128 $1, off(q)(R12*1), Y1, Y1;   \
	VINSERTF128 $1, off(q)(R12*2), Y2, Y2;   \
	VINSERTF128 $1, off(q)(R13*1), Y3, Y3;   \
	VUNPCKLPS Y1, Y0, Y4;                    \
	VUNPCKHPS Y1, Y0, Y5;                    \
	VUNPCKLPS Y3, Y2, Y6;                    \
	VUNPCKHPS Y3, Y2, Y7;                    \
	VUNPCKLPD Y6, Y4, Y0;                    \
	VUNPCKHPD Y6, Y4, Y1;                    \
	VUNPCKLPD Y7, Y5, Y2;                    \
	VUNPCKHPD Y7, Y5, Y3;                    \
	VBROADCASTSS off(SI), Y8;                \
	VBROADCASTSS (off+4)(SI), Y9;            \
	VBROADCASTSS (off+8)(SI), Y10;           \
	VBROADCASTSS (off+12)(SI), Y11;          \
	VFMADD231PS Y8, Y0, acc;                 \
	VFMADD231PS Y9, Y1, acc;                 \
	VFMADD231PS Y10, Y2, acc;                \
	VFMADD231PS Y11, Y3, acc

#define FETCH(p) \
	PREFETCHT1 (p);        \
	PREFETCHT1 (p)(R12*1); \
	PREFETCHT1 (p)(R12*2); \
	PREFETCHT1 (p)(R13*1)

// func dotsAVX2(c, w *float32, ldw int, x, next *float32, k int, add bool)
//
// A cache line of each of 8 rows is used up before the next 8: where the row stride is a power of two, more lines would
// not fit their set of the cache.
TEXT ·dotsAVX2(SB), NOSPLIT, $0-49
	MOVQ c+0(FP), DI
	MOVQ w+8(FP), R8
	MOVQ ldw+16(FP), R12
	MOVQ x+24(FP), SI
	MOVQ next+32(FP), DX
	MOVQ k+40(FP), CX
	SHLQ $2, R12
	LEAQ (R12)(R12*2), R13
	LEAQ (R8)(R12*4), R9
	LEAQ (R9)(R12*4), R10
	LEAQ (R10)(R12*4), R11
	VXORPS Y14, Y14, Y14
	VXORPS Y15, Y15, Y15
	SUBQ $16, CX
	JLT  rest

lines:
	FETCH(DX)
	LEAQ (DX)(R12*4), AX
	FETCH(AX)
	LEAQ (AX)(R12*4), AX
	FETCH(AX)
	LEAQ (AX)(R12*4), AX
	FETCH(AX)
	STEP(0, R8, R9, Y14)
	STEP(16, R8, R9, Y14)
	STEP(32, R8, R9, Y14)
	STEP(48, R8, R9, Y14)
	STEP(0, R10, R11, Y15)
	STEP(16, R10, R11, Y15)
	STEP(32, R10, R11, Y15)
	STEP(48, R10, R11, Y15)
	ADDQ $64, DX
	ADDQ $64, SI
	ADDQ $64, R8
	ADDQ $64, R9
	ADDQ $64, R10
	ADDQ $64, R11
	SUBQ $16, CX
	JGE  lines

rest:
	ADDQ $16, CX
	JEQ  store

four:
	STEP(0, R8, R9, Y14)
	STEP(0, R10, R11, Y15)
	ADDQ $16, SI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $16, R10
	ADDQ $16, R11
	SUBQ $4, CX
	JNZ  four

store:
	CMPB add+48(FP), $0
	JEQ  put
	VADDPS (DI), Y14, Y14
	VADDPS 32(DI), Y15, Y15

put:
	VMOVUPS Y14, (DI)
	VMOVUPS Y15, 32(DI)
	VZEROUPPER
	RET

#define STORE32 \
	VMOVUPS Y10, (DI);   \
	VMOVUPS Y11, 32(DI); \
	VMOVUPS Y12, 64(DI); \
	VMOVUPS Y13, 96(DI)

#define ADD32 \
	VADDPS (DI), Y10, Y10;   \
	VADDPS 32(DI), Y11, Y11; \
	VADDPS 64(DI), Y12, Y12; \
	VADDPS 96(DI), Y13, Y13

#define ZERO32 \
	VXORPS Y10, Y10, Y10; \
	VXORPS Y11, Y11, Y11; \
	VXORPS Y12, Y12, Y12; \
	VXORPS Y13, Y13, Y13

// EVEN and ODD are the terms of pairs of bfloat16: the lower half moved up, and the upper half alone. Y15 has the mask.
#define EVEN(off, to) \
	VMOVDQU off(BX), to; \
	VPSLLD  $16, to, to

#define ODD(off, to) \
	VPAND off(BX), Y15, to

// func dotBF16AVX2(c *float32, src *byte, x *float32, k int, add bool)
TEXT ·dotBF16AVX2(SB), NOSPLIT, $0-33
	MOVQ c+0(FP), DI
	MOVQ src+8(FP), BX
	MOVQ x+16(FP), SI
	MOVQ k+24(FP), CX
	VPCMPEQD Y15, Y15, Y15
	VPSLLD   $16, Y15, Y15
	ZERO32
	SUBQ $2, CX
	JLT  last

pair:
	PREFETCHT0 2048(BX)
	PREFETCHT0 2112(BX)
	VBROADCASTSS (SI), Y8
	VBROADCASTSS 4(SI), Y9
	EVEN(0, Y0)
	EVEN(32, Y1)
	EVEN(64, Y2)
	EVEN(96, Y3)
	ODD(0, Y4)
	ODD(32, Y5)
	ODD(64, Y6)
	ODD(96, Y7)
	VFMADD231PS Y8, Y0, Y10
	VFMADD231PS Y8, Y1, Y11
	VFMADD231PS Y8, Y2, Y12
	VFMADD231PS Y8, Y3, Y13
	VFMADD231PS Y9, Y4, Y10
	VFMADD231PS Y9, Y5, Y11
	VFMADD231PS Y9, Y6, Y12
	VFMADD231PS Y9, Y7, Y13
	ADDQ $128, BX
	ADDQ $8, SI
	SUBQ $2, CX
	JGE  pair

last:
	ADDQ $2, CX
	JEQ  store
	VBROADCASTSS (SI), Y8
	EVEN(0, Y0)
	EVEN(32, Y1)
	EVEN(64, Y2)
	EVEN(96, Y3)
	VFMADD231PS Y8, Y0, Y10
	VFMADD231PS Y8, Y1, Y11
	VFMADD231PS Y8, Y2, Y12
	VFMADD231PS Y8, Y3, Y13

store:
	CMPB add+32(FP), $0
	JEQ  put
	ADD32

put:
	STORE32
	VZEROUPPER
	RET

// SCALES loads 8 scales.
#define SCALES(off, to) \
	VPMOVZXWD off(BX), to; \
	VPSLLD    $16, to, to

// VALUES makes float32 of 8 bytes times their scales.
#define VALUES(off, scales, to) \
	VPMOVSXBD off(BX), to; \
	VCVTDQ2PS to, to;      \
	VMULPS    scales, to, to

// func dotInt8AVX2(c *float32, src *byte, x *float32, k int, add bool)
TEXT ·dotInt8AVX2(SB), NOSPLIT, $0-33
	MOVQ c+0(FP), DI
	MOVQ src+8(FP), BX
	MOVQ x+16(FP), SI
	MOVQ k+24(FP), CX
	ZERO32

group:
	SCALES(0, Y4)
	SCALES(16, Y5)
	SCALES(32, Y6)
	SCALES(48, Y7)
	ADDQ $64, BX
	MOVQ $32, AX
	CMPQ CX, AX
	CMOVQLT CX, AX
	SUBQ AX, CX

term:
	PREFETCHT0 2048(BX)
	VBROADCASTSS (SI), Y8
	VALUES(0, Y4, Y0)
	VALUES(8, Y5, Y1)
	VALUES(16, Y6, Y2)
	VALUES(24, Y7, Y3)
	VFMADD231PS Y8, Y0, Y10
	VFMADD231PS Y8, Y1, Y11
	VFMADD231PS Y8, Y2, Y12
	VFMADD231PS Y8, Y3, Y13
	ADDQ $32, BX
	ADDQ $4, SI
	DECQ AX
	JNZ  term
	TESTQ CX, CX
	JNZ  group

	CMPB add+32(FP), $0
	JEQ  put
	ADD32

put:
	STORE32
	VZEROUPPER
	RET

// func expandBF16AVX2(dst *float32, ldd int, src *byte, col, k int)
TEXT ·expandBF16AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), BX
	MOVQ col+24(FP), AX
	MOVQ k+32(FP), CX
	SHLQ $2, DX
	LEAQ (BX)(AX*4), BX
	VPCMPEQD Y15, Y15, Y15
	VPSLLD   $16, Y15, Y15
	SUBQ $2, CX
	JLT  last

pair:
	PREFETCHT0 2048(BX)
	EVEN(0, Y0)
	EVEN(32, Y1)
	ODD(0, Y2)
	ODD(32, Y3)
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VMOVUPS Y2, (DI)(DX*1)
	VMOVUPS Y3, 32(DI)(DX*1)
	ADDQ $128, BX
	LEAQ (DI)(DX*2), DI
	SUBQ $2, CX
	JGE  pair

last:
	ADDQ $2, CX
	JEQ  done
	EVEN(0, Y0)
	EVEN(32, Y1)
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)

done:
	VZEROUPPER
	RET

// func expandInt8AVX2(dst *float32, ldd int, src *byte, col, k int)
TEXT ·expandInt8AVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), BX
	MOVQ col+24(FP), R8
	MOVQ k+32(FP), CX
	SHLQ $2, DX
	ADDQ R8, BX

group:
	VPMOVZXWD (BX)(R8*1), Y4
	VPSLLD    $16, Y4, Y4
	VPMOVZXWD 16(BX)(R8*1), Y5
	VPSLLD    $16, Y5, Y5
	ADDQ $64, BX
	MOVQ $32, AX
	CMPQ CX, AX
	CMOVQLT CX, AX
	SUBQ AX, CX

term:
	PREFETCHT0 2048(BX)
	VALUES(0, Y4, Y0)
	VALUES(8, Y5, Y1)
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	ADDQ $32, BX
	ADDQ DX, DI
	DECQ AX
	JNZ  term
	TESTQ CX, CX
	JNZ  group
	VZEROUPPER
	RET
