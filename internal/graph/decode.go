package graph

import (
	"math"

	"gimbal/internal/config"
	"gimbal/internal/param"
)

// Decode says which program of a decoder with a cache to write, for one device. Programs of one cache differ in
// Tokens: many read prompts, one writes.
type Decode struct {
	Arch     config.Arch
	Adapter  param.Adapter
	Mode     string
	Rows     int // B: texts at a time
	Tokens   int // T: most tokens that a run adds to a row
	Capacity int // S: most positions of a row
	Devices  int // that run the program, each on rows of its own
	Sharded  bool
}

// Cache is the shape of the keys of one block, and of the values: (B·KV·S, D). A cache begins with zeros.
func (d Decode) Cache() Shape {
	return Shape{F32, []int{d.Rows * d.Arch.KVHeads * d.Capacity, d.Arch.HeadSize}}
}

// cache is the cache of a program.
type cache struct {
	blocks [][2]value // keys and values
	at     value      // (N·KV, 1) where those of a position belong; of one that is not there, nowhere
	pos    value      // (B, T, S) positions of tokens
}

// Program returns the program that extends rows by tokens.
//
// In: the parameters; keys and values of each block in turn, as Cache, donated; rows (B, 2+T) I32: how many positions
// a row holds, how many tokens follow them, and these. What a cache holds beyond does not matter: a smaller first
// number cuts the row.
//
// Out: keys and values; logits (B, V) of the token that follows the last of each row; of a row without tokens they
// mean nothing.
//
// Numerics: as model.Decoder: attention is in float32 in any mode. A row's bits do not depend on the other rows.
func (d Decode) Program() Program {
	a := d.Arch
	s := begin(Pass{Arch: a, Adapter: d.Adapter, Rows: d.Rows, Length: d.Tokens, Mode: d.Mode,
		Devices: d.Devices, Sharded: d.Sharded})
	s.cache = &cache{}
	for i := range a.Layers {
		keys := s.donate(2*i, F32, d.Cache().Dims...)
		s.cache.blocks = append(s.cache.blocks, [2]value{keys, s.donate(2*i+1, F32, d.Cache().Dims...)})
	}
	rows := s.argument(I32, d.Rows, 2+d.Tokens)
	past, count := s.reshape(s.cut(rows, 1, 0, 1), d.Rows), s.reshape(s.cut(rows, 1, 1, 2), d.Rows)

	dims := []int{d.Rows, d.Tokens}
	pos := s.add(s.spread(past, dims, 0), s.count(I32, 1, dims...))
	there := s.compare("LT", s.count(I32, 1, dims...), s.spread(count, dims, 0))
	s.tokens, s.pos = s.reshape(s.cut(rows, 1, 2, 2+d.Tokens), s.n), s.reshape(pos, s.n)
	s.cache.at = s.reshape(d.places(s, pos, there), s.n*a.KVHeads, 1)
	see := append(dims, d.Capacity)
	s.cache.pos = s.spread(pos, see, 0, 1)

	x, _ := s.embedding()
	for i := range a.Layers {
		x, _ = s.block(i, x)
	}
	first := s.mul(s.count(I32, 0, d.Rows), s.integer(I32, uint64(d.Tokens), d.Rows))
	last := s.sub(s.add(first, count), s.integer(I32, 1, d.Rows))
	x, _ = s.norm(s.final, s.gather(x, s.reshape(last, d.Rows, 1)))
	var out []value
	for _, b := range s.cache.blocks {
		out = append(out, b[0], b[1])
	}
	return s.program("decode", max(1, d.Devices), append(out, s.logits(x, s.w[s.tensors.head]))...)
}

// places are the rows of a cache (B, T, KV) of positions pos that are there, and a row that is not for the others.
func (d Decode) places(s *pass, pos, there value) value {
	dims := []int{d.Rows, d.Tokens, d.Arch.KVHeads}
	times := func(x value, n int) value { return s.mul(x, s.integer(I32, uint64(n), dims...)) }
	at := times(s.add(times(s.count(I32, 0, dims...), d.Arch.KVHeads), s.count(I32, 2, dims...)), d.Capacity)
	at = s.add(at, s.spread(pos, dims, 0, 1))
	nowhere := s.integer(I32, uint64(d.Cache().Dims[0]), dims...)
	return s.choose(s.spread(there, dims, 0, 1), at, nowhere)
}

// attendCache appends keys and values (N, KV, D) to the cache of the block and returns the attention of its queries
// (N, H, D) to all that it holds: (N, H·D).
func (s *pass) attendCache(i int, parts [3]value) value {
	a, c := s.Arch, s.cache
	block := &c.blocks[i]
	for i := range block {
		block[i] = s.overwrite(block[i], c.at, s.reshape(parts[1+i], s.n*a.KVHeads, a.HeadSize))
	}
	b, t, g, capacity := s.Rows, s.Length, a.Heads/a.KVHeads, c.pos.Dims[2]
	all := func(x value) value { return s.reshape(x, b, a.KVHeads, capacity, a.HeadSize) }
	q := s.transpose(s.reshape(parts[0], b, t, a.KVHeads, g, a.HeadSize), 0, 2, 3, 1, 4)
	z := s.reshape(s.dot(F32, s.flat(q), all(block[0]), 2, 3, 3), b, a.KVHeads, g, t, capacity)
	see := s.sees(c.pos, s.count(I32, 2, c.pos.Dims...), a.Layer(i).Window)
	z = s.choose(s.spread(see, z.Dims, 0, 3, 4), s.capped(z, a.ScoreCap), s.constant(math.Inf(-1), z.Dims...))
	e := s.unary("exponential", s.sub(z, s.spread(s.largest(z, 4), z.Dims, 0, 1, 2, 3)))
	o := s.reshape(s.dot(F32, s.flat(e), all(block[1]), 2, 3, 2), q.Dims...)
	o = s.div(o, s.spread(s.sum(e, 4), q.Dims, 0, 1, 2, 3))
	return s.reshape(s.transpose(o, 0, 3, 1, 2, 4), s.n, a.Heads*a.HeadSize)
}
