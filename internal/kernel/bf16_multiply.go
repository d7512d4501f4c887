package kernel

import "unsafe"

// bfProduct describes C = A·B or C += A·B with bfloat16 operands, C (m, n) and k terms.
type bfProduct struct {
	m, n, k int
	a       []uint16 // row-major
	lda     int
	b       []uint16 // packed
	c       Mat[float32]
	add     bool
}

// write makes dst the result. It panics unless dst and the packed operand fit.
func (p *bfProduct) write(dst Mat[float32]) {
	require(((dst.F == nil) != (dst.H == nil) || p.m <= 0) && (dst.H == nil || !p.add),
		"kernel: result of a kind that cannot be written")
	require(dst.Stride >= p.n && len(p.b) >= PackLen(p.k, p.n) &&
		(p.m <= 0 || max(len(dst.F), len(dst.H)) >= (p.m-1)*dst.Stride+p.n), "kernel: short matrix")
	p.c = dst
	p.c.Cols = p.n
}

// panel is the work of one call of a tier's kernel: up to 32 rows of A times neighbouring blocks of 32 columns of B.
// Assembly knows its layout.
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

	// Bytes from the rows of the upper tiles to those of the lower ones, in A and in tail.
	lower, taillower int

	// The kernel's own variables: addresses that may lie beyond the operands, where a pointer must not be.
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

// Blocking. The sums are defined by tokenBlock and slab only; the rest bounds what has to stay in the caches.
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

// transStride is the row stride of a transposed operand of k terms: an odd number of cache lines.
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
}

// scratch returns the memory of a worker. Tiers that rarely need it make it at the first multiply.
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
	if p.c.H != nil || steps <= whole {
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
		p.c.Row(i).Slice(j0*tileSide, min(j1*tileSide, p.n)).Clear()
	}
}

// rows computes rows [m0, m1) of blocks [j0, j1) of C, with the given number of steps of terms from step l.
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
		if o, ldc := i*p.c.Stride+j0*tileSide, p.c.Stride; p.c.H != nil {
			d.mode, d.cstep, d.ldc, d.c = storeBF16, 2*tileSide, 2*ldc, unsafe.Pointer(&p.c.H[o])
		} else {
			d.mode, d.cstep, d.ldc, d.c = storeF32, 4*tileSide, 4*ldc, unsafe.Pointer(&p.c.F[o])
			if p.add || l > 0 {
				d.mode = addF32
			}
		}
		e.panel(d)
	}
	d.release()
}

// setRows sets the number of rows of a panel, and the shapes of the tiles of AMX: they have no more rows than there
// are, so that nothing beyond them is read.
func (d *panel) setRows(rows int) {
	lower := rows - 16
	d.rows, d.lower, d.taillower = rows, 16*d.lda, 16*tileStep
	upper := min(rows, 16)
	if lower <= 0 { // the lower tiles then repeat the upper ones; nothing uses them
		lower, d.lower, d.taillower = upper, 0, 0
	}
	d.cfg = [64]byte{0: 1} // palette 1
	for t := range 8 {
		d.cfg[16+2*t], d.cfg[48+t] = tileStep, 16
	}
	d.cfg[48+0], d.cfg[48+1], d.cfg[48+4] = byte(upper), byte(upper), byte(upper)
	d.cfg[48+2], d.cfg[48+3], d.cfg[48+5] = byte(lower), byte(lower), byte(lower)
}

// release clears the pointers to the operands, so that the scratch does not keep them alive.
func (d *panel) release() {
	d.a, d.tail, d.b, d.c, d.next = nil, nil, nil, nil, nil
}

// transpose writes columns [i, i+rows) of the terms [l, l+k) of src as rows of dst, transStride(k) apart, padded with
// zeros to whole steps.
func (e *bfEngine) transpose(dst, src []uint16, stride, l, k, i, rows int) {
	for t := 0; t < k; t += tileSide {
		from, some := src[(l+t)*stride+i:], min(tileSide, k-t)
		packRows(e.bfTable, transpose, dst[t:], transStride(k), from, stride, some, rows)
	}
}
