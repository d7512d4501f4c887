package model

import (
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/memory"
	"gimbal/internal/nn"
	"gimbal/internal/rng"
)

// buffers is all memory of a model. Matrices enter or leave a multiply; those marked "operand" enter one. In full
// precision without dropout dx is an operand, too.
type buffers[T kernel.Float] struct {
	params, grads []T         // with an adapter, grads are those of vectors, which nobody reads
	adapter       *lowRank[T] // nil: there is none
	workspace[T]

	// Kept from the forward pass for the backward pass.
	x                    [][]T         // (L+1) of (N, C): the residual stream before each block and after the last
	saved                []saved[T]    // (L), sharing memory as checkpointing says
	final                kernel.Mat[T] // (N, C) operand
	finalMean, finalRstd []T           // (N)
	nats, logZ           []float64     // (N)

	// Used within a half of a block.
	branch  kernel.Mat[T] // (N, C): a branch before the residual sum; backward, the gradient of a normed input
	dx      []T           // (N, C): the gradient of the residual stream
	dropped kernel.Mat[T] // (N, C) operand: dx with a branch's mask and factor; only with these or in bf16 mode
	dactive kernel.Mat[T] // (N, F)
	dhidden kernel.Mat[T] // (N, 2·F or F) operand
	dheads  kernel.Mat[T] // (N, H·D)
	dqkv    kernel.Mat[T] // (N, QKV) operand
	dpost   []T           // (N, C): the gradient of what a half's last norm reads, where there is one
	dinput  []T           // (N, C): the gradient of a block's input by way of its MLP, where the halves are parallel
	dpart   kernel.Mat[T] // (N, 3·H·D) in bf16 mode: see nn.Heads; dqkv where that is the same, and in full precision
	dfinal  kernel.Mat[T] // (N, C): the gradient of final, in full precision: its many terms are summed in parts
	logits  kernel.Mat[T] // (chunk, V)
	dlogits kernel.Mat[T] // (chunk, V) operand, in the memory of logits

	sums  []T // partial sums over positions
	probe []T // of nn.Probe

	pos, span []int32   // (N)
	keys      []rng.Key // (2, S): of branches and of the adapter; only with dropout
}

// saved is what one block keeps for its backward pass.
type saved[T kernel.Float] struct {
	savedAttention[T]
	savedMLP[T]
}

type savedAttention[T kernel.Float] struct {
	mean1, rstd1 []T           // (N)
	normed1      kernel.Mat[T] // (N, C) operand
	qkv          kernel.Mat[T] // (N, QKV)
	operands     kernel.Mat[T] // (N, QKV) operand: see nn.Heads; in full precision qkv, or with QK-norm (N, (H+KV)·D)
	qkRstd       []T           // (N, H+KV), with QK-norm only
	heads        kernel.Mat[T] // (N, H·D) operand
	lse          []T           // (N, H)
	post1        savedPost[T]
}

// savedPost is what the norm after a half keeps. Without one it is empty.
type savedPost[T kernel.Float] struct {
	out        []T // (N, C): what it reads, in full precision
	mean, rstd []T // (N)
}

type savedMLP[T kernel.Float] struct {
	middle       []T           // (N, C): the residual stream between the halves
	mean2, rstd2 []T           // (N)
	normed2      kernel.Mat[T] // (N, C) operand
	hidden       kernel.Mat[T] // (N, 2·F or F), without the bias
	active       kernel.Mat[T] // (N, F) operand
	post2        savedPost[T]
}

