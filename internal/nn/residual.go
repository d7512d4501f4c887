package nn

import "gimbal/internal/kernel"

// Residual adds the output of a branch, with its bias and dropout, to the residual stream.
//
// Formula: y = x + dropout(branch + bias).
type Residual[T kernel.Float] struct {
	x       *kernel.Exec
	stage   *Stage[T]
	sums    *BlockSums[T]
	width   int
	dropout Dropout[T]

	dst, src []T
	branch   kernel.Mat[T]
	bias     []T
	masks    Masks
	n        int
	dbias    bool
}

// NewResidual returns the sum over width channels; sums may be nil where Backward is not called.
func NewResidual[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], width int, dropout Dropout[T]) *Residual[T] {
	return &Residual[T]{x: x, stage: stage, sums: sums, width: width, dropout: dropout}
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

func (l *residualForward[T]) Part(worker, lo, hi int) {
	drop := l.dropout.active(l.masks)
	temp := l.stage.take(worker, l.width)
	for i := lo; i < hi; i++ {
		dst, src := l.dst[i*l.width:(i+1)*l.width], l.src[i*l.width:(i+1)*l.width]
		if l.branch.H != nil && !drop {
			kernel.AddRow(l.x, float32s(dst), float32s(src), row16(l.branch, i), float32s(l.bias), float32s(temp))
			continue
		}
		branch := read(l.x, l.branch, i, temp)
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

// Backward returns the gradient of branch+bias and adds its sum to dbias (C) unless that is nil. The gradient is
// dy (N, C) itself where nothing is dropped and full precision is asked for, else dbranch (N, C), which it overwrites.
// The gradient of src is dy.
func (l *Residual[T]) Backward(dbranch kernel.Mat[T], dbias, dy []T, masks Masks, n int) kernel.Mat[T] {
	if dbranch.Cols != l.width || len(dy) < n*l.width || dbias != nil && len(dbias) != l.width {
		panic("nn: residual: wrong shape")
	}
	if dbranch.H == nil && !l.dropout.active(masks) {
		dbranch = kernel.Mat[T]{F: dy, Rows: n, Cols: l.width, Stride: l.width}
		if dbias != nil {
			l.sums.Columns(dbias, dbranch, n)
		}
		return dbranch
	}
	l.branch, l.src, l.masks, l.n, l.dbias = dbranch, dy, masks, n, dbias != nil
	l.x.Pool().Do(blocksOf(n), 1, (*residualBackward[T])(l))
	if l.dbias {
		l.sums.addTo(dbias, 0, n)
	}
	return dbranch
}

type residualBackward[T kernel.Float] Residual[T]

func (l *residualBackward[T]) Part(worker, lo, hi int) {
	drop := l.dropout.active(l.masks)
	temp := l.stage.take(worker, l.width)
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, l.width)
		for i := first; i < end; i++ {
			dbranch := l.src[i*l.width : (i+1)*l.width]
			if drop {
				copied := target(l.branch, i, temp)
				copy(copied, dbranch)
				l.dropout.apply(copied, l.masks, i)
				dbranch = copied
			}
			if l.branch.H != nil && l.dbias {
				kernel.RoundSumRow(l.x, row16(l.branch, i), float32s(dbranch), float32s(sum))
				continue
			}
			if l.dbias {
				kernel.Axpy(l.x, sum, 1, dbranch)
			}
			write(l.x, l.branch, i, dbranch)
		}
	}
}
