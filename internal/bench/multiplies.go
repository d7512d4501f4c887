package bench

import (
	"fmt"

	"gimbal/internal/kernel"
)

type (
	newMat     func(rows, cols int) kernel.Mat[float32]
	newWeights func(w []float32, out, in int) *kernel.Weights[float32]
)

// multiplies times the three multiplies of training at the shapes that matter to it, with operands, weights and
// results of these kinds; to names that of the results where it is not fp32. The packing of operands is in the time, that
// of weights, once an update, is not.
func (b *kernels) multiplies(kind, to string, operand newMat, weights newWeights, result newMat) {
	peak := "fma"
	if kind != "fp32" {
		peak = "bf16"
	}
	for _, s := range b.opt.shapes {
		n, in, out := s[0], s[1], s[2]
		if b.x.Tier() == kernel.Generic {
			n = min(n, 64) // a row costs the same; all of them would take minutes
		}
		shape := fmt.Sprintf("%dx%d->%d", n, in, out)
		flops := 2 * float64(n) * float64(in) * float64(out)
		if !b.wantedAny("forward"+to, "backward-input"+to) && (to != "" || !b.wanted("backward-weight")) {
			return // before operands are made
		}
		src, dy := operand(n, in), operand(n, out)
		w := weights(random(b.x, make([]float32, out*in), 1, 1), out, in)
		w.Refresh(b.x)
		dst, dsrc := result(n, out), result(n, in)
		dw := make([]float32, out*in)
		b.time(kind, "forward"+to, shape, peak, flops, func() { w.Forward(b.x, dst, src, n) })
		b.time(kind, "backward-input"+to, shape, peak, flops, func() { w.BackInput(b.x, dsrc, dy, n) })
		if to == "" { // gradients of weights are always fp32
			b.time(kind, "backward-weight", shape, peak, flops, func() { w.BackWeight(b.x, dw, dy, src, n) })
		}
	}
}

// conversions times what bf16 costs beside the multiplies.
func (b *kernels) conversions() {
	if !b.wantedAny("to bf16 in memory", "refresh of weights") {
		return
	}
	b.s.fill(b.x)
	x, n := b.x, b.opt.stream
	half := make([]uint16, n)
	const grain = 4096
	job := part(func(_, lo, hi int) {
		for ; lo < hi; lo += grain {
			kernel.ToBF16(x, half[lo:min(hi, lo+grain)], b.s.a[lo:min(hi, lo+grain)])
		}
	})
	b.time("bf16", "to bf16 in memory", fmt.Sprint(n), "memory", 6*float64(n), func() { x.Pool().Do(n, grain, job) })
	const out, in = 3072, 768
	w := kernel.NewWeightsBF16(random(x, make([]float32, out*in), 1, 1), out, in)
	b.time("bf16", "refresh of weights", fmt.Sprintf("%dx%d", out, in), "activations", 8*float64(out*in), func() { w.Refresh(x) })
}

// attention times the serial multiplies of a block of 64 queries, on all workers at once; the operands are columns of
// wider matrices, as heads are.
func (b *kernels) attention() {
	const rows, size, ld = 64, 64, 1152
	for _, keys := range []int{256, 1024} {
		type operands struct{ q, k, p, out []float32 }
		data := make([]operands, b.x.Workers())
		for i := range data {
			make32 := func(n int) []float32 { return random(b.x, make([]float32, n), 1, uint64(i)) }
			data[i] = operands{make32(rows * ld), make32(keys * ld), make32(rows * keys), make32(keys * ld)}
		}
		const repeats = 8
		run := func(name, shape string, f func(worker int, d *operands)) {
			flops := 2 * float64(rows) * float64(size) * float64(keys) * repeats * float64(b.x.Workers())
			job := part(func(worker, lo, hi int) {
				for i := lo; i < hi; i++ {
					for range repeats {
						f(worker, &data[i])
					}
				}
			})
			b.time("fp32", name, shape, "fma", flops, func() { b.x.Pool().Do(len(data), 1, job) })
		}
		run("attention q·kᵀ", fmt.Sprintf("%dx%dx%d", rows, keys, size), func(worker int, d *operands) {
			kernel.Gemm(b.x, worker, false, true, rows, keys, size, 1, d.q, ld, d.k, ld, 0, d.p, keys)
		})
		random32 := func() { // the scores of the last run are not what the next two multiply
			for i := range data {
				random(b.x, data[i].p, 1, uint64(i))
			}
		}
		random32()
		run("attention p·v", fmt.Sprintf("%dx%dx%d", rows, size, keys), func(worker int, d *operands) {
			kernel.Gemm(b.x, worker, false, false, rows, size, keys, 1, d.p, keys, d.k, ld, 0, d.out, ld)
		})
		run("attention pᵀ·do", fmt.Sprintf("%dx%dx%d", keys, size, rows), func(worker int, d *operands) {
			kernel.Gemm(b.x, worker, true, false, keys, size, rows, 1, d.p, keys, d.q, ld, 0, d.out, ld)
		})
	}
}

// attentionRows is attention for bf16 operands: keys and values are packed once for all blocks of queries of a head, so
// that this is a figure of its own.
func (b *kernels) attentionRows() {
	if !b.wantedAny("attention q·kᵀ", "attention p·v", "attention pack of k", "attention pack of v") {
		return
	}
	const rows, size = 64, 64
	for _, keys := range []int{256, 1024} {
		type operands struct {
			q, k, p, scores, out kernel.Mat[float32]
			packedK, packedV     []uint16
		}
		data := make([]operands, b.x.Workers())
		for i := range data {
			d := operands{q: b.rows(rows, size), k: b.rows(keys, size), p: b.rows(rows, keys), scores: b.dense(rows, keys), out: b.dense(rows, size)}
			d.packedK, d.packedV = make([]uint16, kernel.PackLen(keys, size)), make([]uint16, kernel.PackLen(keys, size))
			data[i] = d
		}
		const repeats = 8
		run := func(name, shape, peak string, work float64, f func(worker int, d *operands)) {
			job := part(func(worker, lo, hi int) {
				for i := lo; i < hi; i++ {
					for range repeats {
						f(worker, &data[i])
					}
				}
			})
			b.time("bf16", name, shape, peak, work*repeats*float64(len(data)), func() { b.x.Pool().Do(len(data), 1, job) })
		}
		packK := func(_ int, d *operands) { kernel.PackT(b.x, d.packedK, d.k.H, keys, size, d.k.Stride) }
		packV := func(_ int, d *operands) { kernel.PackPair(b.x, d.packedV, d.k.H, keys, size, d.k.Stride) }
		for i := range data { // whatever names are wanted, zeros are not multiplied
			packK(0, &data[i])
			packV(0, &data[i])
		}
		shape, flops := fmt.Sprintf("%dx%dx%d", rows, keys, size), 2*float64(rows*keys*size)
		run("attention pack of k", fmt.Sprintf("%dx%d", keys, size), "cache", 4*float64(keys*size), packK)
		run("attention pack of v", fmt.Sprintf("%dx%d", keys, size), "cache", 4*float64(keys*size), packV)
		run("attention q·kᵀ", shape, "bf16", flops, func(worker int, d *operands) {
			kernel.MulPacked(b.x, worker, d.scores, d.q.H, d.q.Stride, d.packedK, rows, keys, size, false)
		})
		run("attention p·v", fmt.Sprintf("%dx%dx%d", rows, size, keys), "bf16", flops, func(worker int, d *operands) {
			kernel.MulPacked(b.x, worker, d.out, d.p.H, d.p.Stride, d.packedV, rows, size, keys, false)
		})
	}
}
