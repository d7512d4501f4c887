package kernel

// WeightsBF16Len returns how many elements the packed forms of W (out, in) take.
func WeightsBF16Len(out, in int) int { return 2 * PackLen(out, in) }

// bfWeights are the packed forms of W, for dst = src·Wᵀ and dst = dy·W.
type bfWeights struct {
	forward, back []uint16
}

// NewWeightsBF16 is NewWeights for bfloat16 operands: src and dy of the handle's
// multiplies are bfloat16 rows, results are what dst is. Refresh rounds W and
// packs it; Refresh must come before the first multiply, too.
func NewWeightsBF16(w []float32, out, in int) *Weights[float32] {
	return NewWeightsBF16In(w, alignedBF16(WeightsBF16Len(out, in)), out, in)
}

// NewWeightsBF16In is NewWeightsBF16 with the caller's memory for the packed
// forms, WeightsBF16Len(out, in) elements, which should begin at a cache line.
func NewWeightsBF16In(w []float32, packed []uint16, out, in int) *Weights[float32] {
	h := NewWeights(w, out, in)
	n := PackLen(out, in)
	if len(packed) < 2*n {
		panic("kernel: short packed form")
	}
	h.bf16 = &bfWeights{forward: packed[:n:n], back: packed[n : 2*n : 2*n]}
	return h
}

// RefreshRows is Refresh for rows [lo, hi) of W, on the calling goroutine, for
// use inside a worker: after an update of just these rows, say. lo must be a
// multiple of 32, and so must hi unless it is Out.
func (w *Weights[T]) RefreshRows(x *Exec, lo, hi int) {
	if w.bf16 == nil {
		return
	}
	if lo%tileSide != 0 || hi%tileSide != 0 && hi != w.out || lo < 0 || hi > w.out {
		panic("kernel: rows to refresh do not fit the blocks")
	}
	f, _ := any(w.w).([]float32)
	terms := roundUp(w.in)
	for o := lo; o < hi; o += tileSide {
		rows := min(tileSide, hi-o)
		x.bf16.packRowsF32(natural, w.bf16.forward[o*terms:], tileSize, f[o*w.in:], w.in, rows, w.in)
		x.bf16.packRowsF32(pairs, w.bf16.back[o*tileSide:], roundUp(w.out)*tileSide, f[o*w.in:], w.in, rows, w.in)
	}
}

// inF32 returns m, whose T is float32.
func inF32[T Float](m *Mat[T]) *Mat[float32] { return any(m).(*Mat[float32]) }

// refreshBF16 is Refresh.
func (x *Exec) refreshBF16(w *Weights[float32]) {
	j := &x.bf16.job
	j.kind, j.w, j.x = refresh, w, x
	x.pool.Do(w.out, tileSide, j)
	j.forget()
}

// checkBF16 panics unless m has n bfloat16 rows of the given number of columns.
func (m *Mat[T]) checkBF16(n, cols int) {
	switch {
	case m.F != nil || n > 0 && m.H == nil:
		panic("kernel: operand of a kind this weight does not take")
	case m.Cols != cols || m.Stride < cols:
		panic("kernel: wrong number of columns")
	case n < 0 || n > m.Rows || n > 0 && len(m.H) < (n-1)*m.Stride+cols:
		panic("kernel: short matrix")
	}
}

// bfJob is one multiply of a Weights handle, or its Refresh, cut over the workers.
type bfJob struct {
	e *bfEngine
	bfProduct

	kind   bfKind
	w      *Weights[float32]
	x      *Exec
	dy, in []uint16
	ldy    int
	ldx    int
	dw     []float32
}

type bfKind int

const (
	byRows         bfKind = iota // the product, by panels of rows
	byCols                       // the product, by blocks of columns
	gradientByRows               // of dW
	gradientByCols
	refresh
)

// Part implements par.Job.
func (j *bfJob) Part(worker, lo, hi int) {
	s := j.e.scratch(worker)
	switch j.kind {
	case byRows:
		j.e.multiply(s, &j.bfProduct, lo, hi, 0, roundUp(j.n)/tileSide)
	case byCols:
		j.e.multiply(s, &j.bfProduct, 0, j.m, lo/tileSide, roundUp(hi)/tileSide)
	case gradientByRows:
		j.gradient(s, lo, hi, 0, j.n)
	case gradientByCols:
		j.gradient(s, 0, j.m, lo, hi)
	case refresh:
		j.w.RefreshRows(j.x, lo, hi)
	}
}

// multiplyBF16 computes dst = src·B, B packed (k, cols).
func (x *Exec) multiplyBF16(dst, src *Mat[float32], b []uint16, n, cols, k int) {
	if dst.Cols != cols {
		panic("kernel: wrong number of columns")
	}
	src.checkBF16(n, k)
	j := &x.bf16.job
	j.bfProduct = bfProduct{m: n, n: cols, k: k, a: src.H, lda: src.Stride, b: b}
	if n > dst.Rows {
		panic("kernel: short matrix")
	}
	if j.check(*dst); n <= 0 {
		return
	}
	// Rows are cut if the shares are even enough, for the other cut makes each
	// worker read all of A; but few rows are less to read than all of B.
	panels, workers := (n+tileSide-1)/tileSide, x.Workers()
	if panels > fewPanels && panels%workers == 0 || panels > 8*workers {
		j.kind = byRows
		x.pool.Do(n, tileSide, j)
	} else {
		j.kind = byCols
		x.pool.Do(cols, tileSide, j)
	}
	j.forget()
}

func (j *bfJob) forget() { *j = bfJob{e: j.e} }

func (x *Exec) backWeightBF16(dw []float32, dy, src *Mat[float32], n, out, in int) {
	dy.checkBF16(n, out)
	src.checkBF16(n, in)
	j := &x.bf16.job
	j.bfProduct = bfProduct{m: out, n: in, k: n, f: dw, ldc: in, add: true}
	j.dy, j.ldy, j.in, j.ldx, j.dw = dy.H, dy.Stride, src.H, src.Stride, dw
	if n <= 0 {
		return
	}
	// The wider side is cut; each worker packs what it needs itself, since
	// fetching lines that the other one wrote costs more.
	if out >= in {
		j.kind = gradientByRows
		x.pool.Do(out, tileSide, j)
	} else {
		j.kind = gradientByCols
		x.pool.Do(in, tileSide, j)
	}
	j.forget()
}

// gradient adds rows [o0, o1) and columns [i0, i1) of dyᵀ·src to dw.
func (j *bfJob) gradient(s *bfScratch, o0, o1, i0, i1 int) {
	e, n := j.e, j.k
	for t0 := 0; t0 < n; t0 += tokenBlock {
		k := min(tokenBlock, n-t0)
		for i := i0; i < i1; i += tokenCols {
			cols := min(tokenCols, i1-i)
			for t := 0; t < k; t += tileSide {
				src, rows := j.in[(t0+t)*j.ldx+i:], min(tileSide, k-t)
				e.packRows(pairs, s.b[t*tileSide:], roundUp(k)*tileSide, src, j.ldx, rows, cols)
			}
			for o := o0; o < o1; o += transRows {
				rows := min(transRows, o1-o)
				e.transpose(s.trans, j.dy, j.ldy, t0, k, o, rows)
				p := bfProduct{m: rows, n: cols, k: roundUp(k), a: s.trans, lda: transStride(k),
					b: s.b, f: j.dw[o*j.ldc+i:], ldc: j.ldc, add: true}
				e.rows(s, &p, 0, rows, 0, roundUp(cols)/tileSide, 0, roundUp(k)/tileSide)
			}
		}
	}
}
