package nn

import "gimbal/internal/kernel"

// SwiGLU gates one half of the hidden layer, its bias added, by the SiLU of the other.
//
// Formula: y = silu(gate)·up with (gate, up) = src + bias, silu(x) = x·σ(x), σ(x) = 1/(1+e^−x).
// Source: Shazeer 2020, arXiv:2002.05202.
type SwiGLU[T kernel.Float] struct {
	x            *kernel.Exec
	stage        *Stage[T]
	sums         *BlockSums[T]
	dst, dy, src kernel.Mat[T]
	bias         []T
	n            int
	dbias        bool
}

// SwiGLUStage is the width of the stage that a gate to width channels needs.
func SwiGLUStage(width int) int { return 5 * width }

// NewSwiGLU returns the gate; sums may be nil where Backward is not called.
func NewSwiGLU[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T]) *SwiGLU[T] {
	return &SwiGLU[T]{x: x, stage: stage, sums: sums}
}

// Forward overwrites dst (N, F). src (N, 2·F) holds gate, then up; bias (2·F) or nil.
func (l *SwiGLU[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	if src.Cols != 2*dst.Cols || bias != nil && len(bias) != src.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.src, l.bias = dst, src, bias
	l.x.Pool().Do(n, rowGrain, (*swigluForward[T])(l))
}

type swigluForward[T kernel.Float] SwiGLU[T]

func (l *swigluForward[T]) Part(worker, lo, hi int) {
	f := l.dst.Cols
	temp := l.stage.take(worker, 2*f)
	for i := lo; i < hi; i++ {
		if l.src.H != nil && l.dst.H != nil && l.bias == nil {
			kernel.SwiGLURow(l.x, row16(l.dst, i), row16(l.src, i), float32s(temp))
			continue
		}
		src := biased(l.x, l.src, i, l.bias, temp)
		dst := target(l.dst, i, temp)
		kernel.SiLUMul(l.x, dst, src[:f], src[f:])
		write(l.x, l.dst, i, dst)
	}
}

// Backward overwrites dsrc (N, 2·F) and adds to dbias (2·F) unless it is nil. dy (N, F); src and bias as in Forward.
//
// Formula: dup = dy·silu(gate), dgate = dy·up·σ·(1 + gate·(1−σ)).
func (l *SwiGLU[T]) Backward(dsrc kernel.Mat[T], dbias []T, dy, src kernel.Mat[T], bias []T, n int) {
	if src.Cols != 2*dy.Cols || dsrc.Cols != src.Cols || bias != nil && len(bias) != src.Cols || dbias != nil && len(dbias) != src.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.dy, l.src, l.bias, l.n, l.dbias = dsrc, dy, src, bias, n, dbias != nil
	l.x.Pool().Do(blocksOf(n), 1, (*swigluBackward[T])(l))
	if l.dbias {
		l.sums.addTo(dbias, 0, n)
	}
}

type swigluBackward[T kernel.Float] SwiGLU[T]

func (l *swigluBackward[T]) Part(worker, lo, hi int) {
	f := l.dy.Cols
	temp := l.stage.take(worker, 5*f)
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, 2*f)
		for i := first; i < end; i++ {
			if l.src.H != nil && l.dy.H != nil && l.dst.H != nil && l.bias == nil && !l.dbias {
				kernel.SwiGLUBackRow(l.x, row16(l.dst, i), row16(l.dy, i), row16(l.src, i), float32s(temp))
				continue
			}
			src := biased(l.x, l.src, i, l.bias, temp[:2*f])
			dy := read(l.x, l.dy, i, temp[4*f:])
			dsrc := target(l.dst, i, temp[2*f:4*f])
			kernel.SiLUMulBackward(l.x, dsrc[:f], dsrc[f:], dy, src[:f], src[f:])
			if l.dbias {
				kernel.Axpy(l.x, sum, 1, dsrc)
			}
			write(l.x, l.dst, i, dsrc)
		}
	}
}
