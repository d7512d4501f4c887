//go:build !purego

#include "go_asm.h"
#include "textflag.h"
#include "amx_amd64.h"

// Tiles 0 to 3 are a block of 32 by 32 of C (upper left, upper right, lower
// left, lower right), 4 and 5 the upper and lower rows of A, 6 and 7 the left
// and right columns of B. Chunks of 12 steps of A, 24 KiB, stay in the L1 cache
// while up to partBlocks blocks of columns pass; B streams from the L2 cache.
// Sums go to part, 32 rows of 32: unfinished ones to wait there for the next
// chunk, finished ones on their way to C. These rows are moved while the next
// block is multiplied: the processor's window is too short to overlap them by
// itself, and the tiles would stand still.

#define CHUNK 12

// Up to so many steps of terms, whole tiles are stored directly.
#define DIRECT 8

// STEP multiplies 32 terms: A at SI and BX, rows CX apart, B at DI, DX is 64.
#define STEP \
	TILELOADD(4, rSI, rCX, 0)      \
	TILELOADDT1(6, rDI, rDX, 0)    \
	TDPBF16PS(0, 4, 6)             \
	TILELOADDT1(7, rDI, rDX, 1024) \
	TDPBF16PS(1, 4, 7)             \
	TILELOADD(5, rBX, rCX, 0)      \
	TDPBF16PS(2, 5, 6)             \
	TDPBF16PS(3, 5, 7)

#define ADVANCE \
	ADDQ $64, SI;  \
	ADDQ $64, BX;  \
	ADDQ $2048, DI

// FETCH prefetches the next panel's A (R11) and three rows of the block's C (R13).
#define FETCH \
	PREFETCHT1 (R11);              \
	PREFETCHT1 64(R11);            \
	PREFETCHT1 128(R11);           \
	ADDQ panel_ahead(R15), R11;    \
	PREFETCHT1 (R13);              \
	PREFETCHT1 64(R13);            \
	ADDQ panel_wfetch(R15), R13;   \
	PREFETCHT1 (R13);              \
	PREFETCHT1 64(R13);            \
	ADDQ panel_wfetch(R15), R13;   \
	PREFETCHT1 (R13);              \
	PREFETCHT1 64(R13);            \
	ADDQ panel_wfetch(R15), R13

// ROW moves a row of the last block from part (R9) to C (R14), R10 bytes a row.
#define ROWPUT32(o) \
	VMOVUPS o(R9), Z0;         \
	VMOVUPS (o+64)(R9), Z1;    \
	VMOVUPS Z0, K1, (R14);     \
	VMOVUPS Z1, K2, 64(R14);   \
	ADDQ    R10, R14

#define ROWADD32(o) \
	VMOVUPS.Z (R14), K1, Z0;      \
	VMOVUPS.Z 64(R14), K2, Z1;    \
	VADDPS    o(R9), Z0, Z0;      \
	VADDPS    (o+64)(R9), Z1, Z1; \
	VMOVUPS   Z0, K1, (R14);      \
	VMOVUPS   Z1, K2, 64(R14);    \
	ADDQ      R10, R14

#define ROWPUT16(o) \
	VMOVUPS   o(R9), Z0;       \
	VMOVUPS   (o+64)(R9), Z1;  \
	VCVTNE2PS2BF16(0, 1, 0);   \
	VMOVDQU16 Z0, K1, (R14);   \
	ADDQ      R10, R14

// BOTH is a loop of eight steps that move four rows each.
#define BOTH(label, row) \
label:          \
	FETCH;      \
	STEP;       \
	ADVANCE;    \
	row(0);     \
	row(128);   \
	row(256);   \
	row(384);   \
	ADDQ $512, R9; \
	DECQ R12;   \
	JNZ  label; \
	JMP  steps

// ONLY is a loop that moves R12 rows.
#define ONLY(label, row) \
label:             \
	row(0);        \
	ADDQ $128, R9; \
	DECQ R12;      \
	JNZ  label;    \
	JMP  moved

// func panelAMX(d *panel)
TEXT ·panelAMX(SB), NOSPLIT, $0-8
	MOVQ d+0(FP), R15
	MOVQ R15, AX
	LDTILECFG_AX
	MOVQ $64, DX
	MOVQ $0, panel_wpart(R15)
	MOVQ panel_next(R15), R11
	MOVQ panel_b(R15), R10
	MOVQ R10, panel_wb(R15)
	MOVQ panel_c(R15), R9
	MOVQ R9, panel_wc(R15)
	MOVQ panel_blocks(R15), R13

