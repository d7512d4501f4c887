// What the tile kernels for AVX-512 share: up to 14 rows by 32 columns of C, two registers a row (Z0-Z27). A term takes
// one row of B (Z28, Z29) and an element of A, broadcast (Z30), for each row: 28 multiply-adds for 16 loads. A is
// addressed by five pointers, three rows apart, so that no address is computed per row.

#define ROW(mem, c0, c1)       \
	VBROADCASTSS mem, Z30;     \
	VFMADD231PS  Z30, Z28, c0; \
	VFMADD231PS  Z30, Z29, c1

// ROWSn adds the term that lies o bytes from the pointers to n rows.
#define ROWS1(o) ROW(o(R8), Z0, Z1)
#define ROWS2(o) ROWS1(o); ROW(o(R8)(R13*1), Z2, Z3)
#define ROWS3(o) ROWS2(o); ROW(o(R8)(R13*2), Z4, Z5)
#define ROWS4(o) ROWS3(o); ROW(o(R9), Z6, Z7)
#define ROWS5(o) ROWS4(o); ROW(o(R9)(R13*1), Z8, Z9)
#define ROWS6(o) ROWS5(o); ROW(o(R9)(R13*2), Z10, Z11)
#define ROWS7(o) ROWS6(o); ROW(o(R10), Z12, Z13)
#define ROWS8(o) ROWS7(o); ROW(o(R10)(R13*1), Z14, Z15)
#define ROWS9(o) ROWS8(o); ROW(o(R10)(R13*2), Z16, Z17)
#define ROWS10(o) ROWS9(o); ROW(o(R11), Z18, Z19)
#define ROWS11(o) ROWS10(o); ROW(o(R11)(R13*1), Z20, Z21)
#define ROWS12(o) ROWS11(o); ROW(o(R11)(R13*2), Z22, Z23)
#define ROWS13(o) ROWS12(o); ROW(o(R12), Z24, Z25)
#define ROWS14(o) ROWS13(o); ROW(o(R12)(R13*1), Z26, Z27)

#define ZERO(c0, c1)   \
	VPXORD c0, c0, c0; \
	VPXORD c1, c1, c1

#define ZEROALL     \
	ZERO(Z0, Z1);   \
	ZERO(Z2, Z3);   \
	ZERO(Z4, Z5);   \
	ZERO(Z6, Z7);   \
	ZERO(Z8, Z9);   \
	ZERO(Z10, Z11); \
	ZERO(Z12, Z13); \
	ZERO(Z14, Z15); \
	ZERO(Z16, Z17); \
	ZERO(Z18, Z19); \
	ZERO(Z20, Z21); \
	ZERO(Z22, Z23); \
	ZERO(Z24, Z25); \
	ZERO(Z26, Z27)

// PUT writes a row of C, ADD adds to one; AX counts the rows.
#define PUT(c0, c1)         \
	VMULPS  Z29, c0, c0;    \
	VMULPS  Z29, c1, c1;    \
	VMOVUPS c0, K1, (DI);   \
	VMOVUPS c1, K2, 64(DI); \
	ADDQ    R13, DI;        \
	DECQ    AX;             \
	JEQ     done

#define ADD(c0, c1)              \
	VMOVUPS.Z   (DI), K1, Z30;   \
	VMOVUPS.Z   64(DI), K2, Z31; \
	VFMADD213PS Z30, Z29, c0;    \
	VFMADD213PS Z31, Z29, c1;    \
	VMOVUPS     c0, K1, (DI);    \
	VMOVUPS     c1, K2, 64(DI);  \
	ADDQ        R13, DI;         \
	DECQ        AX;              \
	JEQ         done

// FETCH fetches AX rows of C, R9 bytes apart: they are needed last.
#define FETCH          \
	MOVQ DI, R8;       \
	MOVQ AX, R10;      \
fetch:                 \
	PREFETCHT0 (R8);   \
	PREFETCHT0 64(R8); \
	ADDQ R9, R8;       \
	DECQ R10;          \
	JNZ  fetch

// POINTERS makes R9 to R12 of the first row, R8, and the stride R13.
#define POINTERS            \
	LEAQ (R13)(R13*2), R15; \
	LEAQ (R8)(R15*1), R9;   \
	LEAQ (R9)(R15*1), R10;  \
	LEAQ (R10)(R15*1), R11; \
	LEAQ (R11)(R15*1), R12

// CHOOSE goes to the loop for AX rows; that for one row follows.
#define CHOOSE    \
	CMPQ AX, $14; \
	JEQ  sum14;   \
	CMPQ AX, $13; \
	JEQ  sum13;   \
	CMPQ AX, $12; \
	JEQ  sum12;   \
	CMPQ AX, $11; \
	JEQ  sum11;   \
	CMPQ AX, $10; \
	JEQ  sum10;   \
	CMPQ AX, $9;  \
	JEQ  sum9;    \
	CMPQ AX, $8;  \
	JEQ  sum8;    \
	CMPQ AX, $7;  \
	JEQ  sum7;    \
	CMPQ AX, $6;  \
	JEQ  sum6;    \
	CMPQ AX, $5;  \
	JEQ  sum5;    \
	CMPQ AX, $4;  \
	JEQ  sum4;    \
	CMPQ AX, $3;  \
	JEQ  sum3;    \
	CMPQ AX, $2;  \
	JEQ  sum2

// STORE writes AX rows of C, or adds to them. K1 and K2 select the columns of the two halves.
#define STORE(columns, stride, factor, more) \
	MOVQ  columns, CX;                       \
	MOVQ  $-1, BX;                           \
	SHLQ  CX, BX;                            \
	NOTQ  BX;                                \
	KMOVW BX, K1;                            \
	SHRQ  $16, BX;                           \
	KMOVW BX, K2;                            \
	MOVQ  stride, R13;                       \
	SHLQ  $2, R13;                           \
	VBROADCASTSS factor, Z29;                \
	CMPB  more, $0;                          \
	JNE   accumulate;                        \
	PUT(Z0, Z1);                             \
	PUT(Z2, Z3);                             \
	PUT(Z4, Z5);                             \
	PUT(Z6, Z7);                             \
	PUT(Z8, Z9);                             \
	PUT(Z10, Z11);                           \
	PUT(Z12, Z13);                           \
	PUT(Z14, Z15);                           \
	PUT(Z16, Z17);                           \
	PUT(Z18, Z19);                           \
	PUT(Z20, Z21);                           \
	PUT(Z22, Z23);                           \
	PUT(Z24, Z25);                           \
	PUT(Z26, Z27);                           \
accumulate:                                  \
	ADD(Z0, Z1);                             \
	ADD(Z2, Z3);                             \
	ADD(Z4, Z5);                             \
	ADD(Z6, Z7);                             \
	ADD(Z8, Z9);                             \
	ADD(Z10, Z11);                           \
	ADD(Z12, Z13);                           \
	ADD(Z14, Z15);                           \
	ADD(Z16, Z17);                           \
	ADD(Z18, Z19);                           \
	ADD(Z20, Z21);                           \
	ADD(Z22, Z23);                           \
	ADD(Z24, Z25);                           \
	ADD(Z26, Z27);                           \
done:
