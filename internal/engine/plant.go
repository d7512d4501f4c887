package engine

import (
	"math"

	"gimbal/internal/model"
	"gimbal/internal/param"
)

// Planter is an engine in which faults can be planted, to watch the guard find them.
type Planter interface {
	// Plant replaces the faults inside the model; without arguments it removes them. Decoders do not change.
	Plant(...Fault)
	// Harm makes one fault now, in the parameters or in the gradients so far.
	Harm(Fault)
}

// Fault is a mistake or an accident.
type Fault struct {
	Kind   FaultKind
	Block  int
	Tensor string
	Factor float64 // of ScaleBlock and ScaleGradients
}

// FaultKind says what a fault does.
type FaultKind int

// Faults for Plant.
const (
	NaNActivation = FaultKind(model.FaultNaN)          // the first element of a block's output is NaN in every pass
	StopGradient  = FaultKind(model.FaultStopGradient) // no gradient passes below a block
	CutResidual   = FaultKind(model.FaultCutResidual)  // a block is f(x) instead of x + f(x)
)

// Faults for Harm.
const (
	NaNGradient    FaultKind = iota + 101 // the first element of a tensor's gradient
	InfGradient                           // the same
	ScaleGradients                        // all of them, by Factor
	FlipBit                               // the highest bit of the exponent of a tensor's first element
	ScaleBlock                            // the matrices of a block, by Factor
	RoundWeights                          // all parameters to bfloat16, as if there were no fp32 masters
)

func (e *cpuEngine) Plant(faults ...Fault) {
	e.plants = e.plants[:0]
	for _, f := range faults {
		e.plants = append(e.plants, model.PlantedFault{Fault: model.Fault(f.Kind), Block: f.Block})
	}
	e.model.PlantFaults(e.plants...) // panics where a fault is none of these
}

func (e *cpuEngine) Harm(f Fault) {
	f.Spoil(e.model.Trained(), e.model.Grads())
	if !f.OfGradients() {
		e.model.Refresh()
	}
	if e.opt != nil {
		e.opt.Changed()
	}
}

// OfGradients tells whether a fault for Harm is in the gradients, not in the parameters.
func (f Fault) OfGradients() bool { return f.Kind <= ScaleGradients }

// Spoil makes a fault for Harm in parameters, or in their gradients.
func (f Fault) Spoil(p *param.Params[float32], grads []float32) {
	switch f.Kind {
	case NaNGradient:
		grads[f.first(p)] = float32(math.NaN())
	case InfGradient:
		grads[f.first(p)] = float32(math.Inf(1))
	case ScaleGradients:
		for i := range grads {
			grads[i] *= float32(f.Factor)
		}
	case FlipBit:
		w := &p.Flat[f.first(p)]
		*w = math.Float32frombits(math.Float32bits(*w) ^ 1<<30)
	case ScaleBlock:
		p.ScaleBlock(f.Block, f.Factor)
	case RoundWeights:
		for i, w := range p.Flat {
			p.Flat[i] = param.RoundBF16(w)
		}
	default:
		panic("engine: a fault that Harm does not know")
	}
}

// first returns the index of the first element of the fault's tensor.
func (f Fault) first(p *param.Params[float32]) int {
	v, ok := p.Lookup(f.Tensor)
	if !ok {
		panic("engine: a fault in no tensor")
	}
	return v.Lo
}
