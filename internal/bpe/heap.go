package bpe

// heap is a binary heap: no element is before the first. container/heap would cost an interface for each element.
type heap[T ordered[T]] []T

type ordered[T any] interface{ before(T) bool }

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	s := *h
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !x.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = x
}

func (h *heap[T]) pop() T {
	s := *h
	n := len(s) - 1
	first, x := s[0], s[n]
	s = s[:n]
	*h = s
	for i := 0; n > 0; {
		c := 2*i + 1
		if c+1 < n && s[c+1].before(s[c]) {
			c++
		}
		if c >= n || !s[c].before(x) {
			s[i] = x
			break
		}
		s[i] = s[c]
		i = c
	}
	return first
}
