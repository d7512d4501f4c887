package graph

import "math"

// activation is GELU or ReLU of hidden (N, F) and its biases, exact or in its form with the hyperbolic tangent; or SwiGLU or
// GEGLU of (N, 2·F), gate beside up.
//
// Formula: as nn.Activation.
func (s *pass) activation(biases []int, hidden value) (y value, back func(dy value) value) {
	x, biasBack := s.biased(biases, hidden)
	y, kindBack := s.bend(x)
	return y, func(dy value) value { return biasBack(kindBack(dy)) }
}

// bend is the activation of x (N, F), or of (N, 2·F) where it is gated.
func (s *pass) bend(x value) (y value, back func(dy value) value) {
	f := map[string]func(value) (value, func(value) value){"swiglu": s.silu, "geglu": s.gelu, "gelu": s.gelu,
		"gelu-exact": s.geluExact, "relu": s.relu}[s.Arch.MLPKind]
	if !s.Arch.Gated() {
		return f(x)
	}
	n := s.Arch.MLP
	gate, up := s.cut(x, 1, 0, n), s.cut(x, 1, n, 2*n)
	active, activeBack := f(gate)
	return s.mul(active, up), func(dy value) value {
		return s.concat(1, activeBack(s.mul(dy, up)), s.mul(dy, active))
	}
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

// geluExact is x·Φ(x). Its slope is Φ(x) + x·φ(x).
func (s *pass) geluExact(x value) (y value, back func(dy value) value) {
	k := func(f float64) value { return s.constant(f, x.Dims...) }
	half := s.mul(k(0.5), s.add(k(1), s.put(F32, x.Dims, "chlo.erf %s : %s -> %s", s.mul(x, k(math.Sqrt(0.5))), x.Shape,
		x.Shape)))
	return s.mul(x, half), func(dy value) value {
		density := s.mul(k(1/math.Sqrt(2*math.Pi)), s.unary("exponential", s.mul(k(-0.5), s.mul(x, x))))
		return s.mul(dy, s.add(half, s.mul(x, density)))
	}
}

func (s *pass) silu(x value) (y value, back func(dy value) value) {
	sigmoid := s.unary("logistic", x)
	return s.mul(x, sigmoid), func(dy value) value {
		one := s.constant(1, x.Dims...)
		return s.mul(dy, s.mul(sigmoid, s.add(one, s.mul(x, s.sub(one, sigmoid)))))
	}
}

func (s *pass) relu(x value) (y value, back func(dy value) value) {
	zero := s.constant(0, x.Dims...)
	return s.binary("maximum", x, zero), func(dy value) value {
		return s.choose(s.compare("GT", x, zero), dy, zero)
	}
}
