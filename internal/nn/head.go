package nn

import (
	"math"

	"gimbal/internal/fused"
	"gimbal/internal/kernel"
)

// Head is the last multiply and cross-entropy, in chunks of positions: (N, V) is never stored whole, and the gradient
// of the logits overwrites them.
//
// Formula: nats_i = ln Σ_v e^z_iv − z_i,label. With Z the sum, the optional z-loss adds coefficient·ln²Z to the loss
// whose gradient is computed (not to nats). It keeps logits from drifting. z is what Logits makes
// of the products.
// Source: z-loss as in PaLM, Chowdhery et al. 2022, arXiv:2204.02311, section 5.
type Head[T kernel.Float] struct {
	rows[T]
	logits  kernel.Mat[T] // (chunk, V)
	dlogits kernel.Mat[T] // (chunk, V), in the memory of logits
	zLoss   float64
	make    *Logits[T]
	dbias   []T // (V), nil where nobody asks for it

	nats, logZ []float64
	labels     []int32
	counts     []bool
	weights    []float64 // nil: 1
	scale      float64
	from       int
	gradient   bool
	stop       func() bool // of Loss
}

// HeadChunk is the number of positions of a chunk, at most n: about 2²² logits, at least 256 positions and at most
// 2,048. It is a constant of the numerics.
func HeadChunk(n, vocab int) int { return headChunk(n, vocab, 256) }

// HeadChunk16 is HeadChunk for bfloat16 operands: at least 1,024 positions, unless these are more than 2²⁶ logits. With
// fewer positions reading and writing dw once a chunk would take longer than the multiplies.
func HeadChunk16(n, vocab int) int {
	return headChunk(n, vocab, max(256, min(1024, 1<<26/vocab/64*64)))
}

func headChunk(n, vocab, least int) int { return min(n, 2048, max(least, (1<<22/vocab+63)/64*64)) }

// NewHead returns a head whose chunks have the rows of logits. dlogits is logits, or a bfloat16 operand whose row i
// begins where row i of logits does. Backward adds the gradient of the bias to dbias (V), unless that is nil. The stage
// has HeadStage elements.
func NewHead[T kernel.Float](
	x *kernel.Exec,
	stage *Stage[T],
	logits, dlogits kernel.Mat[T],
	zLoss float64,
	make *Logits[T],
	dbias []T,
) *Head[T] {
	return &Head[T]{rows: rows[T]{x: x, stage: stage}, logits: logits, dlogits: dlogits, zLoss: zLoss, make: make,
		dbias: dbias}
}

// HeadStage is the width of the stage that a Head needs.
const HeadStage = 2048

// Loss overwrites nats and logZ (N). src (N, C), w (V, C), labels and counts (N). Where counts is false nats is zero,
// and the label may be anything. Once stop, if it is not nil, is true, the rest is left out.
//
// Numerics: maximum, exponentials and their sum in T, logarithms and nats in float64.
func (l *Head[T]) Loss(nats, logZ []float64, src kernel.Mat[T], w *kernel.Weights[T], labels []int32, counts []bool,
	stop func() bool) {
	l.gradient, l.weights, l.stop = false, nil, stop
	l.chunks(nats, logZ, kernel.Mat[T]{}, nil, src, w, labels, counts)
}

// Backward is Loss, and overwrites dsrc (N, C) and adds to dw (V, C), unless it is nil, the gradient of
// scale·Σ weight·(nats + z-loss); weights (N) may be nil for ones.
func (l *Head[T]) Backward(nats, logZ []float64, dsrc kernel.Mat[T], dw []T, src kernel.Mat[T], w *kernel.Weights[T],
	labels []int32, counts []bool, weights []float64, scale float64) {
	require(weights == nil || len(weights) == len(labels), "nn: head: weights do not match the labels")
	l.gradient, l.weights, l.scale, l.stop = true, weights, scale, nil
	l.chunks(nats, logZ, dsrc, dw, src, w, labels, counts)
}

func (l *Head[T]) chunks(nats, logZ []float64, dsrc kernel.Mat[T], dw []T, src kernel.Mat[T], w *kernel.Weights[T],
	labels []int32, counts []bool) {
	n := len(labels)
	require(len(nats) >= n && len(logZ) >= n && len(counts) == n, "nn: head: wrong shape")
	l.nats, l.logZ, l.labels, l.counts = nats, logZ, labels, counts
	for l.from = 0; l.from < n && !(l.stop != nil && l.stop()); l.from += l.logits.Rows {
		m := min(l.logits.Rows, n-l.from)
		w.Forward(l.x, l.logits, src.From(l.from), m)
		l.each(m, (*crossEntropy[T])(l))
		if l.gradient {
			w.BackInput(l.x, dsrc.From(l.from), l.dlogits, m)
			if dw != nil {
				w.BackWeight(l.x, dw, l.dlogits, src.From(l.from), m)
			}
			l.n = m
			l.x.Pool().Do(len(l.dbias), HeadStage, (*headBias[T])(l))
		}
	}
}

