//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "amx_amd64.h"

// Packers, conversions and dot products of AVX-512 with bfloat16.

// Words 0, 16, 1, 17, ... of a register that holds two rows of 16: the pairs.
DATA pairWords<>+0(SB)/8, $0x0011000100100000
DATA pairWords<>+8(SB)/8, $0x0013000300120002
DATA pairWords<>+16(SB)/8, $0x0015000500140004
DATA pairWords<>+24(SB)/8, $0x0017000700160006
DATA pairWords<>+32(SB)/8, $0x0019000900180008
DATA pairWords<>+40(SB)/8, $0x001b000b001a000a
DATA pairWords<>+48(SB)/8, $0x001d000d001c000c
DATA pairWords<>+56(SB)/8, $0x001f000f001e000e
GLOBL pairWords<>(SB), RODATA|NOPTR, $64

// UNPACK2 interleaves two rows.
#define UNPACK2(lo, hi, a, b, x, y) \
	lo b, a, x; \
	hi b, a, y

// LANES4 transposes the 128-bit lanes of four rows: row L of the result holds
// the lanes L of a, b, c, d.
#define LANES4(a, b, c, d, t, u, v, w) \
	VSHUFI32X4 $0x88, b, a, t; \
	VSHUFI32X4 $0xdd, b, a, u; \
	VSHUFI32X4 $0x88, d, c, v; \
	VSHUFI32X4 $0xdd, d, c, w; \
	VSHUFI32X4 $0x88, v, t, a; \
	VSHUFI32X4 $0x88, w, u, b; \
	VSHUFI32X4 $0xdd, v, t, c; \
	VSHUFI32X4 $0xdd, w, u, d

// TRANSPOSE transposes the 16 by 16 dwords of Z0-Z15. Row 4·L+j of the result
// is in the register that LANES4 put lane L of column j into: rows 0-3 in
// Z0-Z3, 4-7 in Z4-Z7, and so on.
#define TRANSPOSE \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z0, Z1, Z16, Z17);   \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z2, Z3, Z18, Z19);   \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z4, Z5, Z20, Z21);   \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z6, Z7, Z22, Z23);   \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z8, Z9, Z24, Z25);   \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z10, Z11, Z26, Z27); \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z12, Z13, Z28, Z29); \
	UNPACK2(VPUNPCKLDQ, VPUNPCKHDQ, Z14, Z15, Z30, Z31); \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z16, Z18, Z0, Z1);   \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z17, Z19, Z2, Z3);   \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z20, Z22, Z4, Z5);   \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z21, Z23, Z6, Z7);   \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z24, Z26, Z8, Z9);   \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z25, Z27, Z10, Z11); \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z28, Z30, Z12, Z13); \
	UNPACK2(VPUNPCKLQDQ, VPUNPCKHQDQ, Z29, Z31, Z14, Z15); \
	LANES4(Z0, Z4, Z8, Z12, Z16, Z17, Z18, Z19);  \
	LANES4(Z1, Z5, Z9, Z13, Z20, Z21, Z22, Z23);  \
	LANES4(Z2, Z6, Z10, Z14, Z24, Z25, Z26, Z27); \
	LANES4(Z3, Z7, Z11, Z15, Z28, Z29, Z30, Z31)

// PUT writes Z0-Z15 to consecutive lines.
#define PUT(o) \
	VMOVDQU64 Z0, (o+0)(DI);    \
	VMOVDQU64 Z1, (o+64)(DI);   \
	VMOVDQU64 Z2, (o+128)(DI);  \
	VMOVDQU64 Z3, (o+192)(DI);  \
	VMOVDQU64 Z4, (o+256)(DI);  \
	VMOVDQU64 Z5, (o+320)(DI);  \
	VMOVDQU64 Z6, (o+384)(DI);  \
	VMOVDQU64 Z7, (o+448)(DI);  \
	VMOVDQU64 Z8, (o+512)(DI);  \
	VMOVDQU64 Z9, (o+576)(DI);  \
	VMOVDQU64 Z10, (o+640)(DI); \
	VMOVDQU64 Z11, (o+704)(DI); \
	VMOVDQU64 Z12, (o+768)(DI); \
	VMOVDQU64 Z13, (o+832)(DI); \
	VMOVDQU64 Z14, (o+896)(DI); \
	VMOVDQU64 Z15, (o+960)(DI)

