//go:build !purego

#include "textflag.h"
#include "tile_avx512_amd64.h"

// Tile kernels that read coded weights where they lie, for a few rows of A: a panel comes from memory while tiles of it
// are multiplied. An element is the same chain of multiply-adds as in tileAVX512 over the values of the weights.

#define ADVANCE(n) \
	ADDQ $n, R8;   \
	ADDQ $n, R9;   \
	ADDQ $n, R10;  \
	ADDQ $n, R11;  \
	ADDQ $n, R12

// BEGIN loads the arguments of both kernels.
#define BEGIN            \
	MOVQ rows+0(FP), AX; \
	MOVQ c+40(FP), DI;   \
	MOVQ ldc+48(FP), R9; \
	SHLQ $2, R9;         \
	FETCH;               \
	MOVQ k+8(FP), CX;    \
	MOVQ a+16(FP), R8;   \
	MOVQ rs+24(FP), R13; \
	MOVQ src+32(FP), SI; \
	SHLQ $2, R13;        \
	POINTERS

// PAIRS sums two terms at a time. Those of a pair of bfloat16 are the lower half moved up, and the upper half alone;
// Z31 has the mask.
#define PAIRS(label, rows)   \
label:                       \
	PREFETCHT0 2048(SI);     \
	PREFETCHT0 2112(SI);     \
	VPSLLD $16, (SI), Z28;   \
	VPSLLD $16, 64(SI), Z29; \
	rows(0);                 \
	DECQ   CX;               \
	JEQ    store;            \
	VPANDD (SI), Z31, Z28;   \
	VPANDD 64(SI), Z31, Z29; \
	rows(4);                 \
	ADVANCE(8);              \
	ADDQ   $128, SI;         \
	DECQ   CX;               \
	JNZ    label;            \
	JMP    store

// func tileBF16AVX512(rows, k int, a *float32, rs int, src *byte, c *float32, ldc, cols int, alpha float32, add bool)
TEXT ·tileBF16AVX512(SB), NOSPLIT, $0-69
	BEGIN
	VPTERNLOGD $0xff, Z31, Z31, Z31
	VPSLLD     $16, Z31, Z31
	ZEROALL
	CHOOSE

	PAIRS(sum1, ROWS1)
	PAIRS(sum2, ROWS2)
	PAIRS(sum3, ROWS3)
	PAIRS(sum4, ROWS4)
	PAIRS(sum5, ROWS5)
	PAIRS(sum6, ROWS6)
	PAIRS(sum7, ROWS7)
	PAIRS(sum8, ROWS8)
	PAIRS(sum9, ROWS9)
	PAIRS(sum10, ROWS10)
	PAIRS(sum11, ROWS11)
	PAIRS(sum12, ROWS12)
	PAIRS(sum13, ROWS13)
	PAIRS(sum14, ROWS14)

store:
	STORE(cols+56(FP), ldc+48(FP), alpha+64(FP), add+68(FP))
	VZEROUPPER
	RET

// GROUPS sums groups of 32 terms. Z31 has the scales of the first 16 rows of W, memory those of the others.
#define GROUPS(label, term, rows)      \
label:                                 \
	VPMOVZXWD (SI), Z31;               \
	VPMOVZXWD 32(SI), Z29;             \
	VPSLLD    $16, Z31, Z31;           \
	VPSLLD    $16, Z29, Z29;           \
	VMOVUPS   Z29, scales-64(SP);      \
	ADDQ      $64, SI;                 \
	MOVQ      $32, DX;                 \
	CMPQ      CX, DX;                  \
	CMOVQLT   CX, DX;                  \
	SUBQ      DX, CX;                  \
term:                                  \
	PREFETCHT0 2048(SI);               \
	VPMOVSXBD (SI), Z28;               \
	VPMOVSXBD 16(SI), Z29;             \
	VCVTDQ2PS Z28, Z28;                \
	VCVTDQ2PS Z29, Z29;                \
	VMULPS    Z31, Z28, Z28;           \
	VMULPS    scales-64(SP), Z29, Z29; \
	rows(0);                           \
	ADVANCE(4);                        \
	ADDQ      $32, SI;                 \
	DECQ      DX;                      \
	JNZ       term;                    \
	TESTQ     CX, CX;                  \
	JNZ       label;                   \
	JMP       store

// func tileInt8AVX512(rows, k int, a *float32, rs int, src *byte, c *float32, ldc, cols int, alpha float32, add bool)
TEXT ·tileInt8AVX512(SB), NOSPLIT, $64-69
	BEGIN
	ZEROALL
	CHOOSE

	GROUPS(sum1, term1, ROWS1)
	GROUPS(sum2, term2, ROWS2)
	GROUPS(sum3, term3, ROWS3)
	GROUPS(sum4, term4, ROWS4)
	GROUPS(sum5, term5, ROWS5)
	GROUPS(sum6, term6, ROWS6)
	GROUPS(sum7, term7, ROWS7)
	GROUPS(sum8, term8, ROWS8)
	GROUPS(sum9, term9, ROWS9)
	GROUPS(sum10, term10, ROWS10)
	GROUPS(sum11, term11, ROWS11)
	GROUPS(sum12, term12, ROWS12)
	GROUPS(sum13, term13, ROWS13)
	GROUPS(sum14, term14, ROWS14)

store:
	STORE(cols+56(FP), ldc+48(FP), alpha+64(FP), add+68(FP))
	VZEROUPPER
	RET
