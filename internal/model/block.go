package model

import (
	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// from is s[lo:], or nil if there is no s.
func from[T any](s []T, lo int) []T {
	if s == nil {
		return nil
	}
	return s[lo:]
}

// attentionHalf computes the first half of block i from its input: x + o(attention(norm(x))). With recompute it stops
// before the sum, whose result is still there, and before the projection unless a norm follows it.
func (m *Model[T]) attentionHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, m.at(i)
	c, masks := m.arch.Width, m.site(uint64(1+2*i))
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, qkv := s.normed1.From(lo), m.rawHeads(s, lo)
		m.before(normed, from(s.mean1, lo), s.rstd1[lo:], b.x[i][lo*c:], &w.tensors, param.SlotGain1, k)
		m.did(PartNorms)
		w.qkv.Forward(m.x, qkv, normed, k)
		m.dropForward(i, param.SlotQKV, qkv, normed, lo, k)
		m.did(PartQKVForward)
		m.mixers[i].heads.Forward(s.operands.From(lo), m.headStats(s, lo), qkv,
			w.tensors[param.SlotQKVBias], w.tensors[param.SlotQGain], w.tensors[param.SlotKGain], b.pos[lo:n], k)
		m.did(PartHeads)
	}
	if m.mixers[i].attention16 != nil {
		m.mixers[i].attention16.Forward(mat32(s.heads), float32s(s.lse), mat32(s.operands), m.in.Bounds)
	} else {
		q, k, v := splitHeads(m.arch, s.operands, s.qkv)
		m.mixers[i].attention.Forward(s.heads, s.lse, q, k, v, m.in.Bounds)
	}
	m.did(PartAttentionForward)
	if recompute && s.post1.out == nil {
		return
	}
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		branch := m.project(i, param.SlotO, s.heads.From(lo), lo, k)
		if recompute {
			continue
		}
		dst := s.middle[lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, b.x[i][lo*c:]), branch, w.tensors[param.SlotOBias], masks.From(lo), k)
		m.did(PartResiduals)
	}
}

// project multiplies src by the last matrix of a half of block i, that of slot s, for k positions from lo on, and norms
// the result where a norm follows. It returns what is added to the residual stream.
func (m *Model[T]) project(i int, s param.Slot, src kernel.Mat[T], lo, k int) kernel.Mat[T] {
	b, t := &m.buf.saved[i], &m.blocks[i]
	w, post, gain, part := t.o, &b.post1, param.SlotPost1, PartOForward
	if s == param.SlotDown {
		w, post, gain, part = t.down, &b.post2, param.SlotPost2, PartMLPForward
	}
	branch := m.buf.branch.From(lo)
	dst := branch
	c := m.arch.Width
	if post.out != nil {
		dst = kernel.Dense(post.out[lo*c:(lo+k)*c], k, c)
	}
	w.Forward(m.x, dst, src, k)
	m.dropForward(i, s, dst, src, lo, k)
	m.did(part)
	if post.out != nil {
		m.norm.Forward(branch, from(post.mean, lo), post.rstd[lo:], post.out[lo*c:(lo+k)*c], t.tensors[gain],
			t.tensors[gain+1], k)
		m.did(PartNorms)
	}
	return branch
}

// postBack returns the gradient of what the norm after a half reads, given d, that of what is added to the residual
// stream: d itself without such a norm.
func (m *Model[T]) postBack(i int, post *savedPost[T], gain param.Slot, d kernel.Mat[T], lo, k int) kernel.Mat[T] {
	if post.out == nil {
		return d
	}
	c, g := m.arch.Width, &m.dblocks[i]
	dout := m.buf.dpost[lo*c : (lo+k)*c]
	clear(dout)
	m.norm.Backward(dout, g[gain], g[gain+1], from(post.mean, lo), post.rstd[lo:], d, post.out[lo*c:],
		m.blocks[i].tensors[gain], k)
	if d = kernel.Dense(dout, k, c); m.bf16() {
		d = m.buf.dropped.From(lo)
		m.rounding.Forward(d, kernel.Dense(dout, k, c), k)
	}
	m.did(PartNorms)
	return d
}

