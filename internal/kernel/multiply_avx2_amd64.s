//go:build !purego

#include "textflag.h"

// The tile kernel for AVX2: up to 6 rows by 16 columns of C, two registers a
// row (Y0-Y11). A term takes one row of B (Y12, Y13) and an element of A,
// broadcast (Y14), for each row. A is addressed by two pointers, three rows
// apart.

#define ROW(mem, c0, c1) \
	VBROADCASTSS mem, Y14;     \
	VFMADD231PS  Y14, Y12, c0; \
	VFMADD231PS  Y14, Y13, c1

#define ROWS1 ROW((R8), Y0, Y1)
#define ROWS2 ROWS1; ROW((R8)(R13*1), Y2, Y3)
#define ROWS3 ROWS2; ROW((R8)(R13*2), Y4, Y5)
#define ROWS4 ROWS3; ROW((R9), Y6, Y7)
#define ROWS5 ROWS4; ROW((R9)(R13*1), Y8, Y9)
#define ROWS6 ROWS5; ROW((R9)(R13*2), Y10, Y11)

// The l-th of four terms of six rows: a row of A has its terms side by side, or
// a term has its rows side by side, 8 words from the next term.
#define BYROWS(l) \
	ROW((4*l)(R8), Y0, Y1); \
	ROW((4*l)(R8)(R13*1), Y2, Y3); \
	ROW((4*l)(R8)(R13*2), Y4, Y5); \
	ROW((4*l)(R9), Y6, Y7); \
	ROW((4*l)(R9)(R13*1), Y8, Y9); \
	ROW((4*l)(R9)(R13*2), Y10, Y11)

#define BYTERMS(l) \
	ROW((32*l)(R8), Y0, Y1); \
	ROW((32*l+4)(R8), Y2, Y3); \
	ROW((32*l+8)(R8), Y4, Y5); \
	ROW((32*l+12)(R8), Y6, Y7); \
	ROW((32*l+16)(R8), Y8, Y9); \
	ROW((32*l+20)(R8), Y10, Y11)

#define LOADB(mem0, mem1) \
	VMOVUPS mem0, Y12; \
	VMOVUPS mem1, Y13

// FOUR sums four terms of six rows at a time, and leaves the last ones to sum6.
// R10 is three rows of B.
#define FOUR(label, rest, term) \
	SUBQ $4, CX;                            \
	JLT  rest;                              \
label:                                          \
	LOADB((SI), 32(SI));                    \
	term(0);                                \
	LOADB((SI)(DX*1), 32(SI)(DX*1));        \
	term(1);                                \
	LOADB((SI)(DX*2), 32(SI)(DX*2));        \
	term(2);                                \
	LOADB((SI)(R10*1), 32(SI)(R10*1));      \
	term(3);                                \
	LEAQ (SI)(DX*4), SI;                    \
	LEAQ (R8)(BX*4), R8;                    \
	LEAQ (R9)(BX*4), R9;                    \
	SUBQ $4, CX;                            \
	JGE  label;                             \
rest:                                           \
	ADDQ $4, CX;                            \
	JEQ  store;                             \
	JMP  sum6

// LOOP sums all terms for a number of rows given as a ROWS macro.
#define LOOP(label, rows) \
label:                    \
	VMOVUPS (SI), Y12;    \
	VMOVUPS 32(SI), Y13;  \
	ADDQ    DX, SI;       \
	rows;                 \
	ADDQ    BX, R8;       \
	ADDQ    BX, R9;       \
	DECQ    CX;           \
	JNZ     label;        \
	JMP     store

#define ZERO(c0, c1) \
	VXORPS c0, c0, c0; \
	VXORPS c1, c1, c1

// PUT writes a row of C, ADD adds to one; AX counts the rows, Y14 is alpha.
#define PUT(c0, c1) \
	VMULPS  Y14, c0, c0; \
	VMULPS  Y14, c1, c1; \
	VMOVUPS c0, (DI);    \
	VMOVUPS c1, 32(DI);  \
	ADDQ    R13, DI;     \
	DECQ    AX;          \
	JEQ     done

#define ADD(c0, c1) \
	VFMADD213PS (DI), Y14, c0;   \
	VFMADD213PS 32(DI), Y14, c1; \
	VMOVUPS     c0, (DI);        \
	VMOVUPS     c1, 32(DI);      \
	ADDQ        R13, DI;         \
	DECQ        AX;              \
	JEQ         done

// PUTPART and ADDPART do so for fewer than 16 columns, which Y12 and Y13 mask.
// A masked store takes AMD some 30 cycles: as long as four terms.
#define PUTPART(c0, c1) \
	VMULPS     Y14, c0, c0;       \
	VMULPS     Y14, c1, c1;       \
	VMASKMOVPS c0, Y12, (DI);     \
	VMASKMOVPS c1, Y13, 32(DI);   \
	ADDQ       R13, DI;           \
	DECQ       AX;                \
	JEQ        done

