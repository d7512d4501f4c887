//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The tile kernel for NEON: up to 6 rows by 16 columns of C, four registers a
// row (V8-V31). A term takes one row of B (V0-V3) and for each row an element
// of A, loaded into lane 0 of V4-V7 in turn: 24 multiply-adds for 8 loads. Lane 0
// multiplies all columns, which costs no broadcast. Rows of A have a pointer
// each (R2-R7) and share the offset R9.

#define ROW(ptr, f, a, c0, c1, c2, c3) \
	FMOVS (ptr)(R9), f;  \
	FMLALANE(a, 0, c0);  \
	FMLALANE(a, 1, c1);  \
	FMLALANE(a, 2, c2);  \
	FMLALANE(a, 3, c3)

#define ROWS1 ROW(R2, F4, 4, 8, 9, 10, 11)
#define ROWS2 ROWS1; ROW(R3, F5, 5, 12, 13, 14, 15)
#define ROWS3 ROWS2; ROW(R4, F6, 6, 16, 17, 18, 19)
#define ROWS4 ROWS3; ROW(R5, F7, 7, 20, 21, 22, 23)
#define ROWS5 ROWS4; ROW(R6, F4, 4, 24, 25, 26, 27)
#define ROWS6 ROWS5; ROW(R7, F5, 5, 28, 29, 30, 31)

// LOOP sums all terms for a number of rows given as a ROWS macro.
#define LOOP(label, rows) \
label:                       \
	FLDPQ (R10), (F0, F1);   \
	FLDPQ 32(R10), (F2, F3); \
	ADD   R11, R10;          \
	rows;                    \
	ADD   R8, R9;            \
	SUB   $1, R1;            \
	CBNZ  R1, label;         \
	B     store

#define ZERO(v) VEOR v, v, v

// PUT writes a row of C, ACCUMULATE adds to one; R0 counts the rows, V4 is alpha.
#define PUT(c0, c1, c2, c3) \
	FMULLANE(4, c0, 0);      \
	FMULLANE(4, c1, 1);      \
	FMULLANE(4, c2, 2);      \
	FMULLANE(4, c3, 3);      \
	FSTPQ (F0, F1), (R12);   \
	FSTPQ (F2, F3), 32(R12); \
	ADD   R13, R12;          \
	SUB   $1, R0;            \
	CBZ   R0, done

#define ACCUMULATE(c0, c1, c2, c3) \
	FLDPQ (R12), (F0, F1);   \
	FLDPQ 32(R12), (F2, F3); \
	FMLALANE(4, c0, 0);      \
	FMLALANE(4, c1, 1);      \
	FMLALANE(4, c2, 2);      \
	FMLALANE(4, c3, 3);      \
	FSTPQ (F0, F1), (R12);   \
	FSTPQ (F2, F3), 32(R12); \
	ADD   R13, R12;          \
	SUB   $1, R0;            \
	CBZ   R0, done

// func tileNEON(rows, k int, a *float32, rs, ks int, b *float32, bs int, c *float32, ldc, cols int, alpha float32, add bool)
TEXT ·tileNEON(SB), NOSPLIT, $384-85
	MOVD rows+0(FP), R0
	MOVD k+8(FP), R1
	MOVD a+16(FP), R2
	MOVD rs+24(FP), R16
	MOVD ks+32(FP), R8
	MOVD b+40(FP), R10
	MOVD bs+48(FP), R11
	MOVD c+56(FP), R12
	MOVD ldc+64(FP), R13
	MOVD cols+72(FP), R14
	LSL  $2, R8
	LSL  $2, R11
	LSL  $2, R13

	// C is needed last: fetch it meanwhile.
	MOVD R12, R15
	MOVD R0, R17

fetch:
	PRFM (R15), PSTL1KEEP
	ADD  R13, R15
	SUB  $1, R17
	CBNZ R17, fetch

	ADD  R16<<2, R2, R3
	ADD  R16<<2, R3, R4
	ADD  R16<<2, R4, R5
	ADD  R16<<2, R5, R6
	ADD  R16<<2, R6, R7
	MOVD $0, R9

	ZERO(V8.B16)
	ZERO(V9.B16)
	ZERO(V10.B16)
	ZERO(V11.B16)
	ZERO(V12.B16)
	ZERO(V13.B16)
	ZERO(V14.B16)
	ZERO(V15.B16)
	ZERO(V16.B16)
	ZERO(V17.B16)
	ZERO(V18.B16)
	ZERO(V19.B16)
	ZERO(V20.B16)
	ZERO(V21.B16)
	ZERO(V22.B16)
	ZERO(V23.B16)
	ZERO(V24.B16)
	ZERO(V25.B16)
	ZERO(V26.B16)
	ZERO(V27.B16)
	ZERO(V28.B16)
	ZERO(V29.B16)
	ZERO(V30.B16)
	ZERO(V31.B16)

	CMP $6, R0
	BEQ sum6
	CMP $5, R0
	BEQ sum5
	CMP $4, R0
	BEQ sum4
	CMP $3, R0
	BEQ sum3
	CMP $2, R0
	BEQ sum2

	LOOP(sum1, ROWS1)
	LOOP(sum2, ROWS2)
	LOOP(sum3, ROWS3)
	LOOP(sum4, ROWS4)
	LOOP(sum5, ROWS5)
	LOOP(sum6, ROWS6)

