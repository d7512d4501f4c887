package nn

import "gimbal/internal/kernel"

// Residual adds the output of a branch, with its bias and dropout, to the residual stream.
//
// Formula: y = x + dropout(branch + bias).
type Residual[T kernel.Float] struct {
	x       *kernel.Exec
	width   int
	dropout Dropout[T]

	dst, src []T
	branch   kernel.Mat[T]
	bias     []T
	masks    Masks
}

// NewResidual returns the sum over width channels.
func NewResidual[T kernel.Float](x *kernel.Exec, width int, dropout Dropout[T]) *Residual[T] {
	return &Residual[T]{x: x, width: width, dropout: dropout}
}

// Forward overwrites dst (N, C), which may be src. src (N, C); branch (N, C) is used up; bias (C) or nil.
func (l *Residual[T]) Forward(dst, src []T, branch kernel.Mat[T], bias []T, masks Masks, n int) {
	if branch.Cols != l.width || bias != nil && len(bias) != l.width || len(dst) < n*l.width || len(src) < n*l.width {
		panic("nn: residual: wrong shape")
	}
	l.dst, l.src, l.branch, l.bias, l.masks = dst, src, branch, bias, masks
	l.x.Pool().Do(n, rowGrain, (*residualForward[T])(l))
}

type residualForward[T kernel.Float] Residual[T]

func (l *residualForward[T]) Part(_, lo, hi int) {
	drop := l.dropout.active(l.masks)
	for i := lo; i < hi; i++ {
		branch, dst, src := row(l.branch, i), l.dst[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width]
		if l.bias != nil {
			kernel.Axpy(l.x, branch, 1, l.bias)
		}
		if drop {
			l.dropout.apply(branch, l.masks, i)
		}
		if &dst[0] != &src[0] {
			copy(dst, src)
		}
		kernel.Axpy(l.x, dst, 1, branch)
	}
}

// Backward returns the gradient of branch+bias: dy (N, C) itself where nothing is dropped, else dbranch (N, C), which
// it overwrites. The gradient of src is dy.
func (l *Residual[T]) Backward(dbranch kernel.Mat[T], dy []T, masks Masks, n int) kernel.Mat[T] {
	if dbranch.Cols != l.width || len(dy) < n*l.width {
		panic("nn: residual: wrong shape")
	}
	if !l.dropout.active(masks) {
		return kernel.Mat[T]{F: dy, Rows: n, Cols: l.width, Stride: l.width}
	}
	l.branch, l.src, l.masks = dbranch, dy, masks
	l.x.Pool().Do(n, rowGrain, (*residualBackward[T])(l))
	return dbranch
}

type residualBackward[T kernel.Float] Residual[T]

func (l *residualBackward[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		dbranch := row(l.branch, i)
		copy(dbranch, l.src[i*l.width:(i+1)*l.width])
		l.dropout.apply(dbranch, l.masks, i)
	}
}
