package kernel

import (
	"time"
	"unsafe"
)

// bfloat16 operands. A bfloat16 is the upper half of a float32. Only operands of multiplies have this form; sums are
// float32. The second operand of every multiply is packed: blocks of 32 columns, in each the terms in steps of 32, in
// each step two tiles of 16 columns, in each tile 16 rows that hold, for one column after the other, a pair of
// neighbouring terms (see docs/kernels.md). There all sizes are padded to 32 with zeros.
const (
	tileSide = 32           // rows or columns of a block of C, terms of a step
	tileStep = 2 * tileSide // bytes of a row of A in one step
	tileSize = tileSide * tileSide
)

func roundUp(n int) int { return (n + tileSide - 1) &^ (tileSide - 1) }

// OperandLen returns how many elements a (rows, cols) bfloat16 operand takes, and its row stride. The stride is an odd
// number of cache lines, so that the rows of a tile fall into different cache sets. Rows are rounded up to a multiple
// of 32.
func OperandLen(rows, cols int) (elements, stride int) {
	stride = ((cols+tileSide-1)/tileSide | 1) * tileSide
	return roundUp(rows) * stride, stride
}

// NewOperand returns a zero (rows, cols) matrix of bfloat16 rows, laid out as OperandLen says and aligned to cache
// lines.
func NewOperand(rows, cols int) Mat[float32] {
	n, stride := OperandLen(rows, cols)
	return Mat[float32]{H: alignedBF16(n), Rows: rows, Cols: cols, Stride: stride}
}

func alignedBF16(n int) []uint16 {
	s := make([]uint16, n+31)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))&63) / 2
	return s[skip : skip+n : skip+n]
}

// BF16 names what multiplies bfloat16 operands on this tier: "amx", "avx512_bf16", or "" if only the generic twin can,
// slowly.
func (x *Exec) BF16() string { return x.bf16.name }

// FasterBF16 reports whether bfloat16 multiplies do more operations in a second than those of float32. It is a rule
// about processors and not a timing, so that a machine always gives the same answer.
func (x *Exec) FasterBF16() bool { return x.bf16.faster }

// ToBF16 rounds src to bfloat16: to nearest, ties to even. NaN stays NaN and becomes quiet, infinities stay, denormal
// numbers become zero of their sign.
//
// Numerics: exact (same bits on every tier). Safe for concurrent use.
func ToBF16(x *Exec, dst []uint16, src []float32) {
	for dst = dst[:len(src)]; len(src) > convertCall; dst, src = dst[convertCall:], src[convertCall:] {
		x.bf16.toBF16(dst[:convertCall], src[:convertCall])
	}
	x.bf16.toBF16(dst, src)
}

// FromBF16 widens src, which is exact. Safe for concurrent use.
func FromBF16(x *Exec, dst []float32, src []uint16) {
	for dst = dst[:len(src)]; len(src) > convertCall; dst, src = dst[convertCall:], src[convertCall:] {
		x.bf16.fromBF16(dst[:convertCall], src[:convertCall])
	}
	x.bf16.fromBF16(dst, src)
}

// convertCall bounds the elements of one call of assembly: a garbage collection has to wait until it returns.
const convertCall = 1 << 16

// PackLen returns the length of the packed form of a (rows, cols) matrix.
func PackLen(rows, cols int) int { return roundUp(rows) * roundUp(cols) }

// PackT packs B = srcᵀ, the second operand of A·srcᵀ, for MulPacked.
//
// Shapes: src (rows, cols) with a row stride, dst PackLen(rows, cols); B has cols terms and rows columns.
// Memory: overwrites dst. Safe for concurrent use.
func PackT(x *Exec, dst, src []uint16, rows, cols, stride int) {
	checkStored(src, stride, rows, cols, false)
	require(len(dst) >= PackLen(rows, cols), "kernel: short packed form")
	steps := roundUp(cols) / tileSide
	for i := 0; i < rows; i += tileSide {
		panel, some := dst[i*roundUp(cols):][:steps*tileSize], min(tileSide, rows-i)
		packRows(x.bf16.bfTable, natural, panel, tileSize, src[i*stride:], stride, some, cols)
	}
}

