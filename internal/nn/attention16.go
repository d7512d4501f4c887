package nn

import (
	"math"

	"gimbal/internal/kernel"
)

// Attention16 is Attention on bfloat16 operands: the same blocks, bounds and formulas, with its multiplies on the
// matrix units. Scores, softmax and sums are float32; probabilities and the gradients of scores are rounded to
// bfloat16, to nearest, before they are multiplied. The queries carry the scale of the scores (see Heads).
//
// One unit of work is a block of queries in the forward pass, where keys and values are packed once per span and head
// that a worker meets, and a query head of a span in the backward pass.
type Attention16 struct {
	shape   Attention[float32] // sizes, bounds and shares of the work
	workers []attention16Worker

	out, qkv, dout, dpart kernel.Mat[float32]
	lse                   []float32
}

// attention16Worker is one worker's memory. What the forward and the backward pass need shares names where it has one
// shape.
type attention16Worker struct {
	kT, vPair              []uint16  // packed keys and values of a span, for the forward pass
	qT, qPair, doT, doPair []uint16  // packed queries of a span and the gradients of their outputs
	kPair                  []uint16  // packed block of keys
	p, ds                  []uint16  // (queryRows, stride): probabilities and gradients of scores
	score, dscore          []float32 // (queryRows, stride): scores, gradients of probabilities
	dq                     []float32 // (context, D)
	o                      []float32 // (queryRows, D)
	lse, delta             []float32 // (context)
}

// attention16Len is the lengths of the packed forms of a span and of a block, of a row of scores and of a number for each
// position.
func attention16Len(context, size int) (spanPack, blockPack, stride, rows int) {
	_, stride = kernel.OperandLen(1, context)
	return kernel.PackLen(context, size), kernel.PackLen(queryRows, size), stride, stageWidth(context)
}

// Attention16Len is the numbers of elements of scratch that NewAttention16 needs.
func Attention16Len(workers, context, size int) (halves, floats int) {
	span, block, stride, rows := attention16Len(context, size)
	halves = 4*span + block + 2*queryRows*stride
	floats = 2*queryRows*stride + rows*size + 2*queryRows*size + 2*rows
	return workers * halves, workers * floats
}

// NewAttention16 returns attention of heads query heads over kvHeads key and value heads of size channels, for spans of
// at most context positions. halves and floats have the lengths that Attention16Len gives for x.Workers().
func NewAttention16(x *kernel.Exec, heads, kvHeads, size, context int, halves []uint16, floats []float32) *Attention16 {
	h, f := Attention16Len(x.Workers(), context, size)
	if heads%kvHeads != 0 || len(halves) != h || len(floats) != f {
		panic("nn: attention: wrong shape")
	}
	l := &Attention16{shape: Attention[float32]{x: x, heads: heads, kvHeads: kvHeads, size: size, context: context,
		scale: float32(1 / math.Sqrt(float64(size)))}, workers: make([]attention16Worker, x.Workers())}
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
	l.shape.x.Pool().Do(l.shape.x.Workers(), 1, (*attention16Forward)(l))
}

func (l *Attention16) begin(out kernel.Mat[float32], lse []float32, qkv kernel.Mat[float32], bounds []int32) {
	s := &l.shape
	hd, kd := s.heads*s.size, s.kvHeads*s.size
	if qkv.Cols != hd+2*kd {
		panic("nn: attention: wrong shape")
	}
	s.check(out, lse, Columns(qkv, 0, hd), Columns(qkv, hd, hd+kd), Columns(qkv, hd+kd, hd+2*kd), bounds)
	l.out, l.lse, l.qkv, s.bounds = out, lse, qkv, bounds
	s.total = int64(s.heads) * s.spansCost()
}

// keys returns the rows of the keys, and values those of the values, of head g from position first on.
func (l *Attention16) keys(first, g int) []uint16 {
	return l.qkv.H[first*l.qkv.Stride+(l.shape.heads+g)*l.shape.size:]
}

func (l *Attention16) values(first, g int) []uint16 {
	return l.qkv.H[first*l.qkv.Stride+(l.shape.heads+l.shape.kvHeads+g)*l.shape.size:]
}

