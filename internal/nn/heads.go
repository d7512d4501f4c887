package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Heads makes the bfloat16 operands of attention from the result of the multiply by q, k and v, in one pass: bias,
// QK-norm (see HeadNorm), rotation (see Rope), and the scale of the scores, which the queries carry.
//
// Formula: q' = rotate(norm(q + bias))/√D, k' = rotate(norm(k + bias)), v' = v + bias.
type Heads[T kernel.Float] struct {
	x                    *kernel.Exec
	stage                *Stage[T]
	sums                 *BlockSums[T]
	rope                 *Rope[T]
	heads, kvHeads, size int
	eps                  float64
	scale                T

	dst, src, dpart          kernel.Mat[T]
	rstd, bias, qGain, kGain []T
	pos                      []int32
	n                        int
	dbias                    bool
}

// HeadsStage is the width of the stage that Heads needs.
func HeadsStage(heads, kvHeads, size int) int { return (2*(heads+2*kvHeads) + 3*heads + 1) * size }

// HeadsSums is the width of the partial sums that Heads needs.
func HeadsSums(heads, kvHeads, size int) int { return (heads + 2*kvHeads + 2) * size }

// NewHeads returns the pass for heads query heads and kvHeads key and value heads of size channels; rope is nil without
// rotation.
func NewHeads[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], rope *Rope[T], heads, kvHeads, size int, eps float64) *Heads[T] {
	return &Heads[T]{x: x, stage: stage, sums: sums, rope: rope, heads: heads, kvHeads: kvHeads, size: size, eps: eps,
		scale: T(1 / math.Sqrt(float64(size)))}
}

// Forward overwrites dst (N, QKV) and, with QK-norm, saves rstd (N, H+KV). src (N, QKV); bias (QKV) or nil; qGain and
// kGain (D), or nil without QK-norm; pos (N).
func (l *Heads[T]) Forward(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	l.check(dst, rstd, src, bias, qGain, kGain, pos, n)
	l.dst, l.rstd, l.src, l.bias, l.qGain, l.kGain, l.pos = dst, rstd, src, bias, qGain, kGain, pos
	l.x.Pool().Do(n, rowGrain, (*headsForward[T])(l))
}

func (l *Heads[T]) check(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	width := (l.heads + 2*l.kvHeads) * l.size
	if dst.Cols != width || src.Cols != width && src.Cols != 0 || bias != nil && len(bias) != width || len(pos) < n || len(qGain) != len(kGain) ||
		qGain != nil && (len(qGain) != l.size || len(rstd) < n*(l.heads+l.kvHeads)) {
		panic("nn: heads: wrong shape")
	}
}

type headsForward[T kernel.Float] Heads[T]

func (l *headsForward[T]) Part(worker, lo, hi int) {
	temp := l.stage.take(worker, l.dst.Cols)
	normed := l.heads + l.kvHeads
	for i := lo; i < hi; i++ {
		all := load(l.x, l.src, i, temp)
		if l.bias != nil {
			kernel.Axpy(l.x, all, 1, l.bias)
		}
		for h := range normed {
			head := all[h*l.size : (h+1)*l.size]
			if l.qGain != nil {
				gain := l.qGain
				if h >= l.heads {
					gain = l.kGain
				}
				l.rstd[i*normed+h] = rmsNormRow(l.x, head, head, gain, l.eps)
			}
			if l.rope != nil {
				l.rope.turn(head, l.pos[i], false)
			}
		}
		q := all[:l.heads*l.size]
		kernel.Affine(l.x, q, q, l.scale, 0)
		if l.dst.H == nil {
			copy(row(l.dst, i), all)
		}
		write(l.x, l.dst, i, all)
	}
}

// Backward overwrites dsrc (N, QKV) and adds to dbias (QKV) unless it is nil and to dqGain and dkGain (D) where there
// is QK-norm. dpart (N, 3·H·D) holds the gradients of √D·q', k' and v', those of keys and values for each query head
// apart; rstd, src (read with QK-norm only), bias, gains and pos as in Forward.
//
// Numerics: the query heads of a key and value head are summed in order.
func (l *Heads[T]) Backward(dsrc kernel.Mat[T], dbias, dqGain, dkGain []T, dpart kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	l.check(dsrc, rstd, src, bias, qGain, kGain, pos, n)
	if dpart.Cols != 3*l.heads*l.size || dbias != nil && len(dbias) != dsrc.Cols || len(dqGain) != len(qGain) || len(dkGain) != len(kGain) {
		panic("nn: heads: wrong shape")
	}
	l.dst, l.dpart, l.rstd, l.src, l.bias, l.qGain, l.kGain, l.pos, l.n = dsrc, dpart, rstd, src, bias, qGain, kGain, pos, n
	l.dbias = dbias != nil
	l.x.Pool().Do(blocksOf(n), 1, (*headsBackward[T])(l))
	if l.dbias {
		l.sums.addTo(dbias, 0, n)
	}
	if qGain != nil {
		l.sums.addTo(dqGain, dsrc.Cols, n)
		l.sums.addTo(dkGain, dsrc.Cols+l.size, n)
	}
}

type headsBackward[T kernel.Float] Heads[T]

func (l *headsBackward[T]) Part(worker, lo, hi int) {
	width, d, normed, group := l.dst.Cols, l.size, l.heads+l.kvHeads, l.heads/l.kvHeads
	temp := l.stage.take(worker, 2*width+d+l.dpart.Cols)
	all, saved, g, parts := temp[:width], temp[width:2*width], temp[2*width:2*width+d], temp[2*width+d:]
	for b := lo; b < hi; b++ {
		sum, first, end := l.sums.block(b, l.n, width+2*d)
		for i := first; i < end; i++ {
			part := read(l.x, l.dpart, i, parts)
			copy(all, part[:l.heads*d])
			for kv := range 2 * l.kvHeads { // keys, then values
				to, from := all[(l.heads+kv)*d:(l.heads+kv+1)*d], part[l.heads*d+kv*group*d:]
				copy(to, from[:d])
				for j := 1; j < group; j++ {
					kernel.Axpy(l.x, to, 1, from[j*d:(j+1)*d])
				}
			}
			if l.rope != nil {
				for h := range normed {
					l.rope.turn(all[h*d:(h+1)*d], l.pos[i], true)
				}
			}
			if l.qGain != nil {
				src := biased(l.x, l.src, i, l.bias, saved)
				for h := range normed {
					gain, dgain := l.qGain, sum[width:width+d]
					if h >= l.heads {
						gain, dgain = l.kGain, sum[width+d:]
					}
					headNormRowBack(l.x, all[h*d:(h+1)*d], dgain, src[h*d:(h+1)*d], gain, g, l.rstd[i*normed+h])
				}
			}
			if l.dbias {
				kernel.Axpy(l.x, sum[:width], 1, all)
			}
			if l.dst.H == nil {
				copy(row(l.dst, i), all)
			}
			write(l.x, l.dst, i, all)
		}
	}
}
