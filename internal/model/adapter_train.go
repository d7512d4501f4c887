package model

import (
	"math"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/rng"
)

// lowRank is an adapter of a model: its parameters and gradients, the weights beside it, and the multiplies by it.
type lowRank[T kernel.Float] struct {
	Adapter
	x      *kernel.Exec
	params *Params[T]
	grads  []T
	blocks []map[slot][]lowMatrix[T]
	u, t   kernel.Mat[T] // (N, Rank) operands: x·Aᵀ and dy·B
	part   []T           // a gradient without the scale; with DoRA that of a multiply by whole matrices

	dropout *nn.LowRank[T] // nil: nothing is dropped
	dropped kernel.Mat[T]  // (N, In) operand: what A reads
	scratch []T            // of dropout
	held    int            // the block whose matrices are there, if not all are; -1: none
}

// lowMatrix is one matrix W that is changed, or, with a base not in fp32, one that is not, which has no a.
type lowMatrix[T kernel.Float] struct {
	Adapted
	a, b               *kernel.Weights[T]
	aw, bw, magnitude  []T // a and b multiply by the first two
	da, db, dmagnitude []T
	w                  []T       // (out, in) what the model computes with
	base               []T       // W, or as Base says one of the next two
	base16             []uint16  // in bfloat16
	base8              []byte    // in 8 bits, as kernel.EncodeInt8 has it
	lengths            []float64 // with DoRA: of the rows of W + Scale·B·A
}

// newLowRank makes the adapter of a model whose parameters are p. With a dry arena it counts memory only.
func newLowRank[T kernel.Float](ar *arena, arch config.Arch, ad Adapter, n, workers int) *lowRank[T] {
	views, total := AdapterLayout(arch, ad)
	l := &lowRank[T]{Adapter: ad, grads: alloc[T](ar, partGrads, total), held: -1}
	l.params = newParams(alloc[T](ar, partParams, total), views)
	l.u, l.t = product[T](ar, partBackward, n, ad.Rank), product[T](ar, partBackward, n, ad.Rank)
	l.blocks = make([]map[slot][]lowMatrix[T], arch.Layers)
	all := ad
	if ad.resident() {
		all.Targets = AllTargets
	}
	width := 0
	for _, t := range AdaptedViews(arch, all) {
		m := lowMatrix[T]{Adapted: t}
		switch ad.Base {
		case FormatInt8:
			m.base8 = alloc[byte](ar, partParams, kernel.CodedLen(kernel.Int8, t.Shape[0], t.Shape[1]))
		case FormatBF16:
			m.base16 = alloc[uint16](ar, partParams, t.Len())
		default:
			m.base = alloc[T](ar, partParams, t.Len())
		}
		if ad.Targets&t.target != 0 {
			if !ar.dry {
				m.take(ar, l, views[:ad.parts()])
			}
			if views = views[ad.parts():]; ad.DoRA {
				m.lengths = alloc[float64](ar, partParams, t.Shape[0])
			}
			width = max(width, t.Shape[0], t.Shape[1])
		}
		if l.blocks[t.Block] == nil {
			l.blocks[t.Block] = map[slot][]lowMatrix[T]{}
		}
		l.blocks[t.Block][t.slot] = append(l.blocks[t.Block][t.slot], m)
	}
	part := ad.Rank * width
	if ad.DoRA {
		part = max(qkvWidth(arch)*arch.Width, arch.Width*queryWidth(arch), hiddenWidth(arch)*arch.Width)
	}
	l.part = alloc[T](ar, partBackward, part)
	if ad.Dropout > 0 {
		l.dropped = operand[T](ar, partBackward, n, width)
		l.scratch = alloc[T](ar, partScratch, nn.LowRankLen(workers, width, ad.Rank))
	}
	return l
}

// take gives a matrix its tensors.
func (m *lowMatrix[T]) take(ar *arena, l *lowRank[T], views []View) {
	part := func(i int) (w, dw []T) {
		v := views[i]
		return l.params.Flat[v.Lo:v.Hi], l.grads[v.Lo:v.Hi]
	}
	m.aw, m.da = part(0)
	m.bw, m.db = part(1)
	m.a, m.b = newHandle[T](ar, m.aw, views[0].Shape), newHandle[T](ar, m.bw, views[1].Shape)
	if l.DoRA {
		m.magnitude, m.dmagnitude = part(2)
	}
}

// newHandle returns the handle of a small matrix, in the numbers of the mode.
func newHandle[T kernel.Float](ar *arena, w []T, shape []int) *kernel.Weights[T] {
	if ar.bf16 {
		return any(kernel.NewWeightsBF16(float32s(w), shape[0], shape[1])).(*kernel.Weights[T])
	}
	return kernel.NewWeights(w, shape[0], shape[1])
}

// each calls f for all matrices.
func (l *lowRank[T]) each(f func(m *lowMatrix[T])) {
	for _, block := range l.blocks {
		for _, list := range block {
			for i := range list {
				f(&list[i])
			}
		}
	}
}

// bind tells the adapter of the weights that the model computes with.
func (l *lowRank[T]) bind(x *kernel.Exec, p *Params[T]) {
	l.x = x
	l.each(func(m *lowMatrix[T]) { m.w = p.Tensor(m.Name) })
	if l.Dropout > 0 {
		l.dropout = nn.NewLowRank(x, l.Dropout, l.Scale, l.Rank, l.scratch)
	}
}