func (l *Attention16) queries(first, h int) []uint16 {
	return l.qkv.H[first*l.qkv.Stride+h*l.shape.size:]
}

// dense is a matrix of float32 rows for a multiply to write.
func dense(f []float32, rows, cols, stride int) kernel.Mat[float32] {
	return kernel.Mat[float32]{F: f, Rows: rows, Cols: cols, Stride: stride}
}

// mulTerms multiplies by terms [from, from+k) of a packed matrix (terms, D). A block of 32 columns of the packed form
// holds the terms one after the other, so that neighbouring ones are a matrix of their own. from is a multiple of 32.
func (l *Attention16) mulTerms(worker int, dst kernel.Mat[float32], a []uint16, lda int, packed []uint16, terms, m, from, k int) {
	n, block := l.shape.size, kernel.PackLen(terms, 32)
	for j := 0; j < n; j += 32 {
		end := min(j+32, n)
		kernel.MulPacked(l.shape.x, worker, Columns(dst, j, end), a, lda, packed[j/32*block+from*32:], m, end-j, k, false)
	}
}

type attention16Forward Attention16

func (l *attention16Forward) Part(worker, lo, hi int) {
	s, w, a := &l.shape, &l.workers[worker], (*Attention16)(l)
	from, to := s.share(lo, hi)
	var at int64
	for span := 1; span < len(s.bounds); span++ {
		first := int(s.bounds[span-1])
		n := int(s.bounds[span]) - first
		packed := -1 // the key and value head that is packed
		for h := range s.heads {
			for q0 := 0; q0 < n; q0 += queryRows {
				q1 := min(n, q0+queryRows)
				if at >= from && at < to {
					if g := h / (s.heads / s.kvHeads); g != packed {
						kernel.PackT(s.x, w.kT, a.keys(first, g), n, s.size, l.qkv.Stride)
						kernel.PackPair(s.x, w.vPair, a.values(first, g), n, s.size, l.qkv.Stride)
						packed = g
					}
					l.block(worker, first, n, h, q0, q1)
				}
				at += blockCost(q1)
			}
			if at >= to {
				return
			}
		}
	}
}

// block attends queries [q0, q1) of head h in the span of n positions that begins at position first.
func (l *attention16Forward) block(worker, first, n, h, q0, q1 int) {
	s, w, a := &l.shape, &l.workers[worker], (*Attention16)(l)
	rows, stride, d := q1-q0, len(w.p)/queryRows, s.size
	kernel.MulPacked(s.x, worker, dense(w.score, rows, q1, stride), a.queries(first+q0, h), l.qkv.Stride, w.kT, rows, q1, d, false)
	var inverse [queryRows]float32
	for i := range rows {
		at, end := i*stride, i*stride+q0+i+1
		top, sum := kernel.SoftmaxRow(s.x, w.p[at:end], w.score[at:end])
		clear(w.p[end : at+q1])
		inverse[i], l.lse[(first+q0+i)*s.heads+h] = sum, top
	}
	for i, sum := range inverse[:rows] { // apart from the rows, so that no row waits for the logarithm of the one before
		inverse[i] = 1 / sum
		l.lse[(first+q0+i)*s.heads+h] += float32(math.Log(float64(sum)))
	}
	a.mulTerms(worker, dense(w.o, rows, d, d), w.p, stride, w.vPair, n, rows, 0, q1)
	for i := range rows {
		o, at := w.o[i*d:(i+1)*d], (first+q0+i)*l.out.Stride+h*d
		kernel.ScaleRow(s.x, l.out.H[at:at+d], o, inverse[i], o)
	}
}

// Backward overwrites dpart (N, 3·H·D), of bfloat16: the gradients of the queries before they were scaled, and of keys
// and values for each query head apart. dout (N, H·D); out, lse, qkv and bounds as in Forward.
func (l *Attention16) Backward(dpart, dout, out kernel.Mat[float32], lse []float32, qkv kernel.Mat[float32], bounds []int32) {
	l.begin(out, lse, qkv, bounds)
	if dout.Cols != out.Cols || dpart.Cols != 3*out.Cols {
		panic("nn: attention: wrong shape")
	}
	l.dpart, l.dout = dpart, dout
	l.shape.x.Pool().Do(l.shape.x.Workers(), 1, (*attention16Backward)(l))
}

