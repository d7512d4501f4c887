package nn

import "gimbal/internal/kernel"

// Bias adds a vector to every row.
type Bias[T kernel.Float] struct {
	rows[T]
	m    kernel.Mat[T]
	bias []T
}

// NewBias returns a bias layer; sums may be nil where Backward is not called.
func NewBias[T kernel.Float](x *kernel.Exec, sums *BlockSums[T]) *Bias[T] {
	return &Bias[T]{rows: rows[T]{x: x, sums: sums}}
}

// Forward adds bias (Out) to n rows of dst (N, Out), in full precision.
func (l *Bias[T]) Forward(dst kernel.Mat[T], bias []T, n int) {
	if len(bias) != dst.Cols {
		panic("nn: short bias")
	}
	l.m, l.bias = dst, bias
	l.each(n, (*biasForward[T])(l))
}

type biasForward[T kernel.Float] Bias[T]

func (l *biasForward[T]) row(_, i int, _ []T) { kernel.Axpy(l.x, l.m.RowF(i), 1, l.bias) }

// Backward adds the sum of n rows of dy (N, Out) to dbias (Out). The gradient of the rows is dy.
func (l *Bias[T]) Backward(dbias []T, dy kernel.Mat[T], n int) {
	if len(dbias) != dy.Cols {
		panic("nn: short bias")
	}
	l.m = dy
	l.eachSummed(n, dy.Cols, (*biasBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
}

type biasBackward[T kernel.Float] Bias[T]

func (l *biasBackward[T]) row(worker, i int, sum []T) {
	kernel.AddRow(l.x, sum, sum, l.m.Row(i), nil, l.sums.temp(worker, l.m.Cols))
}
