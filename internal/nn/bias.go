package nn

import "gimbal/internal/kernel"

// Bias adds a vector to every row. Its backward pass is BlockSums.Columns.
type Bias[T kernel.Float] struct {
	x    *kernel.Exec
	dst  kernel.Mat[T]
	bias []T
}

// NewBias returns a bias layer.
func NewBias[T kernel.Float](x *kernel.Exec) *Bias[T] { return &Bias[T]{x: x} }

// Forward adds bias (Out) to n rows of dst (N, Out).
func (l *Bias[T]) Forward(dst kernel.Mat[T], bias []T, n int) {
	if len(bias) != dst.Cols {
		panic("nn: short bias")
	}
	l.dst, l.bias = dst, bias
	l.x.Pool().Do(n, rowGrain, (*biasForward[T])(l))
}

type biasForward[T kernel.Float] Bias[T]

func (l *biasForward[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		kernel.Axpy(l.x, row(l.dst, i), 1, l.bias)
	}
}
