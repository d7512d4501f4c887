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
	if l.dst.H != nil {
		(*Heads[T])(l).forward16(worker, lo, hi)
		return
	}
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
		copy(row(l.dst, i), all)
	}
}

// rows16 says what is done to the heads of a row of bfloat16, those of queries, keys and values, and where each begin.
func (l *Heads[T]) rows16() (rows [3]kernel.HeadsRow, at [4]int) {
	hd, kd := l.heads*l.size, l.kvHeads*l.size
	at = [4]int{0, hd, hd + kd, hd + 2*kd}
	for p := range rows {
		rows[p] = kernel.HeadsRow{Size: l.size, Scale: 1, Eps: l.eps}
		if l.bias != nil {
			rows[p].Bias = float32s(l.bias[at[p]:at[p+1]])
		}
	}
	rows[0].Scale = float32(l.scale)
	if l.qGain != nil {
		rows[0].Gain, rows[1].Gain = float32s(l.qGain), float32s(l.kGain)
	}
	return rows, at
}

// turn16 sets the rotation of row i's queries and keys.
func (l *Heads[T]) turn16(rows *[3]kernel.HeadsRow, i int) {
	if l.rope != nil {
		cos, sin := l.rope.angles(l.pos[i])
		for p := range 2 {
			rows[p].Cos, rows[p].Sin = float32s(cos), float32s(sin)
		}
	}
}

// rstd16 is what QK-norm saves of head h on of row i, nil without it.
func (l *Heads[T]) rstd16(i, h int) []float32 {
	if l.qGain == nil || h == l.heads+l.kvHeads {
		return nil
	}
	return float32s(l.rstd[i*(l.heads+l.kvHeads)+h:])
}

func (l *Heads[T]) forward16(worker, lo, hi int) {
	temp := float32s(l.stage.take(worker, l.dst.Cols))
	rows, at := l.rows16()
	for i := lo; i < hi; i++ {
		dst, src := row16(l.dst, i), row16(l.src, i)
		l.turn16(&rows, i)
		for p := range rows {
			rows[p].Forward(l.x, dst[at[p]:at[p+1]], src[at[p]:at[p+1]], l.rstd16(i, at[p]/l.size), temp)
		}
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
	if l.dst.H != nil {
		(*Heads[T])(l).backward16(worker, lo, hi)
		return
	}
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
			copy(row(l.dst, i), all)
		}
	}
}

func (l *Heads[T]) backward16(worker, lo, hi int) {
	width, hd, group := l.dst.Cols, l.heads*l.size, l.heads/l.kvHeads
	temp := float32s(l.stage.take(worker, 2*width+l.size+l.dpart.Cols))
	rows, at := l.rows16()
	for b := lo; b < hi; b++ {
		partial, first, end := l.sums.block(b, l.n, width+2*l.size)
		sums := float32s(partial)
		for i := first; i < end; i++ {
			dst, part := row16(l.dst, i), row16(l.dpart, i)
			l.turn16(&rows, i)
			for p := range rows {
				parts, dgain := group, sums[width:]
				var src []uint16
				var sum []float32
				switch p {
				case 0:
					parts = 1
				case 1:
					dgain = sums[width+l.size:]
				}
				if rows[p].Gain != nil {
					src = row16(l.src, i)[at[p]:]
				}
				if l.dbias {
					sum = sums[at[p]:at[p+1]]
				}
				rows[p].Backward(l.x, dst[at[p]:at[p+1]], part[p*hd:(p+1)*hd], parts, src, l.rstd16(i, at[p]/l.size), dgain, sum, temp)
			}
		}
	}
}
