package nn

import "gimbal/internal/kernel"

// LowRank is what dropout changes of a multiply by W + Scale·B·A, where only what A reads is dropped: it adds
// Scale·B·A·(x∘m − x) to the product, m being a mask. A is (R, In), B (Out, R).
//
// Source: Hu et al. 2021, arXiv:2106.09685, as PEFT computes it.
type LowRank[T kernel.Float] struct {
	x     *kernel.Exec
	drop  Dropout[T]
	scale T
	rank  int
	buf   []T // (workers, size)
	size  int

	// Of the call in progress.
	dst, src kernel.Mat[T]
	a, b     []T
	masks    Masks
}

// lowRankRows is the rows that a worker computes at once.
const lowRankRows = 32

// lowRankSize is the scratch elements of a worker: rows of x, of y and of rank, and one row.
func lowRankSize(width, rank int) int { return lowRankRows*(2*width+rank) + width }

// LowRankLen is the number of elements that NewLowRank needs, for In and Out up to width.
func LowRankLen(workers, width, rank int) int { return workers * lowRankSize(width, rank) }

// NewLowRank returns the layer with dropout of a share. buf has LowRankLen(x.Workers(), width, rank) elements.
func NewLowRank[T kernel.Float](x *kernel.Exec, share, scale float64, rank int, buf []T) *LowRank[T] {
	return &LowRank[T]{x: x, drop: NewDropout[T](share), scale: T(scale), rank: rank, buf: buf,
		size: len(buf) / x.Workers()}
}

// Drop overwrites n rows of dst by those of src with the masks: what A reads.
func (l *LowRank[T]) Drop(dst, src kernel.Mat[T], masks Masks, n int) {
	l.dst, l.src, l.masks = dst, src, masks
	l.x.Pool().Do(n, 1, (*lowRankDrop[T])(l))
}

// Forward adds to dst (n, Out) what dropout of src (n, In) changes.
func (l *LowRank[T]) Forward(dst, src kernel.Mat[T], a, b []T, masks Masks, n int) {
	l.begin(dst, src, a, b, masks)
	l.x.Pool().Do(n, 1, (*lowRankForward[T])(l))
}

// Backward adds to dst (n, In), the gradient of Forward's input, what dropout changes of it; dy is (n, Out).
func (l *LowRank[T]) Backward(dst, dy kernel.Mat[T], a, b []T, masks Masks, n int) {
	l.begin(dst, dy, a, b, masks)
	l.x.Pool().Do(n, 1, (*lowRankBackward[T])(l))
}

func (l *LowRank[T]) begin(dst, src kernel.Mat[T], a, b []T, masks Masks) {
	require(lowRankSize(max(dst.Cols, src.Cols), l.rank) <= l.size, "nn: low rank: scratch too small")
	l.dst, l.src, l.a, l.b, l.masks = dst, src, a, b, masks
}

// scratch returns the worker's rows of the width of src, of dst, of the rank, and a row of either.
func (l *LowRank[T]) scratch(worker int) (src, dst, low, row []T) {
	s := l.buf[worker*l.size : (worker+1)*l.size]
	ends := [3]int{lowRankRows * l.src.Cols, lowRankRows * (l.src.Cols + l.dst.Cols)}
	ends[2] = ends[1] + lowRankRows*l.rank
	return s[:ends[0]], s[ends[0]:ends[1]], s[ends[1]:ends[2]], s[ends[2]:]
}

// change replaces the values of position i by those with the mask less those without.
func (l *LowRank[T]) change(values, row []T, i int) {
	row = row[:copy(row, values)]
	l.drop.apply(values, l.masks, i)
	kernel.Axpy(l.x, values, -1, row)
}

type lowRankDrop[T kernel.Float] LowRank[T]

func (l *lowRankDrop[T]) Part(worker, lo, hi int) {
	row := l.buf[worker*l.size:]
	for i := lo; i < hi; i++ {
		v := l.src.Row(i).Load(l.x, row)
		l.drop.apply(v, l.masks, i)
		l.dst.Row(i).Write(l.x, v)
	}
}

type lowRankForward[T kernel.Float] LowRank[T]

func (l *lowRankForward[T]) Part(worker, lo, hi int) {
	in, out := l.src.Cols, l.dst.Cols
	xs, ys, u, row := (*LowRank[T])(l).scratch(worker)
	for ; lo < hi; lo += lowRankRows {
		k := min(lowRankRows, hi-lo)
		for i := range k {
			v := l.src.Row(lo+i).Load(l.x, xs[i*in:(i+1)*in])
			(*LowRank[T])(l).change(v, row, lo+i)
			l.dst.Row(lo+i).Load(l.x, ys[i*out:(i+1)*out])
		}
		kernel.Gemm(l.x, worker, false, true, k, l.rank, in, 1, xs, in, l.a, in, 0, u, l.rank)
		kernel.Gemm(l.x, worker, false, true, k, out, l.rank, l.scale, u, l.rank, l.b, l.rank, 1, ys, out)
		for i := range k {
			l.dst.Row(lo+i).Write(l.x, ys[i*out:(i+1)*out])
		}
	}
}

type lowRankBackward[T kernel.Float] LowRank[T]

func (l *lowRankBackward[T]) Part(worker, lo, hi int) {
	out, in := l.src.Cols, l.dst.Cols
	ys, xs, u, row := (*LowRank[T])(l).scratch(worker)
	for ; lo < hi; lo += lowRankRows {
		k := min(lowRankRows, hi-lo)
		for i := range k {
			l.src.Row(lo+i).Load(l.x, ys[i*out:(i+1)*out])
		}
		kernel.Gemm(l.x, worker, false, false, k, l.rank, out, 1, ys, out, l.b, l.rank, 0, u, l.rank)
		kernel.Gemm(l.x, worker, false, false, k, in, l.rank, l.scale, u, l.rank, l.a, in, 0, xs, in)
		for i := range k {
			v := xs[i*in : (i+1)*in]
			(*LowRank[T])(l).change(v, row, lo+i)
			r := l.dst.Row(lo + i)
			kernel.Axpy(l.x, v, 1, r.Read(l.x, row))
			r.Write(l.x, v)
		}
	}
}
