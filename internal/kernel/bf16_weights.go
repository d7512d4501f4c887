package kernel

// WeightsBF16Len returns how many elements the packed forms of W (out, in) take.
func WeightsBF16Len(out, in int) int { return 2 * PackLen(out, in) }

// bfWeights are the packed forms of W, for dst = src·Wᵀ and dst = dy·W.
type bfWeights struct {
	forward, back []uint16
}

// NewWeightsBF16 is NewWeights for bfloat16 operands: src and dy of the handle's multiplies are bfloat16 rows, results
// are of either kind. Refresh rounds and packs W; it must also come before the first multiply.
func NewWeightsBF16(w []float32, out, in int) *Weights[float32] {
	return NewWeightsBF16In(w, alignedBF16(WeightsBF16Len(out, in)), out, in)
}

// NewWeightsBF16In is NewWeightsBF16 with the caller's memory for the packed forms: WeightsBF16Len(out, in) elements,
// which should begin at a cache line.
func NewWeightsBF16In(w []float32, packed []uint16, out, in int) *Weights[float32] {
	h := NewWeights(w, out, in)
	n := PackLen(out, in)
	require(len(packed) >= 2*n, "kernel: short packed form")
	h.bf16 = &bfWeights{forward: packed[:n:n], back: packed[n : 2*n : 2*n]}
	return h
}

// RefreshRows is Refresh for rows [lo, hi) of W, on the calling goroutine, for use inside a worker. lo must be a
// multiple of 32, and so must hi unless it is Out.
func (w *Weights[T]) RefreshRows(x *Exec, lo, hi int) {
	if w.bf16 == nil {
		return
	}
	require(lo%tileSide == 0 && (hi%tileSide == 0 || hi == w.out) && lo >= 0 && hi <= w.out,
		"kernel: rows to refresh do not fit the blocks")
	f, _ := any(w.w).([]float32)
	terms := roundUp(w.in)
	for o := lo; o < hi; o += tileSide {
		rows := min(tileSide, hi-o)
		t, src := x.bf16.bfTable, f[o*w.in:]
		packRows(t, natural, w.bf16.forward[o*terms:], tileSize, src, w.in, rows, w.in)
		packRows(t, pairs, w.bf16.back[o*tileSide:], roundUp(w.out)*tileSide, src, w.in, rows, w.in)
	}
}

// inF32 returns m, whose T is float32.
func inF32[T Float](m *Mat[T]) *Mat[float32] { return any(m).(*Mat[float32]) }

// bfJob is one multiply of a Weights handle, or its Refresh, cut over the workers.
type bfJob struct {
	x *Exec
	bfProduct

	kind    bfKind
	w       *Weights[float32]
	dy, src Mat[float32] // of the gradient of W, which is C
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
	e := &j.x.bf16
	s := e.scratch(worker)
	switch j.kind {
	case byRows:
		e.multiply(s, &j.bfProduct, lo, hi, 0, roundUp(j.n)/tileSide)
	case byCols:
		e.multiply(s, &j.bfProduct, 0, j.m, lo/tileSide, roundUp(hi)/tileSide)
	case gradientByRows:
		j.gradient(s, lo, hi, 0, j.n)
	case gradientByCols:
		j.gradient(s, 0, j.m, lo, hi)
	case refresh:
		j.w.RefreshRows(j.x, lo, hi)
	}
}

// run cuts n rows or columns over the workers, then forgets the operands.
func (j *bfJob) run(kind bfKind, n int) {
	j.kind = kind
	j.x.pool.Do(n, tileSide, j)
	*j = bfJob{x: j.x}
}

// multiplyBF16 computes dst = src·B, B packed (k, cols).
func (x *Exec) multiplyBF16(dst, src *Mat[float32], b []uint16, n, cols, k int) {
	require(dst.Cols == cols, "kernel: wrong number of columns")
	src.check(n, k, true)
	require(n <= dst.Rows, "kernel: short matrix")
	j := &x.bf16.job
	j.bfProduct = bfProduct{m: n, n: cols, k: k, a: src.H, lda: src.Stride, b: b}
	if j.write(*dst); n <= 0 {
		return
	}
	// Rows are cut if the shares are even enough: with the other cut each worker reads all of A. But few rows are less
	// to read than all of B.
	panels, workers := (n+tileSide-1)/tileSide, x.Workers()
	if panels > fewPanels && panels%workers == 0 || panels > 8*workers {
		j.run(byRows, n)
	} else {
		j.run(byCols, cols)
	}
}

// backWeightBF16 adds dyᵀ·src to dw.
func (x *Exec) backWeightBF16(dw []float32, dy, src *Mat[float32], n, out, in int) {
	if n <= 0 {
		return
	}
	j := &x.bf16.job
	j.bfProduct, j.dy, j.src = bfProduct{m: out, n: in, k: n, c: Dense(dw, out, in), add: true}, *dy, *src
	// The wider side is cut. Each worker packs what it needs itself: fetching lines that the other one wrote costs
	// more.
	if out >= in {
		j.run(gradientByRows, out)
	} else {
		j.run(gradientByCols, in)
	}
}

// gradient adds rows [o0, o1) and columns [i0, i1) of dyᵀ·src to C.
func (j *bfJob) gradient(s *bfScratch, o0, o1, i0, i1 int) {
	e, n := &j.x.bf16, j.k
	for t0 := 0; t0 < n; t0 += tokenBlock {
		k := min(tokenBlock, n-t0)
		for i := i0; i < i1; i += tokenCols {
			cols := min(tokenCols, i1-i)
			for t := 0; t < k; t += tileSide {
				src, rows := j.src.H[(t0+t)*j.src.Stride+i:], min(tileSide, k-t)
				packRows(e.bfTable, pairs, s.b[t*tileSide:], roundUp(k)*tileSide, src, j.src.Stride, rows, cols)
			}
			for o := o0; o < o1; o += transRows {
				rows := min(transRows, o1-o)
				e.transpose(s.trans, j.dy.H, j.dy.Stride, t0, k, o, rows)
				p := bfProduct{m: rows, n: cols, k: roundUp(k), a: s.trans, lda: transStride(k), b: s.b,
					c: j.c.From(o).Columns(i, i+cols), add: true}
				e.rows(s, &p, 0, rows, 0, roundUp(cols)/tileSide, 0, roundUp(k)/tileSide)
			}
		}
	}
}
