package safetensors

import (
	"context"
	"io"
	"slices"
)

// Memory returns a file of F32 tensors that are in memory. It shares the memory of entries. Panics if a name appears
// twice, or if a shape is not that of its data.
func Memory(entries []Entry) *File {
	tensors := make([]Tensor, len(entries))
	for i, e := range entries {
		tensors[i] = Tensor{e.Name, "F32", e.Shape, 0, 4 * int64(len(e.Data)), floats(e.Data)}
		if tensors[i].Len() != len(e.Data) {
			panic("safetensors: memory: shape and data differ")
		}
	}
	f, err := newFile(tensors)
	if err != nil {
		panic("safetensors: memory: a name appears twice")
	}
	return f
}

// floats are the bytes of F32 numbers. Reads begin and end at whole numbers.
type floats []float32

func (s floats) ReadAt(p []byte, off int64) (int, error) {
	putF32(p, s[off/4:][:len(p)/4])
	return len(p), nil
}

// Until returns the same tensors, which cannot be read any more once ctx is done.
func (f *File) Until(ctx context.Context) *File {
	g := &File{tensors: slices.Clone(f.tensors), byName: f.byName, change: f.change}
	for i := range g.tensors {
		g.tensors[i].from = until{g.tensors[i].from, ctx}
	}
	return g
}

// Changed returns the same tensors, whose values change passes on from ReadF32: those of f, changed in place.
func (f *File) Changed(change func(name string, values []float32) error) *File {
	if first := f.change; first != nil {
		second := change
		change = func(name string, values []float32) error {
			if err := first(name, values); err != nil {
				return err
			}
			return second(name, values)
		}
	}
	return &File{tensors: f.tensors, byName: f.byName, change: change}
}

// until is a reader that fails with the error of a context once that is done.
type until struct {
	io.ReaderAt
	ctx context.Context
}

func (u until) ReadAt(p []byte, off int64) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.ReaderAt.ReadAt(p, off)
}
