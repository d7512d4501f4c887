package graph

import (
	"math"

	"gimbal/internal/model"
)

// rotation returns the cosines and sines (N, D/2) of the angles at positions pos (N).
//
// Numerics: a frequency is a share of a turn in 64 bits, so that whole turns fall off the product with a position by
// themselves, and the angle is exact before it is rounded to float32.
func (s *pass) rotation() (cos, sin value) {
	freqs := model.RopeFrequencies(s.Arch.Layer(0), s.Arch.HeadSize)
	turns := make([]uint64, len(freqs))
	for j, f := range freqs {
		turns[j] = uint64(math.Ldexp(f/(2*math.Pi), 64))
	}
	dims := []int{s.n, len(turns)}
	at := s.spread(s.cast(s.pos, U64), dims, 0)
	turned := s.mul(at, s.spread(s.integers(U64, turns), dims, 1))
	high := s.cast(s.cast(s.binary("shift_right_logical", turned, s.integer(U64, 32, dims...)), U32), I32)
	angle := s.mul(s.cast(high, F32), s.constant(math.Ldexp(2*math.Pi, -32), dims...)) // of -π to π
	return s.unary("cosine", angle), s.unary("sine", angle)
}

// turn rotates the pairs of channels j and j+D/2 of x (N, H, D), by -sin backwards.
func (s *pass) turn(x, cos, sin value) value {
	half := s.Arch.HeadSize / 2
	a, b := s.cut(x, 2, 0, half), s.cut(x, 2, half, 2*half)
	cos, sin = s.spread(cos, a.Dims, 0, 2), s.spread(sin, a.Dims, 0, 2)
	return s.concat(2, s.sub(s.mul(a, cos), s.mul(b, sin)), s.add(s.mul(b, cos), s.mul(a, sin)))
}

// heads makes what attention reads from qkv (N, QKV): q (N, H, D), k and v (N, KV, D). It adds the biases, norms
// queries and keys (QK-norm), rotates them, and scales the queries by 1/√D. back takes the gradients of q, k and v.
func (s *pass) heads(t blockTensors, qkv value) (parts [3]value, back func(d [3]value) value) {
	a := s.Arch
	count, gains := [3]int{a.Heads, a.KVHeads, a.KVHeads}, [3]int{t.qGain, t.kGain, -1}
	var backs [3]func(value) value
	var cos, sin value
	if a.Position == "rope" {
		cos, sin = s.rotation()
	}
	qkv, biasBack := s.biased(t.qkv.biases, qkv)
	lo := 0
	for i, n := range count {
		hi := lo + n*a.HeadSize
		x := s.reshape(s.cut(qkv, 1, lo, hi), s.n, n, a.HeadSize)
		backs[i] = func(d value) value { return d }
		if gains[i] >= 0 {
			x, backs[i] = s.norm(normTensors{gains[i], -1}, x)
		}
		if a.Position == "rope" && i < 2 {
			x = s.turn(x, cos, sin)
		}
		if i == 0 {
			x = s.mul(x, s.constant(1/math.Sqrt(float64(a.HeadSize)), x.Dims...))
		}
		parts[i], lo = x, hi
	}
	return parts, func(d [3]value) value {
		d[0] = s.mul(d[0], s.constant(1/math.Sqrt(float64(a.HeadSize)), d[0].Dims...))
		for i := range d {
			if a.Position == "rope" && i < 2 {
				d[i] = s.turn(d[i], cos, s.unary("negate", sin))
			}
			d[i] = s.reshape(backs[i](d[i]), s.n, count[i]*a.HeadSize)
		}
		return biasBack(s.concat(1, d[:]...))
	}
}
