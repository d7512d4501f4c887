package nn

import "gimbal/internal/kernel"

// require panics with fault unless ok.
func require(ok bool, fault string) {
	if !ok {
		panic(fault)
	}
}

// rowGrain is the smallest share of positions worth handing to a worker.
const rowGrain = 8

// rowLayer is a layer in one direction, for one position at a time.
type rowLayer[T kernel.Float] interface {
	// row computes row i. A backward pass adds the row's part of gradients of vectors to sum, which is nil where there
	// are none.
	row(worker, i int, sum []T)
}

// rows runs a layer over the rows of a call; the layers that see one position at a time embed it.
type rows[T kernel.Float] struct {
	x     *kernel.Exec
	stage *Stage[T]     // nil where a layer needs none
	sums  *BlockSums[T] // nil where Backward is not called

	layer    rowLayer[T]
	n, width int
}

// each computes n rows of layer.
func (r *rows[T]) each(n int, layer rowLayer[T]) {
	r.layer = layer
	r.x.Pool().Do(n, rowGrain, (*eachRow[T])(r))
}

type eachRow[T kernel.Float] rows[T]

func (r *eachRow[T]) Part(worker, lo, hi int) {
	for i := lo; i < hi; i++ {
		r.layer.row(worker, i, nil)
	}
}

// eachSummed is each with sums of width channels, one for each block of rows; addTo adds them up.
func (r *rows[T]) eachSummed(n, width int, layer rowLayer[T]) {
	r.layer, r.n, r.width = layer, n, width
	r.x.Pool().Do(blocksOf(n), 1, (*eachBlock[T])(r))
}

type eachBlock[T kernel.Float] rows[T]

func (r *eachBlock[T]) Part(worker, lo, hi int) {
	for b := lo; b < hi; b++ {
		sum := r.sums.block(b, r.width)
		for i := b * sumRows; i < min(r.n, (b+1)*sumRows); i++ {
			r.layer.row(worker, i, sum)
		}
	}
}

// Stage holds rows in full precision, some for each worker. Layers compute there what they read from and write to
// rows of bfloat16, so that they read and write such a row once. One Stage serves all layers of a model in turn.
type Stage[T kernel.Float] struct {
	width int
	buf   []T // (workers, width)
}

// StageLen is the number of elements that NewStage needs.
func StageLen(workers, width int) int { return workers * stageWidth(width) }

// stageWidth keeps the workers out of each other's cache lines.
func stageWidth(width int) int { return (width + 31) &^ 31 }

// NewStage returns width elements for each worker. buf has StageLen(x.Workers(), width) elements.
func NewStage[T kernel.Float](x *kernel.Exec, width int, buf []T) *Stage[T] {
	require(len(buf) == StageLen(x.Workers(), width), "nn: short stage")
	return &Stage[T]{width: stageWidth(width), buf: buf}
}

// take returns the worker's first n elements.
func (s *Stage[T]) take(worker, n int) []T {
	require(n <= s.width, "nn: stage too narrow")
	return s.buf[worker*s.width : worker*s.width+n]
}

// Rounding copies rows in full precision to rows of either kind.
type Rounding[T kernel.Float] struct {
	rows[T]
	dst, src kernel.Mat[T]
}

// NewRounding returns the copy.
func NewRounding[T kernel.Float](x *kernel.Exec) *Rounding[T] {
	return &Rounding[T]{rows: rows[T]{x: x}}
}

// Forward overwrites n rows of dst by those of src, which has as many columns.
func (l *Rounding[T]) Forward(dst, src kernel.Mat[T], n int) {
	require(dst.Cols == src.Cols, "nn: rounding: wrong shape")
	l.dst, l.src = dst, src
	l.each(n, (*roundRow[T])(l))
}

type roundRow[T kernel.Float] Rounding[T]

func (l *roundRow[T]) row(_, i int, _ []T) { l.dst.Row(i).Write(l.x, l.src.RowF(i)) }
