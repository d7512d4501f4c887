package graph

import (
	"cmp"
	"math"
)

const (
	headLogits = 1 << 27 // about how many logits of a piece are there at once
	headAlign  = 64      // matrix units are fast with multiples of it
)

// head is the last multiply and cross-entropy, in pieces of positions: (N, V) is never there whole. It returns nats,
// logZ and the largest logit of each position (N), zero where it does not count; and with a scale, it adds to the
// gradient of the head and its bias, unless they are frozen, and returns that of x (N, C).
//
// Formula: as nn.Head.
func (s *pass) head(x, scale value) (nats, logZ, top, dx value) {
	gradient := scale.Type != ""
	c, v := s.Arch.Width, (s.Arch.Vocab+headAlign-1)/headAlign*headAlign
	piece := s.Piece
	if piece == 0 {
		pieces := (s.n*v + headLogits - 1) / headLogits
		piece = ((s.n+pieces-1)/pieces + headAlign - 1) / headAlign * headAlign
	}
	pieces := (s.n + piece - 1) / piece
	n := pieces * piece
	x, w := s.upTo(n, s.cast(x, s.operand)), s.upTo(v, s.cast(s.w[s.tensors.head], s.operand))
	labels, counts := s.upTo(n, s.labels), s.upTo(n, s.counts)
	carried := []value{s.constant(0, n), s.constant(0, n), s.constant(0, n)}
	weights, trained := value{}, s.tensors.head >= s.frozen
	if gradient {
		carried = append(carried, s.zeros(s.operand, n, c))
		if trained {
			carried = append(carried, s.upTo(v, s.g[s.tensors.head]))
			if s.headBias >= 0 {
				carried = append(carried, s.upTo(v, s.g[s.headBias]))
			}
		}
		if s.Weighted {
			weights = s.upTo(n, s.weights)
		}
	}
	result := s.loop(pieces, carried, func(i value, so []value) []value {
		at := s.mul(i, s.integer(I32, uint64(piece)))
		xi := s.part(x, 0, at, piece)
		z := s.logits(xi, w)
		logits := z
		over := func(x value) value { return s.spread(x, z.Dims, 0) }
		token := s.count(I32, 1, z.Dims...)
		if v > s.Arch.Vocab {
			there := s.compare("LT", token, s.integer(I32, uint64(s.Arch.Vocab), z.Dims...))
			z = s.choose(there, z, s.constant(math.Inf(-1), z.Dims...))
		}
		zero := s.constant(0, piece)
		counted := s.compare("NE", s.part(counts, 0, at, piece), zero)
		top := s.largest(z, 1)
		e := s.unary("exponential", s.sub(z, over(top)))
		sum := s.sum(e, 1)
		logZ := s.add(top, s.unary("log", sum))
		hot := s.compare("EQ", over(s.part(labels, 0, at, piece)), token)
		nats := s.sub(logZ, s.sum(s.choose(hot, z, s.constant(0, z.Dims...)), 1))
		for j, o := range []value{nats, logZ, top} {
			so[j] = s.place(so[j], s.choose(counted, o, zero), 0, at)
		}
		if !gradient {
			return so
		}
		factor := s.add(s.constant(1, piece), s.mul(s.constant(2*s.ZLoss, piece), logZ))
		scales, all := s.spread(scale, zero.Dims), s.spread(scale, z.Dims)
		if s.Weighted {
			scales = s.mul(scales, s.part(weights, 0, at, piece))
			all = over(scales)
		}
		dz := s.mul(e, over(s.div(s.mul(scales, factor), sum)))
		dz = s.sub(dz, s.choose(hot, all, s.constant(0, z.Dims...)))
		dz = s.factor(1 / cmp.Or(s.Arch.LogitDivisor, 1))(s.cappedBack(logits, dz, s.Arch.LogitCap))
		dz = s.cast(s.choose(over(counted), dz, s.constant(0, z.Dims...)), s.operand)
		so[3] = s.place(so[3], s.dotTo(s.operand, s.operand, dz, w, 0, 1, 0), 0, at)
		if trained {
			so[4] = s.add(so[4], s.dot(s.operand, dz, xi, 0, 0, 0))
			if s.headBias >= 0 {
				so[5] = s.add(so[5], s.sum(s.cast(dz, F32), 0))
			}
		}
		return so
	})
	for i, v := range result[:3] {
		result[i] = s.cut(v, 0, 0, s.n)
	}
	if gradient {
		dx = s.cast(s.cut(result[3], 0, 0, s.n), F32)
		if trained {
			s.g[s.tensors.head] = s.cut(result[4], 0, 0, s.Arch.Vocab)
			if s.headBias >= 0 {
				s.g[s.headBias] = s.cut(result[5], 0, 0, s.Arch.Vocab)
			}
		}
	}
	return result[0], result[1], result[2], dx
}

// logits are those of x (n, C), with the head w (V, C).
func (s *pass) logits(x, w value) value {
	z := s.dot(s.operand, x, w, 0, 1, 1)
	if s.headBias >= 0 {
		z = s.add(z, s.spread(s.upTo(w.Dims[0], s.w[s.headBias]), z.Dims, 1))
	}
	return s.capped(s.factor(1/cmp.Or(s.Arch.LogitDivisor, 1))(z), s.Arch.LogitCap)
}

// upTo adds rows of zeros to x, up to n.
func (b *builder) upTo(n int, x value) value {
	if n == x.Dims[0] {
		return x
	}
	return b.concat(0, x, b.zeros(x.Type, append([]int{n - x.Dims[0]}, x.Dims[1:]...)...))
}
