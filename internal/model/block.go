package model

import (
	"math"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
)

// network is what training and generation share: the parameters and the layers that see one position or one span.
type network[T kernel.Float] struct {
	arch    config.Arch
	x       *kernel.Exec
	params  *Params[T]
	outside *tensors[T]
	blocks  []block[T]

	headWeights *kernel.Weights[T]

	stage       *nn.Stage[T]
	norm        *nn.Norm[T]
	heads       *nn.Heads[T]
	attention   *nn.Attention[T] // nil where attention16 is not
	attention16 *nn.Attention16  // training in bf16 mode
	activation  *nn.Activation[T]
}

// block is one block's parameters and the multiplies by its matrices.
type block[T kernel.Float] struct {
	tensors[T]
	qkv, o, gateUp, down *kernel.Weights[T]
}

// Sizes of the rows of buffers, after the legend of package nn.

func queryWidth(a config.Arch) int { return a.Heads * a.HeadSize }
func keyWidth(a config.Arch) int   { return a.KVHeads * a.HeadSize }
func qkvWidth(a config.Arch) int   { return queryWidth(a) + 2*keyWidth(a) }

func gated(a config.Arch) bool { return a.MLPKind == "swiglu" }

func hiddenWidth(a config.Arch) int {
	if gated(a) {
		return 2 * a.MLP
	}
	return a.MLP
}

// directHeads reports whether the gradients that attention makes are those of the multiply's result, but for the bias.
func directHeads(a config.Arch) bool {
	return a.Position != "rope" && !a.QKNorm && a.Heads == a.KVHeads
}

// sumsWidth is the widest gradient of a vector that is summed over positions.
func sumsWidth(a config.Arch) int {
	return max(2*a.Width, nn.HeadsSums(a.Heads, a.KVHeads, a.HeadSize), hiddenWidth(a))
}

// stageWidth is the widest row, or rows, that a layer computes in full precision on the way to bfloat16.
func stageWidth(a config.Arch) int {
	return max(a.Width, nn.ActivationStage(gated(a), a.MLP), nn.HeadsStage(a.Heads, a.KVHeads, a.HeadSize), nn.HeadStage)
}

// workspace is the memory of the layers of a network.
type workspace[T kernel.Float] struct {
	packed   []uint16  // weights as operands, in bf16 mode
	cos, sin []T       // RoPE tables
	stage    []T       // rows in full precision
	score    []T       // attention in full precision
	halves   []uint16  // attention on operands of bfloat16
	floats   []float32 // the same
}

// What a workspace is for.
const (
	training   = iota
	generation // attention to a cache is in full precision
	sharing    // generation with the packed weights of a model that is trained
)

func newWorkspace[T kernel.Float](ar *arena, a config.Arch, workers, purpose int) (w workspace[T]) {
	if a.Position == "rope" {
		w.cos = alloc[T](ar, partScratch, nn.RopeLen(a.Context, a.HeadSize))
		w.sin = alloc[T](ar, partScratch, nn.RopeLen(a.Context, a.HeadSize))
	}
	w.stage = alloc[T](ar, partScratch, nn.StageLen(workers, stageWidth(a)))
	if ar.bf16 && purpose != sharing {
		w.packed = alloc[uint16](ar, partPacked, packedLen(a))
	}
	if ar.bf16 && purpose == training {
		halves, floats := nn.Attention16Len(workers, a.Context, a.HeadSize)
		w.halves, w.floats = alloc[uint16](ar, partScratch, halves), alloc[float32](ar, partScratch, floats)
	} else {
		w.score = alloc[T](ar, partScratch, nn.AttentionLen(workers, a.Context))
	}
	return w
}

// packedLen is the length of all weights as operands.
func packedLen(a config.Arch) int {
	block := kernel.WeightsBF16Len(qkvWidth(a), a.Width) + kernel.WeightsBF16Len(a.Width, queryWidth(a)) +
		kernel.WeightsBF16Len(hiddenWidth(a), a.Width) + kernel.WeightsBF16Len(a.Width, a.MLP)
	return a.Layers*block + kernel.WeightsBF16Len(a.Vocab, a.Width)
}

