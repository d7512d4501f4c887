// The kernels on slices, written once for both widths. The including file
// defines the registers V0-V15 (V15 may hold the tail's mask), WIDTH (elements
// of a vector), BYTES1-BYTES4 (1 to 4 vectors), the operations that differ
// (ROUND, POW2, FOLD, WIDEN, TAILMASK, MLOAD, MSTORE, KEEP, MLOADINF) and the names.
// An element takes the same instructions in the loop and in the tail, so that
// its bits do not depend on its position.

#define CONST(name, value) \
	DATA  name<>+0(SB)/4, value; \
	GLOBL name<>(SB), RODATA|NOPTR, $4

CONST(one, $1.0)
CONST(negInf, $0xff800000)

// exp: bounds beyond which the result is Inf or 0, log2(e), ln 2 in two parts,
// the polynomial's coefficients (Cephes, expf).
CONST(expMax, $88.8)
CONST(expMin, $-104.0)
CONST(log2e, $1.44269504088896341)
CONST(ln2hi, $0.693359375)
CONST(ln2lo, $-2.12194440e-4)
CONST(exp7, $1.9875691500e-4)
CONST(exp6, $1.3981999507e-3)
CONST(exp5, $8.3334519073e-3)
CONST(exp4, $4.1665795894e-2)
CONST(exp3, $1.6666665459e-1)
CONST(exp2, $5.0000001201e-1)

// GELU and SiLU: see generic.go.
CONST(geluMax, $9.0)
CONST(geluMin, $-9.0)
CONST(geluA, $-1.5957691216057308)  // -2√(2/π)
CONST(geluB, $-0.07135481627159)    // the same times 0.044715
CONST(slopeA, $1.5957691216057308)
CONST(slopeB, $0.21406444881478)    // 3 times 0.044715 times 2√(2/π)
CONST(siluMax, $80.0)
CONST(siluMin, $-80.0)

#define BC(name, v) VBROADCASTSS name<>(SB), v

#define LOAD(base, v)  VMOVUPS (base)(AX*1), v
#define STORE(v, base) VMOVUPS v, (base)(AX*1)
#define ALL(v)

// RUN works through CX elements at byte offset AX with BODY(load, store, keep).
#define RUN(BODY) \
	XORQ AX, AX;        \
	SUBQ $WIDTH, CX;    \
	JLT  tail;          \
loop:                   \
	BODY(LOAD, STORE, ALL); \
	ADDQ $BYTES1, AX;   \
	SUBQ $WIDTH, CX;    \
	JGE  loop;          \
tail:                   \
	ADDQ $WIDTH, CX;    \
	JEQ  done;          \
	TAILMASK;           \
	BODY(MLOAD, MSTORE, KEEP); \
done:

// EXP replaces V0 by exp(V0); it uses V1-V4. With n = round(x/ln 2) and
// f = x - n·ln 2 it is 2ⁿ·exp(f), V0 = V2·2^V1 by POW2, rounded once even where
// it is denormal. NaN passes min and max as their first operand.
#define EXP \
	BC(expMax, V3);             \
	VMINPS V0, V3, V0;          \
	BC(expMin, V3);             \
	VMAXPS V0, V3, V0;          \
	BC(log2e, V1);              \
	VMULPS V0, V1, V1;          \
	ROUND(V1, V1);              \
	BC(ln2hi, V3);              \
	VFNMADD231PS V3, V1, V0;    \
	BC(ln2lo, V3);              \
	VFNMADD231PS V3, V1, V0;    \
	BC(exp7, V2);               \
	BC(exp6, V3);               \
	VFMADD213PS V3, V0, V2;     \
	BC(exp5, V3);               \
	VFMADD213PS V3, V0, V2;     \
	BC(exp4, V3);               \
	VFMADD213PS V3, V0, V2;     \
	BC(exp3, V3);               \
	VFMADD213PS V3, V0, V2;     \
	BC(exp2, V3);               \
	VFMADD213PS V3, V0, V2;     \
	BC(one, V3);                \
	VFMADD213PS V3, V0, V2;     \
	VFMADD213PS V3, V0, V2;     \
	POW2

