package optim

import (
	"fmt"
	"math"
)

// Constants of layered clipping.
const (
	layeredAfter = 100  // steps that are only watched
	layeredOver  = 1.05 // a norm may be this many times its average
	layeredDecay = 0.98 // of the average
)

// Layered clips each tensor by its own history, before the global norm is clipped: a tensor whose gradient is suddenly
// large is brought down to what is usual for it, and the others stay as they are. It sees norms, and no gradient.
//
// Formula: after 100 steps g *= min(1, 1.05·γ/|g|), then γ = 0.98·γ + 0.02·|g|, with γ the average of the tensor's
// norms, clipped ones as they were clipped. A tensor that never had a gradient is not held at zero: its first one sets
// γ.
// Source: AdaGC, Wang et al. 2025, arXiv:2502.11034; its first steps take the least of globally clipped norms for γ,
// here they average what the guard let through.
type Layered struct {
	state   LayeredState
	factors []float64
}

// LayeredState is what layered clipping remembers: save it, and put it back before the next step.
type LayeredState struct {
	Steps int64     `json:"steps"` // seen
	Norms []float64 `json:"norms"` // averages, tensor by tensor
}

// NewLayered returns layered clipping of a number of tensors, with nothing seen yet.
func NewLayered(tensors int) *Layered {
	return &Layered{state: LayeredState{Norms: make([]float64, tensors)}, factors: make([]float64, tensors)}
}

// State returns what is to be saved. It shares memory with l.
func (l *Layered) State() LayeredState { return l.state }

// SetState puts back what was saved; the zero value is a fresh start. Returns an error if it is not of these tensors.
func (l *Layered) SetState(s LayeredState) error {
	if s.Steps == 0 && len(s.Norms) == 0 {
		l.state.Steps = 0
		clear(l.state.Norms)
		return nil
	}
	if len(s.Norms) != len(l.state.Norms) || s.Steps < 0 {
		return fmt.Errorf("optim: averages of %d tensors after %d steps, want %d tensors",
			len(s.Norms), s.Steps, len(l.state.Norms))
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

// Factors returns what each tensor's gradient is to be multiplied by, the global norm that this leaves, and the number
// of tensors that are clipped. Call it for steps that are made only: what a guard refuses is no history.
//
// Shapes: norms, factors (tensors).
// Memory: factors is overwritten by the next call.
// Failure: with a norm that is not finite there are no factors, the history stays as it is, and the global norm says
// so.
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
	return l.factors, math.Sqrt(total), clipped
}
