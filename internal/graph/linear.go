package graph

// linear is y = x·Wᵀ, x (N, In) and y (N, Out). Where several matrices serve one multiply, y has their columns side by
// side. y, and the gradient of x, are rounded to the type of operands.
func (s *pass) linear(weights []int, x value) (y value, back func(dy value) value) {
	if s.Adapter.Rank > 0 {
		return s.adapted(weights, x)
	}
	y = s.dotTo(s.operand, s.operand, x, s.join(weights, s.operand), 0, 1, 1)
	return y, func(dy value) value {
		w := s.join(weights, s.operand) // gathered again, where parameters are
		s.gradients(weights, s.dot(s.operand, dy, x, 0, 0, 0))
		return s.cast(s.dotTo(s.operand, s.operand, dy, w, 0, 1, 0), F32)
	}
}

// biased is x (N, Out) in float32 plus the biases, if there are any.
func (s *pass) biased(biases []int, x value) (y value, back func(dy value) value) {
	if y = s.cast(x, F32); biases == nil {
		return y, func(dy value) value { return dy }
	}
	return s.add(y, s.spread(s.join(biases, F32), y.Dims, 1)), func(dy value) value {
		// Rounded once, for the multiplies and this sum: a compiler would keep dy in float32 for the sum.
		dy = s.later(s.cast(dy, s.operand))[0]
		s.gradients(biases, s.sum(s.cast(dy, F32), 0))
		return dy
	}
}

// join puts tensors one above the other, rounded to a type.
func (s *pass) join(list []int, t Type) value {
	parts := make([]value, len(list))
	for i, at := range list {
		parts[i] = s.cast(s.w[at], t)
	}
	return s.concat(0, parts...)
}

// gradients adds the parts of g to the gradients of tensors that join joined.
func (s *pass) gradients(list []int, g value) {
	lo := 0
	for _, at := range list {
		hi := lo + s.w[at].Dims[0]
		s.gradient(at, s.cut(g, 0, lo, hi))
		lo = hi
	}
}