// HSUM adds the lanes of V12 into X12.
#define HSUM \
	FOLD(VADDPS);               \
	VEXTRACTF128 $1, Y12, X1;   \
	VADDPS X1, X12, X12;        \
	VPERMILPS $0x4e, X12, X1;   \
	VADDPS X1, X12, X12;        \
	VPERMILPS $0xb1, X12, X1;   \
	VADDPS X1, X12, X12

// func exp(dst, src []float32)
#define EXP_BODY(load, store, keep) \
	load(SI, V0); \
	EXP;          \
	store(V0, DI)

TEXT EXP_NAME(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	RUN(EXP_BODY)
	VZEROUPPER
	RET

// func expSub(dst, src []float32, m float32) float32
#define EXPSUB_BODY(load, store, keep) \
	load(SI, V0);         \
	VSUBPS V11, V0, V0;   \
	EXP;                  \
	store(V0, DI);        \
	keep(V0);             \
	VADDPS V0, V12, V12

TEXT EXPSUB_NAME(SB), NOSPLIT, $0-60
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	VBROADCASTSS m+48(FP), V11
	VXORPS V12, V12, V12
	RUN(EXPSUB_BODY)
	HSUM
	VMOVSS X12, ret+56(FP)
	VZEROUPPER
	RET

// func max(src []float32) float32
TEXT MAX_NAME(SB), NOSPLIT, $0-28
	MOVQ src_base+0(FP), SI
	MOVQ src_len+8(FP), CX
	BC(negInf, V11)
	VMOVAPS V11, V12
	XORQ AX, AX
	SUBQ $WIDTH, CX
	JLT  tail

loop:
	VMAXPS (SI)(AX*1), V12, V12
	ADDQ $BYTES1, AX
	SUBQ $WIDTH, CX
	JGE  loop

tail:
	ADDQ $WIDTH, CX
	JEQ  done
	TAILMASK
	MLOADINF(SI, V0)
	VMAXPS V0, V12, V12

done:
	FOLD(VMAXPS)
	VEXTRACTF128 $1, Y12, X1
	VMAXPS X1, X12, X12
	VPERMILPS $0x4e, X12, X1
	VMAXPS X1, X12, X12
	VPERMILPS $0xb1, X12, X1
	VMAXPS X1, X12, X12
	VMOVSS X12, ret+24(FP)
	VZEROUPPER
	RET

// Sums keep four vectors of partial sums (V12, V13, V14, V11) to hide the
// latency of an addition; what is left after blocks of four goes to the first.
#define SUM4 \
	VADDPS V13, V12, V12; \
	VADDPS V11, V14, V14; \
	VADDPS V14, V12, V12

#define ZERO4 \
	VXORPS V11, V11, V11; \
	VXORPS V12, V12, V12; \
	VXORPS V13, V13, V13; \
	VXORPS V14, V14, V14

// func sum(src []float32) float32
#define SUM_BODY(load, store, keep) \
	load(SI, V0); \
	VADDPS V0, V12, V12

TEXT SUM_NAME(SB), NOSPLIT, $0-28
	MOVQ src_base+0(FP), SI
	MOVQ src_len+8(FP), CX
	ZERO4
	SUBQ $(4*WIDTH), CX
	JLT  rest

four:
	VADDPS (SI), V12, V12
	VADDPS BYTES1(SI), V13, V13
	VADDPS BYTES2(SI), V14, V14
	VADDPS BYTES3(SI), V11, V11
	ADDQ $BYTES4, SI
	SUBQ $(4*WIDTH), CX
	JGE  four

rest:
	ADDQ $(4*WIDTH), CX
	RUN(SUM_BODY)
	SUM4
	HSUM
	VMOVSS X12, ret+24(FP)
	VZEROUPPER
	RET

// func dot(a, b []float32) float32
#define DOT_BODY(load, store, keep) \
	load(SI, V0); \
	load(DX, V1); \
	VFMADD231PS V0, V1, V12

TEXT DOT_NAME(SB), NOSPLIT, $0-52
	MOVQ a_base+0(FP), SI
	MOVQ a_len+8(FP), CX
	MOVQ b_base+24(FP), DX
	ZERO4
	SUBQ $(4*WIDTH), CX
	JLT  rest

four:
	VMOVUPS (SI), V0
	VMOVUPS BYTES1(SI), V1
	VMOVUPS BYTES2(SI), V2
	VMOVUPS BYTES3(SI), V3
	VFMADD231PS (DX), V0, V12
	VFMADD231PS BYTES1(DX), V1, V13
	VFMADD231PS BYTES2(DX), V2, V14
	VFMADD231PS BYTES3(DX), V3, V11
	ADDQ $BYTES4, SI
	ADDQ $BYTES4, DX
	SUBQ $(4*WIDTH), CX
	JGE  four

rest:
	ADDQ $(4*WIDTH), CX
	RUN(DOT_BODY)
	SUM4
	HSUM
	VMOVSS X12, ret+48(FP)
	VZEROUPPER
	RET

// func sumSquares(src []float32) float64
#define SQUARES_BODY(load, store, keep) \
	load(SI, V0);            \
	WIDEN;                   \
	VFMADD231PD V1, V1, V12; \
	VFMADD231PD V2, V2, V13

TEXT SQUARES_NAME(SB), NOSPLIT, $0-32
	MOVQ src_base+0(FP), SI
	MOVQ src_len+8(FP), CX
	VXORPS V12, V12, V12
	VXORPS V13, V13, V13
	RUN(SQUARES_BODY)
	VADDPD V13, V12, V12
	FOLD(VADDPD)
	VEXTRACTF128 $1, Y12, X1
	VADDPD X1, X12, X12
	VPERMILPD $1, X12, X1
	VADDPD X1, X12, X12
	VMOVSD X12, ret+24(FP)
	VZEROUPPER
	RET

// func axpy(dst []float32, alpha float32, src []float32)
#define AXPY_BODY(load, store, keep) \
	load(DI, V0);             \
	load(SI, V1);             \
	VFMADD231PS V1, V12, V0;  \
	store(V0, DI)

TEXT AXPY_NAME(SB), NOSPLIT, $0-56
	MOVQ dst_base+0(FP), DI
	VBROADCASTSS alpha+24(FP), V12
	MOVQ src_base+32(FP), SI
	MOVQ src_len+40(FP), CX
	RUN(AXPY_BODY)
	VZEROUPPER
	RET

// func affine(dst, src []float32, scale, shift float32)
#define AFFINE_BODY(load, store, keep) \
	load(SI, V0);              \
	VFMADD213PS V11, V12, V0;  \
	store(V0, DI)

TEXT AFFINE_NAME(SB), NOSPLIT, $0-56
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	VBROADCASTSS scale+48(FP), V12
	VBROADCASTSS shift+52(FP), V11
	RUN(AFFINE_BODY)
	VZEROUPPER
	RET

// func mul(dst, a, b []float32)
#define MUL_BODY(load, store, keep) \
	load(SI, V0);       \
	load(DX, V1);       \
	VMULPS V1, V0, V0;  \
	store(V0, DI)

TEXT MUL_NAME(SB), NOSPLIT, $0-72
	MOVQ dst_base+0(FP), DI
	MOVQ a_base+24(FP), SI
	MOVQ a_len+32(FP), CX
	MOVQ b_base+48(FP), DX
	RUN(MUL_BODY)
	VZEROUPPER
	RET

// func mulAdd(dst, a, b []float32)
#define MULADD_BODY(load, store, keep) \
	load(SI, V0);            \
	load(DX, V1);            \
	load(DI, V2);            \
	VFMADD231PS V1, V0, V2;  \
	store(V2, DI)

TEXT MULADD_NAME(SB), NOSPLIT, $0-72
	MOVQ dst_base+0(FP), DI
	MOVQ a_base+24(FP), SI
	MOVQ a_len+32(FP), CX
	MOVQ b_base+48(FP), DX
	RUN(MULADD_BODY)
	VZEROUPPER
	RET

// GELU_EXP sets V0 = exp(-2u) for x = V5, with the clamped x in V6 and its
// square in V7.
#define GELU_EXP \
	BC(geluMax, V3);         \
	VMINPS V5, V3, V6;       \
	BC(geluMin, V3);         \
	VMAXPS V6, V3, V6;       \
	VMULPS V6, V6, V7;       \
	BC(geluA, V0);           \
	BC(geluB, V3);           \
	VFMADD231PS V3, V7, V0;  \
	VMULPS V6, V0, V0;       \
	EXP

// func gelu(dst, src []float32)
#define GELU_BODY(load, store, keep) \
	load(SI, V5);       \
	GELU_EXP;           \
	BC(one, V3);        \
	VADDPS V3, V0, V0;  \
	VDIVPS V0, V5, V0;  \
	store(V0, DI)

TEXT GELU_NAME(SB), NOSPLIT, $0-48
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), CX
	RUN(GELU_BODY)
	VZEROUPPER
	RET

