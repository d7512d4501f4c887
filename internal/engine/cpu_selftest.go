package engine

import (
	"fmt"

	"gimbal/internal/kernel"
	"gimbal/internal/model"
)

// Multiplies computes y = x·Wᵀ, dx = dy·W and dw = dyᵀ·x for W (out, in), x (n, in) and dy (n, out).
type Multiplies func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32)

// newMultiplies returns the multiplies of a mode.
func newMultiplies(exec *kernel.Exec, mode string) Multiplies {
	return func(w, x, dy []float32, n, out, in int) (y, dx, dw []float32) {
		h, operand := kernel.NewWeights(w, out, in), kernel.Dense[float32]
		if mode == model.ModeBF16 {
			h = kernel.NewWeightsBF16(w, out, in)
			operand = func(f []float32, rows, cols int) kernel.Mat[float32] {
				elements, stride := kernel.OperandLen(rows, cols)
				m := kernel.Mat[float32]{H: make([]uint16, elements), Rows: rows, Cols: cols, Stride: stride}
				for i := range rows {
					kernel.ToBF16(exec, m.H[i*stride:i*stride+cols], f[i*cols:(i+1)*cols])
				}
				return m
			}
		}
		h.Refresh(exec)
		y, dx, dw = make([]float32, n*out), make([]float32, n*in), make([]float32, out*in)
		h.Forward(exec, kernel.Dense(y, n, out), operand(x, n, in), n)
		h.BackInput(exec, kernel.Dense(dx, n, in), operand(dy, n, out), n)
		h.BackWeight(exec, dw, operand(dy, n, out), operand(x, n, in), n)
		return y, dx, dw
	}
}

// SelfTest runs the three multiplies of training on numbers whose products and sums are exact in every precision.
func (o *cpuOpener) SelfTest(s Spec) (difference string) {
	return CompareMultiplies(newMultiplies(o.x, s.Mode), s, numerics(o.x, s.Mode))
}

// CompareMultiplies compares the multiplies of the named hardware with plain Go, in the sizes of a spec. It returns the
// first difference, "" where there is none.
func CompareMultiplies(multiply Multiplies, s Spec, name string) (difference string) {
	const (
		rows = 37  // no multiple of anything
		most = 256 // columns
	)
	in, out := min(s.Arch.Width, most), min(s.Arch.MLP, most)
	fill := func(n, salt int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32((i*i+i/7*salt)%13-6) / 4
		}
		return s
	}
	w, x, dy := fill(out*in, 3), fill(rows*in, 5), fill(rows*out, 11)
	y, dx, dw := multiply(w, x, dy, rows, out, in)
	for _, c := range []struct {
		name           string
		got            []float32
		m, n, k        int
		a, b           []float32
		ai, ak, bj, bk int // strides
	}{
		{"x·Wᵀ", y, rows, out, in, x, w, in, 1, in, 1},
		{"dy·W", dx, rows, in, out, dy, w, out, 1, 1, in},
		{"dyᵀ·x", dw, out, in, rows, dy, x, 1, out, 1, in},
	} {
		for i := range c.m {
			for j := range c.n {
				sum := float32(0)
				for k := range c.k {
					sum += c.a[i*c.ai+k*c.ak] * c.b[j*c.bj+k*c.bk]
				}
				if got := c.got[i*c.n+j]; got != sum {
					return fmt.Sprintf("element (%d, %d) of %s is %g on %s and %g in plain Go", i, j, c.name,
						got, name, sum)
				}
			}
		}
	}
	return ""
}
