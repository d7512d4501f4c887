package nn

import "gimbal/internal/kernel"

// Run is a row of a cache that a call extends.
type Run struct {
	Row   int // of the cache
	Past  int // positions that the row held before the call
	First int // position of the call where the run begins
	Len   int // positions of the run
}

// KeyCacheLen is the number of elements that the keys of one row and head of a cache take. They are stored in blocks of
// kernel.BlockCols positions, each block transposed (D, BlockCols), so that scores are multiplies of dense matrices.
func KeyCacheLen(capacity, size int) int {
	return (capacity + kernel.BlockCols - 1) / kernel.BlockCols * kernel.BlockCols * size
}

// Cached appends the keys and values k and v (N, KV·D) of runs to their rows of the cache. It overwrites out (N, H·D)
// with the attention of the queries q (N, H·D), each over its row up to its own position. keyCache holds (rows, KV) of
// KeyCacheLen(capacity, D), valueCache (rows, KV, capacity, D).
//
// Numerics: a position's bits do not depend on how its row was cut into calls, nor on the other runs. So keys before a
// window are multiplied, too, by zeros.
func (l *Attention[T]) Cached(out, q, k, v kernel.Mat[T], keyCache, valueCache []T, capacity int, runs []Run) {
	width := l.kvHeads * l.size
	require(out.Cols == l.heads*l.size && q.Cols == out.Cols && k.Cols == width && v.Cols == width &&
		capacity <= l.context && len(valueCache)%(capacity*width) == 0 &&
		len(keyCache) == len(valueCache)/(capacity*l.size)*KeyCacheLen(capacity, l.size), "nn: attention: wrong shape")
	l.out, l.q, l.dk, l.dv, l.runs, l.capacity = out, q, k, v, runs, capacity
	l.keyCache, l.valueCache, l.v.Stride = keyCache, valueCache, l.size
	l.total = 0
	long := false
	for _, r := range runs {
		require(r.Past+r.Len <= capacity, "nn: attention: run beyond its cache")
		long = long || r.Len > 1
		l.total += l.runCost(r)
	}
	if long {
		l.x.Pool().Do(len(runs)*l.kvHeads, 1, (*attentionAppend[T])(l))
	}
	l.x.Pool().Do(l.x.Workers(), 1, (*attentionCached[T])(l))
}

func (l *Attention[T]) runCost(r Run) (c int64) {
	if r.Len == 1 {
		return int64(l.kvHeads) * blockCost(r.Past+1)
	}
	for q0 := 0; q0 < r.Len; q0 += queryRows {
		c += int64(l.heads) * blockCost(r.Past+min(r.Len, q0+queryRows))
	}
	return c
}

// rowOf returns the keys and values of a row and head of the cache.
func (l *Attention[T]) rowOf(row, g int) (keys, values []T) {
	at, n := row*l.kvHeads+g, KeyCacheLen(l.capacity, l.size)
	return l.keyCache[at*n : (at+1)*n], l.valueCache[at*l.capacity*l.size : (at+1)*l.capacity*l.size]
}

// extend appends the keys and values of head g of a run.
func (l *Attention[T]) extend(r Run, g int) {
	const b = kernel.BlockCols
	keys, values := l.rowOf(r.Row, g)
	for i := range r.Len {
		p, from := r.Past+i, (r.First+i)*l.dk.Stride+g*l.size
		block := keys[p/b*b*l.size+p%b:]
		for c, x := range l.dk.F[from : from+l.size] {
			block[c*b] = x
		}
		copy(values[p*l.size:(p+1)*l.size], l.dv.F[(r.First+i)*l.dv.Stride+g*l.size:])
	}
}

type attentionAppend[T kernel.Float] Attention[T]

// Part appends the runs of more than one position: several workers may attend to one of those.
func (l *attentionAppend[T]) Part(_, lo, hi int) {
	for u := lo; u < hi; u++ {
		if r := l.runs[u/l.kvHeads]; r.Len > 1 {
			(*Attention[T])(l).extend(r, u%l.kvHeads)
		}
	}
}

type attentionCached[T kernel.Float] Attention[T]

func (l *attentionCached[T]) Part(worker, lo, hi int) {
	a := (*Attention[T])(l)
	begin, end := a.share(lo, hi)
	p := l.scratch[worker*2*queryRows*l.context:][:queryRows*l.context]
	group := l.heads / l.kvHeads
	var at int64
	for _, r := range l.runs {
		if at >= end {
			return
		}
		if cost := a.runCost(r); at+cost <= begin {
			at += cost
			continue
		}
		if r.Len == 1 {
			for g := range l.kvHeads {
				if at >= begin && at < end {
					l.position(worker, p, r, g)
				}
				at += blockCost(r.Past + 1)
			}
			continue
		}
		for h := range l.heads {
			k, v := a.rowOf(r.Row, h/group)
			for q0 := 0; q0 < r.Len; q0 += queryRows {
				q1 := min(r.Len, q0+queryRows)
				keys := r.Past + q1
				if at >= begin && at < end {
					q, out := l.q.F[(r.First+q0)*l.q.Stride+h*l.size:], l.out.F[(r.First+q0)*l.out.Stride+h*l.size:]
					kernel.GemmBlocks(l.x, q1-q0, keys, l.size, l.scale, q, l.q.Stride, k, p, l.context)
					a.softmaxValues(worker, out, l.out.Stride, nil, p, v, 0, keys, r.Past+q0, q1-q0, 1)
				}
				at += blockCost(keys)
			}
		}
	}
}

// position appends the one position of a run, and attends with all query heads of a key and value head. They are the
// rows of one matrix, so the keys and values are read once.
func (l *attentionCached[T]) position(worker int, p []T, r Run, g int) {
	a := (*Attention[T])(l)
	a.extend(r, g)
	k, v := a.rowOf(r.Row, g)
	group, keys := l.heads/l.kvHeads, r.Past+1
	for h := g * group; h < (g+1)*group; h += queryRows {
		rows := min(queryRows, (g+1)*group-h)
		q := l.q.F[r.First*l.q.Stride+h*l.size:]
		kernel.GemmBlocks(l.x, rows, keys, l.size, l.scale, q, l.size, k, p, l.context)
		a.softmaxValues(worker, l.out.F[r.First*l.out.Stride+h*l.size:], l.size, nil, p, v, 0, keys, r.Past, rows, 0)
	}
}
