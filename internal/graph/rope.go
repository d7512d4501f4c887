package graph

import (
	"cmp"
	"math"

	"gimbal/internal/config"
	"gimbal/internal/model"
)

// rotation returns the cosines and sines (N, R/2) of the angles of a layer at positions pos (N), R being the channels
// of a head that are turned.
//
// Numerics: a frequency is a share of a turn in 64 bits, so that whole turns fall off the product with a position by
// themselves, and the angle is exact before it is rounded to float32.
func (s *pass) rotation(l config.Layer) (cos, sin value) {
	freqs := model.RopeFrequencies(l, s.Arch.RotarySize())
	turns := make([]uint64, len(freqs))
	for j, f := range freqs {
		turns[j] = uint64(math.Ldexp(f/(2*math.Pi), 64))
	}
	dims := []int{s.n, len(turns)}
	at := s.spread(s.cast(s.pos, U64), dims, 0)
	turned := s.mul(at, s.spread(s.integers(U64, turns), dims, 1))
	high := s.cast(s.cast(s.binary("shift_right_logical", turned, s.integer(U64, 32, dims...)), U32), I32)
	angle := s.mul(s.cast(high, F32), s.constant(math.Ldexp(2*math.Pi, -32), dims...)) // of -π to π
	gain := s.constant(cmp.Or(l.Scale.Gain, 1), dims...)
	return s.mul(s.unary("cosine", angle), gain), s.mul(s.unary("sine", angle), gain)
}

// turn rotates the pairs of channels j and j+R/2 of x (N, H, D), by -sin backwards. Channels from R on stay.
func (s *pass) turn(x, cos, sin value) value {
	half, size := cos.Dims[1], s.Arch.HeadSize
	a, b := s.cut(x, 2, 0, half), s.cut(x, 2, half, 2*half)
	cos, sin = s.spread(cos, a.Dims, 0, 2), s.spread(sin, a.Dims, 0, 2)
	parts := []value{s.sub(s.mul(a, cos), s.mul(b, sin)), s.add(s.mul(b, cos), s.mul(a, sin))}
	if 2*half < size {
		parts = append(parts, s.cut(x, 2, 2*half, size))
	}
	return s.concat(2, parts...)
}

// heads makes what attention of block i reads from qkv (N, QKV): q (N, H, D), k and v (N, KV, D). It adds the biases,
// norms queries and keys (QK-norm, of each head or of all together), rotates them, and scales the queries. back
// takes the gradients of q, k and v.
func (s *pass) heads(i int, qkv value) (parts [3]value, back func(d [3]value) value) {
	a, t, l := s.Arch, s.blocks[i], s.Arch.Layer(i)
	rope, scale := a.Position == "rope" && l.Theta > 0, a.ScoreGain()
	count, gains := [3]int{a.Heads, a.KVHeads, a.KVHeads}, [3]int{t.qGain, t.kGain, -1}
	var backs [3]func(value) value
	var cos, sin value
	if rope {
		cos, sin = s.rotation(l)
	}
	qkv, biasBack := s.biased(t.qkv.biases, qkv)
	lo := 0
	for i, n := range count {
		hi := lo + n*a.HeadSize
		x, dims := s.cut(qkv, 1, lo, hi), []int{s.n, n, a.HeadSize}
		if a.QKWide {
			dims = x.Dims
		}
		x, backs[i] = s.norm(normTensors{gains[i], -1}, s.reshape(x, dims...))
		if x = s.reshape(x, s.n, n, a.HeadSize); rope && i < 2 {
			x = s.turn(x, cos, sin)
		}
		if i == 0 {
			x = s.mul(x, s.constant(scale, x.Dims...))
		}
		parts[i], lo = x, hi
	}
	return parts, func(d [3]value) value {
		d[0] = s.mul(d[0], s.constant(scale, d[0].Dims...))
		for i := range d {
			if rope && i < 2 {
				d[i] = s.turn(d[i], cos, s.unary("negate", sin))
			}
			if a.QKWide {
				d[i] = s.reshape(d[i], s.n, count[i]*a.HeadSize)
			}
			d[i] = s.reshape(backs[i](d[i]), s.n, count[i]*a.HeadSize)
		}
		return biasBack(s.concat(1, d[:]...))
	}
}
