package graph

// linear is y = x·Wᵀ + bias, x (N, In) and y (N, Out) of float32. Where several matrices serve one multiply, y has
// their columns side by side. The result of the multiply, and the gradient of x, are rounded to the type of operands.
func (s *pass) linear(t linearTensors, x value) (y value, back func(dy value) value) {
	w, at := s.join(t.weights, s.operand), x
	y = s.cast(s.dotTo(s.operand, s.operand, x, w, 0, 1, 1), F32)
	if t.biases != nil {
		y = s.add(y, s.spread(s.join(t.biases, F32), y.Dims, 1))
	}
	return y, func(dy value) value {
		if t.biases != nil {
			s.gradients(t.biases, s.sum(dy, 0))
		}
		s.gradients(t.weights, s.dot(s.operand, dy, at, 0, 0, 0))
		return s.cast(s.dotTo(s.operand, s.operand, dy, w, 0, 1, 0), F32)
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
