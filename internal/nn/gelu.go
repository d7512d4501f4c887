package nn

import "gimbal/internal/kernel"

// GELU in the form with the hyperbolic tangent (gelu_new of Hugging Face, the one of GPT-2), of the hidden layer and
// its bias.
//
// Formula: y = gelu(src + bias), gelu(x) = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
type GELU[T kernel.Float] struct {
	x            *kernel.Exec
	stage        *Stage[T]
	sums         *BlockSums[T]
	dst, dy, src kernel.Mat[T]
	bias         []T
	n            int
	dbias        bool
}

// GELUStage is the width of the stage that the activation of a hidden layer of width channels needs.
func GELUStage(width int) int { return 2 * width }

// NewGELU returns the activation; sums may be nil where Backward is not called.
func NewGELU[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T]) *GELU[T] {
	return &GELU[T]{x: x, stage: stage, sums: sums}
}

// Forward overwrites dst (N, F). src (N, F), bias (F) or nil.
func (l *GELU[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	if dst.Cols != src.Cols || bias != nil && len(bias) != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.src, l.bias = dst, src, bias
	l.x.Pool().Do(n, rowGrain, (*geluForward[T])(l))
}

type geluForward[T kernel.Float] GELU[T]

func (l *geluForward[T]) Part(worker, lo, hi int) {
	temp := l.stage.take(worker, l.src.Cols)
	for i := lo; i < hi; i++ {
		if l.src.H != nil && l.dst.H != nil {
			kernel.GELURow(l.x, row16(l.dst, i), row16(l.src, i), float32s(l.bias), float32s(temp))
			continue
		}
		src := biased(l.x, l.src, i, l.bias, temp)
		dst := target(l.dst, i, temp)
		kernel.GELU(l.x, dst, src)
		write(l.x, l.dst, i, dst)
	}
}

// biased returns row i of m plus bias, unless that is nil, without changing m. temp has the row's length.
func biased[T kernel.Float](x *kernel.Exec, m kernel.Mat[T], i int, bias, temp []T) []T {
	if bias == nil {
		return read(x, m, i, temp)
	}
	src := load(x, m, i, temp)
	kernel.Axpy(x, src, 1, bias)
	return src
}

// Backward overwrites dsrc (N, F), which may be dy (N, F), and adds to dbias (F) unless it is nil. src and bias as in
// Forward.
func (l *GELU[T]) Backward(dsrc kernel.Mat[T], dbias []T, dy, src kernel.Mat[T], bias []T, n int) {
	if dy.Cols != src.Cols || dsrc.Cols != src.Cols || bias != nil && len(bias) != src.Cols || dbias != nil && len(dbias) != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.dy, l.src, l.bias, l.n, l.dbias = dsrc, dy, src, bias, n, dbias != nil
	l.x.Pool().Do(blocksOf(n), 1, (*geluBackward[T])(l))
	if l.dbias {
		l.sums.addTo(dbias, 0, n)
	}
}

type geluBackward[T kernel.Float] GELU[T]

func (l *geluBackward[T]) Part(worker, lo, hi int) {
	f := l.src.Cols
	temp := l.stage.take(worker, 2*f)
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, f)
		for i := first; i < end; i++ {
			if l.src.H != nil && l.dy.H != nil && l.dst.H != nil {
				if !l.dbias {
					sum = nil
				}
				kernel.GELUBackRow(l.x, row16(l.dst, i), row16(l.dy, i), row16(l.src, i), float32s(l.bias), float32s(sum), float32s(temp))
				continue
			}
			src := biased(l.x, l.src, i, l.bias, temp[:f])
			dy := read(l.x, l.dy, i, temp[f:])
			dsrc := target(l.dst, i, temp[f:])
			kernel.GELUBackward(l.x, dsrc, dy, src)
			if l.dbias {
				kernel.Axpy(l.x, sum, 1, dsrc)
			}
			write(l.x, l.dst, i, dsrc)
		}
	}
}
