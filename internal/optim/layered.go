package optim

import (
	"fmt"
	"math"
)

// Constants of layered clipping.
const (
	layeredAfter = 100  // steps that are only averaged
	layeredOver  = 1.05 // a norm may be this many times its average
	layeredDecay = 0.98 // of the average
)

// Layered clips each tensor by its own history, before the global norm is clipped. It reduces a gradient that is
// suddenly large to what is usual for its tensor, and leaves the other tensors alone. It sees norms, not gradients.
//
// Formula: after 100 steps g *= min(1, 1.05·γ/|g|), then γ = 0.98·γ + 0.02·|g|, where γ is the average of the tensor's
// norms after clipping. The first gradient of a tensor sets its γ, so a tensor that had none is not held at zero.
// Source: AdaGC, Wang et al. 2025, arXiv:2502.11034. There the first steps take the least of the globally clipped norms
// for γ; here they average the norms of the steps that were made.
type Layered struct {
	LayeredState
	factors []float64
}

// LayeredState is the state of layered clipping: save it, and put it back before the next step.
type LayeredState struct {
	Steps int64     `json:"steps"` // seen
	Norms []float64 `json:"norms"` // averages, tensor by tensor
}

// NewLayered returns layered clipping of a number of tensors, without history.
func NewLayered(tensors int) *Layered {
	return &Layered{LayeredState{Norms: make([]float64, tensors)}, make([]float64, tensors)}
}

// SetState puts a saved state back. The zero value is a fresh start. It fails if the state is not of these tensors.
func (l *Layered) SetState(s LayeredState) error {
	if s.Steps == 0 && len(s.Norms) == 0 {
		s.Norms = make([]float64, len(l.Norms))
	}
	if len(s.Norms) != len(l.Norms) || s.Steps < 0 {
		return fmt.Errorf("optim: the state of layered clipping has %d tensors after %d steps, want %d tensors",
			len(s.Norms), s.Steps, len(l.Norms))
	}
	for i, v := range s.Norms {
		if !(v >= 0 && v <= math.MaxFloat64) {
			return fmt.Errorf("optim: the state of layered clipping has %v as the norm of tensor %d", v, i)
		}
	}
	l.Steps = s.Steps
	copy(l.Norms, s.Norms)
	return nil
}

// Clip returns the factors of Factors, how many tensors they clip, and the factor that clips the global norm of what is
// left to a limit; 1 where that norm is not finite, which only a guard that never acts lets through.
func (l *Layered) Clip(norms []float64, limit float64) (factors []float64, scale float64, clipped int) {
	factors, norm, clipped := l.Factors(norms)
	scale, err := ClipScale(norm, limit)
	if err != nil {
		scale = 1
	}
	return factors, scale, clipped
}

// Factors returns the factor for each tensor's gradient, the global norm after scaling, and the number of tensors that
// are clipped. Call it only for steps that are made: a refused step does not count as history.
//
// Shapes: norms, factors (tensors).
// Memory: the next call overwrites factors.
// Failure: if a norm is not finite, factors is nil, the global norm is not finite and the history does not change.
func (l *Layered) Factors(norms []float64) (factors []float64, norm float64, clipped int) {
	if len(norms) != len(l.factors) {
		panic("optim: slice of the wrong length")
	}
	total := 0.0
	for _, n := range norms {
		total += n * n
	}
	if total-total != 0 {
		return nil, math.Sqrt(total), 0
	}
	total = 0
	for i, n := range norms {
		average, factor := &l.Norms[i], 1.0
		if l.Steps >= layeredAfter && *average > 0 && n > layeredOver**average {
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
	l.Steps++
	return l.factors, math.Sqrt(total), clipped
}
