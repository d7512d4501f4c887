//go:build !purego

#include "textflag.h"
#include "tile_avx512_amd64.h"

// LOOP sums all terms for a number of rows given as a ROWS macro.
#define LOOP(label, rows) \
label:                    \
	VMOVUPS (SI), Z28;    \
	VMOVUPS 64(SI), Z29;  \
	ADDQ    DX, SI;       \
	rows(0);              \
	ADDQ    BX, R8;       \
	ADDQ    BX, R9;       \
	ADDQ    BX, R10;      \
	ADDQ    BX, R11;      \
	ADDQ    BX, R12;      \
	DECQ    CX;           \
	JNZ     label;        \
	JMP     store

// func tileAVX512(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)
TEXT ·tileAVX512(SB), NOSPLIT, $0-85
	MOVQ rows+0(FP), AX
	MOVQ k+8(FP), CX
	MOVQ b+40(FP), SI
	MOVQ bs+48(FP), DX
	MOVQ c+56(FP), DI
	MOVQ ldc+64(FP), R9
	SHLQ $2, DX
	SHLQ $2, R9

	FETCH

	MOVQ a+16(FP), R8
	MOVQ rs+24(FP), R13
	MOVQ ks+32(FP), BX
	SHLQ $2, R13
	SHLQ $2, BX
	POINTERS
	ZEROALL
	CHOOSE

	LOOP(sum1, ROWS1)
	LOOP(sum2, ROWS2)
	LOOP(sum3, ROWS3)
	LOOP(sum4, ROWS4)
	LOOP(sum5, ROWS5)
	LOOP(sum6, ROWS6)
	LOOP(sum7, ROWS7)
	LOOP(sum8, ROWS8)
	LOOP(sum9, ROWS9)
	LOOP(sum10, ROWS10)
	LOOP(sum11, ROWS11)
	LOOP(sum12, ROWS12)
	LOOP(sum13, ROWS13)
	LOOP(sum14, ROWS14)

store:
	STORE(cols+72(FP), ldc+64(FP), alpha+80(FP), add+84(FP))
	VZEROUPPER
	RET

// func packTAVX512(dst *float32, ldd int, src *float32, lds, k int)
//
// Transposes 16 rows. Four terms at a time: lane q of Z(r) takes four elements
// of row 4q+r, and a 4 by 4 transposition inside the lanes leaves one term of
// all 16 rows in each register.
TEXT ·packTAVX512(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), R8
	MOVQ lds+24(FP), R12
	MOVQ k+32(FP), CX
	SHLQ $2, DX
	SHLQ $2, R12
	LEAQ (R12)(R12*2), R13
	LEAQ (R8)(R12*4), R9
	LEAQ (R9)(R12*4), R10
	LEAQ (R10)(R12*4), R11
	LEAQ (DX)(DX*2), BX

terms:
	VMOVUPS (R8), X0
	VMOVUPS (R8)(R12*1), X1
	VMOVUPS (R8)(R12*2), X2
	VMOVUPS (R8)(R13*1), X3
	VINSERTF32X4 $1, (R9), Z0, Z0
	VINSERTF32X4 $1, (R9)(R12*1), Z1, Z1
	VINSERTF32X4 $1, (R9)(R12*2), Z2, Z2
	VINSERTF32X4 $1, (R9)(R13*1), Z3, Z3
	VINSERTF32X4 $2, (R10), Z0, Z0
	VINSERTF32X4 $2, (R10)(R12*1), Z1, Z1
	VINSERTF32X4 $2, (R10)(R12*2), Z2, Z2
	VINSERTF32X4 $2, (R10)(R13*1), Z3, Z3
	VINSERTF32X4 $3, (R11), Z0, Z0
	VINSERTF32X4 $3, (R11)(R12*1), Z1, Z1
	VINSERTF32X4 $3, (R11)(R12*2), Z2, Z2
	VINSERTF32X4 $3, (R11)(R13*1), Z3, Z3
	VUNPCKLPS Z1, Z0, Z4
	VUNPCKHPS Z1, Z0, Z5
	VUNPCKLPS Z3, Z2, Z6
	VUNPCKHPS Z3, Z2, Z7
	VUNPCKLPD Z6, Z4, Z0
	VUNPCKHPD Z6, Z4, Z1
	VUNPCKLPD Z7, Z5, Z2
	VUNPCKHPD Z7, Z5, Z3
	VMOVUPS Z0, (DI)
	VMOVUPS Z1, (DI)(DX*1)
	VMOVUPS Z2, (DI)(DX*2)
	VMOVUPS Z3, (DI)(BX*1)
	LEAQ (DI)(DX*4), DI
	ADDQ $16, R8
	ADDQ $16, R9
	ADDQ $16, R10
	ADDQ $16, R11
	SUBQ $4, CX
	JNZ  terms
	VZEROUPPER
	RET