// headBias adds the gradients of a chunk to that of the bias.
//
// Numerics: workers share the tokens, so that each element is summed over positions in their order.
type headBias[T kernel.Float] Head[T]

func (l *headBias[T]) Part(worker, begin, end int) {
	for lo := begin; lo < end; lo += HeadStage {
		hi := min(end, lo+HeadStage)
		for i := range l.n {
			kernel.Axpy(l.x, l.dbias[lo:hi], 1, l.dlogits.Row(i).Slice(lo, hi).Read(l.x, l.stage.take(worker, HeadStage)))
		}
	}
}

type crossEntropy[T kernel.Float] Head[T]

func (l *crossEntropy[T]) row(worker, i int, _ []T) {
	z, dz, at := l.logits.RowF(i), l.dlogits.Row(i), l.from+i
	l.nats[at], l.logZ[at] = 0, 0
	if !l.counts[at] {
		if l.gradient {
			dz.Clear()
		}
		return
	}
	label := l.labels[at]
	l.make.of(z)
	top, target := kernel.Max(l.x, z), z[label]
	sum := float64(kernel.ExpSub(l.x, z, z, top))
	logZ := float64(top) + math.Log(sum)
	l.nats[at], l.logZ[at] = logZ-float64(target), logZ
	if l.gradient {
		scale := l.scale / l.make.divisor
		if l.weights != nil {
			scale *= l.weights[at]
		}
		factor, bend := T(scale*(1+2*l.zLoss*logZ)/sum), T(1)
		if l.make.cap > 0 {
			l.bend(z, top)
			bend = T(slope(float64(target), l.make.cap))
		}
		l.differentiate(worker, dz, z, factor, T(scale)*bend, int(label))
	}
}

// bend multiplies the exponentials of capped logits, which are less top, by the slope of the cap.
func (l *crossEntropy[T]) bend(z []T, top T) {
	for i, e := range z {
		if e > 0 {
			z[i] = e * T(slope(float64(top)+math.Log(float64(e)), l.make.cap))
		}
	}
}

// differentiate overwrites the exponentials z by the gradient dz, a piece at a time: no piece of dz ends beyond the
// beginning of the next piece of z. less is what the label's own gradient is smaller by.
func (l *crossEntropy[T]) differentiate(worker int, dz kernel.Row[T], z []T, factor, less T, label int) {
	temp, target := l.stage.take(worker, HeadStage), T(z[label]*factor)-less
	for lo := 0; lo < len(z); lo += HeadStage {
		hi := min(len(z), lo+HeadStage)
		fused.Scale(l.x, dz.Slice(lo, hi), z[lo:hi], factor, temp)
	}
	temp[0] = target
	dz.Slice(label, label+1).Write(l.x, temp[:1])
}

// Logits makes logits of the products of a head.
//
// Formula: z = (product + bias)/divisor; with a cap cap·tanh(z/cap).
type Logits[T kernel.Float] struct {
	rows[T]
	dst          kernel.Mat[T]
	bias         []T // (V) or nil
	divisor, cap float64
}

// NewLogits returns logits with a bias (V), nil for none, a divisor, 1 for none, and a cap, 0 for none.
func NewLogits[T kernel.Float](x *kernel.Exec, bias []T, divisor, limit float64) *Logits[T] {
	return &Logits[T]{rows: rows[T]{x: x}, bias: bias, divisor: divisor, cap: limit}
}

// Forward overwrites n rows of products dst.
func (l *Logits[T]) Forward(dst kernel.Mat[T], n int) {
	if l.bias != nil || l.divisor != 1 || l.cap > 0 {
		l.dst = dst
		l.each(n, (*logitsRow[T])(l))
	}
}

// of overwrites one row of products.
func (l *Logits[T]) of(z []T) {
	if l.bias != nil {
		kernel.Axpy(l.x, z, 1, l.bias)
	}
	if l.divisor != 1 {
		kernel.Affine(l.x, z, z, T(1/l.divisor), 0)
	}
	softCap(z, l.cap)
}

type logitsRow[T kernel.Float] Logits[T]

func (l *logitsRow[T]) row(_, i int, _ []T) { (*Logits[T])(l).of(l.dst.RowF(i)) }
