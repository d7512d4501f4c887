package nn

import "gimbal/internal/kernel"

// GELU in the form with the hyperbolic tangent (gelu_new of Hugging Face, the one of GPT-2).
//
// Formula: y = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
type GELU[T kernel.Float] struct {
	x        *kernel.Exec
	dst, src kernel.Mat[T]
}

// NewGELU returns the activation.
func NewGELU[T kernel.Float](x *kernel.Exec) *GELU[T] { return &GELU[T]{x: x} }

// Forward overwrites dst (N, F). src (N, F).
func (l *GELU[T]) Forward(dst, src kernel.Mat[T], n int) {
	if dst.Cols != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.src = dst, src
	l.x.Pool().Do(n, rowGrain, (*geluForward[T])(l))
}

type geluForward[T kernel.Float] GELU[T]

func (l *geluForward[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		kernel.GELU(l.x, row(l.dst, i), row(l.src, i))
	}
}

// Backward turns dy (N, F) into the gradient of the input in place. src (N, F) as in Forward.
func (l *GELU[T]) Backward(dy, src kernel.Mat[T], n int) {
	if dy.Cols != src.Cols {
		panic("nn: gelu: wrong shape")
	}
	l.dst, l.src = dy, src
	l.x.Pool().Do(n, rowGrain, (*geluBackward[T])(l))
}

type geluBackward[T kernel.Float] GELU[T]

func (l *geluBackward[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		kernel.GELUBackward(l.x, row(l.dst, i), row(l.dst, i), row(l.src, i))
	}
}
