package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// Format is how a decoder keeps the weights it multiplies by.
type Format int

// The formats. Activations and sums are float32 in all of them.
const (
	FP32 Format = iota // W as it is
	BF16               // W rounded to bfloat16
	Int8               // 8 bits; 32 neighbours in a row share a scale in bfloat16, 34 bytes in all
)

// Coded weights lie in panels of 32 rows of W, which one pass streams from the first byte to the last. In bfloat16 a
// panel has pairs of neighbouring terms, in each one pair for each row. With 8 bits it has groups of 32 terms: 32
// scales, then 32 bytes for each term.
const (
	panelRows = 32
	pairBytes = panelRows * 4
	groupSize = 32 // terms that share a scale
	groupHead = panelRows * 2
	groupLen  = groupHead + groupSize*panelRows
)

// coded is W in a format other than FP32.
type coded struct {
	format Format
	panels []byte
	length int // bytes of a panel
}

// panelLen is the bytes of a panel of in terms.
func (f Format) panelLen(in int) int {
	if f == BF16 {
		return (in + 1) / 2 * pairBytes
	}
	return (in + groupSize - 1) / groupSize * groupLen
}

// CodedLen returns the bytes of W (out, in) in a format; 0 for FP32, which needs none of its own.
func CodedLen(f Format, out, in int) int {
	if f == FP32 {
		return 0
	}
	return (out + panelRows - 1) / panelRows * f.panelLen(in)
}

// NewWeightsCoded is NewWeights for a decoder that keeps W in a format: Forward multiplies by the coded weights as if
// W held their values, bit for bit, and the other multiplies panic. Refresh codes W; it must also come before the first
// multiply. buf is the memory of the coded weights, CodedLen(f, out, in) bytes.
func NewWeightsCoded(w []float32, buf []byte, f Format, out, in int) *Weights[float32] {
	h := NewWeights(w, out, in)
	if f != FP32 {
		require(len(buf) == CodedLen(f, out, in), "kernel: wrong length of coded weights")
		h.coded = &coded{f, buf, f.panelLen(in)}
	}
	return h
}

// EncodeInt8 writes W (out, in) in the format Int8 to dst, CodedLen(Int8, out, in) bytes. Same bits on every tier.
func EncodeInt8(x *Exec, dst []byte, w []float32, out, in int) {
	require(len(dst) == CodedLen(Int8, out, in) && len(w) == out*in, "kernel: wrong length of coded weights")
	(&coded{Int8, dst, Int8.panelLen(in)}).encode(x, w, out, in)
}

// DecodeInt8 overwrites dst (hi-lo, in) by the values of rows [lo, hi) of what EncodeInt8 made. Same bits on every
// tier. Safe for concurrent use.
func DecodeInt8(dst []float32, src []byte, in, lo, hi int) {
	for o := lo; o < hi; o++ {
		row, panel, r := dst[(o-lo)*in:][:in], src[o/panelRows*Int8.panelLen(in):], o%panelRows
		for ; len(row) > 0; panel = panel[groupLen:] {
			scale, values := widenBF16(binary.LittleEndian.Uint16(panel[r*2:])), panel[groupHead+r:groupLen]
			n := min(groupSize, len(row))
			for i := range row[:n] {
				row[i] = float32(int8(values[i*panelRows])) * scale
			}
			row = row[n:]
		}
	}
}

func (c *coded) encode(x *Exec, w []float32, out, in int) {
	x.pool.Do(len(c.panels)/c.length, 1, &encoding{c, w, out, in})
}

// encoding is the work of encode, by panels.
type encoding struct {
	*coded
	w       []float32
	out, in int
}

// Part implements par.Job.
func (e *encoding) Part(_, lo, hi int) {
	for p := lo; p < hi; p++ {
		panel := e.panels[p*e.length:][:e.length]
		clear(panel)
		for r := range min(panelRows, e.out-p*panelRows) {
			row := e.w[(p*panelRows+r)*e.in:][:e.in]
			if e.format == BF16 {
				for l, v := range row {
					binary.LittleEndian.PutUint16(panel[l/2*pairBytes+r*4+l%2*2:], roundBF16(v))
				}
				continue
			}
			for l := 0; l < e.in; l += groupSize {
				group := panel[l/groupSize*groupLen:]
				terms := row[l:min(l+groupSize, e.in)]
				code, scale := scaleOf(terms)
				binary.LittleEndian.PutUint16(group[r*2:], code)
				for i, v := range terms {
					group[groupHead+i*panelRows+r] = byte(quantize(v, scale))
				}
			}
		}
	}
}

