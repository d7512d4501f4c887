package model

import (
	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// lowRank is an adapter of a model: its parameters and gradients, the weights beside it, and the multiplies by it.
type lowRank[T kernel.Float] struct {
	param.Adapter
	x      *kernel.Exec
	params *param.Params[T]
	grads  []T
	blocks []map[param.Slot][]lowMatrix[T]
	u, t   kernel.Mat[T] // (N, Rank) operands: x·Aᵀ and dy·B
	part   []T           // a gradient without the scale; with DoRA that of a multiply by whole matrices

	dropout *nn.LowRank[T] // nil: nothing is dropped
	dropped kernel.Mat[T]  // (N, In) operand: what A reads
	scratch []T            // of dropout
	held    int            // the block whose matrices are there, if not all are; -1: none
}

// lowMatrix is one matrix W that is changed, or, with a base not in fp32, one that is not, which has no a.
type lowMatrix[T kernel.Float] struct {
	param.Adapted
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
func newLowRank[T kernel.Float](ar *arena, arch config.Arch, ad param.Adapter, n, workers int) *lowRank[T] {
	views, total := param.AdapterLayout(arch, ad)
	l := &lowRank[T]{Adapter: ad, grads: alloc[T](ar, partGrads, total), held: -1}
	l.params = param.NewIn(alloc[T](ar, partParams, total), views)
	l.u, l.t = product[T](ar, partBackward, n, ad.Rank), product[T](ar, partBackward, n, ad.Rank)
	l.blocks = make([]map[param.Slot][]lowMatrix[T], arch.Layers)
	all := ad
	if resident(ad) {
		all.Targets = param.AllTargets
	}
	width := 0
	for _, t := range param.AdaptedViews(arch, all) {
		m := lowMatrix[T]{Adapted: t}
		switch ad.Base {
		case param.FormatInt8:
			m.base8 = alloc[byte](ar, partParams, kernel.CodedLen(kernel.Int8, t.Shape[0], t.Shape[1]))
		case param.FormatBF16:
			m.base16 = alloc[uint16](ar, partParams, t.Len())
		default:
			m.base = alloc[T](ar, partParams, t.Len())
		}
		if ad.Targets&t.Target != 0 {
			if !ar.dry {
				m.take(ar, l, views[:ad.Parts()])
			}
			if views = views[ad.Parts():]; ad.DoRA {
				m.lengths = alloc[float64](ar, partParams, t.Shape[0])
			}
			width = max(width, t.Shape[0], t.Shape[1])
		}
		if l.blocks[t.Block] == nil {
			l.blocks[t.Block] = map[param.Slot][]lowMatrix[T]{}
		}
		l.blocks[t.Block][t.Slot] = append(l.blocks[t.Block][t.Slot], m)
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
func (m *lowMatrix[T]) take(ar *arena, l *lowRank[T], views []param.View) {
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
func (l *lowRank[T]) bind(x *kernel.Exec, p *param.Params[T]) {
	l.x = x
	l.each(func(m *lowMatrix[T]) { m.w = p.Tensor(m.Name) })
	if l.Dropout > 0 {
		l.dropout = nn.NewLowRank(x, l.Dropout, l.Scale, l.Rank, l.scratch)
	}
}

// rebase takes the weights of the model as those beside the adapter.
func (l *lowRank[T]) rebase() { l.each(l.take) }

// refresh renews what is derived from the adapter's parameters.
func (l *lowRank[T]) refresh() {
	l.held = -1
	l.each(func(m *lowMatrix[T]) {
		if m.a != nil {
			m.a.Refresh(l.x)
			m.b.Refresh(l.x)
		}
		if !resident(l.Adapter) {
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
		param.RowLengths(l.lengths[o:o+1], row)
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
