package model

import (
	"math"
	"slices"
)

// Fault is a mistake or an accident that can be planted in a model, to see whether the guard notices it.
type Fault int

const (
	// FaultNaN makes the first element of a block's output NaN in every forward pass while it is planted.
	FaultNaN Fault = iota + 1
	// FaultStopGradient stops the gradient below a block: the blocks before it and the embedding of the inputs get
	// none.
	FaultStopGradient
	// FaultCutResidual leaves the residual path out of both halves of a block: f(x) instead of x + f(x), forward and
	// backward.
	FaultCutResidual
)

// PlantedFault is a fault and the block that it sits in.
type PlantedFault struct {
	Fault Fault
	Block int
}

// PlantFaults replaces the planted faults; none makes the model sound again. Decoders of the model are not affected.
func (m *Model[T]) PlantFaults(faults ...PlantedFault) {
	for _, f := range faults {
		require(f.Block >= 0 && f.Block < m.arch.Layers && f.Fault >= FaultNaN && f.Fault <= FaultCutResidual,
			"model: no such fault or block")
	}
	m.faults = append(m.faults[:0], faults...)
}

func (m *Model[T]) planted(fault Fault, block int) bool {
	return slices.Contains(m.faults, PlantedFault{fault, block})
}

// skip returns what a branch of block i is added to: src, or zeros in dst where the residual path is cut.
func (m *Model[T]) skip(i int, dst, src []T) []T {
	if !m.planted(FaultCutResidual, i) {
		return src
	}
	clear(dst)
	return dst
}

// skipBack clears dx, the gradient that goes past a branch of block i, where the residual path is cut. The branch has
// read dx by then; the gradient of its norm is added next.
func (m *Model[T]) skipBack(i int, dx []T) {
	if m.planted(FaultCutResidual, i) {
		clear(dx)
	}
}

// plantNaN makes the first element of block i's output NaN where that is planted.
func (m *Model[T]) plantNaN(i int) {
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