#define ADDPART(c0, c1) \
	VMASKMOVPS  (DI), Y12, Y15;   \
	VFMADD213PS Y15, Y14, c0;     \
	VMASKMOVPS  32(DI), Y13, Y15; \
	VFMADD213PS Y15, Y14, c1;     \
	VMASKMOVPS  c0, Y12, (DI);    \
	VMASKMOVPS  c1, Y13, 32(DI);  \
	ADDQ        R13, DI;          \
	DECQ        AX;               \
	JEQ         done

// 16 set words, then 16 clear ones: a mask of n columns begins n words before
// the middle.
DATA columns<>+0(SB)/8, $-1
DATA columns<>+8(SB)/8, $-1
DATA columns<>+16(SB)/8, $-1
DATA columns<>+24(SB)/8, $-1
DATA columns<>+32(SB)/8, $-1
DATA columns<>+40(SB)/8, $-1
DATA columns<>+48(SB)/8, $-1
DATA columns<>+56(SB)/8, $-1
GLOBL columns<>(SB), RODATA|NOPTR, $128

// func tileAVX2(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)
TEXT ·tileAVX2(SB), NOSPLIT, $0-85
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
	ADDQ R9, R8
	DECQ R10
	JNZ  fetch

	MOVQ a+16(FP), R8
	MOVQ rs+24(FP), R13
	MOVQ ks+32(FP), BX
	SHLQ $2, R13
	SHLQ $2, BX
	LEAQ (R13)(R13*2), R9
	ADDQ R8, R9

	ZERO(Y0, Y1)
	ZERO(Y2, Y3)
	ZERO(Y4, Y5)
	ZERO(Y6, Y7)
	ZERO(Y8, Y9)
	ZERO(Y10, Y11)

	CMPQ AX, $6
	JEQ  six
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

six:
	LEAQ (DX)(DX*2), R10
	CMPQ BX, $4
	JEQ  rows
	CMPQ BX, $32
	JNE  sum6
	CMPQ R13, $4
	JNE  sum6

	FOUR(terms4, terms3, BYTERMS)

rows:
	FOUR(rows4, rows3, BYROWS)

store:
	MOVQ cols+72(FP), CX
	MOVQ ldc+64(FP), R13
	SHLQ $2, R13
	VBROADCASTSS alpha+80(FP), Y14
	CMPQ CX, $16
	JNE  part
	CMPB add+84(FP), $0
	JNE  accumulate

	PUT(Y0, Y1)
	PUT(Y2, Y3)
	PUT(Y4, Y5)
	PUT(Y6, Y7)
	PUT(Y8, Y9)
	PUT(Y10, Y11)

accumulate:
	ADD(Y0, Y1)
	ADD(Y2, Y3)
	ADD(Y4, Y5)
	ADD(Y6, Y7)
	ADD(Y8, Y9)
	ADD(Y10, Y11)

part:
	LEAQ columns<>+64(SB), BX
	SHLQ $2, CX
	SUBQ CX, BX
	VMOVUPS (BX), Y12
	VMOVUPS 32(BX), Y13
	CMPB add+84(FP), $0
	JNE  accumulatePart

	PUTPART(Y0, Y1)
	PUTPART(Y2, Y3)
	PUTPART(Y4, Y5)
	PUTPART(Y6, Y7)
	PUTPART(Y8, Y9)
	PUTPART(Y10, Y11)

accumulatePart:
	ADDPART(Y0, Y1)
	ADDPART(Y2, Y3)
	ADDPART(Y4, Y5)
	ADDPART(Y6, Y7)
	ADDPART(Y8, Y9)
	ADDPART(Y10, Y11)

done:
	VZEROUPPER
	RET

// func packTAVX2(dst *float32, ldd int, src *float32, lds, k int)
//
// Transposes 8 rows. Four terms at a time: lane q of Y(r) takes four elements
// of row 4q+r, and a 4 by 4 transposition inside the lanes leaves one term of
// all 8 rows in each register.
TEXT ·packTAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), R8
	MOVQ lds+24(FP), R12
	MOVQ k+32(FP), CX
	SHLQ $2, DX
	SHLQ $2, R12
	LEAQ (R12)(R12*2), R13
	LEAQ (R8)(R12*4), R9
	LEAQ (DX)(DX*2), BX

