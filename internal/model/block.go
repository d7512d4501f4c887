package model

import (
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

	rms       *nn.RMSNorm[T] // one of the two norms
	layer     *nn.LayerNorm[T]
	bias      *nn.Bias[T]
	headNorm  *nn.HeadNorm[T] // nil without QK-norm
	rope      *nn.Rope[T]     // nil with learned positions
	attention *nn.Attention[T]
	swiglu    *nn.SwiGLU[T] // one of the two activations
	gelu      *nn.GELU[T]
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

func hiddenWidth(a config.Arch) int {
	if a.MLPKind == "swiglu" {
		return 2 * a.MLP
	}
	return a.MLP
}

// sumsWidth is the widest gradient of a vector that is summed over positions.
func sumsWidth(a config.Arch) int { return max(2*a.Width, qkvWidth(a), hiddenWidth(a)) }

func newNetwork[T kernel.Float](a config.Arch, x *kernel.Exec, p *Params[T], sums *nn.BlockSums[T], cos, sin, score []T) network[T] {
	all := split(p.Flat, p.Views, a.Layers)
	net := network[T]{arch: a, x: x, params: p, outside: &all[a.Layers], blocks: make([]block[T], a.Layers)}
	for l := range net.blocks {
		t := all[l]
		net.blocks[l] = block[T]{
			tensors: t,
			qkv:     kernel.NewWeights(t[slotQKV], qkvWidth(a), a.Width),
			o:       kernel.NewWeights(t[slotO], a.Width, queryWidth(a)),
			gateUp:  kernel.NewWeights(t[slotGateUp], hiddenWidth(a), a.Width),
			down:    kernel.NewWeights(t[slotDown], a.Width, a.MLP),
		}
	}
	head := net.outside[slotHead]
	if a.Tie {
		head = net.outside[slotEmbed]
	}
	net.headWeights = kernel.NewWeights(head, a.Vocab, a.Width)
	if a.Norm == "layer" {
		net.layer = nn.NewLayerNorm(x, sums, a.Width, a.NormEps)
	} else {
		net.rms = nn.NewRMSNorm(x, sums, a.Width, a.NormEps)
	}
	net.bias = nn.NewBias[T](x)
	if a.QKNorm {
		net.headNorm = nn.NewHeadNorm(x, sums, a.HeadSize, a.NormEps)
	}
	if a.Position == "rope" {
		net.rope = nn.NewRope(x, a.Context, a.HeadSize, a.RopeTheta, cos, sin)
	}
	net.attention = nn.NewAttention(x, a.Heads, a.KVHeads, a.HeadSize, a.Context, score)
	if a.MLPKind == "swiglu" {
		net.swiglu = nn.NewSwiGLU[T](x)
	} else {
		net.gelu = nn.NewGELU[T](x)
	}
	return net
}

// Refresh renews what is derived from the parameters; call it after every change of them.
func (net *network[T]) Refresh() {
	for i := range net.blocks {
		b := &net.blocks[i]
		for _, w := range []*kernel.Weights[T]{b.qkv, b.o, b.gateUp, b.down} {
			w.Refresh(net.x)
		}
	}
	net.headWeights.Refresh(net.x)
}

func (net *network[T]) norm(dst kernel.Mat[T], mean, rstd, src, gain, bias []T, n int) {
	if net.layer != nil {
		net.layer.Forward(dst, mean, rstd, src, gain, bias, n)
	} else {
		net.rms.Forward(dst, rstd, src, gain, n)
	}
}

func (net *network[T]) normBack(dx, dgain, dbias, mean, rstd []T, dy kernel.Mat[T], src, gain []T, n int) {
	if net.layer != nil {
		net.layer.Backward(dx, dgain, dbias, mean, rstd, dy, src, gain, n)
	} else {
		net.rms.Backward(dx, dgain, rstd, dy, src, gain, n)
	}
}

// queriesAndKeys norms (from qkv to qk, where there is QK-norm) and rotates n rows of queries and keys and returns
// what attention reads.
func (net *network[T]) queriesAndKeys(b *block[T], qkv, qk kernel.Mat[T], rstd []T, pos []int32, n int) (q, k, v kernel.Mat[T]) {
	hd, kd := queryWidth(net.arch), keyWidth(net.arch)
	v = nn.Columns(qkv, hd+kd, hd+2*kd)
	if net.headNorm == nil {
		qk = nn.Columns(qkv, 0, hd+kd)
	}
	q, k = nn.Columns(qk, 0, hd), nn.Columns(qk, hd, hd+kd)
	if net.headNorm != nil {
		net.headNorm.Forward(q, rstd, nn.Columns(qkv, 0, hd), b.tensors[slotQGain], n)
		net.headNorm.Forward(k, rstd[n*net.arch.Heads:], nn.Columns(qkv, hd, hd+kd), b.tensors[slotKGain], n)
	}
	if net.rope != nil {
		net.rope.Forward(nn.Columns(qk, 0, hd+kd), pos, n)
	}
	return q, k, v
}

// attentionHalf computes the first half of block i from its input: x + o(attention(norm(x))). With recompute it stops
// before the projection, whose result is still there.
func (m *Model[T]) attentionHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, &m.blocks[i]
	m.norm(s.normed1, s.mean1, s.rstd1, b.x[i], w.tensors[slotGain1], w.tensors[slotBias1], n)
	m.did(PartNorms)
	w.qkv.Forward(m.x, s.qkv, s.normed1, n)
	m.did(PartQKVForward)
	if bias := w.tensors[slotQKVBias]; bias != nil {
		m.bias.Forward(s.qkv, bias, n)
		m.did(PartBiases)
	}
	q, k, v := m.queriesAndKeys(w, s.qkv, s.qk, s.qkRstd, b.pos[:n], n)
	m.did(PartRotary)
	m.attention.Forward(s.heads, s.lse, q, k, v, m.in.Bounds)
	m.did(PartAttentionForward)
	if recompute {
		return
	}
	w.o.Forward(m.x, b.narrow, s.heads, n)
	m.did(PartOForward)
	m.residual.Forward(s.middle, b.x[i], b.narrow, w.tensors[slotOBias], m.site(1+2*i), n)
	m.did(PartResiduals)
}

