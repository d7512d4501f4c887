package graph

// embedding looks tokens up, scales them where Arch says so, adds learned positions where there are any, and applies
// dropout: x (N, C). back returns nothing of use.
func (s *pass) embedding() (x value, back func(dy value)) {
	scale := s.factor(s.Arch.EmbedGain())
	x = scale(s.gather(s.w[s.embed], s.reshape(s.tokens, s.n, 1)))
	place := s.pos
	if s.position >= 0 {
		place = s.add(place, s.integer(I32, uint64(s.Arch.Places), s.n))
		x = s.add(x, s.gather(s.w[s.position], s.reshape(place, s.n, 1)))
	}
	drop := s.dropout(0, s.Arch.Dropout, s.Arch.Width)
	return drop(x), func(dy value) {
		if s.Adapter.Rank > 0 {
			return
		}
		dy = drop(dy)
		s.g[s.embed] = s.addRows(s.g[s.embed], s.tokens, scale(dy))
		if s.position >= 0 {
			s.g[s.position] = s.addRows(s.g[s.position], place, dy)
		}
	}
}

// factor returns the function that multiplies by f. It is its own gradient.
func (b *builder) factor(f float64) func(x value) value {
	return func(x value) value {
		if f == 1 {
			return x
		}
		return b.mul(x, b.constant(f, x.Dims...))
	}
}

// addRows adds the rows of x (N, C) to those of z (V, C) that ids (N) name.
//
// Numerics: one order on any hardware. The rows are sorted by what they are added to; those of one id lie side by side
// and are summed in pairs of pairs, so that at most one of them is added to each row of z.
func (b *builder) addRows(z, ids, x value) value {
	n := x.Dims[0]
	sorted := b.sort(ids, b.count(I32, 0, n))
	keys := sorted[0]
	x = b.gather(x, b.reshape(sorted[1], n, 1))
	for step := 1; step < n; step *= 2 {
		same := b.compare("EQ", b.cut(keys, 0, step, n), b.cut(keys, 0, 0, n-step))
		before := b.cut(x, 0, 0, n-step)
		before = b.choose(b.spread(same, before.Dims, 0), before, b.constant(0, before.Dims...))
		x = b.add(x, b.concat(0, b.constant(0, step, x.Dims[1]), before))
	}
	nowhere := b.integer(I32, uint64(z.Dims[0]), n) // rows that are not there are left out
	if n > 1 {
		last := b.compare("NE", b.cut(keys, 0, 0, n-1), b.cut(keys, 0, 1, n))
		keys = b.choose(b.concat(0, last, b.integer(Bool, 1, 1)), keys, nowhere)
	}
	return b.scatter(z, b.reshape(keys, n, 1), x)
}