store:
	FMOVS alpha+80(FP), F4
	MOVBU add+84(FP), R16
	CMP   $16, R14
	BNE   edge
	CBNZ  R16, accumulate

	PUT(8, 9, 10, 11)
	PUT(12, 13, 14, 15)
	PUT(16, 17, 18, 19)
	PUT(20, 21, 22, 23)
	PUT(24, 25, 26, 27)
	PUT(28, 29, 30, 31)

accumulate:
	ACCUMULATE(8, 9, 10, 11)
	ACCUMULATE(12, 13, 14, 15)
	ACCUMULATE(16, 17, 18, 19)
	ACCUMULATE(20, 21, 22, 23)
	ACCUMULATE(24, 25, 26, 27)
	ACCUMULATE(28, 29, 30, 31)

	// There are no masked stores: the sums of a narrow tile go through the
	// stack, from where whole vectors and then single elements follow.
edge:
	MOVD  $sums-384(SP), R15
	FSTPQ (F8, F9), (R15)
	FSTPQ (F10, F11), 32(R15)
	FSTPQ (F12, F13), 64(R15)
	FSTPQ (F14, F15), 96(R15)
	FSTPQ (F16, F17), 128(R15)
	FSTPQ (F18, F19), 160(R15)
	FSTPQ (F20, F21), 192(R15)
	FSTPQ (F22, F23), 224(R15)
	FSTPQ (F24, F25), 256(R15)
	FSTPQ (F26, F27), 288(R15)
	FSTPQ (F28, F29), 320(R15)
	FSTPQ (F30, F31), 352(R15)

row:
	MOVD R12, R2
	MOVD R15, R3
	SUBS $4, R14, R4
	BLT  rest

quad:
	FMOVQ.P 16(R3), F1
	CBNZ  R16, quadAdd
	FMULLANE(4, 1, 0)
	B     quadPut

quadAdd:
	FMOVQ (R2), F0
	FMLALANE(4, 1, 0)

quadPut:
	FMOVQ.P F0, 16(R2)
	SUBS  $4, R4
	BGE   quad

rest:
	ADDS $4, R4
	BEQ  next

single:
	FMOVS.P 4(R3), F1
	CBNZ  R16, singleAdd
	FMULLANE(4, 1, 0)
	B     singlePut

singleAdd:
	FMOVS (R2), F0
	FMLALANE(4, 1, 0)

singlePut:
	FMOVS.P F0, 4(R2)
	SUBS  $1, R4
	BNE   single

next:
	ADD  R13, R12
	ADD  $64, R15
	SUB  $1, R0
	CBNZ R0, row

done:
	RET

// func packTNEON(dst *float32, ldd int, src *float32, lds, k int)
//
// Transposes 4 rows, four terms at a time.
TEXT ·packTNEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD ldd+8(FP), R1
	MOVD src+16(FP), R2
	MOVD lds+24(FP), R3
	MOVD k+32(FP), R6
	LSL  $2, R1
	LSL  $2, R3
	ADD  R3, R2, R4
	ADD  R3, R4, R5
	ADD  R3, R5, R7

terms:
	FMOVQ.P 16(R2), F0
	FMOVQ.P 16(R4), F1
	FMOVQ.P 16(R5), F2
	FMOVQ.P 16(R7), F3
	VTRN1 V1.S4, V0.S4, V4.S4
	VTRN2 V1.S4, V0.S4, V5.S4
	VTRN1 V3.S4, V2.S4, V6.S4
	VTRN2 V3.S4, V2.S4, V7.S4
	VTRN1 V6.D2, V4.D2, V0.D2
	VTRN1 V7.D2, V5.D2, V1.D2
	VTRN2 V6.D2, V4.D2, V2.D2
	VTRN2 V7.D2, V5.D2, V3.D2
	FMOVQ F0, (R0)
	ADD   R1, R0
	FMOVQ F1, (R0)
	ADD   R1, R0
	FMOVQ F2, (R0)
	ADD   R1, R0
	FMOVQ F3, (R0)
	ADD   R1, R0
	SUBS  $4, R6
	BNE   terms
	RET

// func packNNEON(dst *float32, ldd int, src *float32, lds, k, cols int)
//
// Copies k rows of cols elements to rows of 16, filled with zeros; ldd is 16.
TEXT ·packNNEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD src+16(FP), R2
	MOVD lds+24(FP), R3
	MOVD k+32(FP), R4
	MOVD cols+40(FP), R5
	LSL  $2, R3
	CMP  $16, R5
	BNE  narrow

wide:
	FLDPQ (R2), (F0, F1)
	FLDPQ 32(R2), (F2, F3)
	FSTPQ (F0, F1), (R0)
	FSTPQ (F2, F3), 32(R0)
	ADD   R3, R2
	ADD   $64, R0
	SUBS  $1, R4
	BNE   wide
	RET

narrow:
	ZERO(V1.B16)

row:
	FSTPQ (F1, F1), (R0)
	FSTPQ (F1, F1), 32(R0)
	MOVD  R2, R6
	MOVD  R0, R7
	SUBS  $4, R5, R8
	BLT   rest

quad:
	FMOVQ.P 16(R6), F0
	FMOVQ.P F0, 16(R7)
	SUBS  $4, R8
	BGE   quad

rest:
	ADDS $4, R8
	BEQ  next

single:
	FMOVS.P 4(R6), F0
	FMOVS.P F0, 4(R7)
	SUBS  $1, R8
	BNE   single

next:
	ADD  R3, R2
	ADD  $64, R0
	SUBS $1, R4
	BNE  row
	RET
