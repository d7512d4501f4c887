//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The kernels on slices, four lanes wide. NEON has no masked loads: the up to
// three elements that a whole vector leaves over go through the same
// instructions one at a time, in lane 0 with zeros above, so that an element's
// bits do not depend on its position.

// GET loads a vector and moves the pointer on, PEEK leaves it, PUT stores and
// moves it on; GET1, PEEK1 and PUT1 do so with one element. Both kinds are
// given to a BODY, with ALL or ONLY, which clears the lanes that hold no element.
#define GET(ptr, f)   FMOVQ.P 16(ptr), f
#define PEEK(ptr, f)  FMOVQ (ptr), f
#define PUT(f, ptr)   FMOVQ.P f, 16(ptr)
#define GET1(ptr, f)  FMOVS.P 4(ptr), f
#define PEEK1(ptr, f) FMOVS (ptr), f
#define PUT1(f, ptr)  FMOVS.P f, 4(ptr)
#define ALL(f)
#define ONLY(f)       FMOVS f, f

// RUN works through R8 elements with BODY(get, peek, put, keep).
#define RUN(BODY) \
	SUBS $4, R8;                  \
	BLT  tail;                    \
loop:                             \
	BODY(GET, PEEK, PUT, ALL);    \
	SUBS $4, R8;                  \
	BGE  loop;                    \
tail:                             \
	ADDS $4, R8;                  \
	BEQ  done;                    \
one:                              \
	BODY(GET1, PEEK1, PUT1, ONLY); \
	SUBS $1, R8;                  \
	BNE  one;                     \
done:

// BROADCAST loads an argument into all lanes.
#define BROADCAST(arg, f, lane, v) \
	FMOVS arg, f; \
	VDUP  lane, v

// The constants of exp: bounds beyond which the result is Inf or 0, log2(e),
// ln 2 in two parts, the polynomial's coefficients (Cephes, expf), one, and the
// bias of the exponent. They stay in V16-V28.
DATA expTable<>+0(SB)/4, $88.8
DATA expTable<>+4(SB)/4, $-104.0
DATA expTable<>+8(SB)/4, $1.44269504088896341
DATA expTable<>+12(SB)/4, $0.693359375
DATA expTable<>+16(SB)/4, $-2.12194440e-4
DATA expTable<>+20(SB)/4, $1.9875691500e-4
DATA expTable<>+24(SB)/4, $1.3981999507e-3
DATA expTable<>+28(SB)/4, $8.3334519073e-3
DATA expTable<>+32(SB)/4, $4.1665795894e-2
DATA expTable<>+36(SB)/4, $1.6666665459e-1
DATA expTable<>+40(SB)/4, $5.0000001201e-1
DATA expTable<>+44(SB)/4, $1.0
DATA expTable<>+48(SB)/4, $127
GLOBL expTable<>(SB), RODATA|NOPTR, $52

#define EXPMAX 16
#define EXPMIN 17
#define LOG2E 18
#define LN2HI 19
#define LN2LO 20
#define EXP7 21
#define EXP6 22
#define EXP5 23
#define EXP4 24
#define EXP3 25
#define EXP2 26
#define ONE 27
#define BIAS 28

#define EXPCONSTANTS \
	MOVD    $expTable<>(SB), R9; \
	VLD1R.P 4(R9), [V16.S4];     \
	VLD1R.P 4(R9), [V17.S4];     \
	VLD1R.P 4(R9), [V18.S4];     \
	VLD1R.P 4(R9), [V19.S4];     \
	VLD1R.P 4(R9), [V20.S4];     \
	VLD1R.P 4(R9), [V21.S4];     \
	VLD1R.P 4(R9), [V22.S4];     \
	VLD1R.P 4(R9), [V23.S4];     \
	VLD1R.P 4(R9), [V24.S4];     \
	VLD1R.P 4(R9), [V25.S4];     \
	VLD1R.P 4(R9), [V26.S4];     \
	VLD1R.P 4(R9), [V27.S4];     \
	VLD1R.P 4(R9), [V28.S4]

// The constants of GELU, see generic.go: its bounds in V29 and V30, -2√(2/π) in
// V31, the same times 0.044715 in V15; for the slope -1 and -3 times these in V14
// and V13.
DATA geluTable<>+0(SB)/4, $9.0
DATA geluTable<>+4(SB)/4, $-9.0
DATA geluTable<>+8(SB)/4, $-1.5957691216057308
DATA geluTable<>+12(SB)/4, $-0.07135481627159
DATA geluTable<>+16(SB)/4, $1.5957691216057308
DATA geluTable<>+20(SB)/4, $0.21406444881478
GLOBL geluTable<>(SB), RODATA|NOPTR, $24

