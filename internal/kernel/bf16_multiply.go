package kernel

import (
	"fmt"
	"unsafe"
)

// bfProduct describes C = A·B or C += A·B with bfloat16 operands, C (m, n) and
// k terms.
type bfProduct struct {
	m, n, k int
	a       []uint16 // row-major
	lda     int
	b       []uint16 // packed
	f       []float32
	h       []uint16 // either f or h holds C
	ldc     int
	add     bool
}

// check takes dst into p after checking it and the packed operand.
func (p *bfProduct) check(dst Mat[float32]) {
	if (dst.F == nil) == (dst.H == nil) && p.m > 0 || p.add && dst.H != nil {
		panic("kernel: result of a kind that cannot be written")
	}
	if dst.Stride < p.n || len(p.b) < PackLen(p.k, p.n) ||
		p.m > 0 && max(len(dst.F), len(dst.H)) < (p.m-1)*dst.Stride+p.n {
		panic("kernel: short matrix")
	}
	p.f, p.h, p.ldc = dst.F, dst.H, dst.Stride
}

// panel is the work of one call of a tier's kernel: up to 32 rows of A times
// neighbouring blocks of 32 columns of B. Assembly knows its layout.
type panel struct {
	cfg    [64]byte // AMX: shapes of the tiles
	a      *uint16  // row-major
	lda    int      // bytes
	tail   *uint16  // rows of 32 elements: the terms after the last whole step, or nil
	b      *uint16
	bstep  int // bytes from one block of columns to the next
	steps  int // whole steps of 32 terms
	blocks int // blocks of columns
	c      unsafe.Pointer
	ldc    int // bytes
	cstep  int // bytes from one block of columns to the next
	mode   int // storeF32, ...
	rows   int
	mask   uint32   // columns of the last block
	part   *float32 // partBlocks blocks of 32 by 32, for sums
	next   *uint16  // AMX prefetches from here
	ahead  int      // by so many bytes per step

	// The upper tiles hold upper rows; the lower ones begin lower bytes after
	// them in A, taillower in tail.
	lower, taillower int

	// The kernel's own variables: addresses that may lie beyond the operands,
	// where a pointer must not be.
	//lint:ignore U1000 the assembly uses them
	wa, wb, wbb, wchunk, wc, wpc, wpart, wfetch uintptr
	//lint:ignore U1000 the assembly uses them
	wleft, wgroup, wblock, wsteps, wtail int
}

// Modes of a panel.
const (
	storeF32 = iota
	addF32
	storeBF16
)

// Blocking. The sums are defined by tokenBlock and slab only; the rest bounds
// what has to stay in the caches.
const (
	tokenBlock = 384     // tokens summed before they are added to a weight's gradient
	tokenCols  = 768     // columns of activations packed at a time for it
	transRows  = 128     // columns of the other operand transposed at a time
	transTerms = 3072    // terms a transposed operand may have
	partBlocks = 6       // blocks of columns summed side by side
	bBytes     = 1200000 // bytes of packed weights used at a time: they stay in the L2 cache
	bBlocksMax = 12      // blocks of columns of these
	aSteps     = 32      // steps of terms up to which fetching a panel of A from that cache twice pays
	fewPanels  = 4       // panels of A up to which B is what is cut over the workers
	slab       = 3072    // terms summed before they are added to a float32 output
)

// transStride is the row stride of a transposed operand of k terms: an odd
// number of cache lines.
func transStride(k int) int { return (roundUp(k)/tileSide | 1) * tileSide }

// bfScratch is one worker's memory.
type bfScratch struct {
	panel panel
	tail  []uint16  // 32 rows of 32
	part  []float32 // partBlocks blocks of 32 by 32
	trans []uint16  // a transposed operand
	b     []uint16  // packed activations
	_     [64]byte
}

// bfEngine is the part of an Exec that multiplies bfloat16.
type bfEngine struct {
	*bfTable
	workers []bfScratch
	job     bfJob
}

func (e *bfEngine) init(t *bfTable, workers int) {
	e.bfTable, e.workers = t, make([]bfScratch, workers)
	for i := range e.workers {
		if t.name != "" {
			e.scratch(i)
		}
	}
	e.job.e = e
}

