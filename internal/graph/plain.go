package graph

import "gimbal/internal/model"

// Zeros returns the program that makes values of zeros: nothing → shapes….
func Zeros(shapes []Shape, devices int) Program {
	b, list := &builder{}, []value{}
	for _, s := range shapes {
		list = append(list, b.constant(0, s.Dims...))
	}
	return b.program("zeros", devices, list...)
}

// Multiplies returns the program of the three multiplies of training in a mode, as layers write them: w (out, in),
// x (n, in), dy (n, out) → x·Wᵀ, dy·W, dyᵀ·x. They are for a test of the hardware.
func Multiplies(mode string, n, out, in, devices int) Program {
	b, operand := &builder{}, F32
	if mode == model.ModeBF16 {
		operand = BF16
	}
	w, x, dy := b.argument(F32, out, in), b.argument(F32, n, in), b.argument(F32, n, out)
	return b.program("multiplies", devices, b.dot(operand, x, w, 0, 1, 1), b.dot(operand, dy, w, 0, 1, 0),
		b.dot(operand, dy, x, 0, 0, 0))
}
