package engine

import "gimbal/internal/model"

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