// SIGMOID sets V8 = s = 1/(1+V0) and V0 = V0·s = 1-s.
#define SIGMOID \
	BC(one, V3);        \
	VADDPS V3, V0, V8;  \
	VDIVPS V8, V3, V8;  \
	VMULPS V8, V0, V0

// func geluBackward(dx, dy, src []float32)
#define GELUBACK_BODY(load, store, keep) \
	load(DX, V5);            \
	GELU_EXP;                \
	SIGMOID;                 \
	BC(slopeA, V9);          \
	BC(slopeB, V3);          \
	VFMADD231PS V3, V7, V9;  \
	VMULPS V6, V0, V0;       \
	VMULPS V9, V0, V0;       \
	VFMADD213PS V8, V8, V0;  \
	load(SI, V1);            \
	VMULPS V1, V0, V0;       \
	store(V0, DI)

TEXT GELUBACK_NAME(SB), NOSPLIT, $0-72
	MOVQ dx_base+0(FP), DI
	MOVQ dy_base+24(FP), SI
	MOVQ src_base+48(FP), DX
	MOVQ src_len+56(FP), CX
	RUN(GELUBACK_BODY)
	VZEROUPPER
	RET

// SILU_EXP sets V0 = exp(-V6) with V6 the clamped V5.
#define SILU_EXP \
	BC(siluMax, V3);     \
	VMINPS V5, V3, V6;   \
	BC(siluMin, V3);     \
	VMAXPS V6, V3, V6;   \
	VXORPS V0, V0, V0;   \
	VSUBPS V6, V0, V0;   \
	EXP

