package graph

import "math"

// dropout returns the function that masks a share of x (N, width) at a place of the model, as nn.Dropout does: 0 is the
// embedding, 1+2l and 2+2l are the branches of block l. It is its own gradient.
func (s *pass) dropout(place uint64, share float64, width int) func(x value) value {
	threshold := math.Min(math.Round(share*65536), 65535)
	if s.keys.Dims == nil || threshold == 0 {
		return func(x value) value { return x }
	}
	keep := s.masks(place, uint64(threshold), width)
	scale := 65536 / (65536 - threshold)
	return func(x value) value {
		return s.choose(keep, s.mul(x, s.constant(scale, x.Dims...)), s.constant(0, x.Dims...))
	}
}

// masks tells which channels (N, c) are kept. 128 random bits serve 8 channels, 16 bits each, the low ones first.
func (s *pass) masks(place, threshold uint64, c int) value {
	blocks := (c + 7) / 8
	word := func(i int) value { return s.reshape(s.cut(s.keys, 1, i, i+1), s.n) }
	flip := s.integer(U32, math.MaxUint32, s.n)
	high := s.integer(U32, place>>32, s.n)
	// The key of the place, as rng.Key.Sub.
	key := s.philox([4]value{s.integer(U32, place&math.MaxUint32, s.n), high, word(2), word(3)},
		[2]value{s.binary("xor", word(0), flip), s.binary("xor", word(1), flip)})
	dims := []int{s.n, blocks}
	for i := range key {
		key[i] = s.spread(key[i], dims, 0)
	}
	at := s.mul(s.spread(s.cast(s.pos, U32), dims, 0), s.integer(U32, uint64(blocks), dims...))
	at = s.add(at, s.count(U32, 1, dims...))
	bits := s.philox([4]value{at, s.integer(U32, 0, dims...), key[2], key[3]}, [2]value{key[0], key[1]})
	var halves []value
	for _, w := range bits {
		low := s.binary("and", w, s.integer(U32, 0xFFFF, dims...))
		high := s.binary("shift_right_logical", w, s.integer(U32, 16, dims...))
		halves = append(halves, s.reshape(low, s.n, blocks, 1), s.reshape(high, s.n, blocks, 1))
	}
	all := s.cut(s.reshape(s.concat(2, halves...), s.n, 8*blocks), 1, 0, c)
	return s.compare("GE", all, s.integer(U32, threshold, all.Dims...))
}

// philox is Philox4x32-10 of counters c under keys k, elements of U32. See package rng.
func (b *builder) philox(c [4]value, k [2]value) [4]value {
	dims := c[0].Dims
	times := func(x value, by uint64) (high, low value) {
		p := b.mul(b.cast(x, U64), b.integer(U64, by, dims...))
		return b.cast(b.binary("shift_right_logical", p, b.integer(U64, 32, dims...)), U32), b.cast(p, U32)
	}
	for round := range 10 {
		if round > 0 {
			k[0] = b.add(k[0], b.integer(U32, 0x9E3779B9, dims...))
			k[1] = b.add(k[1], b.integer(U32, 0xBB67AE85, dims...))
		}
		h0, l0 := times(c[0], 0xD2511F53)
		h1, l1 := times(c[2], 0xCD9E8D57)
		h0, h1 = b.binary("xor", h0, c[3]), b.binary("xor", h1, c[1])
		c = [4]value{b.binary("xor", h1, k[0]), l1, b.binary("xor", h0, k[1]), l0}
	}
	return c
}