// PackPair packs B = src, the second operand of A·src, for MulPacked.
//
// Shapes: src (rows, cols) with a row stride, dst PackLen(rows, cols); B has rows terms and cols columns.
// Memory: overwrites dst. Safe for concurrent use.
func PackPair(x *Exec, dst, src []uint16, rows, cols, stride int) {
	checkStored(src, stride, rows, cols, false)
	require(len(dst) >= PackLen(rows, cols), "kernel: short packed form")
	step := roundUp(rows) * tileSide
	for l := 0; l < rows; l += tileSide {
		some := min(tileSide, rows-l)
		packRows(x.bf16.bfTable, pairs, dst[l*tileSide:], step, src[l*stride:], stride, some, cols)
	}
}

// packKind says how 32 rows of a source become blocks of 32 by 32 at dst, dst+step, ...: one block from each 32
// columns.
type packKind int

const (
	pairs     packKind = iota // packed form with the source's rows as terms
	natural                   // packed form with the source's columns as terms
	transpose                 // not packed: the transpose, in rows of step elements; a block is 32 such rows
)

// packRows packs up to 32 rows of src. Rows of float32 are rounded, and cannot be transposed. What is missing in blocks
// at the edge counts as zero.
func packRows[S uint16 | float32](t *bfTable, kind packKind, dst []uint16, step int, src []S, stride, rows, cols int) {
	halves, _ := any(src).([]uint16)
	floats, _ := any(src).([]float32)
	whole := 0
	if rows == tileSide {
		whole = cols / tileSide
	}
	switch {
	case whole == 0:
	case halves != nil:
		t.packBlocks(kind, &dst[0], step, &halves[0], stride, whole)
	default:
		t.packBlocksF32(kind, &dst[0], step, &floats[0], stride, whole)
	}
	next := step // from one block to the next
	if kind == transpose {
		next *= tileSide
	}
	for j := whole * tileSide; j < cols; j += tileSide {
		var edge [tileSize]uint16
		for i := range rows {
			lo, hi := i*stride+j, i*stride+min(j+tileSide, cols)
			if halves != nil {
				copy(edge[i*tileSide:], halves[lo:hi])
			} else {
				toBF16Go(edge[i*tileSide:], floats[lo:hi])
			}
		}
		t.packEdge(kind, &dst[j/tileSide*next], step, edge)
	}
}

// MulPacked computes dst = A·B, or dst += A·B if add, on the calling goroutine, for use inside a worker.
//
// Shapes: dst (m, n), a (m, k) with row stride lda, packed the form of B (k, n) that PackT or PackPair made.
// Memory: overwrites dst, or adds to it if add (float32 only); dst must not overlap the operands. Uses the scratch
// memory of worker.
// Numerics: float32 sums in ascending order of the terms; the bits depend on the row, the column and the tier only.
// Denormal operands count as zero on tiers with hardware for bfloat16.
func MulPacked(x *Exec, worker int, dst Mat[float32], a []uint16, lda int, packed []uint16, m, n, k int, add bool) {
	p := bfProduct{m: m, n: n, k: k, a: a, lda: lda, b: packed, add: add}
	if p.write(dst); m <= 0 || n <= 0 {
		return
	}
	checkStored(a, lda, m, k, false)
	e := &x.bf16
	e.multiply(e.scratch(worker), &p, 0, m, 0, roundUp(n)/tileSide)
}

// MulTransPacked is MulPacked for a stored (k, m): dst = aᵀ·B or dst += aᵀ·B.
func MulTransPacked(x *Exec, worker int, dst Mat[float32], a []uint16, lda int, packed []uint16,
	m, n, k int, add bool) {
	p := bfProduct{m: m, n: n, k: k, lda: transStride(k), b: packed, add: add}
	if p.write(dst); m <= 0 || n <= 0 {
		return
	}
	require(k <= transTerms, "kernel: too many terms for a transposed operand")
	checkStored(a, lda, k, m, false)
	e := &x.bf16
	s := e.scratch(worker)
	p.a = s.trans
	for i := 0; i < m; i += transRows {
		q := p
		q.m, q.c = min(transRows, m-i), p.c.skip(i*p.c.Stride)
		e.transpose(s.trans, a, lda, 0, k, i, q.m)
		e.multiply(s, &q, 0, q.m, 0, roundUp(n)/tileSide)
	}
}

// PeakBF16 measures the FLOP/s of the bfloat16 multiplies of all workers of x at once while no operand leaves the
// registers. It returns 0 if the tier has no such measurement. PeakFP32 is the same for float32.
func PeakBF16(x *Exec) float64 {
	if x.bf16.peak.run == nil {
		return 0
	}
	return x.rate(x.bf16.peak, 20*time.Millisecond)
}
