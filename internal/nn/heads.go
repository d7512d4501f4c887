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
	rows[T]
	rope                 *Rope[T]
	heads, kvHeads, size int
	eps                  float64

	parts           [3]kernel.HeadsRow[T] // what is done to the heads of queries, keys and values
	at              [4]int                // where each begin
	dst, src, dpart kernel.Mat[T]
	rstd            []T
	pos             []int32
	dbias           bool // whether it is asked for
}

// HeadsStage is the width of the stage that Heads needs.
func HeadsStage(heads, kvHeads, size int) int { return (2*(heads+2*kvHeads) + 3*heads + 1) * size }

// HeadsSums is the width of the partial sums that Heads needs.
func HeadsSums(heads, kvHeads, size int) int { return (heads + 2*kvHeads + 2) * size }

// NewHeads returns the pass for heads query heads and kvHeads key and value heads of size channels; rope is nil without
// rotation.
func NewHeads[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], rope *Rope[T],
	heads, kvHeads, size int, eps float64) *Heads[T] {
	hd, kd := heads*size, kvHeads*size
	return &Heads[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, rope: rope,
		heads: heads, kvHeads: kvHeads, size: size, eps: eps, at: [4]int{0, hd, hd + kd, hd + 2*kd}}
}

// Forward overwrites dst (N, QKV) and, with QK-norm, saves rstd (N, H+KV). src (N, QKV); bias (QKV) or nil; qGain and
// kGain (D), or nil without QK-norm; pos (N).
func (l *Heads[T]) Forward(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	l.begin(dst, rstd, src, bias, qGain, kGain, pos, n)
	l.each(n, (*headsForward[T])(l))
}

// begin takes the arguments of both directions.
func (l *Heads[T]) begin(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	width := (l.heads + 2*l.kvHeads) * l.size
	if dst.Cols != width || src.Cols != width && src.Cols != 0 || bias != nil && len(bias) != width || len(pos) < n ||
		len(qGain) != len(kGain) || qGain != nil && (len(qGain) != l.size || len(rstd) < n*(l.heads+l.kvHeads)) {
		panic("nn: heads: wrong shape")
	}
	l.dst, l.rstd, l.src, l.pos = dst, rstd, src, pos
	for p := range l.parts {
		l.parts[p] = kernel.HeadsRow[T]{Size: l.size, Scale: 1, Eps: l.eps}
		if bias != nil {
			l.parts[p].Bias = bias[l.at[p]:l.at[p+1]]
		}
	}
	l.parts[0].Scale = T(1 / math.Sqrt(float64(l.size)))
	l.parts[0].Gain, l.parts[1].Gain = qGain, kGain
}

// part returns what is done to part p of row i, and what QK-norm saves of it, nil without it.
func (l *Heads[T]) part(p, i int) (row kernel.HeadsRow[T], rstd []T) {
	row = l.parts[p]
	if l.rope != nil && p < 2 {
		row.Cos, row.Sin = l.rope.angles(l.pos[i])
	}
	if row.Gain != nil {
		rstd = l.rstd[i*(l.heads+l.kvHeads)+l.at[p]/l.size:]
	}
	return row, rstd
}

type headsForward[T kernel.Float] Heads[T]

func (l *headsForward[T]) row(worker, i int, _ []T) {
	dst, src, temp := l.dst.Row(i), l.src.Row(i), l.stage.take(worker, l.dst.Cols)
	for p := range l.parts {
		row, rstd := (*Heads[T])(l).part(p, i)
		lo, hi := l.at[p], l.at[p+1]
		row.Forward(l.x, dst.Slice(lo, hi), src.Slice(lo, hi), rstd, temp)
	}
}

// Backward overwrites dsrc (N, QKV) and adds to dbias (QKV) unless it is nil and to dqGain and dkGain (D) where there
// is QK-norm. dpart (N, 3·H·D) holds the gradients of √D·q', k' and v', those of keys and values for each query head
// apart; rstd, src (read with QK-norm only), bias, gains and pos as in Forward.
//
// Numerics: the query heads of a key and value head are summed in order.
func (l *Heads[T]) Backward(dsrc kernel.Mat[T], dbias, dqGain, dkGain []T, dpart kernel.Mat[T], rstd []T,
	src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	l.begin(dsrc, rstd, src, bias, qGain, kGain, pos, n)
	width := dsrc.Cols
	if dpart.Cols != 3*l.heads*l.size || dbias != nil && len(dbias) != width ||
		len(dqGain) != len(qGain) || len(dkGain) != len(kGain) {
		panic("nn: heads: wrong shape")
	}
	l.dpart, l.dbias = dpart, dbias != nil
	l.eachSummed(n, width+2*l.size, (*headsBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
	l.sums.addTo(dqGain, width, n)
	l.sums.addTo(dkGain, width+l.size, n)
}

type headsBackward[T kernel.Float] Heads[T]

// row's sums are those of dbias, dqGain and dkGain.
func (l *headsBackward[T]) row(worker, i int, sums []T) {
	width, hd := l.dst.Cols, l.heads*l.size
	dst, dpart, temp := l.dst.Row(i), l.dpart.Row(i), l.stage.take(worker, 2*width+l.size+l.dpart.Cols)
	for p := range l.parts {
		row, rstd := (*Heads[T])(l).part(p, i)
		lo, hi := l.at[p], l.at[p+1]
		var src kernel.Row[T]
		var dgain, dbias []T
		if row.Gain != nil {
			src, dgain = l.src.Row(i).Slice(lo, hi), sums[width+p*l.size:][:l.size]
		}
		if l.dbias {
			dbias = sums[lo:hi]
		}
		group := 1 // gradients of each head
		if p > 0 {
			group = l.heads / l.kvHeads
		}
		row.Backward(l.x, dst.Slice(lo, hi), dpart.Slice(p*hd, (p+1)*hd), group, src, rstd, dgain, dbias, temp)
	}
}
