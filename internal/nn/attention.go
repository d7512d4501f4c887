package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Attention is causal grouped-query attention inside spans. It works in blocks, so that (T, T) is never stored: 64
// queries of one head at a time are multiplied by keys 0 to the end of the block.
//
// Formula: o_i = Σ_{j<=i} p_ij·v_j with p_i = softmax(q_i·k_j/√D) or what Scores says, query head h reading key and
// value head h·KV/H.
// Source: blocking and recomputation as in FlashAttention, Dao et al. 2022, arXiv:2205.14135, with whole rows of
// scores instead of a running rescale.
//
// The bounds of the loops make it causal. Keys after the block are never read. Inside the diagonal block only entries
// j <= i enter the maximum, the exponential, the sum and the gradient; the others are zeros in the multiplies. So a
// position's bits do not depend on later ones, except that a NaN or infinity reaches back, times zero, inside its
// block.
type Attention[T kernel.Float] struct {
	spans
	Scores
	scale   T
	scratch []T // (workers, 2, queryRows, context)

	out, q, k, v     kernel.Mat[T]
	dout, dq, dk, dv kernel.Mat[T]
	lse              []T

	// For Cached, which appends the keys and values in dk and dv.
	runs                 []Run
	keyCache, valueCache []T
	capacity             int
}

// AttentionLen is the number of elements of scratch that NewAttention needs.
func AttentionLen(workers, context int) int { return workers * 2 * queryRows * context }

// NewAttention returns attention of heads query heads over kvHeads key and value heads of size channels, for spans of
// at most context positions. scratch has AttentionLen(x.Workers(), context) elements.
func NewAttention[T kernel.Float](x *kernel.Exec, heads, kvHeads, size, context int, scores Scores,
	scratch []T) *Attention[T] {
	require(heads%kvHeads == 0 && len(scratch) == AttentionLen(x.Workers(), context), "nn: attention: wrong shape")
	return &Attention[T]{spans: spans{x: x, heads: heads, kvHeads: kvHeads, size: size, context: context},
		Scores: scores, scale: T(scores.Scale), scratch: scratch}
}

// Forward overwrites out (N, H·D) and saves lse (N, H), the logarithm of each row's sum of exponentials.
// q (N, H·D), k and v (N, KV·D); bounds (S+1).
func (l *Attention[T]) Forward(out kernel.Mat[T], lse []T, q, k, v kernel.Mat[T], bounds []int32) {
	l.begin(out, lse, q, k, v, bounds)
	l.eachBlock(bounds, (*attentionForward[T])(l))
}

// begin takes the arguments of both directions.
func (l *Attention[T]) begin(out kernel.Mat[T], lse []T, q, k, v kernel.Mat[T], bounds []int32) {
	l.check(out.Cols, q.Cols, k.Cols, v.Cols, len(lse), bounds)
	l.out, l.lse, l.q, l.k, l.v = out, lse, q, k, v
}

type attentionForward[T kernel.Float] Attention[T]

func (l *attentionForward[T]) attend(worker, first, _, h, q0, q1 int) {
	g, k0 := h/(l.heads/l.kvHeads), l.first(q0)
	q := l.q.F[(first+q0)*l.q.Stride+h*l.size:]
	k, v := l.k.F[(first+k0)*l.k.Stride+g*l.size:], l.v.F[(first+k0)*l.v.Stride+g*l.size:]
	out := l.out.F[(first+q0)*l.out.Stride+h*l.size:]
	p := l.scratch[worker*2*queryRows*l.context:][:queryRows*l.context]
	kernel.Gemm(l.x, worker, false, true, q1-q0, q1-k0, l.size,
		l.scale, q, l.q.Stride, k, l.k.Stride, 0, p, l.context)
	lse := l.lse[(first+q0)*l.heads+h:]
	(*Attention[T])(l).softmaxValues(worker, out, l.out.Stride, lse, p, v, k0, q1, q0, q1-q0, 1)
}

// softmaxValues turns the scores p (rows, context) of a block of queries for the keys [k0, k1) into probabilities: row
// i is that of query q0+i·step. It overwrites the block's rows of out, ldo apart, by the sums of v, the values from k0
// on, with these probabilities as weights, and the block's rows of lse unless that is nil.
func (l *Attention[T]) softmaxValues(worker int, out []T, ldo int, lse, p, v []T, k0, k1, q0, rows, step int) {
	var inverse [queryRows]T
	keys := k1 - k0
	for i := range rows {
		q, row := q0+i*step, p[i*l.context:i*l.context+keys]
		from, end := l.first(q)-k0, q+1-k0
		allowed := row[from:end]
		softCap(allowed, l.Cap)
		top := kernel.Max(l.x, allowed)
		sum := kernel.ExpSub(l.x, allowed, allowed, top)
		clear(row[:from])
		clear(row[end:])
		inverse[i] = 1 / sum
		if lse != nil {
			lse[i*l.heads] = top + T(math.Log(float64(sum)))
		}
	}
	kernel.Gemm(l.x, worker, false, false, rows, l.size, keys, 1, p, l.context, v, l.v.Stride, 0, out, ldo)
	for i := range rows {
		o := out[i*ldo : i*ldo+l.size]
		kernel.Affine(l.x, o, o, inverse[i], 0)
	}
}

