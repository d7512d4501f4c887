package nn

import "gimbal/internal/kernel"

// Run is a row of a cache that a call extends.
type Run struct {
	Row   int // of the cache
	Past  int // positions that the row held before the call
	First int // position of the call where the run begins
	Len   int // positions of the run

	// Single says that one position is all that the row is extended by: scores are scalar products then, which spares
	// rearranging the keys. It is the caller's word, and not Len == 1, so that cutting a prompt changes no bits.
	Single bool
}

// Cached overwrites out (N, H·D) with the attention of the queries q (N, H·D) of runs, each over its row of the cache
// up to its own position. k and v (rows, KV, capacity, D) hold the keys and values of the runs already.
func (l *Attention[T]) Cached(out, q kernel.Mat[T], k, v []T, capacity int, runs []Run) {
	width := l.kvHeads * l.size
	if out.Cols != l.heads*l.size || q.Cols != out.Cols || len(k) != len(v) || len(k)%(capacity*width) != 0 || capacity > l.context {
		panic("nn: attention: wrong shape")
	}
	l.out, l.q, l.runs, l.capacity = out, q, runs, capacity
	l.k, l.v = kernel.Dense(k, len(k)/l.size, l.size), kernel.Dense(v, len(v)/l.size, l.size)
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
	begin, end := (*Attention[T])(l).share(lo, hi)
	p := l.scratch[worker*2*queryRows*l.context:][:queryRows*l.context]
	var at int64
	for _, r := range l.runs {
		for h := range l.heads {
			g := h / (l.heads / l.kvHeads)
			from := (r.Row*l.kvHeads + g) * l.capacity * l.size
			k, v := l.k.F[from:], l.v.F[from:]
			for q0 := 0; q0 < r.Len; q0 += queryRows {
				q1 := min(r.Len, q0+queryRows)
				if at >= begin && at < end {
					q, out := l.q.F[(r.First+q0)*l.q.Stride+h*l.size:], l.out.F[(r.First+q0)*l.out.Stride+h*l.size:]
					keys := r.Past + q1
					if r.Single {
						for j := range keys {
							p[j] = l.scale * kernel.Dot(l.x, q[:l.size], k[j*l.size:(j+1)*l.size])
						}
					} else {
						kernel.Gemm(l.x, worker, false, true, q1-q0, keys, l.size, l.scale, q, l.q.Stride, k, l.size, 0, p, l.context)
					}
					(*Attention[T])(l).weigh(worker, out, nil, p, v, r.Past+q0, keys)
				}
				at += blockCost(r.Past + q1)
			}
		}
		if at >= end {
			return
		}
	}
}
