// Instructions that the assembler lacks, as bytes. Tiles and vector registers
// are given by number. The addresses of the tile instructions are base + index
// + disp32 without a scale; base and index are numbers of the low registers,
// not SP or BP.

#define rAX 0
#define rCX 1
#define rDX 2
#define rBX 3
#define rSI 6
#define rDI 7

#define LDTILECFG_AX BYTE $0xC4; BYTE $0xE2; BYTE $0x78; BYTE $0x49; BYTE $0x00
#define TILERELEASE BYTE $0xC4; BYTE $0xE2; BYTE $0x78; BYTE $0x49; BYTE $0xC0
#define TILEZERO(t) BYTE $0xC4; BYTE $0xE2; BYTE $0x7B; BYTE $0x49; BYTE $(0xC0 | t<<3)
#define TILELOADD(t, b, i, d) BYTE $0xC4; BYTE $0xE2; BYTE $0x7B; BYTE $0x4B; BYTE $(0x84 | t<<3); BYTE $(i<<3 | b); LONG $d
#define TILELOADDT1(t, b, i, d) BYTE $0xC4; BYTE $0xE2; BYTE $0x79; BYTE $0x4B; BYTE $(0x84 | t<<3); BYTE $(i<<3 | b); LONG $d
#define TILESTORED(t, b, i, d) BYTE $0xC4; BYTE $0xE2; BYTE $0x7A; BYTE $0x4B; BYTE $(0x84 | t<<3); BYTE $(i<<3 | b); LONG $d

// c += a·b
#define TDPBF16PS(c, a, b) BYTE $0xC4; BYTE $0xE2; BYTE $(0x02 | ((15-b)<<3)); BYTE $0x5C; BYTE $(0xC0 | c<<3 | a)

// EVEX is an instruction of map 0F38 on three 512-bit registers.
#define EVEX(pp, op, s2, s1, dst) BYTE $0x62; \
	BYTE $(0x02 | (1-((dst>>3)&1))<<7 | (1-((s2>>4)&1))<<6 | (1-((s2>>3)&1))<<5 | (1-((dst>>4)&1))<<4); \
	BYTE $(0x04 | pp | (15-(s1&15))<<3); BYTE $(0x40 | (1-((s1>>4)&1))<<3); BYTE $op; BYTE $(0xC0 | (dst&7)<<3 | (s2&7))

// dst = the 16 numbers of lo, then those of hi, as bfloat16
#define VCVTNE2PS2BF16(lo, hi, dst) EVEX(3, 0x72, lo, hi, dst)

// dst += a·b, summed over pairs
#define VDPBF16PS(a, b, dst) EVEX(2, 0x52, a, b, dst)