// Backward overwrites dq (N, H·D), dk and dv (N, KV·D). dout (N, H·D); out, lse, q, k, v and bounds as in Forward.
//
// Formula: with p recomputed from lse and d_i = do_i·o_i, ds_ij = p_ij·(do_i·v_j − d_i), times 1 − (s_ij/Cap)² where
// scores are capped, dv_j = Σ p_ij·do_i, dq_i = Σ ds_ij·k_j/√D, dk_j = Σ ds_ij·q_i/√D.
func (l *Attention[T]) Backward(dq, dk, dv, dout, out kernel.Mat[T], lse []T, q, k, v kernel.Mat[T], bounds []int32) {
	l.begin(out, lse, q, k, v, bounds)
	require(dq.Cols == q.Cols && dk.Cols == k.Cols && dv.Cols == v.Cols && dout.Cols == out.Cols,
		"nn: attention: wrong shape")
	l.dq, l.dk, l.dv, l.dout = dq, dk, dv, dout
	l.eachSpan(bounds, l.kvHeads, (*attentionBackward[T])(l))
}

type attentionBackward[T kernel.Float] Attention[T]

// attend sums dk and dv of one key and value head over the queries of a span.
func (l *attentionBackward[T]) attend(worker, first, n, g, _, _ int) {
	d, group := l.size, l.heads/l.kvHeads
	k, v := l.k.F[first*l.k.Stride+g*d:], l.v.F[first*l.v.Stride+g*d:]
	dk, dv := l.dk.F[first*l.dk.Stride+g*d:], l.dv.F[first*l.dv.Stride+g*d:]
	for j := range n {
		clear(dk[j*l.dk.Stride : j*l.dk.Stride+d])
		clear(dv[j*l.dv.Stride : j*l.dv.Stride+d])
	}
	p := l.scratch[worker*2*queryRows*l.context:][:queryRows*l.context]
	ds := l.scratch[(worker*2+1)*queryRows*l.context:][:queryRows*l.context]
	for h := g * group; h < (g+1)*group; h++ {
		for q0 := 0; q0 < n; q0 += queryRows {
			q1 := min(n, q0+queryRows)
			rows, at, k0 := q1-q0, first+q0, l.first(q0)
			keys, k, v := q1-k0, k[k0*l.k.Stride:], v[k0*l.v.Stride:]
			dk, dv := dk[k0*l.dk.Stride:], dv[k0*l.dv.Stride:]
			q := l.q.F[at*l.q.Stride+h*d:]
			out, dout := l.out.F[at*l.out.Stride+h*d:], l.dout.F[at*l.dout.Stride+h*d:]
			kernel.Gemm(l.x, worker, false, true, rows, keys, d,
				l.scale, q, l.q.Stride, k, l.k.Stride, 0, p, l.context)
			kernel.Gemm(l.x, worker, false, true, rows, keys, d,
				1, dout, l.dout.Stride, v, l.v.Stride, 0, ds, l.context)
			for i := range rows {
				from, end := l.first(q0+i)-k0, q0+i+1-k0
				pi, dsi := p[i*l.context:i*l.context+keys], ds[i*l.context:i*l.context+keys]
				di := kernel.Dot(l.x, dout[i*l.dout.Stride:i*l.dout.Stride+d], out[i*l.out.Stride:i*l.out.Stride+d])
				kernel.Affine(l.x, dsi[from:end], dsi[from:end], 1, -di)
				if softCap(pi[from:end], l.Cap); l.Cap > 0 {
					for j := from; j < end; j++ {
						dsi[j] *= T(slope(float64(pi[j]), l.Cap))
					}
				}
				kernel.ExpSub(l.x, pi[from:end], pi[from:end], l.lse[(at+i)*l.heads+h])
				kernel.Mul(l.x, dsi[from:end], dsi[from:end], pi[from:end])
				for _, row := range [][]T{pi, dsi} {
					clear(row[:from])
					clear(row[end:])
				}
			}
			kernel.Gemm(l.x, worker, true, false, keys, d, rows,
				1, p, l.context, dout, l.dout.Stride, 1, dv, l.dv.Stride)
			kernel.Gemm(l.x, worker, false, false, rows, d, keys,
				l.scale, ds, l.context, k, l.k.Stride, 0, l.dq.F[at*l.dq.Stride+h*d:], l.dq.Stride)
			kernel.Gemm(l.x, worker, true, false, keys, d, rows,
				l.scale, ds, l.context, q, l.q.Stride, 1, dk, l.dk.Stride)
		}
	}
}
