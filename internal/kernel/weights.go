package kernel

// Weights is a matrix W (Out, In) that multiplies activations. It is a view into the parameters, and it owns the other
// forms of W that a tier needs.
type Weights[T Float] struct {
	w       []T // (Out, In)
	out, in int
	bf16    *bfWeights // nil unless made by NewWeightsBF16
	coded   *coded     // nil unless made by NewWeightsCoded
}

// NewWeights returns the handle of w, which holds W (out, in) row by row and stays the caller's. Call Refresh after
// each change of w.
func NewWeights[T Float](w []T, out, in int) *Weights[T] {
	require(len(w) == out*in, "kernel: short weight")
	return &Weights[T]{w: w, out: out, in: in}
}

// Refresh renews the packed forms of W; it must follow every change of W. Only handles made by NewWeightsBF16 and
// NewWeightsCoded have such forms: the others read W itself, in blocks packed on the fly, and Refresh has nothing to do
// for them.
func (w *Weights[T]) Refresh(x *Exec) {
	if w.bf16 != nil {
		x.bf16.job.w = any(w).(*Weights[float32])
		x.bf16.job.run(refresh, w.out)
	}
	if w.coded != nil {
		w.coded.encode(x, float32s(w.w), w.out, w.in)
	}
}

// Forward computes y = x·Wᵀ.
//
// Shapes: dst (n, Out), src (n, In).
// Memory: overwrites dst, which must not overlap src.
// Numerics: see the package doc; a row's bits do not depend on n.
func (w *Weights[T]) Forward(x *Exec, dst, src Mat[T], n int) {
	w.multiply(x, &dst, &src, n, w.out, w.in, true)
}

// BackInput computes the gradient of Forward's input, dx = dy·W.
//
// Shapes: dst (n, In), dy (n, Out).
// Memory: overwrites dst, which must not overlap dy.
// Numerics: see the package doc; a row's bits do not depend on n.
func (w *Weights[T]) BackInput(x *Exec, dst, dy Mat[T], n int) {
	w.multiply(x, &dst, &dy, n, w.in, w.out, false)
}

// multiply computes dst (n, cols) = src (n, terms) times W, or times its transpose.
func (w *Weights[T]) multiply(x *Exec, dst, src *Mat[T], n, cols, terms int, trans bool) {
	if w.bf16 != nil {
		packed := w.bf16.back
		if trans {
			packed = w.bf16.forward
		}
		x.multiplyBF16(inF32(dst), inF32(src), packed, n, cols, terms)
		return
	}
	require(w.coded == nil || trans, "kernel: gradient of coded weights")
	dst.check(n, cols, false)
	src.check(n, terms, false)
	of[T](x).run(x, product[T]{
		m: n, n: cols, k: terms,
		a: src.F, rs: src.Stride, ks: 1,
		b: w.w, ldb: w.in, transB: trans, coded: w.coded,
		c: dst.F, ldc: dst.Stride, alpha: 1,
	})
}

// BackWeight adds the gradient of the weights, dW += dyᵀ·x.
//
// Shapes: dw (Out, In) row by row, dy (n, Out), src (n, In).
// Memory: adds to dw, which must not overlap dy or src.
// Numerics: see the package doc; the sum is over the n rows in order.
func (w *Weights[T]) BackWeight(x *Exec, dw []T, dy, src Mat[T], n int) {
	require(w.coded == nil, "kernel: gradient of coded weights")
	require(len(dw) == w.out*w.in, "kernel: short weight gradient")
	dy.check(n, w.out, w.bf16 != nil)
	src.check(n, w.in, w.bf16 != nil)
	if w.bf16 != nil {
		x.backWeightBF16(float32s(dw), inF32(&dy), inF32(&src), n, w.out, w.in)
		return
	}
	of[T](x).run(x, product[T]{
		m: w.out, n: w.in, k: n,
		a: dy.F, rs: 1, ks: dy.Stride,
		b: src.F, ldb: src.Stride,
		c: dw, ldc: w.in, alpha: 1, add: true,
	})
}