DATA siluTable<>+0(SB)/4, $80.0
DATA siluTable<>+4(SB)/4, $-80.0
GLOBL siluTable<>(SB), RODATA|NOPTR, $8

#define MAXIMUM 29
#define MINIMUM 30
#define GELUA 31
#define GELUB 15
#define SLOPEA 14
#define SLOPEB 13

#define GELUCONSTANTS \
	EXPCONSTANTS;                 \
	MOVD    $geluTable<>(SB), R9; \
	VLD1R.P 4(R9), [V29.S4];      \
	VLD1R.P 4(R9), [V30.S4];      \
	VLD1R.P 4(R9), [V31.S4];      \
	VLD1R.P 4(R9), [V15.S4];      \
	VLD1R.P 4(R9), [V14.S4];      \
	VLD1R.P 4(R9), [V13.S4]

#define SILUCONSTANTS \
	EXPCONSTANTS;                 \
	MOVD    $siluTable<>(SB), R9; \
	VLD1R.P 4(R9), [V29.S4];      \
	VLD1R.P 4(R9), [V30.S4]

// EXP replaces V0 by exp(V0); it uses V1-V3. With n = round(x/ln 2) and
// f = x - n·ln 2 it is 2ⁿ·exp(f); 2ⁿ is multiplied in two factors, each of them a
// normal number, so that the result is rounded once even where it is denormal.
// NaN passes min and max.
#define EXP \
	FMIN(EXPMAX, 0, 0);  \
	FMAX(EXPMIN, 0, 0);  \
	FMUL(LOG2E, 0, 1);   \
	FRINTN(1, 1);        \
	FMLS(LN2HI, 1, 0);   \
	FMLS(LN2LO, 1, 0);   \
	COPY(EXP6, 2);       \
	FMLA(EXP7, 0, 2);    \
	COPY(EXP5, 3);       \
	FMLA(2, 0, 3);       \
	COPY(EXP4, 2);       \
	FMLA(3, 0, 2);       \
	COPY(EXP3, 3);       \
	FMLA(2, 0, 3);       \
	COPY(EXP2, 2);       \
	FMLA(3, 0, 2);       \
	COPY(ONE, 3);        \
	FMLA(2, 0, 3);       \
	COPY(ONE, 2);        \
	FMLA(3, 0, 2);       \
	FCVTNS(1, 1);        \
	HALVE(1, 3);         \
	SUBI(3, 1, 1);       \
	ADDI(BIAS, 3, 3);    \
	ADDI(BIAS, 1, 1);    \
	TOEXPONENT(3, 3);    \
	TOEXPONENT(1, 1);    \
	FMUL(3, 2, 0);       \
	FMUL(1, 0, 0)

// HSUM adds the lanes of V12 into its lane 0, (0+1) + (2+3).
#define HSUM \
	FADDP(12, 12, 12); \
	FADDP(12, 12, 12)

// func expNEON(dst, src []float32)
#define EXP_BODY(get, peek, put, keep) \
	get(R1, F0); \
	EXP;         \
	put(F0, R0)