// weights returns the handle of a matrix; its operands, in bf16 mode, are cut off the front of packed.
func weights[T kernel.Float](w []T, packed *[]uint16, out, in int) *kernel.Weights[T] {
	if *packed == nil {
		return kernel.NewWeights(w, out, in)
	}
	n := kernel.WeightsBF16Len(out, in)
	handle := kernel.NewWeightsBF16In(float32s(w), (*packed)[:n:n], out, in)
	*packed = (*packed)[n:]
	return any(handle).(*kernel.Weights[T])
}

// float32s and mat32 are the identity: T is float32 in bf16 mode.
func float32s[T kernel.Float](s []T) []float32                  { return any(s).([]float32) }
func mat32[T kernel.Float](m kernel.Mat[T]) kernel.Mat[float32] { return any(m).(kernel.Mat[float32]) }

// newNetwork returns a network with the parameters p, or with those of shared and their operands if that is not nil.
// sums is nil for generation.
func newNetwork[T kernel.Float](a config.Arch, x *kernel.Exec, p *Params[T], shared *network[T],
	sums *nn.BlockSums[T], mem workspace[T]) network[T] {
	net := network[T]{arch: a, x: x}
	if shared != nil {
		net.params, net.outside = shared.params, shared.outside
		net.blocks, net.headWeights = shared.blocks, shared.headWeights
	} else {
		net.params = p
		net.newWeights(mem.packed)
	}
	net.stage = nn.NewStage(x, stageWidth(a), mem.stage)
	net.norm = nn.NewNorm(x, net.stage, sums, a.Width, a.NormEps)
	net.activation = nn.NewActivation(x, net.stage, sums, gated(a))
	var rope *nn.Rope[T]
	if a.Position == "rope" {
		rope = nn.NewRope(a.Context, a.HeadSize, a.RopeTheta, nn.RopeScale(a.RopeScale), mem.cos, mem.sin)
	}
	scale := 1.0 // attention in full precision scales the scores itself
	if mem.halves != nil {
		net.attention16 = nn.NewAttention16(x, a.Heads, a.KVHeads, a.HeadSize, a.Context, mem.halves, mem.floats)
		scale = 1 / math.Sqrt(float64(a.HeadSize))
	} else {
		net.attention = nn.NewAttention(x, a.Heads, a.KVHeads, a.HeadSize, a.Context, mem.score)
	}
	net.heads = nn.NewHeads(x, net.stage, sums, rope, a.Heads, a.KVHeads, a.HeadSize, scale, a.NormEps)
	return net
}

// newWeights makes the handles of all matrices, with operands in packed where that is not nil.
func (net *network[T]) newWeights(packed []uint16) {
	a := net.arch
	all := split(net.params.Flat, net.params.Views, a.Layers)
	net.outside, net.blocks = &all[a.Layers], make([]block[T], a.Layers)
	for l := range net.blocks {
		t := all[l]
		net.blocks[l] = block[T]{
			tensors: t,
			qkv:     weights(t[slotQKV], &packed, qkvWidth(a), a.Width),
			o:       weights(t[slotO], &packed, a.Width, queryWidth(a)),
			gateUp:  weights(t[slotGateUp], &packed, hiddenWidth(a), a.Width),
			down:    weights(t[slotDown], &packed, a.Width, a.MLP),
		}
	}
	head := net.outside[slotHead]
	if a.Tie {
		head = net.outside[slotEmbed]
	}
	net.headWeights = weights(head, &packed, a.Vocab, a.Width)
}

// Refresh renews what is derived from the parameters; call it after every change of them. A model and its decoders
// share it: one call serves all.
func (net *network[T]) Refresh() {
	for i := range net.blocks {
		b := &net.blocks[i]
		for _, w := range []*kernel.Weights[T]{b.qkv, b.o, b.gateUp, b.down} {
			w.Refresh(net.x)
		}
	}
	net.headWeights.Refresh(net.x)
}

