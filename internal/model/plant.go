package model

import "math"

// Fault is a mistake or an accident that can be planted in a model, so that anyone can watch what notices it.
type Fault int

const (
	// FaultNaN makes the first element of a block's output NaN in every forward pass while it is planted.
	FaultNaN Fault = iota + 1
	// FaultStopGradient lets no gradient through below a block: the blocks before it and the embedding of the inputs
	// learn nothing.
	FaultStopGradient
	// FaultCutResidual leaves the residual path out of both halves of a block: f(x) instead of x + f(x), forward and
	// backward.
	FaultCutResidual
)

// Plant is a fault and the block that it sits in.
type Plant struct {
	Fault Fault
	Block int
}

// SetPlants replaces the planted faults; none makes the model sound again. It does not touch its decoders.
func (m *Model[T]) SetPlants(plants ...Plant) {
	for _, p := range plants {
		if p.Block < 0 || p.Block >= m.arch.Layers || p.Fault < FaultNaN || p.Fault > FaultCutResidual {
			panic("model: no such plant")
		}
	}
	m.plants = append(m.plants[:0], plants...)
}

func (m *Model[T]) planted(fault Fault, block int) bool {
	for _, p := range m.plants {
		if p.Fault == fault && p.Block == block {
			return true
		}
	}
	return false
}

// skip returns what a branch of block i is added to: src, or zeros in dst where the residual path is cut.
func (m *Model[T]) skip(i int, dst, src []T) []T {
	if !m.planted(FaultCutResidual, i) {
		return src
	}
	clear(dst)
	return dst
}

// skipBack forgets the part of dx that goes past a branch of block i where the residual path is cut. What the branch
// needs of dx has been read; the gradient of its norm is added next.
func (m *Model[T]) skipBack(i int, dx []T) {
	if m.planted(FaultCutResidual, i) {
		clear(dx)
	}
}

// spoil makes the first element of block i's output NaN where that is planted.
func (m *Model[T]) spoil(i int) {
	if m.n > 0 && m.planted(FaultNaN, i) {
		m.buf.x[i+1][0] = T(math.NaN())
	}
}

// NonFiniteBlock returns the first block whose output in the last call is not finite, -1 for the embedding. found is
// false where the residual stream is finite.
func (m *Model[T]) NonFiniteBlock() (block int, found bool) {
	for l, x := range m.buf.x {
		for _, v := range x[:m.n*m.arch.Width] {
			if v-v != 0 {
				return l - 1, true
			}
		}
	}
	return 0, false
}

// ScaleBlock multiplies the matrices of a block by factor. Call Refresh after it.
func (p *Params[T]) ScaleBlock(block int, factor float64) {
	for _, v := range p.Views {
		if v.Block == block && len(v.Shape) == 2 {
			for i := v.Lo; i < v.Hi; i++ {
				p.Flat[i] = T(float64(p.Flat[i]) * factor)
			}
		}
	}
}