// Gemm computes C = alpha·op(A)·op(B) + beta·C on the calling goroutine, for
// use inside a worker: blocks of attention, say.
//
// Shapes: op(A) (m, k), op(B) (k, n), C (m, n); op transposes if its flag is set, so that A is stored (k, m) or B (n,
// k). lda, ldb, ldc are row strides in elements of the matrices as stored.
// Memory: overwrites C if beta is 0 and never reads it then; adds to C if beta is 1. C must not overlap A or B. Uses
// the scratch memory of worker, which no other goroutine may use meanwhile.
// Numerics: see the package doc; each block's sum is multiplied by alpha.
// Panics if beta is neither 0 nor 1 or a matrix is too short.
func Gemm[T Float](x *Exec, worker int, transA, transB bool, m, n, k int,
	alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) {
	p := stored(transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	of[T](x).alone(worker, &p)
}

// stored is the product of Gemm.
func stored[T Float](transA, transB bool, m, n, k int,
	alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) product[T] {
	require(beta == 0 || beta == 1, "kernel: beta must be 0 or 1")
	p := product[T]{
		m: m, n: n, k: k,
		a: a, rs: lda, ks: 1,
		b: b, ldb: ldb, transB: transB,
		c: c, ldc: ldc, alpha: alpha, add: beta == 1,
		inPlace: n*k <= smallB,
	}
	if transA {
		p.rs, p.ks = 1, lda
	}
	if m > 0 && n > 0 {
		checkStored(a, lda, m, k, transA)
		checkStored(b, ldb, k, n, transB)
		checkStored(c, ldc, m, n, false)
	}
	return p
}

// smallB is the elements of a B that Gemm reads in place, if it can: they fit a second level cache with all else.
const smallB = 1 << 16

// Syrk computes the symmetric C = alpha·A·Aᵀ + beta·C on the calling goroutine, with about half the operations of Gemm.
//
// Shapes: A (n, k), stored (k, n) if trans; C (n, n).
// Memory, numerics and panics: as Gemm. With beta 1, only what C holds on and below the diagonal counts.
func Syrk[T Float](x *Exec, worker int, trans bool, n, k int, alpha T, a []T, lda int, beta T, c []T, ldc int) {
	p := stored(trans, !trans, n, n, k, alpha, a, lda, a, lda, beta, c, ldc)
	p.lower = true
	of[T](x).alone(worker, &p)
	for i := range n {
		for j := range i {
			c[j*ldc+i] = c[i*ldc+j]
		}
	}
}

// BlockCols is the number of columns of a block of GemmBlocks.
const BlockCols = 32

// GemmBlocks computes C = alpha·A·B on the calling goroutine, for B that is stored in blocks of BlockCols columns, each
// a dense (k, BlockCols) matrix: keys of attention that grow by a column at a time, say.
//
// Shapes: A (m, k), B (k, n), its last block stored as a whole, C (m, n); lda and ldc are row strides.
// Memory: overwrites C, which must not overlap A or B. Safe for concurrent use.
// Numerics: as Gemm; what B's last block holds beyond column n does not matter.
func GemmBlocks[T Float](x *Exec, m, n, k int, alpha T, a []T, lda int, b, c []T, ldc int) {
	require(m > 0 && n > 0 && k > 0, "kernel: empty product")
	checkStored(a, lda, m, k, false)
	checkStored(c, ldc, m, n, false)
	require(len(b) >= (n+BlockCols-1)/BlockCols*BlockCols*k, "kernel: short matrix")
	e := of[T](x)
	for j := 0; j < n; j += e.nr { // nr divides BlockCols
		block := b[j/BlockCols*BlockCols*k+j%BlockCols:]
		for i := 0; i < m; i += e.mr {
			for l := 0; l < k; l += kBlock {
				e.tile(min(e.mr, m-i), min(kBlock, k-l), &a[i*lda+l], lda, 1,
					&block[l*BlockCols], BlockCols, &c[i*ldc+j], ldc, min(e.nr, n-j), alpha, l > 0)
			}
		}
	}
}

// checkStored panics unless s holds a (rows, cols) matrix, stored transposed if trans, with row stride ld.
func checkStored[T Float | uint16](s []T, ld, rows, cols int, trans bool) {
	if trans {
		rows, cols = cols, rows
	}
	require(rows <= 0 || cols <= 0 || ld >= cols && len(s) >= (rows-1)*ld+cols, "kernel: short matrix")
}
