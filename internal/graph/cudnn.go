package graph

func (s *pass) flashAttention(parts [3]value) (out value, back func(dout value) [3]value) {
	panic("todo")
}