// newBuffers allocates, or with a dry arena counts, the memory of a model.
func newBuffers[T kernel.Float](ar *arena, a config.Arch, opt Options) *buffers[T] {
	n, c := opt.MicroTokens, a.Width
	b := new(buffers[T])
	_, total := layout(ar, a)
	b.params = alloc[T](ar, partParams, total)
	switch {
	case opt.Adapter.Rank > 0 && !opt.Forward:
		b.adapter = newLowRank[T](ar, a, opt.Adapter, n, opt.Workers)
		b.grads = alloc[T](ar, partGrads, vectorsLen(a))
	case !opt.Forward:
		b.grads = alloc[T](ar, partGrads, total)
	}
	b.workspace = newWorkspace[T](ar, a, min(a.Context, n), opt.Workers, training)

	b.x = make([][]T, a.Layers+1)
	for i := range b.x {
		b.x[i] = alloc[T](ar, partActivations, n*c)
	}
	b.saved = make([]saved[T], a.Layers)
	var qkv kernel.Mat[T]
	if ar.bf16 && !a.QKNorm { // the backward pass does not read it
		qkv = product[T](ar, partActivations, min(n, opt.Workers*chunkRows), qkvWidth(a))
	}
	for i := range b.saved {
		s := &b.saved[i]
		if i > 0 && (opt.Checkpointing == CheckpointBlock || opt.Checkpointing == CheckpointAttention) {
			s.savedAttention = b.saved[0].savedAttention
		} else {
			s.savedAttention = newSavedAttention(ar, a, n, qkv)
		}
		if i > 0 && opt.Checkpointing == CheckpointBlock {
			s.savedMLP = b.saved[0].savedMLP
		} else {
			s.savedMLP = newSavedMLP[T](ar, a, n)
		}
	}
	b.final = operand[T](ar, partActivations, n, c)
	b.finalMean, b.finalRstd = newStats[T](ar, a, n)

	b.branch = product[T](ar, partBackward, n, c)
	b.dx = alloc[T](ar, partBackward, n*c)
	if a.Norms != "" {
		b.dpost = alloc[T](ar, partBackward, n*c)
	}
	if a.Parallel {
		b.dinput = alloc[T](ar, partBackward, n*c)
	}
	if a.Dropout > 0 || opt.Adapter.Dropout > 0 {
		b.keys = alloc[rng.Key](ar, partBatch, 2*n)
	}
	if a.Dropout > 0 || a.ResidualFactor != 0 || ar.bf16 {
		b.dropped = operand[T](ar, partBackward, n, c)
	} else {
		b.dropped = kernel.Mat[T]{Rows: n, Cols: c, Stride: c}
	}
	if ar.bf16 {
		b.wide16(ar, a, n)
		b.head16(ar, a, nn.HeadChunk16(n, a.Vocab))
	} else {
		b.wide(ar, a, n)
		b.dfinal = b.branch
		b.logits = mat[T](ar, partHead, nn.HeadChunk(n, a.Vocab), a.Vocab)
		b.dlogits = b.logits
	}
	b.sums = alloc[T](ar, partScratch, nn.BlockSumsLen(opt.Workers, n, sumsWidth(a)))
	b.probe = alloc[T](ar, partScratch, nn.ProbeLen(opt.Workers, probeRows(opt), a.HeadSize, a.MLP))
	b.nats, b.logZ = alloc[float64](ar, partBatch, n), alloc[float64](ar, partBatch, n)
	b.pos, b.span = alloc[int32](ar, partBatch, n), alloc[int32](ar, partBatch, n)
	return b
}

// wide allocates the gradients inside the halves of a block. They share memory: one half follows the other, and the
// gradient of GELU is computed in place.
func (b *buffers[T]) wide(ar *arena, a config.Arch, n int) {
	hidden, active := memory.RoundUp(n*hiddenWidth(a)), memory.RoundUp(n*a.MLP)
	qkv, heads := memory.RoundUp(n*qkvWidth(a)), memory.RoundUp(n*queryWidth(a))
	at := hidden
	if !a.Gated() {
		at = 0
	}
	all := alloc[T](ar, partBackward, max(at+active, qkv+heads))
	if ar.dry {
		return
	}
	b.dhidden, b.dactive = kernel.Dense(all, n, hiddenWidth(a)), kernel.Dense(all[at:], n, a.MLP)
	b.dqkv, b.dheads = kernel.Dense(all, n, qkvWidth(a)), kernel.Dense(all[qkv:], n, queryWidth(a))
	b.dpart = b.dqkv
}

