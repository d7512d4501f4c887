package graph

import "math"

// activation is GELU of hidden (N, F) and its biases, in its form with the hyperbolic tangent, or SwiGLU of (N, 2·F),
// gate beside up.
//
// Formula: as nn.Activation.
func (s *pass) activation(biases []int, hidden value) (y value, back func(dy value) value) {
	x, biasBack := s.biased(biases, hidden)
	f := s.gelu
	if s.Arch.MLPKind == "swiglu" {
		f = s.swiglu
	}
	y, kindBack := f(x)
	return y, func(dy value) value { return biasBack(kindBack(dy)) }
}

func (s *pass) gelu(x value) (y value, back func(dy value) value) {
	k := func(f float64) value { return s.constant(f, x.Dims...) }
	root, square := math.Sqrt(2/math.Pi), s.mul(x, x)
	u := s.mul(s.mul(k(root), x), s.add(k(1), s.mul(k(0.044715), square)))
	t := s.unary("tanh", u)
	half := s.mul(k(0.5), s.add(k(1), t))
	return s.mul(x, half), func(dy value) value {
		du := s.mul(k(root), s.add(k(1), s.mul(k(3*0.044715), square)))
		slope := s.mul(s.mul(k(0.5), x), s.mul(s.sub(k(1), s.mul(t, t)), du))
		return s.mul(dy, s.add(half, slope))
	}
}

func (s *pass) swiglu(x value) (y value, back func(dy value) value) {
	f := s.Arch.MLP
	gate, up := s.cut(x, 1, 0, f), s.cut(x, 1, f, 2*f)
	sigmoid := s.unary("logistic", gate)
	silu := s.mul(gate, sigmoid)
	return s.mul(silu, up), func(dy value) value {
		one := s.constant(1, gate.Dims...)
		slope := s.mul(sigmoid, s.add(one, s.mul(gate, s.sub(one, sigmoid))))
		return s.concat(1, s.mul(s.mul(dy, up), slope), s.mul(dy, silu))
	}
}