terms:
	VMOVUPS (R8), X0
	VMOVUPS (R8)(R12*1), X1
	VMOVUPS (R8)(R12*2), X2
	VMOVUPS (R8)(R13*1), X3
	VINSERTF128 $1, (R9), Y0, Y0
	VINSERTF128 $1, (R9)(R12*1), Y1, Y1
	VINSERTF128 $1, (R9)(R12*2), Y2, Y2
	VINSERTF128 $1, (R9)(R13*1), Y3, Y3
	VUNPCKLPS Y1, Y0, Y4
	VUNPCKHPS Y1, Y0, Y5
	VUNPCKLPS Y3, Y2, Y6
	VUNPCKHPS Y3, Y2, Y7
	VUNPCKLPD Y6, Y4, Y0
	VUNPCKHPD Y6, Y4, Y1
	VUNPCKLPD Y7, Y5, Y2
	VUNPCKHPD Y7, Y5, Y3
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, (DI)(DX*1)
	VMOVUPS Y2, (DI)(DX*2)
	VMOVUPS Y3, (DI)(BX*1)
	LEAQ (DI)(DX*4), DI
	ADDQ $16, R8
	ADDQ $16, R9
	SUBQ $4, CX
	JNZ  terms
	VZEROUPPER
	RET

// func packNAVX2(dst *float32, ldd int, src *float32, lds, k, cols int)
//
// Copies k rows of cols elements to rows of ldd, 8 or 16, filled with zeros.
TEXT ·packNAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ lds+24(FP), R8
	MOVQ k+32(FP), AX
	MOVQ cols+40(FP), CX
	SHLQ $2, R8
	LEAQ columns<>+64(SB), BX
	SHLQ $2, CX
	SUBQ CX, BX
	VMOVUPS (BX), Y2
	VMOVUPS 32(BX), Y3
	CMPQ DX, $8
	JEQ  one

two:
	PREFETCHT0 (SI)(R8*8)
	VMASKMOVPS (SI), Y2, Y0
	VMASKMOVPS 32(SI), Y3, Y1
	VMOVUPS    Y0, (DI)
	VMOVUPS    Y1, 32(DI)
	ADDQ       R8, SI
	ADDQ       $64, DI
	DECQ       AX
	JNZ        two
	VZEROUPPER
	RET

one:
	PREFETCHT0 (SI)(R8*8)
	VMASKMOVPS (SI), Y2, Y0
	VMOVUPS    Y0, (DI)
	ADDQ       R8, SI
	ADDQ       $32, DI
	DECQ       AX
	JNZ        one
	VZEROUPPER
	RET

// func packTermsAVX2(dst *float32, step int, src *float32, lds, k, panels int)
//
// Copies k rows of 6·panels elements, six to each panel, and reads two more. A
// row is on a page of its own: fetch what comes eight rows later.
TEXT ·packTermsAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ step+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ lds+24(FP), R8
	MOVQ k+32(FP), AX
	MOVQ panels+40(FP), CX
	SHLQ $2, DX
	SHLQ $2, R8

term:
	MOVQ SI, R9
	MOVQ DI, R10
	MOVQ CX, R11

panel:
	PREFETCHT0 (R9)(R8*8)
	VMOVUPS    (R9), Y0
	VMOVUPS    Y0, (R10)
	ADDQ       $24, R9
	ADDQ       DX, R10
	DECQ       R11
	JNZ        panel

	ADDQ R8, SI
	ADDQ $32, DI
	DECQ AX
	JNZ  term
	VZEROUPPER
	RET

// func packRowsAVX2(dst *float32, ldd int, src *float32, lds, rows, k int)
//
// Copies rows of k elements and fetches the row eight further on meanwhile: each
// begins on a page of its own, where a prefetcher has to start anew.
TEXT ·packRowsAVX2(SB), NOSPLIT, $0-48
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), DX
	MOVQ src+16(FP), SI
	MOVQ lds+24(FP), R8
	MOVQ rows+32(FP), AX
	MOVQ k+40(FP), CX
	SHLQ $2, DX
	SHLQ $2, R8
	LEAQ (SI)(R8*8), R10

	// BX: bytes in whole lines, CX: bytes in all.
	MOVQ CX, BX
	ANDQ $~15, BX
	SHLQ $2, BX
	SHLQ $2, CX

row:
	XORQ R9, R9
	CMPQ R9, BX
	JGE  tail

line:
	PREFETCHT0 (R10)(R9*1)
	VMOVUPS    (SI)(R9*1), Y0
	VMOVUPS    32(SI)(R9*1), Y1
	VMOVUPS    Y0, (DI)(R9*1)
	VMOVUPS    Y1, 32(DI)(R9*1)
	ADDQ       $64, R9
	CMPQ       R9, BX
	JLT        line
	JMP        tail

word:
	MOVL (SI)(R9*1), R11
	MOVL R11, (DI)(R9*1)
	ADDQ $4, R9

tail:
	CMPQ R9, CX
	JLT  word
	ADDQ R8, SI
	ADDQ R8, R10
	ADDQ DX, DI
	DECQ AX
	JNZ  row
	VZEROUPPER
	RET
