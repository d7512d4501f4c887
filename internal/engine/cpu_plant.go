package engine

import (
	"math"

	"gimbal/internal/model"
)

// Plant implements Planter.
func (e *cpuEngine) Plant(faults ...Fault) {
	e.plants = e.plants[:0]
	for _, f := range faults {
		p := model.PlantedFault{Block: f.Block}
		switch f.Kind {
		case NaNActivation:
			p.Fault = model.FaultNaN
		case StopGradient:
			p.Fault = model.FaultStopGradient
		case CutResidual:
			p.Fault = model.FaultCutResidual
		default:
			panic("engine: this fault does not sit in the model")
		}
		e.plants = append(e.plants, p)
	}
	e.model.PlantFaults(e.plants...)
}

// Harm implements Planter.
func (e *cpuEngine) Harm(f Fault) {
	p, grads := e.model.Params(), e.model.Grads()
	switch f.Kind {
	case NaNGradient:
		grads[e.first(f.Tensor)] = float32(math.NaN())
	case InfGradient:
		grads[e.first(f.Tensor)] = float32(math.Inf(1))
	case ScaleGradients:
		for i := range grads {
			grads[i] *= float32(f.Factor)
		}
	case FlipBit:
		w := &p.Flat[e.first(f.Tensor)]
		*w = math.Float32frombits(math.Float32bits(*w) ^ 1<<30)
		e.model.Refresh()
	case ScaleBlock:
		p.ScaleBlock(f.Block, f.Factor)
		e.model.Refresh()
	case RoundWeights:
		for i, w := range p.Flat {
			p.Flat[i] = roundBF16(w)
		}
		e.model.Refresh()
	default:
		panic("engine: this fault is not done once")
	}
}

// first is where the named tensor begins.
func (e *cpuEngine) first(tensor string) int {
	v, ok := e.model.Params().Lookup(tensor)
	if !ok {
		panic("engine: a fault in no tensor")
	}
	return v.Lo
}

// roundBF16 rounds to bfloat16, to nearest even.
func roundBF16(x float32) float32 {
	bits := math.Float32bits(x)
	return math.Float32frombits((bits + 0x7fff + bits>>16&1) &^ 0xffff)
}