#define ARGS(size) \
	MOVQ dst+0(FP), DI;     \
	MOVQ step+8(FP), R8;    \
	MOVQ src+16(FP), SI;    \
	MOVQ stride+24(FP), DX; \
	MOVQ blocks+32(FP), CX; \
	SHLQ $1, R8;            \
	SHLQ $size, DX

// func packPairsAVX512(dst *uint16, step int, src *uint16, stride, blocks int)
TEXT ·packPairsAVX512(SB), NOSPLIT, $0-40
	ARGS(1)
	VMOVDQU64 pairWords<>(SB), Z31

	// The caller will go on with the next 32 rows: fetch them meanwhile.
	MOVQ DX, R10
	SHLQ $5, R10
	LEAQ (R10)(DX*1), R11
block:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ $8, R9
two:
	PREFETCHT1 (AX)(R10*1)
	PREFETCHT1 (AX)(R11*1)
	VMOVDQU (AX), Y0
	VMOVDQU 32(AX), Y1
	VINSERTI64X4 $1, (AX)(DX*1), Z0, Z0
	VINSERTI64X4 $1, 32(AX)(DX*1), Z1, Z1
	LEAQ (AX)(DX*2), AX
	PREFETCHT1 (AX)(R10*1)
	PREFETCHT1 (AX)(R11*1)
	VMOVDQU (AX), Y2
	VMOVDQU 32(AX), Y3
	VINSERTI64X4 $1, (AX)(DX*1), Z2, Z2
	VINSERTI64X4 $1, 32(AX)(DX*1), Z3, Z3
	LEAQ (AX)(DX*2), AX
	VPERMW Z0, Z31, Z0
	VPERMW Z1, Z31, Z1
	VPERMW Z2, Z31, Z2
	VPERMW Z3, Z31, Z3
	VMOVDQU64 Z0, (BX)
	VMOVDQU64 Z1, 1024(BX)
	VMOVDQU64 Z2, 64(BX)
	VMOVDQU64 Z3, 1088(BX)
	ADDQ $128, BX
	DECQ R9
	JNZ  two
	ADDQ $64, SI
	ADDQ R8, DI
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET

// func packPairsF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)
TEXT ·packPairsF32AVX512(SB), NOSPLIT, $0-40
	ARGS(2)
	VMOVDQU64 pairWords<>(SB), Z31
block:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ $16, R9
one:
	VMOVUPS (AX), Z0
	VMOVUPS 64(AX), Z1
	VMOVUPS (AX)(DX*1), Z2
	VMOVUPS 64(AX)(DX*1), Z3
	LEAQ (AX)(DX*2), AX
	VCVTNE2PS2BF16(0, 2, 0)
	VCVTNE2PS2BF16(1, 3, 1)
	VPERMW Z0, Z31, Z0
	VPERMW Z1, Z31, Z1
	VMOVDQU64 Z0, (BX)
	VMOVDQU64 Z1, 1024(BX)
	ADDQ $64, BX
	DECQ R9
	JNZ  one
	ADDQ $128, SI
	ADDQ R8, DI
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET

#define ROWS2(a, b) \
	VMOVDQU64 (AX), a;        \
	VMOVDQU64 (AX)(DX*1), b;  \
	LEAQ      (AX)(DX*2), AX

// func packNaturalAVX512(dst *uint16, step int, src *uint16, stride, blocks int)
TEXT ·packNaturalAVX512(SB), NOSPLIT, $0-40
	ARGS(1)
block:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ $2, R9
half:
	ROWS2(Z0, Z1)
	ROWS2(Z2, Z3)
	ROWS2(Z4, Z5)
	ROWS2(Z6, Z7)
	ROWS2(Z8, Z9)
	ROWS2(Z10, Z11)
	ROWS2(Z12, Z13)
	ROWS2(Z14, Z15)
	TRANSPOSE
	PUT(0)
	ADDQ $1024, DI
	DECQ R9
	JNZ  half
	ADDQ $64, SI
	LEAQ (BX)(R8*1), DI
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET

#define ROWF32(n, a, b) \
	VMOVUPS (AX), a;          \
	VMOVUPS 64(AX), b;        \
	ADDQ    DX, AX;           \
	VCVTNE2PS2BF16(n, 16, n)

