package graph

import "math"

// norm is RMSNorm of x (..., C), or with a bias or bare LayerNorm; x itself where there is none.
//
// Formula: RMSNorm: r = 1/√(mean(x²)+eps), y = gain·x·r. LayerNorm: r = 1/√(var+eps), y = gain·(x−mean)·r + bias.
// Backward: with x̂ = x·r, or (x−mean)·r, and g = gain·dy: dx = r·(g − x̂·mean(g·x̂)), for LayerNorm less r·mean(g).
func (s *pass) norm(t normTensors, x value) (y value, back func(dy value) value) {
	if t.gain == -1 {
		return x, func(dy value) value { return dy }
	}
	last := len(x.Dims) - 1
	rows := make([]int, last) // dimensions of positions
	for i := range rows {
		rows[i] = i
	}
	mean := func(v value) value {
		m := s.sum(v, last)
		return s.spread(s.mul(m, s.constant(1/float64(x.Dims[last]), m.Dims...)), x.Dims, rows...)
	}
	centred, layer := x, t.bias != -1
	if layer {
		centred = s.sub(x, mean(x))
	}
	squares := mean(s.mul(centred, centred))
	r := s.unary("rsqrt", s.add(squares, s.constant(s.Arch.NormEps, x.Dims...)))
	// Squares that overflow would leave zeros, and a broken weight would look like a model that knows nothing. So they
	// give NaN, here as on the CPU. (A root that cannot overflow was tried: the gradients are then products with numbers
	// below 1e-38, which plugins flush to zero, and nobody sees the weight.)
	r = s.choose(s.compare("EQ", squares, s.constant(math.Inf(1), x.Dims...)), s.constant(math.NaN(), x.Dims...), r)
	hat := s.mul(centred, r)
	if t == bare {
		return hat, func(dy value) value { return s.mul(s.sub(s.sub(dy, s.mul(hat, mean(s.mul(dy, hat)))), mean(dy)), r) }
	}
	gain := s.spread(s.w[t.gain], x.Dims, last)
	if s.Arch.UnitGain {
		gain = s.add(gain, s.constant(1, x.Dims...))
	}
	y = s.mul(hat, gain)
	if layer {
		y = s.add(y, s.spread(s.w[t.bias], x.Dims, last))
	}
	return y, func(dy value) value {
		s.gradient(t.gain, s.sum(s.mul(dy, hat), rows...))
		g := s.mul(dy, gain)
		d := s.sub(g, s.mul(hat, mean(s.mul(g, hat))))
		if layer {
			s.gradient(t.bias, s.sum(dy, rows...))
			d = s.sub(d, mean(g))
		}
		return s.mul(d, r)
	}
}