// func packNAVX512(dst *float32, ldd int, src *float32, lds, k, cols int)
//
// Copies k rows of cols elements to rows of ldd, 16 or 32, filled with zeros.
TEXT ·packNAVX512(SB), NOSPLIT, $0-48
	MOVQ  dst+0(FP), DI
	MOVQ  ldd+8(FP), DX
	MOVQ  src+16(FP), SI
	MOVQ  lds+24(FP), R8
	MOVQ  k+32(FP), AX
	MOVQ  cols+40(FP), CX
	SHLQ  $2, R8
	MOVQ  $-1, BX
	SHLQ  CX, BX
	NOTQ  BX
	KMOVW BX, K1
	SHRQ  $16, BX
	KMOVW BX, K2
	CMPQ  DX, $16
	JEQ   one

two:
	PREFETCHT0 (SI)(R8*8)
	PREFETCHT0 64(SI)(R8*8)
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z 64(SI), K2, Z1
	VMOVUPS   Z0, (DI)
	VMOVUPS   Z1, 64(DI)
	ADDQ      R8, SI
	ADDQ      $128, DI
	DECQ      AX
	JNZ       two
	VZEROUPPER
	RET

one:
	PREFETCHT0 (SI)(R8*8)
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS   Z0, (DI)
	ADDQ      R8, SI
	ADDQ      $64, DI
	DECQ      AX
	JNZ       one
	VZEROUPPER
	RET

// func packRowsAVX512(dst *float32, ldd int, src *float32, lds, rows, k int)
//
// Copies rows of k elements and fetches the row four further on meanwhile: each
// begins on a page of its own, where a prefetcher has to start anew.
TEXT ·packRowsAVX512(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ lds+24(FP), R8
	MOVQ rows+32(FP), AX
	MOVQ k+40(FP), CX
	SHLQ $2, DX
	SHLQ $2, R8
	LEAQ (SI)(R8*4), R10

	// BX: bytes in whole lines. K1 selects the rest.
	MOVQ  CX, BX
	ANDQ  $~15, BX
	SHLQ  $2, BX
	ANDQ  $15, CX
	MOVQ  $-1, R9
	SHLQ  CX, R9
	NOTQ  R9
	KMOVW R9, K1

row:
	XORQ R9, R9
	CMPQ R9, BX
	JGE  tail

line:
	PREFETCHT0 (R10)(R9*1)
	VMOVUPS    (SI)(R9*1), Z0
	VMOVUPS    Z0, (DI)(R9*1)
	ADDQ       $64, R9
	CMPQ       R9, BX
	JLT        line

tail:
	VMOVUPS.Z (SI)(R9*1), K1, Z0
	VMOVUPS   Z0, K1, (DI)(R9*1)
	ADDQ      R8, SI
	ADDQ      R8, R10
	ADDQ      DX, DI
	DECQ      AX
	JNZ       row
	VZEROUPPER
	RET