type attention16Backward Attention16

func (l *attention16Backward) Part(worker, lo, hi int) {
	s := &l.shape
	from, to := s.share(lo, hi)
	var at int64
	for span := 1; span < len(s.bounds); span++ {
		first := int(s.bounds[span-1])
		n := int(s.bounds[span]) - first
		cost := spanCost(n)
		for h := range s.heads {
			if n > 0 && at >= from && at < to {
				l.unit(worker, first, n, h)
			}
			at += cost
		}
		if at >= to {
			return
		}
	}
}

// unit works through the keys of one query head of a span in blocks: with scores stored by keys, the gradients of a
// block's keys and values are one multiply over all queries that see it, and only those of the queries add up over
// the blocks.
func (l *attention16Backward) unit(worker, first, n, h int) {
	s, w, a := &l.shape, &l.workers[worker], (*Attention16)(l)
	d, stride, x, g := s.size, len(w.p)/queryRows, s.x, h/(s.heads/s.kvHeads)
	q, dout, out := a.queries(first, h), l.dout.H[first*l.dout.Stride+h*d:], l.out.H[first*l.out.Stride+h*d:]
	k, v := a.keys(first, g), a.values(first, g)
	kernel.PackT(x, w.qT, q, n, d, l.qkv.Stride)
	kernel.PackPair(x, w.qPair, q, n, d, l.qkv.Stride)
	kernel.PackT(x, w.doT, dout, n, d, l.dout.Stride)
	kernel.PackPair(x, w.doPair, dout, n, d, l.dout.Stride)
	for i := range n {
		w.lse[i] = l.lse[(first+i)*s.heads+h]
		w.delta[i] = kernel.DotRow(x, out[i*l.out.Stride:i*l.out.Stride+d], dout[i*l.dout.Stride:i*l.dout.Stride+d], w.o)
	}
	dq := Columns(Rows(l.dpart, first), h*d, (h+1)*d)
	dk, dv := Columns(dq, s.heads*d, (s.heads+1)*d), Columns(dq, 2*s.heads*d, (2*s.heads+1)*d)
	for k0 := 0; k0 < n; k0 += queryRows {
		rows, m := min(queryRows, n-k0), n-k0 // keys, and queries from the first of them on
		block := k0 / 32 * kernel.PackLen(d, 32)
		kernel.MulPacked(x, worker, dense(w.score, rows, m, stride), k[k0*l.qkv.Stride:], l.qkv.Stride, w.qT[block:], rows, m, d, false)
		kernel.MulPacked(x, worker, dense(w.dscore, rows, m, stride), v[k0*l.qkv.Stride:], l.qkv.Stride, w.doT[block:], rows, m, d, false)
		for j := range rows { // queries before the key do not see it
			at, end := j*stride+j, j*stride+m
			clear(w.p[j*stride : at])
			clear(w.ds[j*stride : at])
			kernel.SoftmaxBackRow(x, w.p[at:end], w.ds[at:end], w.score[at:end], w.dscore[at:end], w.lse[k0+j:n], w.delta[k0+j:n])
		}
		a.mulTerms(worker, Rows(dv, k0), w.p, stride, w.doPair, n, rows, k0, m)
		a.mulTerms(worker, Rows(dk, k0), w.ds, stride, w.qPair, n, rows, k0, m)
		kernel.PackPair(x, w.kPair, k[k0*l.qkv.Stride:], rows, d, l.qkv.Stride)
		kernel.MulTransPacked(x, worker, dense(w.dq[k0*d:], m, d, d), w.ds, stride, w.kPair, m, d, rows, k0 > 0)
	}
	for i := range n {
		sum := w.dq[i*d : (i+1)*d]
		kernel.ScaleRow(x, row16(dq, i), sum, s.scale, sum)
	}
}
