package model

import (
	"fmt"
	"math"

	"gimbal/internal/kernel"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// Load overwrites the parameters by those of a file: an adapter's by an adapter, else all of the model, beside which
// the adapter stays. See param.LoadEntries. The caller refreshes the model.
func (m *Model[T]) Load(f *safetensors.File) error {
	if m.adapter == nil || !param.IsAdapter(f) {
		p := any(m.params).(*param.Params[float32])
		if m.bring == nil {
			err := param.LoadEntries(p, f)
			m.Rebase()
			return err
		}
		return param.LoadBlocks(p, f, m.adapter.keep)
	}
	return param.LoadAdapter(any(m.adapter.params).(*param.Params[float32]), f)
}

// resident reports whether the matrices of blocks are held in fewer bits than the model computes with.
func resident(ad param.Adapter) bool {
	return ad.Rank > 0 && ad.Base != "" && ad.Base != param.FormatFP32
}

// bring makes the matrices of a block from what is held of them.
func (l *lowRank[T]) bring(block int) {
	for _, list := range l.blocks[block] {
		for i := range list {
			l.merge(&list[i])
		}
	}
	l.held = block
}

// keep takes the matrices of a block, which have just been read. With 8 bits it refuses what is not finite: that
// would spoil the weights that share its scale.
func (l *lowRank[T]) keep(block int) error {
	for _, list := range l.blocks[block] {
		for i := range list {
			m := &list[i]
			for j, v := range m.w {
				if m.base8 != nil && v-v != 0 {
					return fmt.Errorf("%s[%d] is %v, which adapter.base=int8 cannot hold", m.Name, j, v)
				}
			}
			l.take(m)
		}
	}
	return nil
}

// take takes a matrix of the model as what lies beside the adapter, and with DoRA the lengths of its rows then as
// magnitudes.
func (l *lowRank[T]) take(m *lowMatrix[T]) {
	l.held = -1
	switch {
	case m.base8 != nil:
		kernel.EncodeInt8(l.x, m.base8, float32s(m.w), m.Shape[0], m.Shape[1])
	case m.base16 != nil:
		for i, w := range float32s(m.w) {
			m.base16[i] = uint16(math.Float32bits(param.RoundBF16(w)) >> 16)
		}
	default:
		copy(m.base, m.w)
	}
	if m.base == nil { // it is rounded
		m.restore(l.x, 0, m.Shape[0])
	}
	param.RowLengths(m.magnitude, m.w)
}

// restore overwrites rows of what the model computes with by those of the matrix beside the adapter.
func (m *lowMatrix[T]) restore(x *kernel.Exec, lo, hi int) {
	in := m.Shape[1]
	rows := m.w[lo*in : hi*in]
	switch {
	case m.base8 != nil:
		kernel.DecodeInt8(float32s(rows), m.base8, in, lo, hi)
	case m.base16 != nil:
		kernel.FromBF16(x, float32s(rows), m.base16[lo*in:hi*in])
	default:
		copy(rows, m.base[lo*in:hi*in])
	}
}