// attentionHalf computes the first half of block i from its input: x + o(attention(norm(x))). With recompute it stops
// before the projection, whose result is still there.
func (m *Model[T]) attentionHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, &m.blocks[i]
	c, masks := m.arch.Width, m.site(1+2*i)
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, qkv := s.normed1.From(lo), m.rawHeads(s, lo)
		m.norm.Forward(normed, from(s.mean1, lo), s.rstd1[lo:], b.x[i][lo*c:],
			w.tensors[slotGain1], w.tensors[slotBias1], k)
		m.did(PartNorms)
		w.qkv.Forward(m.x, qkv, normed, k)
		m.did(PartQKVForward)
		m.heads.Forward(s.operands.From(lo), m.headStats(s, lo), qkv,
			w.tensors[slotQKVBias], w.tensors[slotQGain], w.tensors[slotKGain], b.pos[lo:n], k)
		m.did(PartHeads)
	}
	if m.attention16 != nil {
		m.attention16.Forward(mat32(s.heads), float32s(s.lse), mat32(s.operands), m.in.Bounds)
	} else {
		q, k, v := splitHeads(m.arch, s.operands, s.qkv)
		m.attention.Forward(s.heads, s.lse, q, k, v, m.in.Bounds)
	}
	m.did(PartAttentionForward)
	if recompute {
		return
	}
	for lo := 0; lo < n; lo += m.chunk {
		k, narrow := min(m.chunk, n-lo), b.narrow.From(lo)
		w.o.Forward(m.x, narrow, s.heads.From(lo), k)
		m.did(PartOForward)
		dst := s.middle[lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, b.x[i][lo*c:]), narrow, w.tensors[slotOBias], masks.From(lo), k)
		m.did(PartResiduals)
	}
}

// splitHeads returns the queries and the keys in qk, and the values in qkv.
func splitHeads[T kernel.Float](a config.Arch, qk, qkv kernel.Mat[T]) (q, k, v kernel.Mat[T]) {
	hd, kd := queryWidth(a), keyWidth(a)
	return qk.Columns(0, hd), qk.Columns(hd, hd+kd), qkv.Columns(hd+kd, hd+2*kd)
}

// rawHeads returns the result of the multiply by q, k and v from position lo on: kept for all positions, or in bf16
// mode without QK-norm, where the backward pass does not read it, for a chunk.
func (m *Model[T]) rawHeads(s *saved[T], lo int) kernel.Mat[T] {
	if m.bf16() && !m.arch.QKNorm {
		return s.qkv
	}
	return s.qkv.From(lo)
}

// headStats returns what QK-norm saves from position lo on, if there is any.
func (m *Model[T]) headStats(s *saved[T], lo int) []T {
	return from(s.qkRstd, lo*(m.arch.Heads+m.arch.KVHeads))
}

// attentionHalfBack turns dx, the gradient of the first half's output, into that of its input.
func (m *Model[T]) attentionHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, &m.blocks[i], &m.dblocks[i]
	c, masks := m.arch.Width, m.site(1+2*i)
	dout := b.dropped
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		d := m.residual.Backward(b.dropped.From(lo), g[slotOBias], b.dx[lo*c:], masks.From(lo), k)
		if lo == 0 {
			dout = d
		}
		m.did(PartResiduals)
		w.o.BackInput(m.x, b.dheads.From(lo), d, k)
		m.did(PartOBackInput)
	}
	w.o.BackWeight(m.x, g[slotO], dout, s.heads, n)
	m.did(PartOBackWeight)
	if m.attention16 != nil {
		m.attention16.Backward(mat32(b.dpart), mat32(b.dheads), mat32(s.heads), float32s(s.lse),
			mat32(s.operands), m.in.Bounds)
	} else {
		q, k, v := splitHeads(m.arch, s.operands, s.qkv)
		dq, dk, dv := splitHeads(m.arch, b.dqkv, b.dqkv)
		m.attention.Backward(dq, dk, dv, b.dheads, s.heads, s.lse, q, k, v, m.in.Bounds)
	}
	m.did(PartAttentionBackward)
	for lo := 0; lo < n; lo += m.chunk {
		k, dqkv, narrow := min(m.chunk, n-lo), b.dqkv.From(lo), b.narrow.From(lo)
		m.heads.Backward(dqkv, g[slotQKVBias], g[slotQGain], g[slotKGain],
			b.dpart.From(lo), m.headStats(s, lo), m.rawHeads(s, lo),
			w.tensors[slotQKVBias], w.tensors[slotQGain], w.tensors[slotKGain], b.pos[lo:n], k)
		m.did(PartHeads)
		w.qkv.BackInput(m.x, narrow, dqkv, k)
		m.did(PartQKVBackInput)
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.norm.Backward(b.dx[lo*c:], g[slotGain1], g[slotBias1], from(s.mean1, lo), s.rstd1[lo:],
			narrow, b.x[i][lo*c:], w.tensors[slotGain1], k)
		m.did(PartNorms)
	}
	w.qkv.BackWeight(m.x, g[slotQKV], b.dqkv, s.normed1, n)
	m.did(PartQKVBackWeight)
}

