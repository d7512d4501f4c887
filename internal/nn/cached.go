package nn

import "gimbal/internal/kernel"

// Run is a row of a cache that a call extends.
type Run struct {
	Row   int // of the cache
	Past  int // positions that the row held before the call
	First int // position of the call where the run begins
	Len   int // positions of the run
}

// Cached overwrites out (N, H·D) with the attention of the queries q (N, H·D) of runs, each over its row of the cache
// up to its own position. k and v (rows, capacity, KV·D) hold the keys and values of the runs already.
func (l *Attention[T]) Cached(out, q kernel.Mat[T], k, v []T, capacity int, runs []Run) {
	width := l.kvHeads * l.size
	if out.Cols != l.heads*l.size || q.Cols != out.Cols || len(k) != len(v) || len(k)%(capacity*width) != 0 || capacity > l.context {
		panic("nn: attention: wrong shape")
	}
	l.out, l.q, l.runs, l.capacity = out, q, runs, capacity
	l.k = kernel.Mat[T]{F: k, Rows: len(k) / width, Cols: width, Stride: width}
	l.v = kernel.Mat[T]{F: v, Rows: len(v) / width, Cols: width, Stride: width}
	l.total = 0
	for _, r := range runs {
		if r.Past+r.Len > capacity {
			panic("nn: attention: run beyond its cache")
		}
		for q0 := 0; q0 < r.Len; q0 += queryRows {
			l.total += int64(l.heads) * blockCost(r.Past+min(r.Len, q0+queryRows))
		}
	}
	l.x.Pool().Do(l.x.Workers(), 1, (*attentionCached[T])(l))
}

type attentionCached[T kernel.Float] Attention[T]

func (l *attentionCached[T]) Part(worker, lo, hi int) {
	from, to := (*Attention[T])(l).share(lo, hi)
	p := l.scratch[worker*2*queryRows*l.context:][:queryRows*l.context]
	var at int64
	for _, r := range l.runs {
		row := r.Row * l.capacity
		for h := range l.heads {
			g := h / (l.heads / l.kvHeads)
			k, v := l.k.F[row*l.k.Stride+g*l.size:], l.v.F[row*l.v.Stride+g*l.size:]
			for q0 := 0; q0 < r.Len; q0 += queryRows {
				q1 := min(r.Len, q0+queryRows)
				if at >= from && at < to {
					q, out := l.q.F[(r.First+q0)*l.q.Stride+h*l.size:], l.out.F[(r.First+q0)*l.out.Stride+h*l.size:]
					softmaxBlock(l.x, worker, out, l.out.Stride, nil, 0, q, l.q.Stride, k, l.k.Stride, v, l.v.Stride,
						p, l.context, r.Past+q0, r.Past+q1, l.size, l.scale)
				}
				at += blockCost(r.Past + q1)
			}
		}
		if at >= to {
			return
		}
	}
}