// func siluMul(dst, gate, up []float32)
#define SILUMUL_BODY(load, store, keep) \
	load(SI, V5);       \
	SILU_EXP;           \
	BC(one, V3);        \
	VADDPS V3, V0, V0;  \
	VDIVPS V0, V5, V0;  \
	load(DX, V1);       \
	VMULPS V1, V0, V0;  \
	store(V0, DI)

TEXT SILUMUL_NAME(SB), NOSPLIT, $0-72
	MOVQ dst_base+0(FP), DI
	MOVQ gate_base+24(FP), SI
	MOVQ gate_len+32(FP), CX
	MOVQ up_base+48(FP), DX
	RUN(SILUMUL_BODY)
	VZEROUPPER
	RET

// func siluMulBackward(dgate, dup, dy, gate, up []float32)
#define SILUBACK_BODY(load, store, keep) \
	load(DX, V5);            \
	SILU_EXP;                \
	SIGMOID;                 \
	VMULPS V6, V0, V0;       \
	VFMADD213PS V8, V8, V0;  \
	VMULPS V8, V5, V5;       \
	load(SI, V1);            \
	load(BX, V2);            \
	VMULPS V1, V5, V5;       \
	VMULPS V2, V1, V1;       \
	VMULPS V1, V0, V0;       \
	store(V0, DI);           \
	store(V5, R8)