group:
	// R13: blocks left, this group's included.
	MOVQ R13, panel_wleft(R15)
	CMPQ R13, $const_partBlocks
	JLE  few
	MOVQ $const_partBlocks, R13
few:
	MOVQ R13, panel_wgroup(R15)
	MOVQ panel_steps(R15), R13
	MOVQ R13, panel_wsteps(R15)
	MOVQ panel_a(R15), SI
	MOVQ SI, panel_wa(R15)
	MOVQ panel_wb(R15), R10
	MOVQ R10, panel_wchunk(R15)

chunk:
	MOVQ R10, panel_wbb(R15)
	MOVQ panel_wgroup(R15), R12
	MOVQ R12, panel_wblock(R15)
	MOVQ panel_part(R15), AX

block:
	// AX: part. wbb: B of the block. wblock: blocks of the group left. wsteps:
	// steps left. wpart: the block whose rows are yet to be moved, or 0.
	MOVQ panel_wsteps(R15), R13
	MOVQ R13, R8
	CMPQ R8, $CHUNK
	JLE  short
	MOVQ $CHUNK, R8
short:
	CMPQ R13, panel_steps(R15)
	JEQ  fresh
	MOVQ $128, CX
	TILELOADD(0, rAX, rCX, 0)
	TILELOADD(1, rAX, rCX, 64)
	TILELOADD(2, rAX, rCX, 2048)
	TILELOADD(3, rAX, rCX, 2112)
	JMP  begin
fresh:
	TILEZERO(0)
	TILEZERO(1)
	TILEZERO(2)
	TILEZERO(3)
begin:
	MOVQ panel_wa(R15), SI
	MOVQ panel_lower(R15), BX
	ADDQ SI, BX
	MOVQ panel_lda(R15), CX
	MOVQ panel_wbb(R15), DI
	MOVQ panel_ldc(R15), R10
	MOVQ $0, panel_wfetch(R15)
	CMPQ R13, $CHUNK
	JGT  far
	MOVQ R10, panel_wfetch(R15) // C will be needed soon
far:
	MOVQ panel_wc(R15), R13
	MOVQ panel_wpart(R15), R9
	TESTQ R9, R9
	JEQ  steps
	MOVQ panel_wpc(R15), R14
	MOVQ $0, panel_wpart(R15)
	MOVQ panel_rows(R15), R12
	CMPQ R8, $8
	JLT  move
	CMPQ R12, $32
	JNE  move
	SUBQ $8, R8
	MOVQ $8, R12
	CMPQ panel_mode(R15), $const_addF32
	JEQ  add32
	JGT  put16
	BOTH(put32, ROWPUT32)
	BOTH(add32, ROWADD32)
	BOTH(put16, ROWPUT16)

move:
	CMPQ panel_mode(R15), $const_addF32
	JEQ  moveadd32
	JGT  moveput16
	ONLY(moveput32, ROWPUT32)
	ONLY(moveadd32, ROWADD32)
	ONLY(moveput16, ROWPUT16)
moved:
	CMPQ panel_wleft(R15), $0
	JEQ  done

steps:
	TESTQ R8, R8
	JEQ   stepped
loop:
	FETCH
	STEP
	ADVANCE
	DECQ R8
	JNZ  loop
stepped:
	CMPQ panel_wsteps(R15), $CHUNK
	JGT  unfinished
	MOVQ panel_tail(R15), SI
	TESTQ SI, SI
	JEQ  finished
	MOVQ SI, BX
	ADDQ panel_taillower(R15), BX
	MOVQ DX, CX
	STEP
finished:
	MOVQ panel_wc(R15), BX
	MOVQ BX, R9
	ADDQ panel_cstep(R15), R9
	MOVQ R9, panel_wc(R15)

	// The last block of all may be narrow.
	MOVL $-1, R8
	CMPQ panel_wblock(R15), $1
	JNE  wide
	MOVQ panel_wgroup(R15), CX
	CMPQ CX, panel_wleft(R15)
	JNE  wide
	MOVL panel_mask(R15), R8
