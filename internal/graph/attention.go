package graph

import (
	"math"
	"slices"
)

// Sizes of attention in blocks. They are constants of the numerics.
const (
	blockQueries = 128 // of one block
	blockStrips  = 2   // parts of a row whose blocks look at the same keys: later keys are left out
)

// attention is causal grouped-query attention inside sequences: out (N, H·D) of q (N, H, D), k and v (N, KV, D). q is
// scaled.
//
// Formula: as nn.Attention, whole rows of scores for a block of queries at a time, computed again by the backward pass.
// With Plain there is one block.
func (s *pass) attention(i int, parts [3]value) (out value, back func(dout value) [3]value) {
	if s.Attention == CuDNN {
		return s.flashAttention(parts)
	}
	if s.cache != nil {
		return s.attendCache(i, parts), nil
	}
	a := s.Arch
	q, k, v := s.byHead(parts[0]), s.flat(s.byHead(parts[1])), s.flat(s.byHead(parts[2]))
	var outs, sums []value // by strip: (R, KV, G, ·, D) and (R, KV, G, ·)
	window := a.Layer(i).Window
	for _, p := range s.strips(window) {
		o, lse := s.attend(p, q, k, v)
		outs, sums = append(outs, o), append(sums, lse)
	}
	out = s.reshape(s.byPosition(s.concat(3, outs...), a.Heads), s.n, a.Heads*a.HeadSize)
	return out, func(dout value) [3]value {
		do := s.byHead(s.reshape(dout, s.n, a.Heads, a.HeadSize))
		dk := s.constant(0, k.Dims...)
		dv, dqs := dk, make([]value, len(outs))
		for i, p := range slices.Backward(s.strips(window)) {
			var d [2]value
			dqs[i], d = s.attendBack(p, outs[i], sums[i], do, q, k, v, [2]value{dk, dv})
			dk, dv = d[0], d[1]
		}
		dq := s.byPosition(s.concat(3, dqs...), a.Heads)
		return [3]value{dq, s.byPosition(dk, a.KVHeads), s.byPosition(dv, a.KVHeads)}
	}
}

// strip is queries [lo, hi) of each row, in blocks of a size. They see keys [0, hi), with a window only its last ones.
type strip struct{ lo, hi, block, window int }

func (s *pass) strips(window int) (list []strip) {
	t := s.Length
	if s.Attention == Plain || t <= blockQueries {
		return []strip{{0, t, t, window}}
	}
	size := (t/blockQueries + blockStrips - 1) / blockStrips * blockQueries
	for lo := 0; lo < t; {
		hi := min(lo+size, t/blockQueries*blockQueries)
		if hi <= lo { // what is left is shorter than a block
			return append(list, strip{lo, t, t - lo, window})
		}
		list, lo = append(list, strip{lo, hi, blockQueries, window}), hi
	}
	return list
}

// byHead turns x (N, H, D) into operands (R, KV, G, T, D).
func (s *pass) byHead(x value) value {
	a, g := s.Arch, x.Dims[1]/s.Arch.KVHeads
	x = s.reshape(s.cast(x, s.operand), s.Rows, s.Length, a.KVHeads, g, a.HeadSize)
	return s.transpose(x, 0, 2, 3, 1, 4)
}

// byPosition is the way back of byHead. The heads of keys and values need no G.
func (s *pass) byPosition(x value, heads int) value {
	a := s.Arch
	x = s.reshape(x, s.Rows, a.KVHeads, heads/a.KVHeads, s.Length, a.HeadSize)
	return s.reshape(s.transpose(x, 0, 3, 1, 2, 4), s.n, heads, a.HeadSize)
}

// scores are those of a block of queries (R, KV, G, B, D), which begins at position at, over the first keys; and which
// of them count, at most window before each query; 0: all. All are (R, KV, G, B, keys).
func (s *pass) scores(q, k, at value, window int) (z, counts value) {
	r, kv, g, b, d, keys := q.Dims[0], q.Dims[1], q.Dims[2], q.Dims[3], q.Dims[4], k.Dims[2]
	z = s.reshape(s.dot(s.operand, s.reshape(q, r, kv, g*b, d), k, 2, 3, 3), r, kv, g, b, keys)
	z = s.capped(z, s.Arch.ScoreCap)
	dims := []int{r, b, keys}
	ours, theirs := s.part(s.seg, 1, at, b), s.cut(s.seg, 1, 0, keys)
	same := s.compare("EQ", s.spread(ours, dims, 0, 1), s.spread(theirs, dims, 0, 2))
	place := s.add(s.spread(at, dims), s.count(I32, 1, dims...))
	counts = s.binary("and", same, s.sees(place, s.count(I32, 2, dims...), window))
	return z, s.spread(counts, z.Dims, 0, 3, 4)
}