// scratch returns the memory of a worker. Tiers that rarely need it make it at
// the first multiply.
func (e *bfEngine) scratch(worker int) *bfScratch {
	s := &e.workers[worker]
	if s.tail == nil {
		s.tail = alignedBF16(tileSize)
		part := alignedBF16(2 * partBlocks * tileSize)
		s.part = unsafe.Slice((*float32)(unsafe.Pointer(&part[0])), partBlocks*tileSize)
		s.trans = alignedBF16(transRows * transStride(transTerms))
		s.b = alignedBF16(tokenBlock * tokenCols)
	}
	return s
}

// multiply computes rows [m0, m1) and blocks [j0, j1) of columns of C.
func (e *bfEngine) multiply(s *bfScratch, p *bfProduct, m0, m1, j0, j1 int) {
	if p.k <= 0 {
		p.clear(m0, m1, j0, j1)
		return
	}
	steps := roundUp(p.k) / tileSide
	whole := slab / tileSide
	if p.h != nil || steps <= whole {
		whole = steps // a bfloat16 result cannot be added to
	}
	for l := 0; l < steps; l += whole {
		part := min(whole, steps-l)
		width := max(1, min(bBlocksMax, bBytes/(2*tileSize*part)))
		if part > aSteps {
			width = min(width, partBlocks)
		}
		for j := j0; j < j1; j += width {
			e.rows(s, p, m0, m1, j, min(j+width, j1), l, part)
		}
	}
}

// clear sets rows [m0, m1) and blocks [j0, j1) of columns to the empty sum.
func (p *bfProduct) clear(m0, m1, j0, j1 int) {
	for i := m0; i < m1 && !p.add; i++ {
		lo, hi := i*p.ldc+j0*tileSide, i*p.ldc+min(j1*tileSide, p.n)
		if p.h != nil {
			clear(p.h[lo:hi])
		} else {
			clear(p.f[lo:hi])
		}
	}
}

// rows computes rows [m0, m1) of blocks [j0, j1) of C, with the given number of
// steps of terms from step l.
func (e *bfEngine) rows(s *bfScratch, p *bfProduct, m0, m1, j0, j1, l, steps int) {
	d := &s.panel
	allSteps := roundUp(p.k) / tileSide
	d.lda, d.bstep, d.blocks = 2*p.lda, allSteps*2*tileSize, j1-j0
	d.mask = uint32(1<<min(tileSide, p.n-(j1-1)*tileSide) - 1)
	d.part = &s.part[0]
	if d.ahead = 0; p.lda < 2*tileSide*steps { // the next rows of A follow each other
		d.ahead = 192
	}
	d.b = &p.b[(j0*allSteps+l)*tileSize:][:1][0]
	d.steps = min(steps, p.k/tileSide-l)
	tail := p.k - (l+d.steps)*tileSide // terms of the step that is not whole
	if steps == d.steps {
		tail = 0
	}
	for i := m0; i < m1; i += tileSide {
		if rows := min(tileSide, m1-i); i == m0 || rows != d.rows {
			d.setRows(rows)
		}
		d.a = &p.a[i*p.lda+l*tileSide]
		if d.next = d.a; i+tileSide < m1 {
			d.next = &p.a[(i+tileSide)*p.lda+l*tileSide]
		}
		if d.tail = nil; tail > 0 {
			d.tail = &s.tail[0]
			for r := range d.rows {
				t := s.tail[r*tileSide:][:tileSide]
				clear(t[copy(t, p.a[(i+r)*p.lda+(l+d.steps)*tileSide:][:tail]):])
			}
		}
		o := i*p.ldc + j0*tileSide
		switch {
		case p.h != nil:
			d.mode, d.cstep, d.ldc, d.c = storeBF16, 2*tileSide, 2*p.ldc, unsafe.Pointer(&p.h[o])
		default:
			d.mode, d.cstep, d.ldc, d.c = storeF32, 4*tileSide, 4*p.ldc, unsafe.Pointer(&p.f[o])
			if p.add || l > 0 {
				d.mode = addF32
			}
		}
		e.panel(d)
	}
	d.release()
}

// setRows sets the number of rows of a panel. AMX is told the shapes of its
// tiles: with no more rows than there are it cannot read beyond them.
func (d *panel) setRows(rows int) {
	lower := rows - 16
	d.rows, d.lower, d.taillower = rows, 16*d.lda, 16*tileStep
	upper := min(rows, 16)
	if lower <= 0 { // the lower tiles then repeat the upper ones, for nothing
		lower, d.lower, d.taillower = upper, 0, 0
	}
	d.cfg = [64]byte{0: 1} // palette 1
	for t := range 8 {
		d.cfg[16+2*t], d.cfg[48+t] = tileStep, 16
	}
	d.cfg[48+0], d.cfg[48+1], d.cfg[48+4] = byte(upper), byte(upper), byte(upper)
	d.cfg[48+2], d.cfg[48+3], d.cfg[48+5] = byte(lower), byte(lower), byte(lower)
}