// beforeBack adds to dx the gradient of what a half reads, dnormed, by way of the norm before it.
func (m *Model[T]) beforeBack(i int, gain param.Slot, dx, mean, rstd []T, dnormed kernel.Mat[T], src []T, k int) {
	g, w := &m.dblocks[i], &m.blocks[i].tensors
	if w[gain] == nil {
		m.sum.Forward(dx, dx, dnormed, nil, nn.Masks{}, k)
	} else {
		m.norm.Backward(dx, g[gain], g[gain+1], mean, rstd, dnormed, src, w[gain], k)
	}
	m.did(PartNorms)
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
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, m.at(i), &m.dblocks[i]
	c, masks := m.arch.Width, m.site(uint64(1+2*i))
	dout := b.dropped
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		d := m.residual.Backward(b.dropped.From(lo), g[param.SlotOBias], b.dx[lo*c:], masks.From(lo), k)
		m.did(PartResiduals)
		d = m.postBack(i, &s.post1, param.SlotPost1, d, lo, k)
		if lo == 0 {
			dout = d
		}
		w.o.BackInput(m.x, b.dheads.From(lo), d, k)
		m.dropBack(i, param.SlotO, b.dheads.From(lo), d, lo, k)
		m.did(PartOBackInput)
	}
	m.backWeight(i, param.SlotO, w.o, dout, s.heads)
	m.did(PartOBackWeight)
	if m.mixers[i].attention16 != nil {
		m.mixers[i].attention16.Backward(mat32(b.dpart), mat32(b.dheads), mat32(s.heads), float32s(s.lse),
			mat32(s.operands), m.in.Bounds)
	} else {
		q, k, v := splitHeads(m.arch, s.operands, s.qkv)
		dq, dk, dv := splitHeads(m.arch, b.dqkv, b.dqkv)
		m.mixers[i].attention.Backward(dq, dk, dv, b.dheads, s.heads, s.lse, q, k, v, m.in.Bounds)
	}
	m.did(PartAttentionBackward)
	for lo := 0; lo < n; lo += m.chunk {
		k, dqkv, dnormed := min(m.chunk, n-lo), b.dqkv.From(lo), b.branch.From(lo)
		m.mixers[i].heads.Backward(dqkv, g[param.SlotQKVBias], g[param.SlotQGain], g[param.SlotKGain],
			b.dpart.From(lo), m.headStats(s, lo), m.rawHeads(s, lo),
			w.tensors[param.SlotQKVBias], w.tensors[param.SlotQGain], w.tensors[param.SlotKGain], b.pos[lo:n], k)
		m.did(PartHeads)
		w.qkv.BackInput(m.x, dnormed, dqkv, k)
		m.dropBack(i, param.SlotQKV, dnormed, dqkv, lo, k)
		m.did(PartQKVBackInput)
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.beforeBack(i, param.SlotGain1, b.dx[lo*c:], from(s.mean1, lo), s.rstd1[lo:], dnormed, b.x[i][lo*c:], k)
	}
	if m.arch.Parallel {
		m.sum.Forward(b.dx, b.dx, kernel.Dense(b.dinput, n, c), nil, nn.Masks{}, n)
		m.did(PartResiduals)
	}
	m.backWeight(i, param.SlotQKV, w.qkv, b.dqkv, s.normed1)
	m.did(PartQKVBackWeight)
}

// mlpHalf computes the second half of block i from the first: y + down(activation(gateUp(norm(y)))), or norm(x) where
// the halves are parallel. With recompute it stops where attentionHalf does.
func (m *Model[T]) mlpHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, m.at(i)
	c, masks := m.arch.Width, m.site(uint64(2+2*i))
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, hidden, active := s.normed2.From(lo), s.hidden.From(lo), s.active.From(lo)
		m.before(normed, from(s.mean2, lo), s.rstd2[lo:], m.mlpInput(i)[lo*c:], &w.tensors, param.SlotGain2, k)
		m.did(PartNorms)
		w.gateUp.Forward(m.x, hidden, normed, k)
		m.dropForward(i, param.SlotGateUp, hidden, normed, lo, k)
		m.did(PartMLPForward)
		m.activation.Forward(active, hidden, w.tensors[param.SlotGateUpBias], k)
		m.did(PartActivation)
		if recompute && s.post2.out == nil {
			continue
		}
		branch := m.project(i, param.SlotDown, active, lo, k)
		if recompute {
			continue
		}
		dst := b.x[i+1][lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, s.middle[lo*c:]), branch, w.tensors[param.SlotDownBias],
			masks.From(lo), k)
		m.did(PartResiduals)
	}
}

// mlpInput is what the second half of block i reads.
func (m *Model[T]) mlpInput(i int) []T {
	if m.arch.Parallel {
		return m.buf.x[i]
	}
	return m.buf.saved[i].middle
}

// mlpHalfBack turns dx, the gradient of the block's output, into that of its first half. Where the halves are parallel
// the gradient of the block's input is left in dinput.
func (m *Model[T]) mlpHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, m.at(i), &m.dblocks[i]
	c, masks := m.arch.Width, m.site(uint64(2+2*i))
	dinput := b.dx
	if m.arch.Parallel {
		dinput = b.dinput
		clear(dinput[:n*c])
	}
	normBack := func(lo, k int) {
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.beforeBack(i, param.SlotGain2, dinput[lo*c:], from(s.mean2, lo), s.rstd2[lo:], b.branch.From(lo),
			m.mlpInput(i)[lo*c:], k)
	}
	dout := b.dropped
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		dactive, dhidden, dnormed := b.dactive.From(lo), b.dhidden.From(lo), b.branch.From(lo)
		d := m.residual.Backward(b.dropped.From(lo), g[param.SlotDownBias], b.dx[lo*c:], masks.From(lo), k)
		m.did(PartResiduals)
		d = m.postBack(i, &s.post2, param.SlotPost2, d, lo, k)
		if lo == 0 {
			dout = d
		}
		w.down.BackInput(m.x, dactive, d, k)
		m.dropBack(i, param.SlotDown, dactive, d, lo, k)
		m.did(PartMLPBackInput)
		m.activation.Backward(dhidden, g[param.SlotGateUpBias], dactive, s.hidden.From(lo),
			w.tensors[param.SlotGateUpBias], k)
		m.did(PartActivation)
		w.gateUp.BackInput(m.x, dnormed, dhidden, k)
		m.dropBack(i, param.SlotGateUp, dnormed, dhidden, lo, k)
		m.did(PartMLPBackInput)
		if m.bf16() {
			normBack(lo, k)
		}
	}
	m.backWeight(i, param.SlotDown, w.down, dout, s.active)
	m.backWeight(i, param.SlotGateUp, w.gateUp, b.dhidden, s.normed2)
	m.did(PartMLPBackWeight)
	if !m.bf16() { // in full precision dx may be dout, and there is one chunk
		normBack(0, n)
	}
}
