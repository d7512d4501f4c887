package nn

import (
	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Heads makes what attention reads from the result of the multiply by q, k and v, in one pass: it adds the bias, norms
// each head of queries and keys (QK-norm, all heads sharing one gain) or all heads together, rotates them (see
// RopeTables), and scales the queries.
//
// Formula: q' = scale·rotate(norm(q + bias)), k' = rotate(norm(k + bias)), v' = v + bias.
// Source: QK-norm: Henry et al. 2020, arXiv:2010.04245; the form with a gain is that of Qwen3.
type Heads[T kernel.Float] struct {
	rows[T]
	cos, sin             []T // (context, rotary/2)
	heads, kvHeads, size int
	rotary               int
	scale, eps           float64

	parts           [3]fused.Heads[T] // what is done to the heads of queries, keys and values
	at              [4]int            // where each begin
	dst, src, dpart kernel.Mat[T]
	rstd            []T
	pos             []int32
	dbias           bool // whether it is asked for
	group           int  // gradients of each head of keys and values in dpart
}

// HeadsStage is the width of the stage that Heads needs.
func HeadsStage(heads, kvHeads, size int) int { return (2*(heads+2*kvHeads) + 3*heads + 1) * size }

// HeadsSums is the width of the partial sums that Heads needs. gains is the number of gains of QK-norm.
func HeadsSums(heads, kvHeads, size, gains int) int { return (heads+2*kvHeads)*size + gains }

// NewHeads returns the pass for heads query heads and kvHeads key and value heads of size channels. scale is that of
// the queries, eps that of QK-norm. cos and sin are the tables of RopeTables for the first rotary channels of a head,
// or nil without rotation; sums may be nil where Backward is not called.
func NewHeads[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], cos, sin []T,
	heads, kvHeads, size, rotary int, scale, eps float64) *Heads[T] {
	hd, kd := heads*size, kvHeads*size
	return &Heads[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, cos: cos, sin: sin,
		heads: heads, kvHeads: kvHeads, size: size, rotary: rotary, scale: scale, eps: eps,
		at: [4]int{0, hd, hd + kd, hd + 2*kd}}
}

// Forward overwrites dst (N, QKV), which may be src (N, QKV), and with QK-norm saves rstd (N, H+KV). A dst of the
// queries and keys only leaves the values in src, where they get their bias. bias (QKV) or nil; qGain and kGain (D),
// or (H·D) and (KV·D) for a norm over all heads, or nil without QK-norm; pos (N).
func (l *Heads[T]) Forward(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	require(dst.Cols == l.at[3] || dst.Cols == l.at[2], "nn: heads: wrong shape")
	l.begin(dst, rstd, src, bias, qGain, kGain, pos, n)
	l.each(n, (*headsForward[T])(l))
}

// begin takes the arguments of both directions.
func (l *Heads[T]) begin(dst kernel.Mat[T], rstd []T, src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	width := l.at[3]
	require((src.Cols == width || src.Cols == 0) && (bias == nil || len(bias) == width) && len(pos) >= n &&
		(qGain == nil && kGain == nil || len(rstd) >= n*(l.heads+l.kvHeads) &&
			(len(qGain) == l.size && len(kGain) == l.size || len(qGain) == l.at[1] && len(kGain) == l.at[2]-l.at[1])),
		"nn: heads: wrong shape")
	l.dst, l.rstd, l.src, l.pos = dst, rstd, src, pos
	for p := range l.parts {
		l.parts[p] = fused.Heads[T]{Size: l.size, Rotary: l.rotary, Scale: 1, Eps: l.eps}
		if bias != nil {
			l.parts[p].Bias = bias[l.at[p]:l.at[p+1]]
		}
	}
	q, k := &l.parts[0], &l.parts[1]
	q.Scale, q.Gain, k.Gain = T(l.scale), qGain, kGain
	q.Cos, q.Sin, k.Cos, k.Sin = l.cos, l.sin, l.cos, l.sin
}

// stats returns what QK-norm saves of part p of row i, nil where it does not norm.
func (l *Heads[T]) stats(p, i int) []T {
	if l.parts[p].Gain == nil {
		return nil
	}
	return l.rstd[i*(l.heads+l.kvHeads)+l.at[p]/l.size:]
}

type headsForward[T kernel.Float] Heads[T]

func (l *headsForward[T]) row(worker, i int, _ []T) {
	dst, src, temp := l.dst.Row(i), l.src.Row(i), l.stage.take(worker, l.at[3])
	for p := range l.parts {
		lo, hi := l.at[p], l.at[p+1]
		if hi > l.dst.Cols {
			dst = src
		}
		l.parts[p].Forward(l.x, int(l.pos[i]), dst.Slice(lo, hi), src.Slice(lo, hi), (*Heads[T])(l).stats(p, i), temp)
	}
}

// Backward overwrites dsrc (N, QKV) and adds to dbias (QKV) unless it is nil and to dqGain and dkGain where there is
// QK-norm. dpart holds the gradients of q'/scale, k' and v': (N, QKV), which dsrc may be, or (N, 3·H·D) with those
// of keys and values for each query head apart. rstd, src (read with QK-norm only), bias, gains and pos as in
// Forward.
//
// Numerics: the query heads of a key and value head are summed in order.
func (l *Heads[T]) Backward(dsrc kernel.Mat[T], dbias, dqGain, dkGain []T, dpart kernel.Mat[T], rstd []T,
	src kernel.Mat[T], bias, qGain, kGain []T, pos []int32, n int) {
	l.begin(dsrc, rstd, src, bias, qGain, kGain, pos, n)
	width := l.at[3]
	require(dsrc.Cols == width && (dpart.Cols == width || dpart.Cols == 3*l.at[1]) &&
		(dbias == nil || len(dbias) == width) && len(dqGain) == len(qGain) && len(dkGain) == len(kGain),
		"nn: heads: wrong shape")
	if l.group = 1; dpart.Cols != width {
		l.group = l.heads / l.kvHeads
	}
	l.dpart, l.dbias = dpart, dbias != nil
	l.eachSummed(n, width+len(qGain)+len(kGain), (*headsBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
	l.sums.addTo(dqGain, width, n)
	l.sums.addTo(dkGain, width+len(qGain), n)
}

type headsBackward[T kernel.Float] Heads[T]

// row's sums are those of dbias, dqGain and dkGain.
func (l *headsBackward[T]) row(worker, i int, sums []T) {
	dst, dpart := l.dst.Row(i), l.dpart.Row(i)
	temp := l.stage.take(worker, HeadsStage(l.heads, l.kvHeads, l.size))
	group, from := 1, 0 // of the part in dpart
	gains := sums[l.at[3]:]
	for p := range l.parts {
		lo, hi := l.at[p], l.at[p+1]
		dy := dpart.Slice(from, from+group*(hi-lo))
		var src kernel.Row[T]
		var dgain, dbias []T
		if l.parts[p].Gain != nil {
			src, dgain = l.src.Row(i).Slice(lo, hi), gains[:len(l.parts[p].Gain)]
			gains = gains[len(dgain):]
		}
		if l.dbias {
			dbias = sums[lo:hi]
		}
		l.parts[p].Backward(l.x, int(l.pos[i]), dst.Slice(lo, hi), dy, group, src, (*Heads[T])(l).stats(p, i),
			dgain, dbias, temp)
		group, from = l.group, from+group*(hi-lo)
	}
}
