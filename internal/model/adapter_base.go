package model

import (
	"fmt"
	"math"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
)

// residentLayout is Layout where the matrices of all blocks share the place of those of the first: only one block's are
// there at a time.
func residentLayout(a config.Arch) (views []View, total int) {
	views, total = Layout(a)
	first, each, gone := -1, 0, 0
	for i, v := range views {
		if v.Block == 0 {
			each++
			if first < 0 {
				first = i
			}
		}
	}
	all := targets(a)
	for i := range views {
		v, next := &views[i], total
		if i+1 < len(views) {
			next = views[i+1].Lo
		}
		if v.Block > 0 && all[v.slot] != nil {
			gone += next - v.Lo
			twin := views[first+(i-first)%each]
			v.Lo, v.Hi = twin.Lo, twin.Hi
		} else {
			v.Lo, v.Hi = v.Lo-gone, v.Hi-gone
		}
	}
	return views, total - gone
}

// layout is the layout of a model's parameters.
func layout(ar *arena, a config.Arch) ([]View, int) {
	if ar.resident {
		return residentLayout(a)
	}
	return Layout(a)
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
			m.base16[i] = uint16(math.Float32bits(RoundBF16(w)) >> 16)
		}
	default:
		copy(m.base, m.w)
	}
	if m.base == nil { // it is rounded
		m.restore(l.x, 0, m.Shape[0])
	}
	lengths(m.magnitude, m.w)
}

// RoundBF16 rounds to bfloat16, to nearest even. Unlike the kernels it leaves denormal numbers.
func RoundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
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
