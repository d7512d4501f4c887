package model

import (
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// dropForward adds what dropout changes of a multiply of a block, whose product begins at position lo.
func (m *Model[T]) dropForward(block int, s param.Slot, dst, src kernel.Mat[T], lo, n int) {
	if m.adapter == nil || m.adapter.dropout == nil || m.in.Dropout == nil {
		return
	}
	for _, w := range m.adapter.blocks[block][s] {
		if w.a != nil {
			m.adapter.dropout.Forward(dst.Columns(w.RowLo, w.RowHi), src, w.aw, w.bw, m.site(w.Place).From(lo), n)
		}
	}
}

// dropBack is dropForward for the gradient of the multiply's input.
func (m *Model[T]) dropBack(block int, s param.Slot, dst, dy kernel.Mat[T], lo, n int) {
	if m.adapter == nil || m.adapter.dropout == nil || m.in.Dropout == nil {
		return
	}
	for _, w := range m.adapter.blocks[block][s] {
		if w.a != nil {
			m.adapter.dropout.Backward(dst, dy.Columns(w.RowLo, w.RowHi), w.aw, w.bw, m.site(w.Place).From(lo), n)
		}
	}
}

// adapterBackWeight adds the gradients of A and B for a multiply of a block: dB += Scale·dyᵀ·(x·Aᵀ),
// dA += Scale·(dy·B)ᵀ·x, where x is what A reads.
//
// Shapes: dy (n, out of the multiply), src (n, in).
func (m *Model[T]) adapterBackWeight(block int, s param.Slot, w *kernel.Weights[T], dy, src kernel.Mat[T]) {
	l, n := m.adapter, m.n
	if l.DoRA {
		l.backDoRA(block, s, w, dy, src, n)
		return
	}
	for _, w := range l.blocks[block][s] {
		if w.a == nil {
			continue
		}
		x := src
		if l.dropout != nil && m.in.Dropout != nil {
			x = l.dropped.Columns(0, src.Cols)
			l.dropout.Drop(x, src, m.site(w.Place), n)
		}
		part := dy.Columns(w.RowLo, w.RowHi)
		w.a.Forward(l.x, l.u, x, n)
		w.b.BackInput(l.x, l.t, part, n)
		l.add(w.db, func(dw []T) { w.b.BackWeight(l.x, dw, part, l.u, n) })
		l.add(w.da, func(dw []T) { w.a.BackWeight(l.x, dw, l.t, x, n) })
	}
}

// add adds Scale times a gradient to dw.
func (l *lowRank[T]) add(dw []T, gradient func(dw []T)) {
	part := l.part[:len(dw)]
	clear(part)
	gradient(part)
	kernel.Axpy(l.x, dw, T(l.Scale), part)
}

// backDoRA adds the gradients for a multiply by m/‖V‖·V with V = W + Scale·B·A, where the lengths ‖V‖ count as
// constant. The gradient dW of the whole matrix gives all of them: dm = Σ dW·V/‖V‖, dV = m/‖V‖·dW.
//
// Source: Liu et al. 2024, arXiv:2402.09353, section 4.3, as PEFT computes it.
func (l *lowRank[T]) backDoRA(block int, s param.Slot, w *kernel.Weights[T], dy, src kernel.Mat[T], n int) {
	list := l.blocks[block][s]
	changed := false
	for i := range list {
		changed = changed || list[i].a != nil
	}
	if !changed {
		return
	}
	dw := l.part[:dy.Cols*src.Cols]
	clear(dw)
	w.BackWeight(l.x, dw, dy, src, n)
	for i := range list {
		if m := &list[i]; m.a != nil {
			own := &doraBack[T]{l, m, dw[m.RowLo*src.Cols : m.RowHi*src.Cols]}
			l.x.Pool().Do(m.Shape[0], 16, own)
			l.x.Pool().Do(m.Shape[1], 16, (*doraBackA[T])(own))
		}
	}
}

// doraBack is the gradients of rows of the magnitude and of B; it turns dw into the gradient of W + Scale·B·A.
type doraBack[T kernel.Float] struct {
	*lowRank[T]
	*lowMatrix[T]
	dw []T
}

func (l *doraBack[T]) Part(worker, lo, hi int) {
	in, r := l.Shape[1], l.Rank
	for o := lo; o < hi; o++ {
		sum, ratio := 0.0, l.ratio(o)
		row := l.dw[o*in : (o+1)*in]
		for i, w := range l.w[o*in : (o+1)*in] {
			sum += float64(row[i]) * float64(w)
			row[i] *= T(ratio)
		}
		if l.magnitude[o] != 0 {
			l.dmagnitude[o] += T(sum / float64(l.magnitude[o]))
		}
	}
	kernel.Gemm(l.x, worker, false, true, hi-lo, r, in, T(l.Scale), l.dw[lo*in:], in, l.aw, in, 1, l.db[lo*r:], r)
}

// doraBackA is the gradient of columns of A.
type doraBackA[T kernel.Float] doraBack[T]

func (l *doraBackA[T]) Part(worker, lo, hi int) {
	in, r := l.Shape[1], l.Rank
	kernel.Gemm(l.x, worker, true, false, r, hi-lo, l.Shape[0], T(l.Scale), l.bw, r, l.dw[lo:], in, 1, l.da[lo:], in)
}
