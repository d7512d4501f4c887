package nn

import "gimbal/internal/kernel"

// queryRows is the number of queries of one block of attention. It is a constant of the numerics.
const queryRows = 64

// spans holds the sizes of attention and cuts its work over the workers. The work of a block of queries grows with the
// keys it meets, so shares are cut by cost and not by number. Results do not depend on the cut.
type spans struct {
	x                    *kernel.Exec
	heads, kvHeads, size int
	context              int // most positions of a span

	bounds []int32
	cut    int   // heads that each span is cut into
	rows   int   // queries of a unit of work
	total  int64 // cost of the call
	layer  spanLayer
}

// spanLayer is a pass that attends queries [q0, q1) of head h, one of the queries or one of the keys and values, in the
// span of n positions that begins at position first.
type spanLayer interface {
	attend(worker, first, n, h, q0, q1 int)
}

// check panics unless operands of so many columns, and so many sums of exponentials, fit the sizes and the bounds.
func (s *spans) check(out, q, k, v, lse int, bounds []int32) {
	require(out == s.heads*s.size && q == out && k == s.kvHeads*s.size && v == k &&
		lse >= int(bounds[len(bounds)-1])*s.heads, "nn: attention: wrong shape")
	for i := 1; i < len(bounds); i++ {
		require(int(bounds[i]-bounds[i-1]) <= s.context, "nn: attention: span longer than the context")
	}
}

func blockCost(keys int) int64 { return int64(keys) + 16 }

// queriesCost is the cost of queries [q0, q1) of a span and head.
func queriesCost(q0, q1 int) (c int64) {
	for ; q0 < q1; q0 += queryRows {
		c += blockCost(min(q1, q0+queryRows))
	}
	return c
}

// eachBlock shares out the blocks of queries of all heads.
func (s *spans) eachBlock(bounds []int32, l spanLayer) { s.each(bounds, s.heads, queryRows, l) }

// eachSpan shares out the spans that are not empty, cut into heads.
func (s *spans) eachSpan(bounds []int32, heads int, l spanLayer) { s.each(bounds, heads, s.context, l) }

func (s *spans) each(bounds []int32, heads, rows int, l spanLayer) {
	s.bounds, s.cut, s.rows, s.layer, s.total = bounds, heads, rows, l, 0
	for i := 1; i < len(bounds); i++ {
		s.total += int64(heads) * queriesCost(0, int(bounds[i]-bounds[i-1]))
	}
	s.x.Pool().Do(s.x.Workers(), 1, (*spanUnits)(s))
}

// share returns the range of costs of slots [lo, hi) of all workers.
func (s *spans) share(lo, hi int) (from, to int64) {
	slots := int64(s.x.Workers())
	return s.total * int64(lo) / slots, s.total * int64(hi) / slots
}

type spanUnits spans

func (s *spanUnits) Part(worker, lo, hi int) {
	from, to := (*spans)(s).share(lo, hi)
	var at int64
	for i := 1; i < len(s.bounds); i++ {
		first := int(s.bounds[i-1])
		n := int(s.bounds[i]) - first
		for h := range s.cut {
			for q0 := 0; q0 < n; q0 += s.rows {
				q1 := min(n, q0+s.rows)
				if at >= from && at < to {
					s.layer.attend(worker, first, n, h, q0, q1)
				}
				at += queriesCost(q0, q1)
			}
			if at >= to {
				return
			}
		}
	}
}