// attentionHalfBack turns dx, the gradient of the first half's output, into that of its input.
func (m *Model[T]) attentionHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, &m.blocks[i], &m.dblocks[i]
	hd, kd := queryWidth(m.arch), keyWidth(m.arch)
	dout := m.residual.Backward(b.dropped, b.dx, m.site(1+2*i), n)
	m.did(PartResiduals)
	w.o.BackInput(m.x, b.dheads, dout, n)
	m.did(PartOBackInput)
	w.o.BackWeight(m.x, g[slotO], dout, s.heads, n)
	m.did(PartOBackWeight)
	if g[slotOBias] != nil {
		m.sums.Columns(g[slotOBias], dout, n)
		m.did(PartBiases)
	}

	qk := s.qk
	if m.headNorm == nil {
		qk = s.qkv
	}
	dq, dk, dv := nn.Columns(b.dqkv, 0, hd), nn.Columns(b.dqkv, hd, hd+kd), nn.Columns(b.dqkv, hd+kd, hd+2*kd)
	m.attention.Backward(dq, dk, dv, b.dheads, s.heads, s.lse,
		nn.Columns(qk, 0, hd), nn.Columns(qk, hd, hd+kd), nn.Columns(s.qkv, hd+kd, hd+2*kd), m.in.Bounds)
	m.did(PartAttentionBackward)
	if m.rope != nil {
		m.rope.Backward(nn.Columns(b.dqkv, 0, hd+kd), b.pos[:n], n)
	}
	if m.headNorm != nil {
		m.headNorm.Backward(dq, g[slotQGain], s.qkRstd, nn.Columns(s.qkv, 0, hd), w.tensors[slotQGain], n)
		m.headNorm.Backward(dk, g[slotKGain], s.qkRstd[n*m.arch.Heads:], nn.Columns(s.qkv, hd, hd+kd), w.tensors[slotKGain], n)
	}
	m.did(PartRotary)
	if g[slotQKVBias] != nil {
		m.sums.Columns(g[slotQKVBias], b.dqkv, n)
		m.did(PartBiases)
	}
	w.qkv.BackInput(m.x, b.narrow, b.dqkv, n)
	m.did(PartQKVBackInput)
	w.qkv.BackWeight(m.x, g[slotQKV], b.dqkv, s.normed1, n)
	m.did(PartQKVBackWeight)
	m.normBack(b.dx, g[slotGain1], g[slotBias1], s.mean1, s.rstd1, b.narrow, b.x[i], w.tensors[slotGain1], n)
	m.did(PartNorms)
}

