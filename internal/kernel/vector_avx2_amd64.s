//go:build !purego

#include "textflag.h"

#define V0 Y0
#define V1 Y1
#define V2 Y2
#define V3 Y3
#define V4 Y4
#define V5 Y5
#define V6 Y6
#define V7 Y7
#define V8 Y8
#define V9 Y9
#define V10 Y10
#define V11 Y11
#define V12 Y12
#define V13 Y13
#define V14 Y14
#define V15 Y15
#define WIDTH 8
#define BYTES1 32
#define BYTES2 64
#define BYTES3 96
#define BYTES4 128

#define EXP_NAME ·expAVX2
#define EXPSUB_NAME ·expSubAVX2
#define MAX_NAME ·maxAVX2
#define SUM_NAME ·sumAVX2
#define DOT_NAME ·dotAVX2
#define SQUARES_NAME ·sumSquaresAVX2
#define AXPY_NAME ·axpyAVX2
#define AFFINE_NAME ·affineAVX2
#define MUL_NAME ·mulAVX2
#define MULADD_NAME ·mulAddAVX2
#define GELU_NAME ·geluAVX2
#define GELUBACK_NAME ·geluBackwardAVX2
#define SILUMUL_NAME ·siluMulAVX2
#define SILUBACK_NAME ·siluMulBackwardAVX2
#define ROTATE_NAME ·rotateAVX2
#define ADAMW_NAME ·adamWAVX2

#define ROUND(src, dst) VROUNDPS $0, src, dst

DATA bias<>+0(SB)/4, $127 // of the exponent
GLOBL bias<>(SB), RODATA|NOPTR, $4

// POW2 multiplies by 2^V1 in two factors, each of them a normal number.
#define POW2 \
	VCVTPS2DQ V1, V1;           \
	VPSRAD $1, V1, V3;          \
	VPSUBD V3, V1, V1;          \
	VBROADCASTSS bias<>(SB), V4; \
	VPADDD V4, V3, V3;          \
	VPADDD V4, V1, V1;          \
	VPSLLD $23, V3, V3;         \
	VPSLLD $23, V1, V1;         \
	VMULPS V3, V2, V0;          \
	VMULPS V1, V0, V0

// FOLD halves V12 to Y12, which it is.
#define FOLD(op)

// WIDEN converts V0 to float64 in V1 and V2.
#define WIDEN \
	VCVTPS2PD X0, Y1;        \
	VEXTRACTF128 $1, Y0, X2; \
	VCVTPS2PD X2, Y2

// 8 set words, then 8 clear ones.
DATA lanes<>+0(SB)/8, $-1
DATA lanes<>+8(SB)/8, $-1
DATA lanes<>+16(SB)/8, $-1
DATA lanes<>+24(SB)/8, $-1
GLOBL lanes<>(SB), RODATA|NOPTR, $64

// TAILMASK selects CX < WIDTH elements in V15.
#define TAILMASK \
	LEAQ lanes<>+32(SB), R10; \
	SHLQ $2, CX;              \
	SUBQ CX, R10;             \
	VMOVUPS (R10), V15

#define MLOAD(base, v)  VMASKMOVPS (base)(AX*1), V15, v
#define MSTORE(v, base) VMASKMOVPS v, V15, (base)(AX*1)
#define KEEP(v)         VANDPS V15, v, v

// MLOADINF fills what is not selected from V11.
#define MLOADINF(base, v) \
	VMASKMOVPS (base)(AX*1), V15, v; \
	VBLENDVPS V15, v, V11, v

#include "vector_amd64.h"
