package bench

import (
	"fmt"

	"gimbal/internal/kernel"
)

type (
	newMat     func(rows, cols int) kernel.Mat[float32]
	newWeights func(w []float32, out, in int) *kernel.Weights[float32]
)

// dense is a random operand in full precision.
func (b *kernels) dense(rows, cols int) kernel.Mat[float32] {
	return kernel.Dense(random(b.x, make([]float32, rows*cols), 1, uint64(rows*cols)), rows, cols)
}

// rows is a random bf16 operand.
func (b *kernels) rows(rows, cols int) kernel.Mat[float32] {
	m, full := kernel.NewOperand(rows, cols), b.dense(rows, cols)
	b.x.Pool().Do(rows, 8, part(func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.ToBF16(b.x, m.RowH(i), full.RowF(i))
		}
	}))
	return m
}

// multiplies times the three multiplies of training at the shapes that matter to it, with operands, weights and
// results of these kinds; to names that of the results where it is not fp32. The packing of operands is in the time,
// that of weights, once an update, is not.
func (b *kernels) multiplies(kind, to string, operand newMat, weights newWeights, result newMat) {
	peak := "fma"
	if kind != "fp32" {
		peak = "bf16"
	}
	forward, backInput, backWeight := "forward"+to, "backward-input"+to, "backward-weight"
	weightsToo := to == "" // gradients of weights are always fp32
	if !b.wanted(forward) && !b.wanted(backInput) && !(weightsToo && b.wanted(backWeight)) {
		return // before operands are made
	}
	for _, s := range b.opt.shapes {
		n, in, out := s[0], s[1], s[2]
		if b.x.Tier() == kernel.Generic {
			n = min(n, 64) // a row costs the same; all of them would take minutes
		}
		src, dy := operand(n, in), operand(n, out)
		w := weights(random(b.x, make([]float32, out*in), 1, 1), out, in)
		w.Refresh(b.x)
		dst, dsrc := result(n, out), result(n, in)
		dw := make([]float32, out*in)
		time := func(name string, f func()) {
			k := Kernel{Kind: kind, Name: name, Shape: fmt.Sprintf("%dx%d->%d", n, in, out), Unit: "GFLOP/s", Peak: peak}
			b.time(k, 2*float64(n)*float64(in)*float64(out), f)
		}
		time(forward, func() { w.Forward(b.x, dst, src, n) })
		time(backInput, func() { w.BackInput(b.x, dsrc, dy, n) })
		if weightsToo {
			time(backWeight, func() { w.BackWeight(b.x, dw, dy, src, n) })
		}
	}
}
