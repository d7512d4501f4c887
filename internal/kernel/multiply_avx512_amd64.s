//go:build !purego

#include "textflag.h"

// The tile kernel for AVX-512: up to 14 rows by 32 columns of C, two registers
// a row (Z0-Z27). A term takes one row of B (Z28, Z29) and an element of A,
// broadcast (Z30), for each row: 28 multiply-adds for 16 loads. A is addressed
// by five pointers, three rows apart, so that no address is computed per row.

#define ROW(mem, c0, c1) \
	VBROADCASTSS mem, Z30;     \
	VFMADD231PS  Z30, Z28, c0; \
	VFMADD231PS  Z30, Z29, c1

#define ROWS1 ROW((R8), Z0, Z1)
#define ROWS2 ROWS1; ROW((R8)(R13*1), Z2, Z3)
#define ROWS3 ROWS2; ROW((R8)(R13*2), Z4, Z5)
#define ROWS4 ROWS3; ROW((R9), Z6, Z7)
#define ROWS5 ROWS4; ROW((R9)(R13*1), Z8, Z9)
#define ROWS6 ROWS5; ROW((R9)(R13*2), Z10, Z11)
#define ROWS7 ROWS6; ROW((R10), Z12, Z13)
#define ROWS8 ROWS7; ROW((R10)(R13*1), Z14, Z15)
#define ROWS9 ROWS8; ROW((R10)(R13*2), Z16, Z17)
#define ROWS10 ROWS9; ROW((R11), Z18, Z19)
#define ROWS11 ROWS10; ROW((R11)(R13*1), Z20, Z21)
#define ROWS12 ROWS11; ROW((R11)(R13*2), Z22, Z23)
#define ROWS13 ROWS12; ROW((R12), Z24, Z25)
#define ROWS14 ROWS13; ROW((R12)(R13*1), Z26, Z27)

// LOOP sums all terms for a number of rows given as a ROWS macro.
#define LOOP(label, rows) \
label:                    \
	VMOVUPS (SI), Z28;    \
	VMOVUPS 64(SI), Z29;  \
	ADDQ    DX, SI;       \
	rows;                 \
	ADDQ    BX, R8;       \
	ADDQ    BX, R9;       \
	ADDQ    BX, R10;      \
	ADDQ    BX, R11;      \
	ADDQ    BX, R12;      \
	DECQ    CX;           \
	JNZ     label;        \
	JMP     store

#define ZERO(c0, c1) \
	VPXORD c0, c0, c0; \
	VPXORD c1, c1, c1

// PUT writes a row of C, ADD adds to one; AX counts the rows.
#define PUT(c0, c1) \
	VMULPS  Z29, c0, c0;     \
	VMULPS  Z29, c1, c1;     \
	VMOVUPS c0, K1, (DI);    \
	VMOVUPS c1, K2, 64(DI);  \
	ADDQ    R13, DI;         \
	DECQ    AX;              \
	JEQ     done

#define ADD(c0, c1) \
	VMOVUPS.Z   (DI), K1, Z30;   \
	VMOVUPS.Z   64(DI), K2, Z31; \
	VFMADD213PS Z30, Z29, c0;    \
	VFMADD213PS Z31, Z29, c1;    \
	VMOVUPS     c0, K1, (DI);    \
	VMOVUPS     c1, K2, 64(DI);  \
	ADDQ        R13, DI;         \
	DECQ        AX;              \
	JEQ         done

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

	// C is needed last: fetch it meanwhile.
	MOVQ DI, R8
	MOVQ AX, R10

fetch:
	PREFETCHT0 (R8)
	PREFETCHT0 64(R8)
	ADDQ R9, R8
	DECQ R10
	JNZ  fetch

	MOVQ a+16(FP), R8
	MOVQ rs+24(FP), R13
	MOVQ ks+32(FP), BX
	SHLQ $2, R13
	SHLQ $2, BX
	LEAQ (R13)(R13*2), R15
	LEAQ (R8)(R15*1), R9
	LEAQ (R9)(R15*1), R10
	LEAQ (R10)(R15*1), R11
	LEAQ (R11)(R15*1), R12

	ZERO(Z0, Z1)
	ZERO(Z2, Z3)
	ZERO(Z4, Z5)
	ZERO(Z6, Z7)
	ZERO(Z8, Z9)
	ZERO(Z10, Z11)
	ZERO(Z12, Z13)
	ZERO(Z14, Z15)
	ZERO(Z16, Z17)
	ZERO(Z18, Z19)
	ZERO(Z20, Z21)
	ZERO(Z22, Z23)
	ZERO(Z24, Z25)
	ZERO(Z26, Z27)

	CMPQ AX, $14
	JEQ  sum14
	CMPQ AX, $13
	JEQ  sum13
	CMPQ AX, $12
	JEQ  sum12
	CMPQ AX, $11
	JEQ  sum11
	CMPQ AX, $10
	JEQ  sum10
	CMPQ AX, $9
	JEQ  sum9
	CMPQ AX, $8
	JEQ  sum8
	CMPQ AX, $7
	JEQ  sum7
	CMPQ AX, $6
	JEQ  sum6
	CMPQ AX, $5
	JEQ  sum5
	CMPQ AX, $4
	JEQ  sum4
	CMPQ AX, $3
	JEQ  sum3
	CMPQ AX, $2
	JEQ  sum2

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
	// K1 and K2 select the columns of the two halves.
	MOVQ  cols+72(FP), CX
	MOVQ  $-1, BX
	SHLQ  CX, BX
	NOTQ  BX
	KMOVW BX, K1
	SHRQ  $16, BX
	KMOVW BX, K2
	MOVQ  ldc+64(FP), R13
	SHLQ  $2, R13
	VBROADCASTSS alpha+80(FP), Z29
	CMPB  add+84(FP), $0
	JNE   accumulate

	PUT(Z0, Z1)
	PUT(Z2, Z3)
	PUT(Z4, Z5)
	PUT(Z6, Z7)
	PUT(Z8, Z9)
	PUT(Z10, Z11)
	PUT(Z12, Z13)
	PUT(Z14, Z15)
	PUT(Z16, Z17)
	PUT(Z18, Z19)
	PUT(Z20, Z21)
	PUT(Z22, Z23)
	PUT(Z24, Z25)
	PUT(Z26, Z27)

accumulate:
	ADD(Z0, Z1)
	ADD(Z2, Z3)
	ADD(Z4, Z5)
	ADD(Z6, Z7)
	ADD(Z8, Z9)
	ADD(Z10, Z11)
	ADD(Z12, Z13)
	ADD(Z14, Z15)
	ADD(Z16, Z17)
	ADD(Z18, Z19)
	ADD(Z20, Z21)
	ADD(Z22, Z23)
	ADD(Z24, Z25)
	ADD(Z26, Z27)

done:
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