// wide16 is wide in bf16 mode.
func (b *buffers[T]) wide16(ar *arena, a config.Arch, n int) {
	size := func(cols int) int {
		elements, _ := kernel.OperandLen(n, cols)
		return elements
	}
	mlp, qkv := size(hiddenWidth(a)), size(qkvWidth(a))+size(queryWidth(a))
	if !directHeads(a) {
		qkv += size(3 * queryWidth(a))
	}
	if a.Gated() {
		mlp += size(a.MLP)
	}
	var zero T
	final := n * a.Width * int(unsafe.Sizeof(zero)) / 2
	all := alloc[uint16](ar, partBackward, max(mlp, qkv, final))
	if ar.dry {
		return
	}
	b.dfinal = kernel.Dense(view[T](all[:final]), n, a.Width)
	rest := all
	b.dhidden = cut[T](&rest, n, hiddenWidth(a))
	b.dactive = b.dhidden
	if a.Gated() {
		b.dactive = cut[T](&rest, n, a.MLP)
	}
	rest = all
	b.dqkv, b.dheads = cut[T](&rest, n, qkvWidth(a)), cut[T](&rest, n, queryWidth(a))
	if b.dpart = b.dqkv; !directHeads(a) {
		b.dpart = cut[T](&rest, n, 3*queryWidth(a))
	}
}

// head16 allocates rows of logits; their gradients, half as long, take the same place. Rows lie an odd number of cache
// lines apart, as those of operands do.
func (b *buffers[T]) head16(ar *arena, a config.Arch, rows int) {
	lines := (a.Vocab+15)/16 | 1
	b.logits = kernel.Mat[T]{F: alloc[T](ar, partHead, rows*lines*16), Rows: rows, Cols: a.Vocab, Stride: lines * 16}
	b.dlogits = kernel.Mat[T]{H: view[uint16](b.logits.F), Rows: rows, Cols: a.Vocab, Stride: lines * 32}
}

func newStats[T kernel.Float](ar *arena, a config.Arch, n int) (mean, rstd []T) {
	if a.Norm == "layer" {
		mean = alloc[T](ar, partActivations, n)
	}
	return mean, alloc[T](ar, partActivations, n)
}

func newSavedAttention[T kernel.Float](ar *arena, a config.Arch, n int, qkv kernel.Mat[T]) (s savedAttention[T]) {
	s.mean1, s.rstd1 = newStats[T](ar, a, n)
	s.normed1 = operand[T](ar, partActivations, n, a.Width)
	if s.qkv = qkv; !ar.bf16 || a.QKNorm {
		s.qkv = product[T](ar, partActivations, n, qkvWidth(a))
	}
	if s.operands = s.qkv; ar.bf16 {
		s.operands = operand[T](ar, partActivations, n, qkvWidth(a))
	} else if a.QKNorm {
		s.operands = mat[T](ar, partActivations, n, queryWidth(a)+keyWidth(a))
	}
	if a.QKNorm {
		s.qkRstd = alloc[T](ar, partActivations, n*(a.Heads+a.KVHeads))
	}
	s.heads = operand[T](ar, partActivations, n, queryWidth(a))
	s.lse = alloc[T](ar, partActivations, n*a.Heads)
	s.post1 = newSavedPost[T](ar, a, n)
	return s
}

func newSavedMLP[T kernel.Float](ar *arena, a config.Arch, n int) (s savedMLP[T]) {
	s.middle = alloc[T](ar, partActivations, n*a.Width)
	s.mean2, s.rstd2 = newStats[T](ar, a, n)
	s.normed2 = operand[T](ar, partActivations, n, a.Width)
	s.hidden = product[T](ar, partActivations, n, hiddenWidth(a))
	s.active = operand[T](ar, partActivations, n, a.MLP)
	s.post2 = newSavedPost[T](ar, a, n)
	return s
}

func newSavedPost[T kernel.Float](ar *arena, a config.Arch, n int) (s savedPost[T]) {
	if a.Norms != "" {
		s.out = alloc[T](ar, partActivations, n*a.Width)
		s.mean, s.rstd = newStats[T](ar, a, n)
	}
	return s
}
