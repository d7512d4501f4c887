package nn

import "gimbal/internal/kernel"

// SwiGLU gates one half of the hidden layer by the SiLU of the other.
//
// Formula: y = silu(gate)·up, silu(x) = x·σ(x), σ(x) = 1/(1+e^−x).
// Source: Shazeer 2020, arXiv:2002.05202.
type SwiGLU[T kernel.Float] struct {
	x            *kernel.Exec
	dst, dy, src kernel.Mat[T]
}

// NewSwiGLU returns the gate.
func NewSwiGLU[T kernel.Float](x *kernel.Exec) *SwiGLU[T] { return &SwiGLU[T]{x: x} }

// Forward overwrites dst (N, F). src (N, 2·F) holds gate, then up.
func (l *SwiGLU[T]) Forward(dst, src kernel.Mat[T], n int) {
	if src.Cols != 2*dst.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.src = dst, src
	l.x.Pool().Do(n, rowGrain, (*swigluForward[T])(l))
}

type swigluForward[T kernel.Float] SwiGLU[T]

func (l *swigluForward[T]) Part(_, lo, hi int) {
	f := l.dst.Cols
	for i := lo; i < hi; i++ {
		src := row(l.src, i)
		kernel.SiLUMul(l.x, row(l.dst, i), src[:f], src[f:])
	}
}

// Backward overwrites dsrc (N, 2·F). dy (N, F), src (N, 2·F) as in Forward.
//
// Formula: dup = dy·silu(gate), dgate = dy·up·σ·(1 + gate·(1−σ)).
func (l *SwiGLU[T]) Backward(dsrc, dy, src kernel.Mat[T], n int) {
	if src.Cols != 2*dy.Cols || dsrc.Cols != src.Cols {
		panic("nn: swiglu: wrong shape")
	}
	l.dst, l.dy, l.src = dsrc, dy, src
	l.x.Pool().Do(n, rowGrain, (*swigluBackward[T])(l))
}

type swigluBackward[T kernel.Float] SwiGLU[T]

func (l *swigluBackward[T]) Part(_, lo, hi int) {
	f := l.dy.Cols
	for i := lo; i < hi; i++ {
		src, dsrc := row(l.src, i), row(l.dst, i)
		kernel.SiLUMulBackward(l.x, dsrc[:f], dsrc[f:], row(l.dy, i), src[:f], src[f:])
	}
}
