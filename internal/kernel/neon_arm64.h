// The vector instructions that Go's assembler has no name for, as words. The
// arguments are numbers of vector registers in the assembler's order, sources
// first: FSUB(m, n, d) is d = n - m. Above each macro stands the instruction as
// a disassembler must print it; TestWords holds the two against each other.

// fadd v{d}.4s, v{n}.4s, v{m}.4s
#define FADD(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d))

// fsub v{d}.4s, v{n}.4s, v{m}.4s
#define FSUB(m, n, d) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d))

// fmul v{d}.4s, v{n}.4s, v{m}.4s
#define FMUL(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d))

// fdiv v{d}.4s, v{n}.4s, v{m}.4s
#define FDIV(m, n, d) WORD $(0x6e20fc00 | (m)<<16 | (n)<<5 | (d))

// fmax v{d}.4s, v{n}.4s, v{m}.4s
#define FMAX(m, n, d) WORD $(0x4e20f400 | (m)<<16 | (n)<<5 | (d))

// fmin v{d}.4s, v{n}.4s, v{m}.4s
#define FMIN(m, n, d) WORD $(0x4ea0f400 | (m)<<16 | (n)<<5 | (d))

// fmla v{d}.4s, v{n}.4s, v{m}.4s
#define FMLA(m, n, d) WORD $(0x4e20cc00 | (m)<<16 | (n)<<5 | (d))

// fmls v{d}.4s, v{n}.4s, v{m}.4s
#define FMLS(m, n, d) WORD $(0x4ea0cc00 | (m)<<16 | (n)<<5 | (d))

// fmla v{d}.4s, v{n}.4s, v{m}.s[0]
#define FMLALANE(m, n, d) WORD $(0x4f801000 | (m)<<16 | (n)<<5 | (d))

// fmul v{d}.4s, v{n}.4s, v{m}.s[0]
#define FMULLANE(m, n, d) WORD $(0x4f809000 | (m)<<16 | (n)<<5 | (d))

// faddp v{d}.4s, v{n}.4s, v{m}.4s
#define FADDP(m, n, d) WORD $(0x6e20d400 | (m)<<16 | (n)<<5 | (d))

// fneg v{d}.4s, v{n}.4s
#define FNEG(n, d) WORD $(0x6ea0f800 | (n)<<5 | (d))

// fsqrt v{d}.4s, v{n}.4s
#define FSQRT(n, d) WORD $(0x6ea1f800 | (n)<<5 | (d))

// frintn v{d}.4s, v{n}.4s
#define FRINTN(n, d) WORD $(0x4e218800 | (n)<<5 | (d))

// fcvtns v{d}.4s, v{n}.4s
#define FCVTNS(n, d) WORD $(0x4e21a800 | (n)<<5 | (d))

// fmaxv s{d}, v{n}.4s
#define FMAXV(n, d) WORD $(0x6e30f800 | (n)<<5 | (d))

// fcvtl v{d}.2d, v{n}.2s
#define FCVTL(n, d) WORD $(0x0e617800 | (n)<<5 | (d))

// fcvtl2 v{d}.2d, v{n}.4s
#define FCVTL2(n, d) WORD $(0x4e617800 | (n)<<5 | (d))

// fmla v{d}.2d, v{n}.2d, v{m}.2d
#define FMLAD(m, n, d) WORD $(0x4e60cc00 | (m)<<16 | (n)<<5 | (d))

// fadd v{d}.2d, v{n}.2d, v{m}.2d
#define FADDD2(m, n, d) WORD $(0x4e60d400 | (m)<<16 | (n)<<5 | (d))

// faddp d{d}, v{n}.2d
#define FADDPD(n, d) WORD $(0x7e70d800 | (n)<<5 | (d))

// sshr v{d}.4s, v{n}.4s, #1
#define HALVE(n, d) WORD $(0x4f3f0400 | (n)<<5 | (d))

// shl v{d}.4s, v{n}.4s, #23
#define TOEXPONENT(n, d) WORD $(0x4f375400 | (n)<<5 | (d))

// add v{d}.4s, v{n}.4s, v{m}.4s
#define ADDI(m, n, d) WORD $(0x4ea08400 | (m)<<16 | (n)<<5 | (d))

// sub v{d}.4s, v{n}.4s, v{m}.4s
#define SUBI(m, n, d) WORD $(0x6ea08400 | (m)<<16 | (n)<<5 | (d))

// mov v{d}.16b, v{n}.16b
#define COPY(n, d) WORD $(0x4ea01c00 | (n)<<16 | (n)<<5 | (d))
