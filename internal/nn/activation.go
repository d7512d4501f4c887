package nn

import "gimbal/internal/kernel"

// Activation is GELU of the hidden layer and its bias, or SwiGLU, which multiplies one half of it by the SiLU of the
// other. GELU has the form with the hyperbolic tangent (gelu_new of Hugging Face, that of GPT-2).
//
// Formula: GELU: y = gelu(src + bias), gelu(x) = x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
// SwiGLU: y = silu(gate)·up with (gate, up) = src + bias, silu(x) = x·σ(x), σ(x) = 1/(1+e^−x).
// Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; Shazeer 2020, arXiv:2002.05202.
type Activation[T kernel.Float] struct {
	rows[T]
	gated bool

	dst, dy, src kernel.Mat[T]
	bias         []T
}

// ActivationStage is the width of the stage that an activation with width channels of output needs.
func ActivationStage(gated bool, width int) int {
	if gated {
		return 5 * width
	}
	return 2 * width
}

// NewActivation returns SwiGLU if gated, else GELU; sums may be nil where Backward is not called.
func NewActivation[T kernel.Float](x *kernel.Exec, stage *Stage[T], sums *BlockSums[T], gated bool) *Activation[T] {
	return &Activation[T]{rows: rows[T]{x: x, stage: stage, sums: sums}, gated: gated}
}

// Forward overwrites dst (N, F). src (N, F), or for SwiGLU (N, 2·F): gate, then up. bias has src's columns or is nil.
func (l *Activation[T]) Forward(dst, src kernel.Mat[T], bias []T, n int) {
	l.begin(dst, src, bias)
	l.dst = dst
	l.each(n, (*activationForward[T])(l))
}

// begin takes the input. out is the output, or its gradient.
func (l *Activation[T]) begin(out, src kernel.Mat[T], bias []T) {
	width := out.Cols
	if l.gated {
		width *= 2
	}
	require(src.Cols == width && (bias == nil || len(bias) == width), "nn: activation: wrong shape")
	l.src, l.bias = src, bias
}

type activationForward[T kernel.Float] Activation[T]

func (l *activationForward[T]) row(worker, i int, _ []T) {
	dst, src, temp := l.dst.Row(i), l.src.Row(i), l.stage.take(worker, l.src.Cols)
	if l.gated {
		kernel.SwiGLURow(l.x, dst, src, l.bias, temp)
	} else {
		kernel.GELURow(l.x, dst, src, l.bias, temp)
	}
}

// Backward overwrites dsrc, which for GELU may be dy, and adds to dbias unless it is nil. dy (N, F); dsrc and dbias have
// the columns of src; src and bias as in Forward.
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
	temp := l.stage.take(worker, ActivationStage(l.gated, l.dy.Cols))
	if l.gated {
		kernel.SwiGLUBackRow(l.x, dst, dy, src, l.bias, sum, temp)
	} else {
		kernel.GELUBackRow(l.x, dst, dy, src, l.bias, sum, temp)
	}
}