// scaleOf returns the scale of a group: its largest magnitude over 127, rounded up to bfloat16. It is NaN, and then so
// is every weight of the group, unless all are finite.
func scaleOf(group []float32) (code uint16, scale float64) {
	var top float32
	for _, v := range group {
		if v-v != 0 {
			return 0x7fc0, math.NaN()
		}
		top = max(top, v, -v)
	}
	code = uint16((math.Float32bits(top/127) + 0xffff) >> 16)
	return code, float64(widenBF16(code))
}

// quantize returns the multiple of scale next to v, at most half a scale away.
func quantize(v float32, scale float64) int8 {
	q := math.RoundToEven(float64(v) / scale)
	if !(q >= -127 && q <= 127) { // no scale, or a sound one rounded past the end
		q = math.Copysign(127, q)
	}
	if scale == 0 {
		q = 0
	}
	return int8(q)
}

// at returns the coded terms of a panel from l on; l is a multiple of kBlock or 0.
func (c *coded) at(panel, l int) *byte {
	at := l / groupSize * groupLen
	if c.format == BF16 {
		at = l / 2 * pairBytes
	}
	return &c.panels[panel*c.length+at]
}

// expandGo writes k terms, from l on, of cols rows of a panel, from row col on, as float32: the value of term i, row j,
// to dst[i*ldd+j].
func (c *coded) expandGo(dst *float32, ldd, panel, l, col, cols, k int) {
	src := c.panels[panel*c.length:][:c.length]
	to := unsafe.Slice(dst, (k-1)*ldd+cols)
	for i := range k {
		t := l + i
		row := to[i*ldd:][:cols]
		if c.format == BF16 {
			pairs := src[t/2*pairBytes+t%2*2:]
			for j := range row {
				row[j] = widenBF16(binary.LittleEndian.Uint16(pairs[(col+j)*4:]))
			}
			continue
		}
		group := src[t/groupSize*groupLen:][:groupLen]
		values := group[groupHead+t%groupSize*panelRows:]
		for j := range row {
			row[j] = float32(int8(values[col+j])) * widenBF16(binary.LittleEndian.Uint16(group[(col+j)*2:]))
		}
	}
}

// codedTable is a tier's kernels for the weights of one format; nil where the tile kernel and Go do it.
type codedTable struct {
	// expand writes k terms of 16 rows of a panel, from row col on, as float32: term i to dst[i*ldd:]. src is a panel at
	// a multiple of kBlock terms.
	expand func(dst *float32, ldd int, src *byte, col, k int)

	// dot computes the products of the 32 rows of a panel with x over k terms, starting from zero, in ascending order: c
	// = W·x, or c += W·x if add.
	dot func(c *float32, src *byte, x *float32, k int, add bool)

	// tile is table.tile for cols (<= 32) rows of a panel, which it reads where they lie. A's terms lie side by side.
	tile func(rows, k int, a *float32, rs int, src *byte, c *float32, ldc, cols int, alpha float32, add bool)
}

func (t *table[T]) codedOf(f Format) *codedTable {
	if f == BF16 {
		return &t.codedBF16
	}
	return &t.codedInt8
}

// expandCols is the number of rows of W that codedTable.expand takes.
const expandCols = 16

// packCoded is packB for coded weights.
func (e *engine[T]) packCoded(dst []T, c *coded, l0, k, j0, j1 int) {
	to := float32s(dst)
	for j := j0; j < j1; j += e.nr {
		step := min(e.nr, expandCols)
		for i := 0; i < e.nr && (j+i)/panelRows < len(c.panels)/c.length; i += step {
			panel, col := (j+i)/panelRows, (j+i)%panelRows
			if t := e.codedOf(c.format); t.expand != nil {
				t.expand(&to[(j-j0)*k+i], e.nr, c.at(panel, l0), col, k)
			} else {
				c.expandGo(&to[(j-j0)*k+i], e.nr, panel, l0, col, step, k)
			}
		}
	}
}