// release forgets the operands, so that the scratch does not keep them alive.
func (d *panel) release() {
	d.a, d.tail, d.b, d.c, d.next = nil, nil, nil, nil, nil
}

// transpose writes columns [i, i+rows) of the terms [l, l+k) of src as rows of
// dst, transStride(k) apart, padded with zeros to whole steps.
func (e *bfEngine) transpose(dst, src []uint16, stride, l, k, i, rows int) {
	for t := 0; t < k; t += tileSide {
		e.packRows(transpose, dst[t:], transStride(k), src[(l+t)*stride+i:], stride, min(tileSide, k-t), rows)
	}
}

// testedBF16 returns the tier to compute with, given one that passed selfTest, and its bfloat16 kernels if they pass
// theirs. If the tiles fail, the vectors remain: the tier is AVX512 then. The warning says so.
func (x *Exec) testedBF16(k *tierTable) (*tierTable, *bfTable) {
	fault := bfSelfTest(&k.bf16)
	if fault == "" {
		return k, &k.bf16
	}
	if k.tier == AMX {
		x.warning = fmt.Sprintf("kernel: tier amx failed its self-test (%s); "+
			"computing with tier avx512, whose bfloat16 multiplies are much slower", fault)
		k, _ = tableOf(AVX512)
		return x.testedBF16(k)
	}
	x.warning = fmt.Sprintf("kernel: bfloat16 multiplies of tier %s failed their self-test (%s); "+
		"this tier offers none", k.tier, fault)
	return k, &genericBF16
}

// bfSelfTest multiplies small matrices with edges in every direction on t and
// on the generic twin and says what differs, if anything does. The numbers are
// small integers, whose sums are exact in any order.
func bfSelfTest(t *bfTable) string {
	const m, n, k, steps = 37, 45, 70, 3
	a, b := make([]uint16, m*k), make([]uint16, k*n)
	w := make([]float32, n*k)
	for i := range a {
		a[i] = roundBF16(float32(i*i%31 - 15))
	}
	for i := range b {
		b[i], w[i] = roundBF16(float32(i*i%29-14)), float32(i*i%27-13)
	}
	var out [2][][]float32
	for side, t := range []*bfTable{t, &genericBF16} {
		e := new(bfEngine)
		e.init(t, 1)
		s := e.scratch(0)
		c := func() []float32 {
			out[side] = append(out[side], make([]float32, m*n))
			return out[side][len(out[side])-1]
		}
		packed := make([]uint16, PackLen(k, n))
		for l := 0; l < k; l += tileSide { // B from its rows
			t.packRows(pairs, packed[l*tileSide:], steps*tileSize, b[l*n:], n, min(tileSide, k-l), n)
		}
		e.multiply(s, &bfProduct{m: m, n: n, k: k, a: a, lda: k, b: packed, f: c(), ldc: n}, 0, m, 0, 2)
		for j := 0; j < n; j += tileSide { // B from the rows of its transpose, in float32
			t.packRowsF32(natural, packed[j*steps*tileSide:], tileSize, w[j*k:], k, min(tileSide, n-j), k)
		}
		e.multiply(s, &bfProduct{m: m, n: n, k: k, a: a, lda: k, b: packed, f: c(), ldc: n}, 0, m, 0, 2)
		// a read as (k, m), its transpose as the first operand
		e.transpose(s.trans, a, m, 0, k, 0, m)
		p := &bfProduct{m: m, n: n, k: k, a: s.trans, lda: transStride(k), b: packed, f: c(), ldc: n}
		e.multiply(s, p, 0, m, 0, 2)
		rounded := make([]uint16, m*n)
		t.toBF16(rounded, out[side][0])
		t.fromBF16(c(), rounded)
	}
	for i, want := range out[1] {
		for j, v := range want {
			if got := out[0][i][j]; got != v {
				return fmt.Sprintf("element %d of product %d of bfloat16 is %g instead of %g", j, i+1, got, v)
			}
		}
	}
	return ""
}