// rebase takes the weights of the model as those beside the adapter.
func (l *lowRank[T]) rebase() { l.each(l.take) }

// TakeLengths sets the magnitudes of an adapter with DoRA, whose parameters are p, to the lengths of the rows of base,
// as they are kept.
func (ad Adapter) TakeLengths(p, base *Params[float32], a config.Arch) {
	if !ad.DoRA {
		return
	}
	for i, m := range AdaptedViews(a, ad) {
		rows := base.Flat[m.Lo:m.Hi]
		if ad.Base == FormatBF16 {
			rows = slices.Clone(rows)
			for k, w := range rows {
				rows[k] = RoundBF16(w)
			}
		}
		v := p.Views[3*i+2]
		lengths(p.Flat[v.Lo:v.Hi], rows)
	}
}

// lengths overwrites dst by the lengths of the rows of w.
func lengths[T kernel.Float](dst, w []T) {
	for o := range dst {
		n := len(w) / len(dst)
		dst[o] = T(length(w[o*n : (o+1)*n]))
	}
}

// length is the Euclidean length of a row.
func length[T kernel.Float](row []T) float64 {
	sum := 0.0
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

// InitAdapter sets A to numbers that are uniform within ±1/√in, and B to zero, so that the model is as it was.
//
// Source: PEFT, after torch.nn.init.kaiming_uniform_ with a = √5.
func InitAdapter[T kernel.Float](p *Params[T], ad Adapter, seed uint64) {
	base := rng.New(seed, rng.Init)
	for i, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		if clear(dst); i%ad.parts() == 0 {
			key, most := base.Sub(uint64(2*(i/ad.parts()))).Sub(1), 1/math.Sqrt(float64(v.Shape[1]))
			for j := range dst {
				dst[j] = T((2*key.Float64(uint64(j)) - 1) * most)
			}
		}
	}
}

// refresh renews what is derived from the adapter's parameters.
func (l *lowRank[T]) refresh() {
	l.held = -1
	l.each(func(m *lowMatrix[T]) {
		if m.a != nil {
			m.a.Refresh(l.x)
			m.b.Refresh(l.x)
		}
		if !l.resident() {
			l.merge(m)
		}
	})
}

// merge renews a matrix that the model computes with.
func (l *lowRank[T]) merge(m *lowMatrix[T]) { l.x.Pool().Do(m.Shape[0], 16, &merging[T]{l, m}) }

// merging is the loop of merge over the rows of a matrix.
type merging[T kernel.Float] struct {
	*lowRank[T]
	*lowMatrix[T]
}

func (l *merging[T]) Part(worker, lo, hi int) {
	in, r := l.Shape[1], l.Rank
	rows := l.w[lo*in : hi*in]
	if l.restore(l.x, lo, hi); l.a == nil {
		return
	}
	kernel.Gemm(l.x, worker, false, false, hi-lo, in, r, T(l.Scale), l.bw[lo*r:], r, l.aw, in, 1, rows, in)
	for o := lo; l.DoRA && o < hi; o++ {
		row := l.w[o*in : (o+1)*in]
		l.lengths[o] = length(row)
		ratio := T(l.ratio(o))
		for i := range row {
			row[i] *= ratio
		}
	}
}

// ratio is what DoRA multiplies a row by.
func (m *lowMatrix[T]) ratio(o int) float64 {
	if m.lengths[o] == 0 {
		return 0
	}
	return float64(m.magnitude[o]) / m.lengths[o]
}

// dropForward adds what dropout changes of a multiply of a block, whose product begins at position lo.
func (m *Model[T]) dropForward(block int, s slot, dst, src kernel.Mat[T], lo, n int) {
	if m.adapter == nil || m.adapter.dropout == nil || m.in.Dropout == nil {
		return
	}
	for _, w := range m.adapter.blocks[block][s] {
		if w.a != nil {
			m.adapter.dropout.Forward(dst.Columns(w.lo, w.hi), src, w.aw, w.bw, m.site(w.Place).From(lo), n)
		}
	}
}

// dropBack is dropForward for the gradient of the multiply's input.
func (m *Model[T]) dropBack(block int, s slot, dst, dy kernel.Mat[T], lo, n int) {
	if m.adapter == nil || m.adapter.dropout == nil || m.in.Dropout == nil {
		return
	}
	for _, w := range m.adapter.blocks[block][s] {
		if w.a != nil {
			m.adapter.dropout.Backward(dst, dy.Columns(w.lo, w.hi), w.aw, w.bw, m.site(w.Place).From(lo), n)
		}
	}
}

// adapterBackWeight adds the gradients of A and B for a multiply of a block: dB += Scale·dyᵀ·(x·Aᵀ),
// dA += Scale·(dy·B)ᵀ·x, where x is what A reads.
//
// Shapes: dy (n, out of the multiply), src (n, in).
func (m *Model[T]) adapterBackWeight(block int, s slot, w *kernel.Weights[T], dy, src kernel.Mat[T]) {
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
		part := dy.Columns(w.lo, w.hi)
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
func (l *lowRank[T]) backDoRA(block int, s slot, w *kernel.Weights[T], dy, src kernel.Mat[T], n int) {
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
			own := &doraBack[T]{l, m, dw[m.lo*src.Cols : m.hi*src.Cols]}
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
