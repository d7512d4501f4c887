package optim

import (
	"fmt"
	"math"

	"gimbal/internal/kernel"
)

// Constants of layered clipping.
const (
	layeredAfter = 100  // steps that are only watched
	layeredOver  = 1.05 // a norm may be this many times its average
	layeredDecay = 0.98 // of the average
)

// Layered clips each tensor by its own history, before the global norm is clipped: a tensor whose gradient is suddenly
// large is brought down to what is usual for it, and the others stay as they are.
//
// Formula: after 100 steps g *= min(1, 1.05·γ/|g|), then γ = 0.98·γ + 0.02·|g|, with γ the average of the tensor's norms,
// clipped ones as they were clipped. A tensor that never had a gradient is not held at zero: its first one sets γ.
// Source: AdaGC, Wang et al. 2025, arXiv:2502.11034; its first steps take the least of globally clipped norms for γ,
// here they average what the guard let through.
type Layered[T kernel.Float] struct {
	a       *AdamW[T]
	state   LayeredState
	factors []float64
}

// LayeredState is what layered clipping remembers: save it, and put it back before the next step.
type LayeredState struct {
	Steps int64     `json:"steps"` // seen
	Norms []float64 `json:"norms"` // averages, segment by segment
}

// NewLayered returns layered clipping of the segments of a, with nothing seen yet.
func NewLayered[T kernel.Float](a *AdamW[T]) *Layered[T] {
	n := len(a.segments)
	return &Layered[T]{a: a, state: LayeredState{Norms: make([]float64, n)}, factors: make([]float64, n)}
}

// State returns what is to be saved. It shares memory with l.
func (l *Layered[T]) State() LayeredState { return l.state }

// SetState puts back what was saved; the zero value is a fresh start. Returns an error if it is not of these segments.
func (l *Layered[T]) SetState(s LayeredState) error {
	if s.Steps == 0 && len(s.Norms) == 0 {
		l.state.Steps = 0
		clear(l.state.Norms)
		return nil
	}
	if len(s.Norms) != len(l.state.Norms) || s.Steps < 0 {
		return fmt.Errorf("optim: averages of %d tensors after %d steps, want %d tensors", len(s.Norms), s.Steps, len(l.state.Norms))
	}
	for i, v := range s.Norms {
		if !(v >= 0 && v <= math.MaxFloat64) {
			return fmt.Errorf("optim: average %v of tensor %d is no norm", v, i)
		}
	}
	l.state.Steps = s.Steps
	copy(l.state.Norms, s.Norms)
	return nil
}

// Clip clips grads and returns their global norm afterwards and the number of tensors that were clipped. Call it for
// steps that are made only: what a guard refuses is no history.
//
// Shapes: grads (n).
// Memory: multiplies the gradients of clipped tensors.
// Numerics: norms in float64 from pieces of fixed size, added in order: the same bits for any number of workers.
// Failure: gradients that are not finite are left as they are, as is the history, and the norm says so.
func (l *Layered[T]) Clip(grads []T) (norm float64, clipped int) {
	norms := l.factors
	l.a.SegmentNorms(grads, norms)
	total := 0.0
	for _, n := range norms {
		total += n * n
	}
	if total-total != 0 {
		return math.Sqrt(total), 0
	}
	total = 0
	for i, n := range norms {
		average, factor := &l.state.Norms[i], 1.0
		if l.state.Steps >= layeredAfter && *average > 0 && n > layeredOver**average {
			factor = layeredOver * *average / n
			n *= factor
			clipped++
		}
		total += n * n
		if *average > 0 {
			*average = layeredDecay**average + (1-layeredDecay)*n
		} else {
			*average = n
		}
		l.factors[i] = factor
	}
	l.state.Steps++
	if clipped > 0 {
		l.a.ScaleSegments(grads, l.factors)
	}
	return math.Sqrt(total), clipped
}
