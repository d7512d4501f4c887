package nn

import (
	"math"

	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Attention16 is Attention on bfloat16 operands: the same blocks, bounds and formulas, with its multiplies on the
// matrix units. Scores, softmax and sums are float32; probabilities and the gradients of scores are rounded to
// bfloat16, to nearest, before they are multiplied. The queries carry the scale of the scores (see Heads).
//
// In the forward pass the unit of work is a block of queries; a worker packs the keys and values of a span and head
// once. In the backward pass it is a query head of a span.
type Attention16 struct {
	spans
	Scores
	workers []attention16Worker

	out, qkv, dout, dpart kernel.Mat[float32]
	lse                   []float32
}

// attention16Worker is one worker's memory. The forward and the backward pass share what has the same shape.
type attention16Worker struct {
	packed                 int       // first position·KV + head of the keys and values in kT and vPair, -1 for none
	kT, vPair              []uint16  // packed keys and values of a span, for the forward pass
	qT, qPair, doT, doPair []uint16  // packed queries of a span and the gradients of their outputs
	kPair                  []uint16  // packed block of keys
	p, ds                  []uint16  // (queryRows, stride): probabilities and gradients of scores
	score, dscore          []float32 // (queryRows, stride): scores, gradients of probabilities
	dq                     []float32 // (context, D)
	o                      []float32 // (queryRows, D)
	lse, delta             []float32 // (context)
}

// attention16Len returns the lengths of the packed forms of a span and of a block, of a row of scores, and of one
// number for each position.
func attention16Len(context, size int) (spanPack, blockPack, stride, rows int) {
	_, stride = kernel.OperandLen(1, context)
	return kernel.PackLen(context, size), kernel.PackLen(queryRows, size), stride, stageWidth(context)
}

// Attention16Len returns the numbers of elements of scratch that NewAttention16 needs.
func Attention16Len(workers, context, size int) (halves, floats int) {
	span, block, stride, rows := attention16Len(context, size)
	halves = 4*span + block + 2*queryRows*stride
	floats = 2*queryRows*stride + rows*size + 2*queryRows*size + 2*rows
	return workers * halves, workers * floats
}

// NewAttention16 returns attention of heads query heads over kvHeads key and value heads of size channels, for spans of
// at most context positions. halves and floats have the lengths that Attention16Len gives for x.Workers().
func NewAttention16(x *kernel.Exec, heads, kvHeads, size, context int, scores Scores, halves []uint16,
	floats []float32) *Attention16 {
	h, f := Attention16Len(x.Workers(), context, size)
	require(heads%kvHeads == 0 && len(halves) == h && len(floats) == f, "nn: attention: wrong shape")
	l := &Attention16{spans: spans{x: x, heads: heads, kvHeads: kvHeads, size: size, context: context},
		Scores: scores, workers: make([]attention16Worker, x.Workers())}
	takeHalves := func(n int) (s []uint16) {
		s, halves = halves[:n:n], halves[n:]
		return s
	}
	takeFloats := func(n int) (s []float32) {
		s, floats = floats[:n:n], floats[n:]
		return s
	}
	span, block, stride, rows := attention16Len(context, size)
	for i := range l.workers {
		w := &l.workers[i]
		for _, s := range []*[]uint16{&w.qT, &w.qPair, &w.doT, &w.doPair} {
			*s = takeHalves(span)
		}
		w.kT, w.vPair = w.qT, w.qPair
		w.kPair = takeHalves(block)
		w.p, w.ds = takeHalves(queryRows*stride), takeHalves(queryRows*stride)
		w.score, w.dscore = takeFloats(queryRows*stride), takeFloats(queryRows*stride)
		w.dq, w.o = takeFloats(rows*size), takeFloats(2*queryRows*size)
		w.lse, w.delta = takeFloats(rows), takeFloats(rows)
	}
	return l
}

// Forward overwrites out (N, H·D) and saves lse (N, H). qkv (N, QKV) holds the operands that Heads makes; bounds (S+1).
func (l *Attention16) Forward(out kernel.Mat[float32], lse []float32, qkv kernel.Mat[float32], bounds []int32) {
	l.begin(out, lse, qkv, bounds)
	for i := range l.workers {
		l.workers[i].packed = -1
	}
	l.eachBlock(bounds, (*attention16Forward)(l))
}

// begin takes the arguments of both directions.
func (l *Attention16) begin(out kernel.Mat[float32], lse []float32, qkv kernel.Mat[float32], bounds []int32) {
	hd, kd := l.heads*l.size, l.kvHeads*l.size
	require(qkv.Cols == hd+2*kd, "nn: attention: wrong shape")
	l.check(out.Cols, hd, kd, kd, len(lse), bounds)
	l.out, l.lse, l.qkv = out, lse, qkv
}

// queries returns the rows of query head h from position first on; keys and values return those of head g.
func (l *Attention16) queries(first, h int) []uint16 { return l.qkv.H[first*l.qkv.Stride+h*l.size:] }
func (l *Attention16) keys(first, g int) []uint16    { return l.queries(first, l.heads+g) }
func (l *Attention16) values(first, g int) []uint16  { return l.keys(first, l.kvHeads+g) }

// dense is a matrix of float32 rows for a multiply to write.
func dense(f []float32, rows, cols, stride int) kernel.Mat[float32] {
	return kernel.Mat[float32]{F: f, Rows: rows, Cols: cols, Stride: stride}
}

// mulTerms multiplies by terms [from, from+k) of a packed matrix (terms, D). from is a multiple of 32. A block of 32
// columns of the packed form holds the terms one after the other, so neighbouring terms are a packed matrix, too.
func (l *Attention16) mulTerms(worker int, dst kernel.Mat[float32], a []uint16, lda int, packed []uint16,
	terms, m, from, k int) {
	n, block := l.size, kernel.PackLen(terms, 32)
	for j := 0; j < n; j += 32 {
		end := min(j+32, n)
		kernel.MulPacked(l.x, worker, dst.Columns(j, end), a, lda, packed[j/32*block+from*32:], m, end-j, k, false)
	}
}

type attention16Forward Attention16

// attend packs the keys and values that its queries meet unless the worker has them from the block before.
func (l *attention16Forward) attend(worker, first, n, h, q0, q1 int) {
	w, a, g := &l.workers[worker], (*Attention16)(l), h/(l.heads/l.kvHeads)
	rows, stride, d := q1-q0, len(w.p)/queryRows, l.size
	if this := first*l.kvHeads + g; this != w.packed {
		kernel.PackT(l.x, w.kT, a.keys(first, g), n, d, l.qkv.Stride)
		kernel.PackPair(l.x, w.vPair, a.values(first, g), n, d, l.qkv.Stride)
		w.packed = this
	}
	q, k0 := a.queries(first+q0, h), l.first(q0)&^31
	keys, block := q1-k0, k0/32*kernel.PackLen(d, 32)
	kernel.MulPacked(l.x, worker, dense(w.score, rows, keys, stride),
		q, l.qkv.Stride, w.kT[block:], rows, keys, d, false)
	var inverse [queryRows]float32
	for i := range rows {
		row, from, end := i*stride, l.first(q0+i)-k0, q0+i+1-k0
		score := w.score[row+from : row+end]
		softCap(score, l.Cap)
		top, sum := fused.Softmax(l.x, w.p[row+from:row+end], score)
		clear(w.p[row : row+from])
		clear(w.p[row+end : row+keys])
		inverse[i], l.lse[(first+q0+i)*l.heads+h] = sum, top
	}
	// A loop of its own, so that no row waits for the logarithm of the row before.
	for i, sum := range inverse[:rows] {
		inverse[i] = 1 / sum
		l.lse[(first+q0+i)*l.heads+h] += float32(math.Log(float64(sum)))
	}
	a.mulTerms(worker, dense(w.o, rows, d, d), w.p, stride, w.vPair, n, rows, k0, keys)
	for i := range rows {
		o := w.o[i*d : (i+1)*d]
		fused.Scale(l.x, l.out.Row(first+q0+i).Slice(h*d, (h+1)*d), o, inverse[i], o)
	}
}

// Backward overwrites dpart (N, 3·H·D), of bfloat16: the gradients of the queries before they were scaled, then those
// of keys and values for each query head apart. dout (N, H·D); out, lse, qkv and bounds as in Forward.
func (l *Attention16) Backward(dpart, dout, out kernel.Mat[float32], lse []float32,
	qkv kernel.Mat[float32], bounds []int32) {
	l.begin(out, lse, qkv, bounds)
	require(dout.Cols == out.Cols && dpart.Cols == 3*out.Cols, "nn: attention: wrong shape")
	l.dpart, l.dout = dpart, dout
	l.eachSpan(bounds, l.heads, (*attention16Backward)(l))
}

type attention16Backward Attention16

// attend takes the keys of one query head of a span in blocks. Scores are stored by keys: so the gradients of a block's
// keys and values are one multiply over all queries that see it, and only those of the queries add up over blocks.
func (l *attention16Backward) attend(worker, first, n, h, _, _ int) {
	w, a := &l.workers[worker], (*Attention16)(l)
	d, stride, x, g := l.size, len(w.p)/queryRows, l.x, h/(l.heads/l.kvHeads)
	q, dout, out := a.queries(first, h), l.dout.H[first*l.dout.Stride+h*d:], l.out.H[first*l.out.Stride+h*d:]
	k, v := a.keys(first, g), a.values(first, g)
	kernel.PackT(x, w.qT, q, n, d, l.qkv.Stride)
	kernel.PackPair(x, w.qPair, q, n, d, l.qkv.Stride)
	kernel.PackT(x, w.doT, dout, n, d, l.dout.Stride)
	kernel.PackPair(x, w.doPair, dout, n, d, l.dout.Stride)
	for i := range n {
		w.lse[i] = l.lse[(first+i)*l.heads+h]
		w.delta[i] = fused.Dot(x, out[i*l.out.Stride:][:d], dout[i*l.dout.Stride:][:d], w.o)
	}
	dq := l.dpart.From(first).Columns(h*d, (h+1)*d)
	dk, dv := dq.Columns(l.heads*d, (l.heads+1)*d), dq.Columns(2*l.heads*d, (2*l.heads+1)*d)
	if l.Window > 0 { // else the first block writes all
		clear(w.dq[:n*d])
	}
	for k0 := 0; k0 < n; k0 += queryRows {
		rows := min(queryRows, n-k0)
		m := l.end(k0+rows-1, n) - k0 // queries from the first of these keys on
		block := k0 / 32 * kernel.PackLen(d, 32)
		from := k0 * l.qkv.Stride
		kernel.MulPacked(x, worker, dense(w.score, rows, m, stride),
			k[from:], l.qkv.Stride, w.qT[block:], rows, m, d, false)
		kernel.MulPacked(x, worker, dense(w.dscore, rows, m, stride),
			v[from:], l.qkv.Stride, w.doT[block:], rows, m, d, false)
		for j := range rows { // queries before the key do not see it, nor those beyond the window
			last := l.end(k0+j, n)
			at, end := j*stride+j, j*stride+last-k0
			for _, row := range [][]uint16{w.p, w.ds} {
				clear(row[j*stride : at])
				clear(row[end : j*stride+m])
			}
			score, dscore, delta := w.score[at:end], w.dscore[at:end], w.delta[k0+j:last]
			if softCap(score, l.Cap); l.Cap > 0 {
				for i, y := range score { // SoftmaxBackRow takes delta off
					dscore[i] = (dscore[i]-delta[i])*float32(slope(float64(y), l.Cap)) + delta[i]
				}
			}
			fused.SoftmaxBack(x, w.p[at:end], w.ds[at:end], score, dscore, w.lse[k0+j:last], delta)
		}
		a.mulTerms(worker, dv.From(k0), w.p, stride, w.doPair, n, rows, k0, m)
		a.mulTerms(worker, dk.From(k0), w.ds, stride, w.qPair, n, rows, k0, m)
		kernel.PackPair(x, w.kPair, k[from:], rows, d, l.qkv.Stride)
		kernel.MulTransPacked(x, worker, dense(w.dq[k0*d:], m, d, d), w.ds, stride, w.kPair, m, d, rows,
			k0 > 0 || l.Window > 0)
	}
	for i := range n {
		sum := w.dq[i*d : (i+1)*d]
		fused.Scale(x, dq.Row(i), sum, float32(l.Scale), sum)
	}
}