wide:
	// Few terms leave no time to move rows in: tiles go to C as they are.
	CMPQ panel_steps(R15), $DIRECT
	JGT  indirect
	CMPQ panel_mode(R15), $const_storeF32
	JNE  indirect
	CMPL R8, $-1
	JNE  indirect
	MOVQ panel_ldc(R15), CX
	TILESTORED(0, rBX, rCX, 0)
	TILESTORED(1, rBX, rCX, 64)
	CMPQ panel_rows(R15), $16
	JLE  stored
	MOVQ CX, SI
	SHLQ $4, SI
	ADDQ BX, SI
	TILESTORED(2, rSI, rCX, 0)
	TILESTORED(3, rSI, rCX, 64)
	JMP  stored
indirect:
	MOVQ BX, panel_wpc(R15)
	MOVQ AX, panel_wpart(R15)
	KMOVD R8, K1
	KSHIFTRD $16, K1, K2

unfinished:
	MOVQ $128, CX
	TILESTORED(0, rAX, rCX, 0)
	TILESTORED(1, rAX, rCX, 64)
	TILESTORED(2, rAX, rCX, 2048)
	TILESTORED(3, rAX, rCX, 2112)
stored:
	ADDQ $4096, AX
	MOVQ panel_bstep(R15), R10
	ADDQ R10, panel_wbb(R15)
	DECQ panel_wblock(R15)
	JNZ  block

	// The next chunk of terms.
	ADDQ $(64*CHUNK), panel_wa(R15)
	ADDQ $(2048*CHUNK), panel_wchunk(R15)
	MOVQ panel_wchunk(R15), R10
	SUBQ $CHUNK, panel_wsteps(R15)
	JGT  chunk

	// The next group of blocks.
	MOVQ  panel_wgroup(R15), R12
	MOVQ  panel_bstep(R15), R10
	IMULQ R12, R10
	ADDQ  R10, panel_wb(R15)
	MOVQ  panel_wleft(R15), R13
	SUBQ  R12, R13
	JGT   group

	// The rows of the last block.
	MOVQ $0, panel_wleft(R15)
	MOVQ panel_wpart(R15), R9
	MOVQ panel_wpc(R15), R14
	MOVQ panel_ldc(R15), R10
	MOVQ panel_rows(R15), R12
	TESTQ R9, R9
	JNE  move

done:
	TILERELEASE
	VZEROUPPER
	RET

// func peakAMX(operands, sums []float32, turns int)
//
// Four sums of tiles, two operands on either side, as in panelAMX.
TEXT ·peakAMX(SB), NOSPLIT, $0-56
	LEAQ peakShapes<>(SB), AX
	LDTILECFG_AX
	MOVQ operands_base+0(FP), SI
	MOVQ sums_base+24(FP), DI
	MOVQ turns+48(FP), CX
	MOVQ $64, DX
	TILELOADD(0, rDI, rDX, 0)
	TILELOADD(1, rDI, rDX, 1024)
	TILELOADD(2, rDI, rDX, 2048)
	TILELOADD(3, rDI, rDX, 3072)
	TILELOADD(4, rSI, rDX, 0)
	TILELOADD(5, rSI, rDX, 1024)
	TILELOADD(6, rSI, rDX, 2048)
	TILELOADD(7, rSI, rDX, 3072)
peak:
	TDPBF16PS(0, 4, 6)
	TDPBF16PS(1, 4, 7)
	TDPBF16PS(2, 5, 6)
	TDPBF16PS(3, 5, 7)
	DECQ CX
	JNZ  peak
	TILESTORED(0, rDI, rDX, 0)
	TILESTORED(1, rDI, rDX, 1024)
	TILESTORED(2, rDI, rDX, 2048)
	TILESTORED(3, rDI, rDX, 3072)
	TILERELEASE
	RET

DATA peakShapes<>+0(SB)/8, $1
DATA peakShapes<>+8(SB)/8, $0
DATA peakShapes<>+16(SB)/8, $0x0040004000400040
DATA peakShapes<>+24(SB)/8, $0x0040004000400040
DATA peakShapes<>+32(SB)/8, $0
DATA peakShapes<>+40(SB)/8, $0
DATA peakShapes<>+48(SB)/8, $0x1010101010101010
DATA peakShapes<>+56(SB)/8, $0
GLOBL peakShapes<>(SB), RODATA|NOPTR, $64