TEXT ·expNEON(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD src_base+24(FP), R1
	MOVD src_len+32(FP), R8
	EXPCONSTANTS
	RUN(EXP_BODY)
	RET

// func expSubNEON(dst, src []float32, m float32) float32
#define EXPSUB_BODY(get, peek, put, keep) \
	get(R1, F0);     \
	FSUB(11, 0, 0);  \
	EXP;             \
	put(F0, R0);     \
	keep(F0);        \
	FADD(0, 12, 12)

TEXT ·expSubNEON(SB), NOSPLIT, $0-60
	MOVD dst_base+0(FP), R0
	MOVD src_base+24(FP), R1
	MOVD src_len+32(FP), R8
	BROADCAST(m+48(FP), F11, V11.S[0], V11.S4)
	VEOR V12.B16, V12.B16, V12.B16
	EXPCONSTANTS
	RUN(EXPSUB_BODY)
	HSUM
	FMOVS F12, ret+56(FP)
	RET

// func maxNEON(src []float32) float32
TEXT ·maxNEON(SB), NOSPLIT, $0-28
	MOVD  src_base+0(FP), R1
	MOVD  src_len+8(FP), R8
	VMOVS $0xff800000, V12 // -Inf
	VDUP  V12.S[0], V12.S4
	VORR  V12.B16, V12.B16, V13.B16
	SUBS  $8, R8
	BLT   rest

loop:
	FLDPQ.P 32(R1), (F0, F1)
	FMAX(0, 12, 12)
	FMAX(1, 13, 13)
	SUBS $8, R8
	BGE  loop

rest:
	ADDS $8, R8
	BEQ  done

one:
	VLD1R.P 4(R1), [V0.S4]
	FMAX(0, 12, 12)
	SUBS $1, R8
	BNE  one

done:
	FMAX(13, 12, 12)
	FMAXV(12, 12)
	FMOVS F12, ret+24(FP)
	RET

// Sums keep four vectors of partial sums (V12-V15) to hide the latency of an
// addition; what is left after blocks of four goes to the first.
#define ZERO4 \
	VEOR V12.B16, V12.B16, V12.B16; \
	VEOR V13.B16, V13.B16, V13.B16; \
	VEOR V14.B16, V14.B16, V14.B16; \
	VEOR V15.B16, V15.B16, V15.B16

#define SUM4 \
	FADD(13, 12, 12); \
	FADD(15, 14, 14); \
	FADD(14, 12, 12); \
	HSUM

// func sumNEON(src []float32) float32
#define SUM_BODY(get, peek, put, keep) \
	get(R1, F0);    \
	FADD(0, 12, 12)

TEXT ·sumNEON(SB), NOSPLIT, $0-28
	MOVD src_base+0(FP), R1
	MOVD src_len+8(FP), R8
	ZERO4
	SUBS $16, R8
	BLT  rest

four:
	FLDPQ.P 32(R1), (F0, F1)
	FLDPQ.P 32(R1), (F2, F3)
	FADD(0, 12, 12)
	FADD(1, 13, 13)
	FADD(2, 14, 14)
	FADD(3, 15, 15)
	SUBS $16, R8
	BGE  four

rest:
	ADD $16, R8
	RUN(SUM_BODY)
	SUM4
	FMOVS F12, ret+24(FP)
	RET

// func dotNEON(a, b []float32) float32
#define DOT_BODY(get, peek, put, keep) \
	get(R1, F0);    \
	get(R2, F1);    \
	FMLA(0, 1, 12)

TEXT ·dotNEON(SB), NOSPLIT, $0-52
	MOVD a_base+0(FP), R1
	MOVD a_len+8(FP), R8
	MOVD b_base+24(FP), R2
	ZERO4
	SUBS $16, R8
	BLT  rest

four:
	FLDPQ.P 32(R1), (F0, F1)
	FLDPQ.P 32(R1), (F2, F3)
	FLDPQ.P 32(R2), (F4, F5)
	FLDPQ.P 32(R2), (F6, F7)
	FMLA(0, 4, 12)
	FMLA(1, 5, 13)
	FMLA(2, 6, 14)
	FMLA(3, 7, 15)
	SUBS $16, R8
	BGE  four

rest:
	ADD $16, R8
	RUN(DOT_BODY)
	SUM4
	FMOVS F12, ret+48(FP)
	RET

// WIDENSQUARE adds the squares of the lanes of V(v), in float64, to V(lo) and
// V(hi).
#define WIDENSQUARE(v, lo, hi) \
	FCVTL(v, 4);      \
	FCVTL2(v, 5);     \
	FMLAD(4, 4, lo);  \
	FMLAD(5, 5, hi)

// func sumSquaresNEON(src []float32) float64
#define SQUARES_BODY(get, peek, put, keep) \
	get(R1, F0);            \
	WIDENSQUARE(0, 12, 13)

TEXT ·sumSquaresNEON(SB), NOSPLIT, $0-32
	MOVD src_base+0(FP), R1
	MOVD src_len+8(FP), R8
	ZERO4
	SUBS $8, R8
	BLT  rest

two:
	FLDPQ.P 32(R1), (F0, F1)
	WIDENSQUARE(0, 12, 13)
	WIDENSQUARE(1, 14, 15)
	SUBS $8, R8
	BGE  two

rest:
	ADD $8, R8
	RUN(SQUARES_BODY)
	FADDD2(13, 12, 12)
	FADDD2(15, 14, 14)
	FADDD2(14, 12, 12)
	FADDPD(12, 12)
	FMOVD F12, ret+24(FP)
	RET

// func axpyNEON(dst []float32, alpha float32, src []float32)
#define AXPY_BODY(get, peek, put, keep) \
	peek(R0, F0);    \
	get(R1, F1);     \
	FMLA(12, 1, 0);  \
	put(F0, R0)

TEXT ·axpyNEON(SB), NOSPLIT, $0-56
	MOVD dst_base+0(FP), R0
	BROADCAST(alpha+24(FP), F12, V12.S[0], V12.S4)
	MOVD src_base+32(FP), R1
	MOVD src_len+40(FP), R8
	RUN(AXPY_BODY)
	RET

// func affineNEON(dst, src []float32, scale, shift float32)
#define AFFINE_BODY(get, peek, put, keep) \
	get(R1, F1);     \
	COPY(11, 0);     \
	FMLA(12, 1, 0);  \
	put(F0, R0)

TEXT ·affineNEON(SB), NOSPLIT, $0-56
	MOVD dst_base+0(FP), R0
	MOVD src_base+24(FP), R1
	MOVD src_len+32(FP), R8
	BROADCAST(scale+48(FP), F12, V12.S[0], V12.S4)
	BROADCAST(shift+52(FP), F11, V11.S[0], V11.S4)
	RUN(AFFINE_BODY)
	RET

// func mulNEON(dst, a, b []float32)
#define MUL_BODY(get, peek, put, keep) \
	get(R1, F0);    \
	get(R2, F1);    \
	FMUL(1, 0, 0);  \
	put(F0, R0)

TEXT ·mulNEON(SB), NOSPLIT, $0-72
	MOVD dst_base+0(FP), R0
	MOVD a_base+24(FP), R1
	MOVD a_len+32(FP), R8
	MOVD b_base+48(FP), R2
	RUN(MUL_BODY)
	RET

// func mulAddNEON(dst, a, b []float32)
#define MULADD_BODY(get, peek, put, keep) \
	get(R1, F0);    \
	get(R2, F1);    \
	peek(R0, F2);   \
	FMLA(1, 0, 2);  \
	put(F2, R0)

TEXT ·mulAddNEON(SB), NOSPLIT, $0-72
	MOVD dst_base+0(FP), R0
	MOVD a_base+24(FP), R1
	MOVD a_len+32(FP), R8
	MOVD b_base+48(FP), R2
	RUN(MULADD_BODY)
	RET

// GELU_EXP sets V0 = exp(-2u) for x = V5, with the clamped x in V6 and its
// square in V7.
#define GELU_EXP \
	FMIN(MAXIMUM, 5, 6);  \
	FMAX(MINIMUM, 6, 6);  \
	FMUL(6, 6, 7);        \
	COPY(GELUA, 0);       \
	FMLA(GELUB, 7, 0);    \
	FMUL(6, 0, 0);        \
	EXP

// func geluNEON(dst, src []float32)
#define GELU_BODY(get, peek, put, keep) \
	get(R1, F5);      \
	GELU_EXP;         \
	FADD(ONE, 0, 0);  \
	FDIV(0, 5, 0);    \
	put(F0, R0)

TEXT ·geluNEON(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD src_base+24(FP), R1
	MOVD src_len+32(FP), R8
	GELUCONSTANTS
	RUN(GELU_BODY)
	RET

// SIGMOID sets V8 = s = 1/(1+V0) and V0 = V0·s = 1-s.
#define SIGMOID \
	FADD(ONE, 0, 8);  \
	FDIV(8, ONE, 8);  \
	FMUL(8, 0, 0)

// TIMESPLUS sets V0 = V0·V8 + V8.
#define TIMESPLUS \
	COPY(8, 1);     \
	FMLA(8, 0, 1);  \
	COPY(1, 0)

// func geluBackwardNEON(dx, dy, src []float32)
#define GELUBACK_BODY(get, peek, put, keep) \
	get(R2, F5);         \
	GELU_EXP;            \
	SIGMOID;             \
	COPY(SLOPEA, 9);     \
	FMLA(SLOPEB, 7, 9);  \
	FMUL(6, 0, 0);       \
	FMUL(9, 0, 0);       \
	TIMESPLUS;           \
	get(R1, F1);         \
	FMUL(1, 0, 0);       \
	put(F0, R0)

TEXT ·geluBackwardNEON(SB), NOSPLIT, $0-72
	MOVD dx_base+0(FP), R0
	MOVD dy_base+24(FP), R1
	MOVD src_base+48(FP), R2
	MOVD src_len+56(FP), R8
	GELUCONSTANTS
	RUN(GELUBACK_BODY)
	RET

// SILU_EXP sets V0 = exp(-V6) with V6 the clamped V5.
#define SILU_EXP \
	FMIN(MAXIMUM, 5, 6);  \
	FMAX(MINIMUM, 6, 6);  \
	FNEG(6, 0);           \
	EXP

// func siluMulNEON(dst, gate, up []float32)
#define SILUMUL_BODY(get, peek, put, keep) \
	get(R1, F5);      \
	SILU_EXP;         \
	FADD(ONE, 0, 0);  \
	FDIV(0, 5, 0);    \
	get(R2, F1);      \
	FMUL(1, 0, 0);    \
	put(F0, R0)

TEXT ·siluMulNEON(SB), NOSPLIT, $0-72
	MOVD dst_base+0(FP), R0
	MOVD gate_base+24(FP), R1
	MOVD gate_len+32(FP), R8
	MOVD up_base+48(FP), R2
	SILUCONSTANTS
	RUN(SILUMUL_BODY)
	RET

// func siluMulBackwardNEON(dgate, dup, dy, gate, up []float32)
#define SILUBACK_BODY(get, peek, put, keep) \
	get(R2, F5);    \
	SILU_EXP;       \
	SIGMOID;        \
	FMUL(6, 0, 0);  \
	TIMESPLUS;      \
	FMUL(8, 5, 5);  \
	get(R1, F1);    \
	get(R3, F2);    \
	FMUL(1, 5, 5);  \
	FMUL(2, 1, 1);  \
	FMUL(1, 0, 0);  \
	put(F0, R0);    \
	put(F5, R4)

TEXT ·siluMulBackwardNEON(SB), NOSPLIT, $0-120
	MOVD dgate_base+0(FP), R0
	MOVD dup_base+24(FP), R4
	MOVD dy_base+48(FP), R1
	MOVD gate_base+72(FP), R2
	MOVD gate_len+80(FP), R8
	MOVD up_base+96(FP), R3
	SILUCONSTANTS
	RUN(SILUBACK_BODY)
	RET

// func rotateNEON(dst1, dst2, a, b, cos, sin []float32)
#define ROTATE_BODY(get, peek, put, keep) \
	get(R2, F0);    \
	get(R3, F1);    \
	get(R4, F2);    \
	get(R5, F3);    \
	FMUL(2, 0, 4);  \
	FMLS(3, 1, 4);  \
	FMUL(2, 1, 5);  \
	FMLA(3, 0, 5);  \
	put(F4, R0);    \
	put(F5, R1)

TEXT ·rotateNEON(SB), NOSPLIT, $0-144
	MOVD dst1_base+0(FP), R0
	MOVD dst2_base+24(FP), R1
	MOVD a_base+48(FP), R2
	MOVD a_len+56(FP), R8
	MOVD b_base+72(FP), R3
	MOVD cos_base+96(FP), R4
	MOVD sin_base+120(FP), R5
	RUN(ROTATE_BODY)
	RET

// func adamWNEON(p, g, m, v []float32, c adamCoef[float32])
#define ADAMW_BODY(get, peek, put, keep) \
	get(R1, F0);      \
	FMUL(16, 0, 0);   \
	peek(R2, F1);     \
	FMUL(17, 1, 1);   \
	FMLA(18, 0, 1);   \
	put(F1, R2);      \
	peek(R3, F2);     \
	FMUL(19, 2, 2);   \
	FMUL(0, 0, 0);    \
	FMLA(20, 0, 2);   \
	put(F2, R3);      \
	FSQRT(2, 2);      \
	COPY(22, 4);      \
	FMLA(21, 2, 4);   \
	FMUL(23, 1, 1);   \
	FDIV(4, 1, 1);    \
	peek(R0, F3);     \
	FMLA(24, 3, 1);   \
	FSUB(1, 3, 3);    \
	put(F3, R0)

TEXT ·adamWNEON(SB), NOSPLIT, $0-132
	MOVD p_base+0(FP), R0
	MOVD g_base+24(FP), R1
	MOVD g_len+32(FP), R8
	MOVD m_base+48(FP), R2
	MOVD v_base+72(FP), R3
	BROADCAST(c_scale+96(FP), F16, V16.S[0], V16.S4)
	BROADCAST(c_beta1+100(FP), F17, V17.S[0], V17.S4)
	BROADCAST(c_rest1+104(FP), F18, V18.S[0], V18.S4)
	BROADCAST(c_beta2+108(FP), F19, V19.S[0], V19.S4)
	BROADCAST(c_rest2+112(FP), F20, V20.S[0], V20.S4)
	BROADCAST(c_rootCorrection2+116(FP), F21, V21.S[0], V21.S4)
	BROADCAST(c_eps+120(FP), F22, V22.S[0], V22.S4)
	BROADCAST(c_step+124(FP), F23, V23.S[0], V23.S4)
	BROADCAST(c_decay+128(FP), F24, V24.S[0], V24.S4)
	RUN(ADAMW_BODY)
	RET