// sees tells which keys a query at a place sees.
func (s *pass) sees(place, key value, window int) value {
	seen := s.compare("GE", place, key)
	if window == 0 {
		return seen
	}
	return s.binary("and", seen, s.compare("LT", s.sub(place, key), s.integer(I32, uint64(window), key.Dims...)))
}

// capped is limit·tanh(x/limit); 0: x.
func (b *builder) capped(x value, limit float64) value {
	if limit == 0 {
		return x
	}
	k := b.constant(limit, x.Dims...)
	return b.mul(k, b.unary("tanh", b.div(x, k)))
}

// cappedBack takes the gradient of y, which capped returned.
func (b *builder) cappedBack(y, dy value, limit float64) value {
	if limit == 0 {
		return dy
	}
	share := b.div(y, b.constant(limit, y.Dims...))
	return b.mul(dy, b.sub(b.constant(1, y.Dims...), b.mul(share, share)))
}

// attend computes a strip: out of operands (R, KV, G, ·, D), and the logarithms of the sums of exponentials.
func (s *pass) attend(p strip, q, k, v value) (out, lse value) {
	q, k, v = s.cut(q, 3, p.lo, p.hi), s.cut(k, 2, 0, p.hi), s.cut(v, 2, 0, p.hi)
	carried := []value{s.zeros(s.operand, q.Dims...), s.constant(0, q.Dims[:4]...)}
	result := s.loop((p.hi-p.lo)/p.block, carried, func(i value, so []value) []value {
		at := s.mul(i, s.integer(I32, uint64(p.block)))
		block := s.part(q, 3, at, p.block)
		z, counts := s.scores(block, k, s.add(at, s.integer(I32, uint64(p.lo))), p.window)
		z = s.choose(counts, z, s.constant(math.Inf(-1), z.Dims...))
		top := s.largest(z, 4)
		e := s.unary("exponential", s.sub(z, s.spread(top, z.Dims, 0, 1, 2, 3)))
		sum := s.sum(e, 4)
		o := s.reshape(s.dot(s.operand, s.flat(e), v, 2, 3, 2), block.Dims...)
		o = s.div(o, s.spread(sum, o.Dims, 0, 1, 2, 3))
		lse := s.add(top, s.unary("log", sum))
		return []value{s.place(so[0], s.cast(o, s.operand), 3, at), s.place(so[1], lse, 3, at)}
	})
	return result[0], result[1]
}

// attendBack returns the gradient of a strip's queries, and adds to those of keys and values.
func (s *pass) attendBack(p strip, out, lse, dout, q, k, v value, dkv [2]value) (dq value, _ [2]value) {
	q, dout = s.cut(q, 3, p.lo, p.hi), s.cut(dout, 3, p.lo, p.hi)
	k, v = s.cut(k, 2, 0, p.hi), s.cut(v, 2, 0, p.hi)
	dk, dv := s.cut(dkv[0], 2, 0, p.hi), s.cut(dkv[1], 2, 0, p.hi)
	carried := []value{s.constant(0, q.Dims...), dk, dv}
	result := s.loop((p.hi-p.lo)/p.block, carried, func(i value, so []value) []value {
		at := s.mul(i, s.integer(I32, uint64(p.block)))
		block, o, do := s.part(q, 3, at, p.block), s.part(out, 3, at, p.block), s.part(dout, 3, at, p.block)
		z, counts := s.scores(block, k, s.add(at, s.integer(I32, uint64(p.lo))), p.window)
		over := func(x value) value { return s.spread(x, z.Dims, 0, 1, 2, 3) }
		prob := s.unary("exponential", s.sub(z, over(s.part(lse, 3, at, p.block))))
		prob = s.choose(counts, prob, s.constant(0, z.Dims...))
		delta := s.sum(s.mul(s.cast(do, F32), s.cast(o, F32)), 4)
		dp := s.reshape(s.dot(s.operand, s.flat(do), v, 2, 3, 3), z.Dims...)
		ds := s.cappedBack(z, s.mul(prob, s.sub(dp, over(delta))), s.Arch.ScoreCap)
		ds = s.flat(s.cast(ds, s.operand))
		dq := s.reshape(s.dot(s.operand, ds, k, 2, 3, 2), block.Dims...)
		return []value{s.place(so[0], dq, 3, at), s.add(so[1], s.dot(s.operand, ds, s.flat(block), 2, 2, 2)),
			s.add(so[2], s.dot(s.operand, s.flat(prob), s.flat(do), 2, 2, 2))}
	})
	rest := func(sum, all value) value {
		if p.hi == s.Length {
			return sum
		}
		return s.concat(2, sum, s.cut(all, 2, p.hi, s.Length))
	}
	return result[0], [2]value{rest(result[1], dkv[0]), rest(result[2], dkv[1])}
}

// flat joins the query heads of a key and value head: (R, KV, G·B, ·) of x (R, KV, G, B, ·).
func (s *pass) flat(x value) value {
	return s.reshape(x, x.Dims[0], x.Dims[1], x.Dims[2]*x.Dims[3], x.Dims[4])
}