// func packNaturalF32AVX512(dst *uint16, step int, src *float32, stride, blocks int)
TEXT ·packNaturalF32AVX512(SB), NOSPLIT, $0-40
	ARGS(2)
block:
	MOVQ SI, AX
	MOVQ DI, BX
	MOVQ $2, R9
half:
	ROWF32(0, Z0, Z16)
	ROWF32(1, Z1, Z16)
	ROWF32(2, Z2, Z16)
	ROWF32(3, Z3, Z16)
	ROWF32(4, Z4, Z16)
	ROWF32(5, Z5, Z16)
	ROWF32(6, Z6, Z16)
	ROWF32(7, Z7, Z16)
	ROWF32(8, Z8, Z16)
	ROWF32(9, Z9, Z16)
	ROWF32(10, Z10, Z16)
	ROWF32(11, Z11, Z16)
	ROWF32(12, Z12, Z16)
	ROWF32(13, Z13, Z16)
	ROWF32(14, Z14, Z16)
	ROWF32(15, Z15, Z16)
	TRANSPOSE
	PUT(0)
	ADDQ $1024, DI
	DECQ R9
	JNZ  half
	ADDQ $128, SI
	LEAQ (BX)(R8*1), DI
	DECQ CX
	JNZ  block
	VZEROUPPER
	RET

#define PAIR(a, y) \
	PREFETCHT0   (AX)(R10*1);               \
	PREFETCHT0   (AX)(R11*1);               \
	VMOVDQU      (AX), y;                   \
	VINSERTI64X4 $1, (AX)(DX*1), a, a;      \
	LEAQ         (AX)(DX*2), AX;            \
	VPERMW       a, Z31, a

#define LINE(a) \
	VMOVDQU64 a, (DI); \
	ADDQ      R8, DI

