//go:build !purego

#include "textflag.h"

#define V0 Z0
#define V1 Z1
#define V2 Z2
#define V3 Z3
#define V4 Z4
#define V5 Z5
#define V6 Z6
#define V7 Z7
#define V8 Z8
#define V9 Z9
#define V10 Z10
#define V11 Z11
#define V12 Z12
#define V13 Z13
#define V14 Z14
#define V15 Z15
#define WIDTH 16
#define BYTES1 64
#define BYTES2 128
#define BYTES3 192
#define BYTES4 256

#define EXP_NAME ·expAVX512
#define EXPSUB_NAME ·expSubAVX512
#define MAX_NAME ·maxAVX512
#define SUM_NAME ·sumAVX512
#define DOT_NAME ·dotAVX512
#define SQUARES_NAME ·sumSquaresAVX512
#define AXPY_NAME ·axpyAVX512
#define AFFINE_NAME ·affineAVX512
#define MUL_NAME ·mulAVX512
#define MULADD_NAME ·mulAddAVX512
#define GELU_NAME ·geluAVX512
#define GELUBACK_NAME ·geluBackwardAVX512
#define SILUMUL_NAME ·siluMulAVX512
#define SILUBACK_NAME ·siluMulBackwardAVX512
#define ROTATE_NAME ·rotateAVX512
#define ADAMW_NAME ·adamWAVX512

#define ROUND(src, dst) VRNDSCALEPS $0, src, dst
#define POW2            VSCALEFPS V1, V2, V0

// FOLD halves V12 to Y12.
#define FOLD(op) \
	VEXTRACTF64X4 $1, Z12, Y1; \
	op Y1, Y12, Y12

// WIDEN converts V0 to float64 in V1 and V2.
#define WIDEN \
	VCVTPS2PD Y0, Z1;         \
	VEXTRACTF64X4 $1, Z0, Y2; \
	VCVTPS2PD Y2, Z2

// TAILMASK selects CX < WIDTH elements in K1.
#define TAILMASK \
	MOVQ  $-1, R10; \
	SHLQ  CX, R10;  \
	NOTQ  R10;      \
	KMOVW R10, K1

#define MLOAD(base, v)  VMOVUPS.Z (base)(AX*1), K1, v
#define MSTORE(v, base) VMOVUPS v, K1, (base)(AX*1)
#define KEEP(v)         VMOVAPS.Z v, K1, v

// MLOADINF fills what is not selected from V11.
#define MLOADINF(base, v) \
	VMOVAPS V11, v; \
	VMOVUPS (base)(AX*1), K1, v

#include "vector_amd64.h"
