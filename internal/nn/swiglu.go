package nn

import "gimbal/internal/kernel"

// SwiGLU gates one half of the hidden layer, its bias added, by the SiLU of the other.
//
// Formula: y = silu(gate)·up with (gate, up) = src + bias, silu(x) = x·σ(x), σ(x) = 1/(1+e^−x).
// Source: Shazeer 2020, arXiv:2002.05202.
type SwiGLU[T kernel.Float] struct {
	rows[T]
	dst, dy, src kernel.Mat[T]
	bias         []T
}

// SwiGLUStage is the width of the stage that a gate to width channels needs.
func SwiGLUStage(width int) int { return 5 * width }

// NewSwiGLU returns the gate; sums may be nil where Backward is not called.
func NewSwiGLU[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T]) *SwiGLU[T] {
	return &SwiGLU[T]{rows: rows[T]{x: x, stage: stage, sums: sums}}
}

// Forward overwrites dst (N, F). src (N, 2·F) holds gate, then up; bias (2·F) or nil.
func (l *SwiGLU[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	if src.Cols != 2*dst.Cols || bias != nil && len(bias) != src.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.src, l.bias = dst, src, bias
	l.each(n, (*swigluForward[T])(l))
}

type swigluForward[T kernel.Float] SwiGLU[T]

func (l *swigluForward[T]) row(worker, i int, _ []T) {
	kernel.SwiGLURow(l.x, l.dst.Row(i), l.src.Row(i), l.bias, l.stage.take(worker, l.src.Cols))
}

// Backward overwrites dsrc (N, 2·F) and adds to dbias (2·F) unless it is nil. dy (N, F); src and bias as in Forward.
//
// Formula: dup = dy·silu(gate), dgate = dy·up·σ·(1 + gate·(1−σ)).
func (l *SwiGLU[T]) Backward(dsrc kernel.Mat[T], dbias []T, dy, src kernel.Mat[T], bias []T, n int) {
	if src.Cols != 2*dy.Cols || dsrc.Cols != src.Cols ||
		bias != nil && len(bias) != src.Cols || dbias != nil && len(dbias) != src.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.dy, l.src, l.bias = dsrc, dy, src, bias
	l.eachSummed(n, len(dbias), (*swigluBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
}

type swigluBackward[T kernel.Float] SwiGLU[T]

func (l *swigluBackward[T]) row(worker, i int, sum []T) {
	temp := l.stage.take(worker, SwiGLUStage(l.dy.Cols))
	kernel.SwiGLUBackRow(l.x, l.dst.Row(i), l.dy.Row(i), l.src.Row(i), l.bias, sum, temp)
}
