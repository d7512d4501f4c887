package graph

// adapted is linear beside an adapter: a multiply for each matrix.
func (s *pass) adapted(weights []int, x value) (y value, back func(dy value) value) {
	ys, backs := make([]value, len(weights)), make([]func(value) value, len(weights))
	for k, at := range weights {
		ys[k], backs[k] = s.lowRank(at, x)
	}
	return s.concat(1, ys...), func(dy value) (dx value) {
		lo := 0
		for k, back := range backs {
			hi := lo + ys[k].Dims[1]
			if d := back(s.cut(dy, 1, lo, hi)); k == 0 {
				dx = d
			} else {
				dx = s.add(dx, d)
			}
			lo = hi
		}
		return s.cast(s.cast(dx, s.operand), F32)
	}
}

// lowRank is y = x·Wᵀ + Scale·drop(x)·Aᵀ·Bᵀ, with DoRA times a ratio for each column; x·Wᵀ where the adapter does not
// change W. The gradient of x is not rounded.
//
// Formula: as param.Adapter; with DoRA lengths count as constant, and the gradient of the magnitude m is Σ dy·y/m.
func (s *pass) lowRank(at int, x value) (y value, back func(dy value) value) {
	y = s.dot(s.operand, x, s.w[at], 0, 1, 1)
	t, changed := s.low[at]
	if !changed {
		return s.cast(y, s.operand), func(dy value) value { return s.dot(s.operand, dy, s.w[at], 0, 1, 0) }
	}
	scaled := func(x value) value { return s.mul(x, s.constant(s.Adapter.Scale, x.Dims...)) }
	drop := s.dropout(t.place, s.Adapter.Dropout, x.Dims[1])
	read := drop(s.cast(x, F32))
	u := s.dotTo(s.operand, s.operand, read, s.w[t.a], 0, 1, 1)
	y = s.add(y, scaled(s.dot(s.operand, u, s.w[t.b], 0, 1, 1)))
	if s.Adapter.DoRA {
		y = s.mul(y, s.spread(s.ratio(at, t), y.Dims, 1))
	}
	y = s.cast(y, s.operand)
	return y, func(dy value) value {
		if s.Adapter.DoRA {
			dy = s.cast(dy, F32)
			m := s.w[t.magnitude]
			s.gradient(t.magnitude, s.over(s.sum(s.mul(dy, s.cast(y, F32)), 0), m))
			dy = s.mul(dy, s.spread(s.ratio(at, t), dy.Dims, 1))
		}
		du := s.dotTo(s.operand, s.operand, dy, s.w[t.b], 0, 1, 0)
		s.gradient(t.b, scaled(s.dot(s.operand, dy, u, 0, 0, 0)))
		s.gradient(t.a, scaled(s.dot(s.operand, du, read, 0, 0, 0)))
		dx := drop(scaled(s.dot(s.operand, du, s.w[t.a], 0, 1, 0)))
		return s.add(s.dot(s.operand, dy, s.w[at], 0, 1, 0), dx)
	}
}

// ratio is the magnitudes of a matrix over the lengths of the rows of W + Scale·B·A.
func (s *pass) ratio(at int, t lowTensors) value {
	change := s.dot(F32, s.w[t.b], s.w[t.a], 0, 1, 0)
	whole := s.add(s.cast(s.w[at], F32), s.mul(change, s.constant(s.Adapter.Scale, change.Dims...)))
	return s.over(s.w[t.magnitude], s.unary("sqrt", s.total(s.mul(whole, whole))))
}

// over is x/y, and 0 where y is.
func (b *builder) over(x, y value) value {
	zero := b.constant(0, x.Dims...)
	return b.choose(b.compare("EQ", y, zero), zero, b.div(x, y))
}
