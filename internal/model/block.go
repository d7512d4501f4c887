package model

import (
	"gimbal/internal/config"
	"gimbal/internal/kernel"
)

// from is s[lo:], or nil if there is no s.
func from[T any](s []T, lo int) []T {
	if s == nil {
		return nil
	}
	return s[lo:]
}

// attentionHalf computes the first half of block i from its input: x + o(attention(norm(x))). With recompute it stops
// before the projection, whose result is still there.
func (m *Model[T]) attentionHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, m.at(i)
	c, masks := m.arch.Width, m.site(1+2*i)
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, qkv := s.normed1.From(lo), m.rawHeads(s, lo)
		m.norm.Forward(normed, from(s.mean1, lo), s.rstd1[lo:], b.x[i][lo*c:],
			w.tensors[slotGain1], w.tensors[slotBias1], k)
		m.did(PartNorms)
		w.qkv.Forward(m.x, qkv, normed, k)
		m.dropForward(i, slotQKV, qkv, normed, lo, k)
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
		k, branch := min(m.chunk, n-lo), b.branch.From(lo)
		w.o.Forward(m.x, branch, s.heads.From(lo), k)
		m.dropForward(i, slotO, branch, s.heads.From(lo), lo, k)
		m.did(PartOForward)
		dst := s.middle[lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, b.x[i][lo*c:]), branch, w.tensors[slotOBias], masks.From(lo), k)
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
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, m.at(i), &m.dblocks[i]
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
		m.dropBack(i, slotO, b.dheads.From(lo), d, lo, k)
		m.did(PartOBackInput)
	}
	m.backWeight(i, slotO, w.o, dout, s.heads)
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
		k, dqkv, dnormed := min(m.chunk, n-lo), b.dqkv.From(lo), b.branch.From(lo)
		m.heads.Backward(dqkv, g[slotQKVBias], g[slotQGain], g[slotKGain],
			b.dpart.From(lo), m.headStats(s, lo), m.rawHeads(s, lo),
			w.tensors[slotQKVBias], w.tensors[slotQGain], w.tensors[slotKGain], b.pos[lo:n], k)
		m.did(PartHeads)
		w.qkv.BackInput(m.x, dnormed, dqkv, k)
		m.dropBack(i, slotQKV, dnormed, dqkv, lo, k)
		m.did(PartQKVBackInput)
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.norm.Backward(b.dx[lo*c:], g[slotGain1], g[slotBias1], from(s.mean1, lo), s.rstd1[lo:],
			dnormed, b.x[i][lo*c:], w.tensors[slotGain1], k)
		m.did(PartNorms)
	}
	m.backWeight(i, slotQKV, w.qkv, b.dqkv, s.normed1)
	m.did(PartQKVBackWeight)
}

// mlpHalf computes the second half of block i from the first: y + down(activation(gateUp(norm(y)))). With recompute it
// stops before the projection, whose result is still there.
func (m *Model[T]) mlpHalf(i int, recompute bool) {
	b, s, n, w := m.buf, &m.buf.saved[i], m.n, m.at(i)
	c, masks := m.arch.Width, m.site(2+2*i)
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		normed, hidden, active, branch := s.normed2.From(lo), s.hidden.From(lo), s.active.From(lo), b.branch.From(lo)
		m.norm.Forward(normed, from(s.mean2, lo), s.rstd2[lo:], s.middle[lo*c:],
			w.tensors[slotGain2], w.tensors[slotBias2], k)
		m.did(PartNorms)
		w.gateUp.Forward(m.x, hidden, normed, k)
		m.dropForward(i, slotGateUp, hidden, normed, lo, k)
		m.did(PartMLPForward)
		m.activation.Forward(active, hidden, w.tensors[slotGateUpBias], k)
		m.did(PartActivation)
		if recompute {
			continue
		}
		w.down.Forward(m.x, branch, active, k)
		m.dropForward(i, slotDown, branch, active, lo, k)
		m.did(PartMLPForward)
		dst := b.x[i+1][lo*c : (lo+k)*c]
		m.residual.Forward(dst, m.skip(i, dst, s.middle[lo*c:]), branch, w.tensors[slotDownBias], masks.From(lo), k)
		m.did(PartResiduals)
	}
}

// mlpHalfBack turns dx, the gradient of the block's output, into that of its first half.
func (m *Model[T]) mlpHalfBack(i int) {
	b, s, n, w, g := m.buf, &m.buf.saved[i], m.n, m.at(i), &m.dblocks[i]
	c, masks := m.arch.Width, m.site(2+2*i)
	normBack := func(lo, k int) {
		m.skipBack(i, b.dx[lo*c:(lo+k)*c])
		m.norm.Backward(b.dx[lo*c:], g[slotGain2], g[slotBias2], from(s.mean2, lo), s.rstd2[lo:],
			b.branch.From(lo), s.middle[lo*c:], w.tensors[slotGain2], k)
		m.did(PartNorms)
	}
	dout := b.dropped
	for lo := 0; lo < n; lo += m.chunk {
		k := min(m.chunk, n-lo)
		dactive, dhidden, dnormed := b.dactive.From(lo), b.dhidden.From(lo), b.branch.From(lo)
		d := m.residual.Backward(b.dropped.From(lo), g[slotDownBias], b.dx[lo*c:], masks.From(lo), k)
		if lo == 0 {
			dout = d
		}
		m.did(PartResiduals)
		w.down.BackInput(m.x, dactive, d, k)
		m.dropBack(i, slotDown, dactive, d, lo, k)
		m.did(PartMLPBackInput)
		m.activation.Backward(dhidden, g[slotGateUpBias], dactive, s.hidden.From(lo), w.tensors[slotGateUpBias], k)
		m.did(PartActivation)
		w.gateUp.BackInput(m.x, dnormed, dhidden, k)
		m.dropBack(i, slotGateUp, dnormed, dhidden, lo, k)
		m.did(PartMLPBackInput)
		if m.bf16() {
			normBack(lo, k)
		}
	}
	m.backWeight(i, slotDown, w.down, dout, s.active)
	m.backWeight(i, slotGateUp, w.gateUp, b.dhidden, s.normed2)
	m.did(PartMLPBackWeight)
	if !m.bf16() { // in full precision dx may be dout, and there is one chunk
		normBack(0, n)
	}
}
