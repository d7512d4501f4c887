package nn

import (
	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Residual adds the output of a branch, with its bias, dropout and a factor, to the residual stream.
//
// Formula: y = x + factor·dropout(branch + bias).
type Residual[T kernel.Float] struct {
	rows[T]
	width   int
	factor  T
	dropout Dropout[T]

	dst, src []T
	branch   kernel.Mat[T]
	bias     []T
	masks    Masks
}

// NewResidual returns the sum over width channels; sums may be nil where Backward is not called.
func NewResidual[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int,
	factor float64, dropout Dropout[T]) *Residual[T] {
	return &Residual[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, width: width, factor: T(factor), dropout: dropout}
}

// Forward overwrites dst (N, C), which may be src. src (N, C); branch (N, C), which it overwrites; bias (C) or nil.
func (l *Residual[T]) Forward(dst, src []T, branch kernel.Mat[T], bias []T, masks Masks, n int) {
	require(branch.Cols == l.width && (bias == nil || len(bias) == l.width) &&
		len(dst) >= n*l.width && len(src) >= n*l.width, "nn: residual: wrong shape")
	l.dst, l.src, l.branch, l.bias, l.masks = dst, src, branch, bias, masks
	l.each(n, (*residualForward[T])(l))
}

type residualForward[T kernel.Float] Residual[T]

func (l *residualForward[T]) row(worker, i int, _ []T) {
	dst, src := l.dst[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width]
	branch, bias, temp := l.branch.Row(i), l.bias, l.stage.take(worker, l.width)
	if r := (*Residual[T])(l); r.changes(l.masks) {
		v := branch.Read(l.x, temp)
		if bias != nil {
			kernel.Axpy(l.x, v, 1, bias)
		}
		r.change(v, i)
		branch, bias = kernel.Row[T]{F: v}, nil
	}
	fused.Add(l.x, dst, src, branch, bias, temp)
}

// changes reports whether there is dropout or a factor.
func (l *Residual[T]) changes(masks Masks) bool { return l.factor != 1 || l.dropout.active(masks) }

// change applies both to the values of position i. It is its own gradient.
func (l *Residual[T]) change(v []T, i int) {
	if l.dropout.active(l.masks) {
		l.dropout.apply(v, l.masks, i)
	}
	if l.factor != 1 {
		kernel.Affine(l.x, v, v, l.factor, 0)
	}
}

// Backward returns the gradient of branch+bias and adds its sum to dbias (C) unless that is nil. In full precision
// without dropout and factor the gradient is dy (N, C) itself, else dbranch (N, C), which it overwrites. The gradient of src is
// dy.
func (l *Residual[T]) Backward(dbranch kernel.Mat[T], dbias, dy []T, masks Masks, n int) kernel.Mat[T] {
	require(dbranch.Cols == l.width && len(dy) >= n*l.width && (dbias == nil || len(dbias) == l.width),
		"nn: residual: wrong shape")
	if dbranch.H == nil && !l.changes(masks) {
		if dbranch = kernel.Dense(dy, n, l.width); dbias == nil {
			return dbranch
		}
	}
	l.branch, l.src, l.masks = dbranch, dy, masks
	l.eachSummed(n, len(dbias), (*residualBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
	return dbranch
}

type residualBackward[T kernel.Float] Residual[T]

func (l *residualBackward[T]) row(worker, i int, sum []T) {
	dst, d := l.branch.Row(i), l.src[i*l.width:(i+1)*l.width]
	if r := (*Residual[T])(l); r.changes(l.masks) {
		v := dst.Target(l.stage.take(worker, l.width))
		copy(v, d)
		r.change(v, i)
		d = v
	}
	fused.RoundSum(l.x, dst, d, sum)
}
