package nn

import (
	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Kinds of activations.
const (
	SwiGLU    = "swiglu"
	GEGLU     = "geglu"
	GELU      = "gelu"
	GELUExact = "gelu-exact"
	ReLU      = "relu"
)

// Activation is GELU or ReLU of the hidden layer and its bias, or of one half of it, multiplied by the other (GEGLU); SwiGLU
// has SiLU in its place. GELU has the form with the hyperbolic tangent (gelu_new of Hugging Face, that of GPT-2), but
// for GELUExact.
//
// Formula: ReLU: y = max(src + bias, 0). GELU: y = gelu(src + bias), gelu(x) = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))), exactly x/2·(1 + erf(x/√2)).
// SwiGLU: y = silu(gate)·up with (gate, up) = src + bias, silu(x) = x·σ(x), σ(x) = 1/(1+e^−x).
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; Shazeer 2020, arXiv:2002.05202.
type Activation[T kernel.Float] struct {
	rows[T]
	kind string

	dst, dy, src kernel.Mat[T]
	bias         []T
}

// Gated reports whether an activation multiplies two halves of its input.
func Gated(kind string) bool { return kind == SwiGLU || kind == GEGLU }

// ActivationStage is the width of the stage that an activation with width channels of output needs.
func ActivationStage(kind string, width int) int {
	if Gated(kind) {
		return 5 * width
	}
	return 2 * width
}

// NewActivation returns an activation; sums may be nil where Backward is not called.
func NewActivation[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], kind string) *Activation[T] {
	return &Activation[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, kind: kind}
}

// Forward overwrites dst (N, F). src (N, F), or where it is gated (N, 2·F): gate, then up. bias has src's columns or
// is nil.
func (l *Activation[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	l.begin(dst, src, bias)
	l.dst = dst
	l.each(n, (*activationForward[T])(l))
}

// begin takes the input. out is the output, or its gradient.
func (l *Activation[T]) begin(out, src kernel.Mat[T], bias []T) {
	width := out.Cols
	if Gated(l.kind) {
		width *= 2
	}
	require(src.Cols == width && (bias == nil || len(bias) == width), "nn: activation: wrong shape")
	l.src, l.bias = src, bias
}

type activationForward[T kernel.Float] Activation[T]

func (l *activationForward[T]) row(worker, i int, _ []T) {
	dst, src, temp := l.dst.Row(i), l.src.Row(i), l.stage.take(worker, l.src.Cols)
	switch l.kind {
	case SwiGLU:
		fused.SwiGLU(l.x, dst, src, l.bias, temp)
	case GEGLU:
		fused.GEGLU(l.x, dst, src, l.bias, temp)
	case GELU:
		fused.GELU(l.x, dst, src, l.bias, temp)
	case ReLU:
		fused.ReLU(l.x, dst, src, l.bias, temp)
	default:
		fused.GELUExact(l.x, dst, src, l.bias, temp)
	}
}

// Backward overwrites dsrc, which may be dy unless it is gated, and adds to dbias unless it is nil. dy (N, F); dsrc
// and dbias have the columns of src; src and bias as in Forward.
//
// Formula: SwiGLU: dup = dy·silu(gate), dgate = dy·up·σ·(1 + gate·(1−σ)).
func (l *Activation[T]) Backward(dsrc kernel.Mat[T], dbias []T, dy, src kernel.Mat[T], bias []T, n int) {
	l.begin(dy, src, bias)
	require(dsrc.Cols == src.Cols && (dbias == nil || len(dbias) == src.Cols), "nn: activation: wrong shape")
	l.dst, l.dy = dsrc, dy
	l.eachSummed(n, len(dbias), (*activationBackward[T])(l))
	l.sums.addTo(dbias, 0, n)
}

type activationBackward[T kernel.Float] Activation[T]

func (l *activationBackward[T]) row(worker, i int, sum []T) {
	dst, dy, src := l.dst.Row(i), l.dy.Row(i), l.src.Row(i)
	temp := l.stage.take(worker, ActivationStage(l.kind, l.dy.Cols))
	switch l.kind {
	case SwiGLU:
		fused.SwiGLUBack(l.x, dst, dy, src, l.bias, sum, temp)
	case GEGLU:
		fused.GEGLUBack(l.x, dst, dy, src, l.bias, sum, temp)
	case GELU:
		fused.GELUBack(l.x, dst, dy, src, l.bias, sum, temp)
	case ReLU:
		fused.ReLUBack(l.x, dst, dy, src, l.bias, sum, temp)
	default:
		fused.GELUExactBack(l.x, dst, dy, src, l.bias, sum, temp)
	}
}
