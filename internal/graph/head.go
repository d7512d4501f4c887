package graph

// headLogits is about how many logits of a piece are there at once.
const headLogits = 1 << 27

// head is the last multiply and cross-entropy, in pieces of positions: (N, V) is never there whole. It returns nats,
// logZ and the largest logit of each position (N), zero where it does not count; and with a scale, it adds to the
// gradient of the head and returns that of x (N, C).
//
// Formula: as nn.Head.
func (s *pass) head(x, scale value) (nats, logZ, top, dx value) {
	gradient := scale.Type != ""
	c, v := s.Arch.Width, s.Arch.Vocab
	piece := s.Piece
	if piece == 0 {
		pieces := (s.n*v + headLogits - 1) / headLogits
		piece = ((s.n+pieces-1)/pieces + 63) / 64 * 64
	}
	pieces := (s.n + piece - 1) / piece
	whole := func(x value) value { // with places that do not count up to a whole number of pieces
		if dims := append([]int{pieces*piece - s.n}, x.Dims[1:]...); dims[0] > 0 {
			return s.concat(0, x, s.zeros(x.Type, dims...))
		}
		return x
	}
	n := pieces * piece
	x, w := whole(s.cast(x, s.operand)), s.cast(s.w[s.tensors.head], s.operand)
	labels, counts := whole(s.labels), whole(s.counts)
	carried := []value{s.constant(0, n), s.constant(0, n), s.constant(0, n)}
	if gradient {
		carried = append(carried, s.zeros(s.operand, n, c), s.g[s.tensors.head])
	}
	result := s.loop(pieces, carried, func(i value, so []value) []value {
		at := s.mul(i, s.integer(I32, uint64(piece)))
		xi := s.part(x, 0, at, piece)
		z := s.dot(s.operand, xi, w, 0, 1, 1)
		over := func(x value) value { return s.spread(x, z.Dims, 0) }
		zero := s.constant(0, piece)
		counted := s.compare("NE", s.part(counts, 0, at, piece), zero)
		top := s.largest(z, 1)
		e := s.unary("exponential", s.sub(z, over(top)))
		sum := s.sum(e, 1)
		logZ := s.add(top, s.unary("log", sum))
		hot := s.compare("EQ", over(s.part(labels, 0, at, piece)), s.count(I32, 1, z.Dims...))
		nats := s.sub(logZ, s.sum(s.choose(hot, z, s.constant(0, z.Dims...)), 1))
		for j, o := range []value{nats, logZ, top} {
			so[j] = s.place(so[j], s.choose(counted, o, zero), 0, at)
		}
		if !gradient {
			return so
		}
		factor := s.add(s.constant(1, piece), s.mul(s.constant(2*s.ZLoss, piece), logZ))
		dz := s.mul(e, over(s.div(s.mul(s.spread(scale, zero.Dims), factor), sum)))
		dz = s.sub(dz, s.choose(hot, s.spread(scale, z.Dims), s.constant(0, z.Dims...)))
		dz = s.cast(s.choose(over(counted), dz, s.constant(0, z.Dims...)), s.operand)
		so[3] = s.place(so[3], s.dotTo(s.operand, s.operand, dz, w, 0, 1, 0), 0, at)
		so[4] = s.add(so[4], s.dot(s.operand, dz, xi, 0, 0, 0))
		return so
	})
	for i, v := range result[:3] {
		result[i] = s.cut(v, 0, 0, s.n)
	}
	if gradient {
		s.g[s.tensors.head] = result[4]
		dx = s.cast(s.cut(result[3], 0, 0, s.n), F32)
	}
	return result[0], result[1], result[2], dx
}
