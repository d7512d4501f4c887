// Package graph writes the programs that train and run a decoder on an accelerator, as StableHLO text.
//
// It is package nn once more, for a compiler instead of a CPU: layer beside layer, forward beside backward. A program
// is text and shapes; nothing here runs it, and nothing here knows a device.
//
// Gradient, Forward and Probe write passes of a batch, Optimizer what package optim does, Decode a decoder with a
// cache.
//
// Parameters, gradients and slots are one value per tensor, in the order of param.Layout. Batches are rows of a fixed
// length that hold whole sequences, told apart by segment numbers.
package graph

// Type is the type of elements.
type Type string

// The types that programs use.
const (
	Bool Type = "i1"
	I32  Type = "i32"
	U32  Type = "ui32"
	U64  Type = "ui64"
	U8   Type = "ui8"
	F32  Type = "f32"
	BF16 Type = "bf16"
)

// Bytes is the size of an element in memory.
func (t Type) Bytes() int {
	switch t {
	case Bool, U8:
		return 1
	case BF16:
		return 2
	case U64:
		return 8
	}
	return 4
}

// Shape is the type and the sizes of a value on one device.
type Shape struct {
	Type Type
	Dims []int
}

// Bytes is the size of the value in memory.
func (s Shape) Bytes() int {
	n := s.Type.Bytes()
	for _, d := range s.Dims {
		n *= d
	}
	return n
}

// Program is a function for the devices. Every device runs it on values of its own.
type Program struct {
	Name    string
	Text    string // StableHLO
	Devices int    // that run it together
	In, Out []Shape
	Donated []int // inputs whose memory the program takes for its results: their values are gone afterwards
}
