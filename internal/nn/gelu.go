package nn

import "gimbal/internal/kernel"

// GELU in the form with the hyperbolic tangent (gelu_new of Hugging Face, the one of GPT-2), of the hidden layer and
// its bias.
//
// Formula: y = gelu(src + bias), gelu(x) = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
type GELU[T kernel.Float] struct {
	rows[T]
	dst, dy, src kernel.Mat[T]
	bias         []T
}

// GELUStage is the width of the stage that the activation of a hidden layer of width channels needs.
func GELUStage(width int) int { return 2 * width }

// NewGELU returns the activation; sums may be nil where Backward is not called.
func NewGELU[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T]) *GELU[T] {
	return &GELU[T]{rows: rows[T]{x: x, stage: stage, sums: sums}}
}

// Forward overwrites dst (N, F). src (N, F), bias (F) or nil.
func (l *GELU[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	if dst.Cols != src.Cols || bias != nil && len(bias) != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.src, l.bias = dst, src, bias
	l.each(n, (*geluForward[T])(l))
}

type geluForward[T kernel.Float] GELU[T]

func (l *geluForward[T]) row(worker, i int, _ []T) {
	kernel.GELURow(l.x, l.dst.Row(i), l.src.Row(i), l.bias, l.stage.take(worker, l.src.Cols))
}

// Backward overwrites dsrc (N, F), which may be dy (N, F), and adds to dbias (F) unless it is nil. src and bias as in
// Forward.
func (l *GELU[T]) Backward(dsrc kernel.Mat[T], dbias []T, dy, src kernel.Mat[T], bias []T, n int) {
	if dy.Cols != src.Cols || dsrc.Cols != src.Cols ||
		bias != nil && len(bias) != src.Cols || dbias != nil && len(dbias) != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.dy, l.src, l.bias = dsrc, dy, src, bias
	l.eachSummed(n, len(dbias), (*geluBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
}

type geluBackward[T kernel.Float] GELU[T]

func (l *geluBackward[T]) row(worker, i int, sum []T) {
	temp := l.stage.take(worker, GELUStage(l.src.Cols))
	kernel.GELUBackRow(l.x, l.dst.Row(i), l.dy.Row(i), l.src.Row(i), l.bias, sum, temp)
}
