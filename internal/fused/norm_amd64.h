// What the norms of rows share.

DATA rowOne<>+0(SB)/8, $1.0
GLOBL rowOne<>(SB), RODATA|NOPTR, $8

// TOTAL adds the lanes of za into xa; it uses X0.
#define TOTAL(za, ya, xa) \
	VEXTRACTF64X4 $1, za, Y0; \
	VADDPS Y0, ya, ya;        \
	VEXTRACTF128 $1, ya, X0;  \
	VADDPS X0, xa, xa;        \
	VPERMILPS $0x4e, xa, X0;  \
	VADDPS X0, xa, xa;        \
	VPERMILPS $0xb1, xa, X0;  \
	VADDPS X0, xa, xa

// SQUARES adds the squares of the elements of Z0 and Z1 in float64.
#define SQUARES \
	VCVTPS2PD Y0, Z2;         \
	VCVTPS2PD Y1, Z3;         \
	VEXTRACTF64X4 $1, Z0, Y0; \
	VEXTRACTF64X4 $1, Z1, Y1; \
	VCVTPS2PD Y0, Z4;         \
	VCVTPS2PD Y1, Z5;         \
	VFMADD231PD Z2, Z2, Z12;  \
	VFMADD231PD Z3, Z3, Z13;  \
	VFMADD231PD Z4, Z4, Z14;  \
	VFMADD231PD Z5, Z5, Z15

// DEVIATION sets X1 = 1/√(sum/DX + eps) of the squares in Z12-Z15.
#define DEVIATION(eps) \
	VADDPD Z13, Z12, Z12;      \
	VADDPD Z15, Z14, Z14;      \
	VADDPD Z14, Z12, Z12;      \
	VEXTRACTF64X4 $1, Z12, Y1; \
	VADDPD Y1, Y12, Y12;       \
	VEXTRACTF128 $1, Y12, X1;  \
	VADDPD X1, X12, X12;       \
	VPERMILPD $1, X12, X1;     \
	VADDPD X1, X12, X12;       \
	VXORPS X1, X1, X1;         \
	VCVTSI2SDQ DX, X1, X1;     \
	VDIVSD X1, X12, X12;       \
	VADDSD eps, X12, X12;      \
	VSQRTSD X12, X12, X12;     \
	VMOVSD rowOne<>(SB), X1;   \
	VDIVSD X12, X1, X1;        \
	VCVTSD2SS X1, X1, X1