// mlpHalf computes the second half of block i from the first: y + down(activation(gateUp(norm(y)))). With recompute it
// stops before the projection, whose result is still there.
func (m *Model[T]) mlpHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, &m.blocks[i]
	m.norm(s.normed2, s.mean2, s.rstd2, s.middle, w.tensors[slotGain2], w.tensors[slotBias2], n)
	m.did(PartNorms)
	w.gateUp.Forward(m.x, s.hidden, s.normed2, n)
	m.did(PartMLPForward)
	m.activate(w, s.active, s.hidden, n)
	m.did(PartActivation)
	if recompute {
		return
	}
	w.down.Forward(m.x, b.narrow, s.active, n)
	m.did(PartMLPForward)
	m.residual.Forward(b.x[i+1], s.middle, b.narrow, w.tensors[slotDownBias], m.site(2+2*i), n)
	m.did(PartResiduals)
}

// activate adds the bias of the hidden layer to it and overwrites active.
func (net *network[T]) activate(b *block[T], active, hidden kernel.Mat[T], n int) {
	if bias := b.tensors[slotGateUpBias]; bias != nil {
		net.bias.Forward(hidden, bias, n)
	}
	if net.swiglu != nil {
		net.swiglu.Forward(active, hidden, n)
	} else {
		net.gelu.Forward(active, hidden, n)
	}
}

// mlpHalfBack turns dx, the gradient of the block's output, into that of its first half.
func (m *Model[T]) mlpHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, &m.blocks[i], &m.dblocks[i]
	dout := m.residual.Backward(b.dropped, b.dx, m.site(2+2*i), n)
	m.did(PartResiduals)
	w.down.BackInput(m.x, b.dactive, dout, n)
	m.did(PartMLPBackInput)
	w.down.BackWeight(m.x, g[slotDown], dout, s.active, n)
	m.did(PartMLPBackWeight)
	if g[slotDownBias] != nil {
		m.sums.Columns(g[slotDownBias], dout, n)
		m.did(PartBiases)
	}
	if m.swiglu != nil {
		m.swiglu.Backward(b.dhidden, b.dactive, s.hidden, n)
	} else {
		m.gelu.Backward(b.dhidden, s.hidden, n) // dhidden is dactive
	}
	m.did(PartActivation)
	if g[slotGateUpBias] != nil {
		m.sums.Columns(g[slotGateUpBias], b.dhidden, n)
		m.did(PartBiases)
	}
	w.gateUp.BackInput(m.x, b.narrow, b.dhidden, n)
	m.did(PartMLPBackInput)
	w.gateUp.BackWeight(m.x, g[slotGateUp], b.dhidden, s.normed2, n)
	m.did(PartMLPBackWeight)
	m.normBack(b.dx, g[slotGain2], g[slotBias2], s.mean2, s.rstd2, b.narrow, s.middle, w.tensors[slotGain2], n)
	m.did(PartNorms)
}