TEXT SILUBACK_NAME(SB), NOSPLIT, $0-120
	MOVQ dgate_base+0(FP), DI
	MOVQ dup_base+24(FP), R8
	MOVQ dy_base+48(FP), SI
	MOVQ gate_base+72(FP), DX
	MOVQ gate_len+80(FP), CX
	MOVQ up_base+96(FP), BX
	RUN(SILUBACK_BODY)
	VZEROUPPER
	RET

// func rotate(dst1, dst2, a, b, cos, sin []float32)
#define ROTATE_BODY(load, store, keep) \
	load(SI, V0);             \
	load(DX, V1);             \
	load(BX, V2);             \
	load(R9, V3);             \
	VMULPS V2, V0, V4;        \
	VFNMADD231PS V3, V1, V4;  \
	VMULPS V2, V1, V5;        \
	VFMADD231PS V3, V0, V5;   \
	store(V4, DI);            \
	store(V5, R8)

TEXT ROTATE_NAME(SB), NOSPLIT, $0-144
	MOVQ dst1_base+0(FP), DI
	MOVQ dst2_base+24(FP), R8
	MOVQ a_base+48(FP), SI
	MOVQ a_len+56(FP), CX
	MOVQ b_base+72(FP), DX
	MOVQ cos_base+96(FP), BX
	MOVQ sin_base+120(FP), R9
	RUN(ROTATE_BODY)
	VZEROUPPER
	RET

// func adamW(p, g, m, v []float32, c adamCoef[float32])
#define ADAMW_BODY(load, store, keep) \
	load(SI, V0);              \
	VMULPS V4, V0, V0;         \
	load(DX, V1);              \
	VMULPS V5, V1, V1;         \
	VFMADD231PS V0, V6, V1;    \
	store(V1, DX);             \
	load(BX, V2);              \
	VMULPS V7, V2, V2;         \
	VMULPS V0, V0, V0;         \
	VFMADD231PS V0, V8, V2;    \
	store(V2, BX);             \
	VSQRTPS V2, V2;            \
	VFMADD213PS V10, V9, V2;   \
	VMULPS V11, V1, V1;        \
	VDIVPS V2, V1, V1;         \
	load(DI, V3);              \
	VFMADD231PS V12, V3, V1;   \
	VSUBPS V1, V3, V3;         \
	store(V3, DI)

TEXT ADAMW_NAME(SB), NOSPLIT, $0-132
	MOVQ p_base+0(FP), DI
	MOVQ g_base+24(FP), SI
	MOVQ g_len+32(FP), CX
	MOVQ m_base+48(FP), DX
	MOVQ v_base+72(FP), BX
	VBROADCASTSS c_scale+96(FP), V4
	VBROADCASTSS c_beta1+100(FP), V5
	VBROADCASTSS c_rest1+104(FP), V6
	VBROADCASTSS c_beta2+108(FP), V7
	VBROADCASTSS c_rest2+112(FP), V8
	VBROADCASTSS c_rootCorrection2+116(FP), V9
	VBROADCASTSS c_eps+120(FP), V10
	VBROADCASTSS c_step+124(FP), V11
	VBROADCASTSS c_decay+128(FP), V12
	RUN(ADAMW_BODY)
	VZEROUPPER
	RET