// func transposeAVX512(dst *uint16, ldd int, src *uint16, stride, blocks int)
TEXT ·transposeAVX512(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ ldd+8(FP), R8
	MOVQ src+16(FP), SI
	MOVQ stride+24(FP), DX
	MOVQ blocks+32(FP), CX
	SHLQ $1, R8
	SHLQ $1, DX
	SHLQ $1, CX

	// The caller will go on with the next 32 rows: fetch them meanwhile.
	MOVQ DX, R10
	SHLQ $5, R10
	LEAQ (R10)(DX*1), R11
half:
	MOVQ SI, AX
	VMOVDQU64 pairWords<>(SB), Z31
	PAIR(Z0, Y0)
	PAIR(Z1, Y1)
	PAIR(Z2, Y2)
	PAIR(Z3, Y3)
	PAIR(Z4, Y4)
	PAIR(Z5, Y5)
	PAIR(Z6, Y6)
	PAIR(Z7, Y7)
	PAIR(Z8, Y8)
	PAIR(Z9, Y9)
	PAIR(Z10, Y10)
	PAIR(Z11, Y11)
	PAIR(Z12, Y12)
	PAIR(Z13, Y13)
	PAIR(Z14, Y14)
	PAIR(Z15, Y15)
	TRANSPOSE
	LINE(Z0)
	LINE(Z1)
	LINE(Z2)
	LINE(Z3)
	LINE(Z4)
	LINE(Z5)
	LINE(Z6)
	LINE(Z7)
	LINE(Z8)
	LINE(Z9)
	LINE(Z10)
	LINE(Z11)
	LINE(Z12)
	LINE(Z13)
	LINE(Z14)
	LINE(Z15)
	ADDQ $32, SI
	DECQ CX
	JNZ  half
	VZEROUPPER
	RET

// func toBF16AVX512(dst []uint16, src []float32)
TEXT ·toBF16AVX512(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	SUBQ $32, CX
	JLT  rest
loop:
	VMOVUPS (SI), Z0
	VMOVUPS 64(SI), Z1
	VCVTNE2PS2BF16(0, 1, 0)
	VMOVDQU64 Z0, (DI)
	ADDQ $128, SI
	ADDQ $64, DI
	SUBQ $32, CX
	JGE  loop
rest:
	ADDQ $32, CX
	JEQ  done
	MOVL $1, AX
	SHLQ CX, AX
	DECQ AX
	KMOVD AX, K1
	KSHIFTRD $16, K1, K2
	VMOVUPS.Z (SI), K1, Z0
	VMOVUPS.Z 64(SI), K2, Z1
	VCVTNE2PS2BF16(0, 1, 0)
	VMOVDQU16 Z0, K1, (DI)
done:
	VZEROUPPER
	RET

// func fromBF16AVX512(dst []float32, src []uint16)
TEXT ·fromBF16AVX512(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	SUBQ $16, CX
	JLT  rest
loop:
	VPMOVZXWD (SI), Z0
	VPSLLD $16, Z0, Z0
	VMOVUPS Z0, (DI)
	ADDQ $32, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JGE  loop
rest:
	ADDQ $16, CX
	JEQ  done
	MOVL $1, AX
	SHLQ CX, AX
	DECQ AX
	KMOVD AX, K1
	VPMOVZXWD.Z (SI), K1, Z0
	VPSLLD $16, Z0, Z0
	VMOVUPS Z0, K1, (DI)
done:
	VZEROUPPER
	RET

#define ZERO2(a, b) \
	VPXORD a, a, a; \
	VPXORD b, b, b

#define DOT(mem, c0, c1) \
	VPBROADCASTD mem, Z18;  \
	VDPBF16PS(16, 18, c0);  \
	VDPBF16PS(17, 18, c1)

// PUT32 writes a row of sums, ADD32 adds one, PUT16 rounds one; CX is from one
// row of C to the next.
#define PUT32(a, b) \
	VMOVUPS a, K1, (AX);   \
	VMOVUPS b, K2, 64(AX); \
	ADDQ    CX, AX

#define ADD32(a, b) \
	VMOVUPS.Z (AX), K1, Z16;   \
	VMOVUPS.Z 64(AX), K2, Z17; \
	VADDPS    Z16, a, a;       \
	VADDPS    Z17, b, b;       \
	PUT32(a, b)

#define PUT16(na, nb, a) \
	VCVTNE2PS2BF16(na, nb, na); \
	VMOVDQU16 a, K1, (AX);      \
	ADDQ      CX, AX

// func panelAVX512BF16(d *panel)
//
// 8 rows by 32 columns of C in Z0-Z15, or one row in Z0 and Z1 for the rest. A
// pair of terms takes two lines of B (Z16, Z17) and a broadcast pair of A (Z18)
// for each row.
TEXT ·panelAVX512BF16(SB), NOSPLIT, $0-8
	MOVQ d+0(FP), R15
	MOVQ panel_b(R15), R10
	MOVQ panel_c(R15), R9
	MOVQ panel_blocks(R15), R12

block:
	// R10: B. R11: row of A. R13: rows left. AX: row of C.
	MOVQ panel_a(R15), R11
	MOVQ panel_tail(R15), R8
	MOVQ R8, panel_wa(R15)
	MOVQ panel_rows(R15), R13
	MOVQ R9, AX

	// K1 and K2 select the columns of the two halves.
	MOVL $-1, R8
	CMPQ R12, $1
	JNE  wide
	MOVL panel_mask(R15), R8
wide:
	KMOVD R8, K1
	KSHIFTRD $16, K1, K2
	CMPQ panel_mode(R15), $const_addF32
	JNE  fetched

	// C is needed last: fetch it meanwhile.
	MOVQ panel_ldc(R15), CX
	MOVQ R9, DI
	MOVQ R13, SI
fetch:
	PREFETCHT0 (DI)
	PREFETCHT0 64(DI)
	ADDQ CX, DI
	DECQ SI
	JNZ  fetch
fetched:
	CMPQ R13, $8
	JLT  one

eight:
	ZERO2(Z0, Z1)
	ZERO2(Z2, Z3)
	ZERO2(Z4, Z5)
	ZERO2(Z6, Z7)
	ZERO2(Z8, Z9)
	ZERO2(Z10, Z11)
	ZERO2(Z12, Z13)
	ZERO2(Z14, Z15)
	MOVQ R13, panel_wleft(R15)
	MOVQ R11, R8
	MOVQ panel_lda(R15), CX
	MOVQ R10, DI
	MOVQ panel_steps(R15), R13
	TESTQ R13, R13
	JEQ  tail8
start8:
	LEAQ (CX)(CX*2), DX
	LEAQ (R8)(DX*1), BX
	ADDQ BX, DX
step8:
	MOVQ $16, SI
pair8:
	VMOVUPS (DI), Z16
	VMOVUPS 1024(DI), Z17
	DOT((R8), 0, 1)
	DOT((R8)(CX*1), 2, 3)
	DOT((R8)(CX*2), 4, 5)
	DOT((BX), 6, 7)
	DOT((BX)(CX*1), 8, 9)
	DOT((BX)(CX*2), 10, 11)
	DOT((DX), 12, 13)
	DOT((DX)(CX*1), 14, 15)
	ADDQ $4, R8
	ADDQ $4, BX
	ADDQ $4, DX
	ADDQ $64, DI
	DECQ SI
	JNZ  pair8
	ADDQ $1024, DI
	DECQ R13
	JNZ  step8
tail8:
	MOVQ panel_wa(R15), R8
	TESTQ R8, R8
	JEQ  sums8
	CMPQ panel_wtail(R15), $0
	JNE  tailed8
	MOVQ $1, panel_wtail(R15)
	MOVQ $64, CX
	MOVQ $1, R13
	JMP  start8
tailed8:
	MOVQ $0, panel_wtail(R15)
	ADDQ $512, R8
	MOVQ R8, panel_wa(R15)
sums8:
	MOVQ panel_ldc(R15), CX
	CMPQ panel_mode(R15), $const_addF32
	JLT  put8
	JGT  round8
	ADD32(Z0, Z1)
	ADD32(Z2, Z3)
	ADD32(Z4, Z5)
	ADD32(Z6, Z7)
	ADD32(Z8, Z9)
	ADD32(Z10, Z11)
	ADD32(Z12, Z13)
	ADD32(Z14, Z15)
	JMP  next8
put8:
	PUT32(Z0, Z1)
	PUT32(Z2, Z3)
	PUT32(Z4, Z5)
	PUT32(Z6, Z7)
	PUT32(Z8, Z9)
	PUT32(Z10, Z11)
	PUT32(Z12, Z13)
	PUT32(Z14, Z15)
	JMP  next8
round8:
	PUT16(0, 1, Z0)
	PUT16(2, 3, Z2)
	PUT16(4, 5, Z4)
	PUT16(6, 7, Z6)
	PUT16(8, 9, Z8)
	PUT16(10, 11, Z10)
	PUT16(12, 13, Z12)
	PUT16(14, 15, Z14)
next8:
	MOVQ panel_lda(R15), CX
	LEAQ (R11)(CX*8), R11
	MOVQ panel_wleft(R15), R13
	SUBQ $8, R13
	CMPQ R13, $8
	JGE  eight
	TESTQ R13, R13
	JEQ  next

one:
	ZERO2(Z0, Z1)
	MOVQ R11, R8
	MOVQ R10, DI
	MOVQ panel_steps(R15), BX
	MOVQ $0, CX
	TESTQ BX, BX
	JEQ  tail1
step1:
	MOVQ $16, SI
pair1:
	VMOVUPS (DI), Z16
	VMOVUPS 1024(DI), Z17
	DOT((R8), 0, 1)
	ADDQ $4, R8
	ADDQ $64, DI
	DECQ SI
	JNZ  pair1
	ADDQ $1024, DI
	DECQ BX
	JNZ  step1
	TESTQ CX, CX
	JNE  sum1
tail1:
	MOVQ panel_wa(R15), R8
	TESTQ R8, R8
	JEQ  sum1
	ADDQ $64, panel_wa(R15)
	MOVQ $1, CX
	MOVQ $1, BX
	JMP  step1
sum1:
	MOVQ panel_ldc(R15), CX
	CMPQ panel_mode(R15), $const_addF32
	JLT  put1
	JGT  round1
	ADD32(Z0, Z1)
	JMP  next1
put1:
	PUT32(Z0, Z1)
	JMP  next1
round1:
	PUT16(0, 1, Z0)
next1:
	ADDQ panel_lda(R15), R11
	DECQ R13
	JNZ  one

next:
	ADDQ panel_cstep(R15), R9
	ADDQ panel_bstep(R15), R10
	DECQ R12
	JNZ  block
	VZEROUPPER
	RET