// mlpHalf computes the second half of block i from the first: y + down(activation(gateUp(norm(y)))). With recompute it
// stops before the projection, whose result is still there.
func (m *Model[T]) mlpHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, &m.blocks[i]
	c, masks := m.arch.Width, m.site(2+2*i)
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, hidden, active, narrow := s.normed2.From(lo), s.hidden.From(lo), s.active.From(lo), b.narrow.From(lo)
		m.norm.Forward(normed, from(s.mean2, lo), s.rstd2[lo:], s.middle[lo*c:],
			w.tensors[slotGain2], w.tensors[slotBias2], k)
		m.did(PartNorms)
		w.gateUp.Forward(m.x, hidden, normed, k)
		m.did(PartMLPForward)
		m.activation.Forward(active, hidden, w.tensors[slotGateUpBias], k)
		m.did(PartActivation)
		if recompute {
			continue
		}
		w.down.Forward(m.x, narrow, active, k)
		m.did(PartMLPForward)
		dst := b.x[i+1][lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, s.middle[lo*c:]), narrow, w.tensors[slotDownBias], masks.From(lo), k)
		m.did(PartResiduals)
	}
}

// from is s[lo:], or nil if there is no s.
func from[T any](s []T, lo int) []T {
	if s == nil {
		return nil
	}
	return s[lo:]
}

// mlpHalfBack turns dx, the gradient of the block's output, into that of its first half.
func (m *Model[T]) mlpHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, &m.blocks[i], &m.dblocks[i]
	c, masks := m.arch.Width, m.site(2+2*i)
	dout := b.dropped
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		dactive, dhidden, hidden, narrow := b.dactive.From(lo), b.dhidden.From(lo), s.hidden.From(lo), b.narrow.From(lo)
		d := m.residual.Backward(b.dropped.From(lo), g[slotDownBias], b.dx[lo*c:], masks.From(lo), k)
		if lo == 0 {
			dout = d
		}
		m.did(PartResiduals)
		w.down.BackInput(m.x, dactive, d, k)
		m.did(PartMLPBackInput)
		m.activation.Backward(dhidden, g[slotGateUpBias], dactive, hidden, w.tensors[slotGateUpBias], k)
		m.did(PartActivation)
		w.gateUp.BackInput(m.x, narrow, dhidden, k)
		m.did(PartMLPBackInput)
		if !m.bf16() {
			break // dx may be dout
		}
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.norm.Backward(b.dx[lo*c:], g[slotGain2], g[slotBias2], from(s.mean2, lo), s.rstd2[lo:],
			narrow, s.middle[lo*c:], w.tensors[slotGain2], k)
		m.did(PartNorms)
	}
	w.down.BackWeight(m.x, g[slotDown], dout, s.active, n)
	w.gateUp.BackWeight(m.x, g[slotGateUp], b.dhidden, s.normed2, n)
	m.did(PartMLPBackWeight)
	if !m.bf16() {
		m.skipBack(i, b.dx[:n*c])
		m.norm.Backward(b.dx, g[slotGain2], g[slotBias2], s.mean2, s.rstd2, b.narrow, s.middle, w.tensors[slotGain2], n)
		m.did(PartNorms)
	}
}
