package safetensors

import "fmt"

// InMemory is tensors that are read as those of a file are. Make it with Memory. Safe for concurrent use.
type InMemory struct {
	entries []Entry
	tensors []Tensor
	index   map[string]int
}

// Memory returns entries to be read. It shares their memory. Their tensors are F32 and lie in no file: Begin and End
// are 0. Panics if a name appears twice, or if a shape is not that of its data.
func Memory(entries []Entry) *InMemory {
	m := &InMemory{entries: entries, tensors: make([]Tensor, len(entries)), index: make(map[string]int, len(entries))}
	for i, e := range entries {
		m.tensors[i] = Tensor{Name: e.Name, DType: "F32", Shape: e.Shape}
		m.index[e.Name] = i
		if m.tensors[i].Len() != len(e.Data) {
			panic("safetensors: memory: shape and data differ")
		}
	}
	if len(m.index) != len(entries) {
		panic("safetensors: memory: a name appears twice")
	}
	return m
}

// Tensors returns the tensors in their order. The caller must not change them.
func (m *InMemory) Tensors() []Tensor { return m.tensors }

// Lookup finds a tensor by name.
func (m *InMemory) Lookup(name string) (Tensor, bool) {
	i, ok := m.index[name]
	if !ok {
		return Tensor{}, false
	}
	return m.tensors[i], true
}

// ReadF32 overwrites dst with a tensor. Returns an *Error if there is none of this name, or if len(dst) is not its
// number of elements.
func (m *InMemory) ReadF32(dst []float32, name string) error {
	i, ok := m.index[name]
	if !ok {
		return &Error{name, "is not there"}
	}
	if data := m.entries[i].Data; len(dst) != len(data) {
		return &Error{name, fmt.Sprintf("has shape %v, %d elements, but %d are expected",
			m.entries[i].Shape, len(data), len(dst))}
	}
	copy(dst, m.entries[i].Data)
	return nil
}
