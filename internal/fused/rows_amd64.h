// Rows of bf16 mode; 32 elements at a time, as many as a register of bfloat16
// holds. An element takes the same instructions in the loop and in the tail.

// TAIL selects the first CX (< 32) elements: K1 and K2 of the two halves, K3 of
// both as words.
#define TAIL \
	MOVQ  $1, R10;  \
	SHLQ  CX, R10;  \
	DECQ  R10;      \
	KMOVD R10, K3;  \
	KMOVW R10, K1;  \
	SHRQ  $16, R10; \
	KMOVW R10, K2

// Loads and stores at byte offset AX of rows of bfloat16, twice that in rows of
// float32: whole vectors, and the elements that k selects.
#define LD(at, base, k, v)    VMOVUPS at(base)(AX*2), v
#define LDT(at, base, k, v)   VMOVUPS.Z at(base)(AX*2), k, v
#define ST(v, k, at, base)    VMOVUPS v, at(base)(AX*2)
#define STT(v, k, at, base)   VMOVUPS v, k, at(base)(AX*2)
#define LDH(at, base, k, v)   VPMOVZXWD at(base)(AX*1), v; VPSLLD $16, v, v
#define LDHT(at, base, k, v)  VPMOVZXWD.Z at(base)(AX*1), k, v; VPSLLD $16, v, v
#define STH(v, base)          VMOVDQU64 v, (base)(AX*1)
#define STHT(v, base)         VMOVDQU16 v, K3, (base)(AX*1)

// AHEAD_H and AHEAD fetch what lies 2 KB further, of bfloat16 or float32: rows
// are read in order, but the processor itself stops at the end of a page.
#define AHEAD_H(base) PREFETCHT0 2048(base)(AX*1)
#define AHEAD(base)   PREFETCHT0 2048(base)(AX*2); PREFETCHT0 2112(base)(AX*2)

// SPAN divides n elements, in CX, into R11 bytes of bfloat16 in whole blocks and
// a tail of CX elements.
#define SPAN \
	MOVQ CX, R11;  \
	ANDQ $31, CX;  \
	SUBQ CX, R11;  \
	SHLQ $1, R11;  \
	TAIL

// EACH works through a row with BODY(load, store, load bfloat16, store bfloat16).
#define EACH(BODY, loop, tail, done) \
	XORQ AX, AX;                \
loop:                           \
	CMPQ AX, R11;               \
	JGE  tail;                  \
	BODY(LD, ST, LDH, STH);     \
	ADDQ $64, AX;               \
	JMP  loop;                  \
tail:                           \
	TESTQ CX, CX;               \
	JEQ  done;                  \
	BODY(LDT, STT, LDHT, STHT); \
done:

// An instruction that the assembler lacks, as bytes; vector registers are given by number.

// EVEX is an instruction of map 0F38 on three 512-bit registers.
#define EVEX(pp, op, s2, s1, dst) BYTE $0x62; \
	BYTE $(0x02 | (1-((dst>>3)&1))<<7 | (1-((s2>>4)&1))<<6 | (1-((s2>>3)&1))<<5 | (1-((dst>>4)&1))<<4); \
	BYTE $(0x04 | pp | (15-(s1&15))<<3); BYTE $(0x40 | (1-((s1>>4)&1))<<3); BYTE $op; BYTE $(0xC0 | (dst&7)<<3 | (s2&7))

// dst = the 16 numbers of lo, then those of hi, as bfloat16
#define VCVTNE2PS2BF16(lo, hi, dst) EVEX(3, 0x72, lo, hi, dst)
