package nn

import "gimbal/internal/kernel"

// queryRows is the number of queries of one block of attention. It is a constant of the numerics.
const queryRows = 64

// spans is the sizes of attention, and how its work is shared out. The work of a block of queries grows with the keys
// it meets, so shares are cut by cost and not by number. Results do not depend on the cut.
type spans struct {
	x                    *kernel.Exec
	heads, kvHeads, size int
	context              int // most positions of a span

	bounds  []int32
	cut     int   // heads that each span is cut into
	total   int64 // cost of the call
	byBlock blockLayer
	byHead  headLayer
}

// blockLayer is a pass that attends queries [q0, q1) of head h in the span of n positions that begins at position
// first.
type blockLayer interface {
	block(worker, first, n, h, q0, q1 int)
}

// headLayer is a pass over all positions of a span in the order of their blocks: over head h, one of the queries or one
// of the keys and values.
type headLayer interface{ head(worker, first, n, h int) }

// check panics unless operands of so many columns, and so many sums of exponentials, fit the sizes and the bounds.
func (s *spans) check(out, q, k, v, lse int, bounds []int32) {
	if out != s.heads*s.size || q != out || k != s.kvHeads*s.size || v != k ||
		lse < int(bounds[len(bounds)-1])*s.heads {
		panic("nn: attention: wrong shape")
	}
	for i := 1; i < len(bounds); i++ {
		if int(bounds[i]-bounds[i-1]) > s.context {
			panic("nn: attention: span longer than the context")
		}
	}
}

func blockCost(keys int) int64 { return int64(keys) + 16 }

func spanCost(n int) (c int64) {
	for q0 := 0; q0 < n; q0 += queryRows {
		c += blockCost(min(n, q0+queryRows))
	}
	return c
}

// begin prepares a call in which each span is cut into heads.
func (s *spans) begin(bounds []int32, heads int) {
	s.bounds, s.cut, s.total = bounds, heads, 0
	for i := 1; i < len(bounds); i++ {
		s.total += int64(heads) * spanCost(int(bounds[i]-bounds[i-1]))
	}
}

// share returns the range of costs of slots [lo, hi) of all workers.
func (s *spans) share(lo, hi int) (from, to int64) {
	slots := int64(s.x.Workers())
	return s.total * int64(lo) / slots, s.total * int64(hi) / slots
}

// eachBlock shares out the blocks of queries of all heads.
func (s *spans) eachBlock(bounds []int32, l blockLayer) {
	s.begin(bounds, s.heads)
	s.byBlock = l
	s.x.Pool().Do(s.x.Workers(), 1, (*spanBlocks)(s))
}

type spanBlocks spans

func (s *spanBlocks) Part(worker, lo, hi int) {
	from, to := (*spans)(s).share(lo, hi)
	var at int64
	for i := 1; i < len(s.bounds); i++ {
		first := int(s.bounds[i-1])
		n := int(s.bounds[i]) - first
		for h := range s.cut {
			for q0 := 0; q0 < n; q0 += queryRows {
				q1 := min(n, q0+queryRows)
				if at >= from && at < to {
					s.byBlock.block(worker, first, n, h, q0, q1)
				}
				at += blockCost(q1)
			}
			if at >= to {
				return
			}
		}
	}
}

// eachHead shares out the spans that are not empty, cut into heads.
func (s *spans) eachHead(bounds []int32, heads int, l headLayer) {
	s.begin(bounds, heads)
	s.byHead = l
	s.x.Pool().Do(s.x.Workers(), 1, (*spanHeads)(s))
}

type spanHeads spans

func (s *spanHeads) Part(worker, lo, hi int) {
	from, to := (*spans)(s).share(lo, hi)
	var at int64
	for i := 1; i < len(s.bounds); i++ {
		first := int(s.bounds[i-1])
		n := int(s.bounds[i]) - first
		cost := spanCost(n)
		for h := range s.cut {
			if n > 0 && at >= from && at < to {
				s.byHead.head(worker, first, n, h)
			}
			at += cost
		}
		if at >= to {
			return
		}
	}
}
