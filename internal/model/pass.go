package model

import (
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
	"gimbal/internal/rng"
)

// Input is one call's sequences, lying end to end.
type Input struct {
	Tokens  []int32   // (N)
	Labels  []int32   // (N) the token that follows; not needed by Logits
	Counts  []bool    // (N) whether a position's loss counts; not needed by Logits
	Bounds  []int32   // (S+1) sequence s is positions Bounds[s] to Bounds[s+1]
	Weights []float64 // (N) factors on the nats in what Backward differentiates; nil: 1
	Dropout []rng.Key // (S) the key of each sequence's masks in this step; nil: nothing is dropped

	Stop func() bool // Loss returns early once it is true, with a number that says nothing; nil: it never is
}

// TokenNats returns the nats of each position of the last Loss or Backward, zero where Counts was false. It is valid
// until the next call.
func (m *Model[T]) TokenNats() []float64 { return m.buf.nats[:m.n] }

// TokenLogZ returns the logarithm of the sum of exponentials of each counted position's logits, under the terms of
// TokenNats.
func (m *Model[T]) TokenLogZ() []float64 { return m.buf.logZ[:m.n] }

// Loss returns the summed nats of the counted positions; forward only.
//
// Numerics: the bits of a position's nats depend on its own sequence only; nats are summed in float64 in order.
func (m *Model[T]) Loss(in Input) (nats float64) {
	m.begin(in, true)
	m.forward()
	m.head.Loss(m.buf.nats, m.buf.logZ, m.buf.final, m.headWeights, in.Labels, in.Counts, in.Stop)
	return m.sumNats()
}

// Backward is Loss, and adds the gradient of scale times the weighted sum (and the z-loss) to Grads.
//
// Numerics: the same bits for any number of workers and any checkpointing.
func (m *Model[T]) Backward(in Input, scale float64) (nats float64) {
	if m.grads == nil {
		panic("model: backward without gradients")
	}
	m.begin(in, true)
	m.forward()
	m.backward(scale)
	return m.sumNats()
}

// Logits overwrites dst (N, V): for tests and small inputs.
func (m *Model[T]) Logits(dst []T, in Input) {
	m.begin(in, false)
	m.forward()
	out := kernel.Dense(dst, m.n, m.arch.Vocab)
	m.headWeights.Forward(m.x, out, m.buf.final, m.n)
	m.logits.Forward(out, m.n)
}

func (m *Model[T]) sumNats() (sum float64) {
	for _, v := range m.buf.nats[:m.n] {
		sum += v
	}
	return sum
}

// begin checks the input and derives each position's sequence and place in it.
func (m *Model[T]) begin(in Input, labels bool) {
	n, s := len(in.Tokens), len(in.Bounds)-1
	require(n <= m.opt.MicroTokens, "model: input larger than the micro-batch")
	require(s >= 0 && in.Bounds[0] == 0 && int(in.Bounds[s]) == n, "model: bounds do not cover the input")
	require(!labels || len(in.Labels) == n && len(in.Counts) == n, "model: labels and counts do not match the tokens")
	require(in.Dropout == nil || len(in.Dropout) == s, "model: dropout keys do not match the sequences")
	m.in, m.n = in, n
	for i := range s {
		lo, hi := in.Bounds[i], in.Bounds[i+1]
		require(lo <= hi && int(hi-lo) <= m.arch.Context, "model: sequence longer than the context")
		for p := lo; p < hi; p++ {
			m.buf.pos[p], m.buf.span[p] = p-lo, int32(i)
		}
	}
}

// site returns the masks of one place of the model: 0 is the embedding, 1+2l and 2+2l the branches of block l, others
// the adapters of matrices.
func (m *Model[T]) site(place uint64) nn.Masks {
	if m.in.Dropout == nil || m.buf.keys == nil {
		return nn.Masks{}
	}
	keys := m.buf.keys[:len(m.in.Dropout)]
	if place >= param.AdapterPlaces { // a branch has its own masks while those of its multiplies are drawn
		keys = m.buf.keys[len(m.buf.keys)/2:][:len(m.in.Dropout)]
	}
	for i, k := range m.in.Dropout {
		keys[i] = k.Sub(place)
	}
	return nn.Masks{Keys: keys, Span: m.buf.span, Pos: m.buf.pos}
}

func (m *Model[T]) forward() {
	b, n, l := m.buf, m.n, m.arch.Layers
	pos := b.pos[:n]
	m.embedding.Forward(b.x[0], m.in.Tokens, pos, m.outside[param.SlotEmbed], m.outside[param.SlotPosition], m.site(0))
	m.did(PartEmbedding)
	for i := range l {
		if m.in.Stop != nil && m.in.Stop() {
			return
		}
		m.attentionHalf(i, false)
		m.mlpHalf(i, false)
		m.plantNaN(i)
		if m.probing != nil {
			m.probeBlock(i, m.probing)
		}
	}
	m.norm.Forward(b.final, b.finalMean, b.finalRstd, b.x[l], m.outside[param.SlotGain], m.outside[param.SlotBias], n)
	m.did(PartNorms)
}

func (m *Model[T]) backward(scale float64) {
	b, n, l := m.buf, m.n, m.arch.Layers
	outside, grads := m.outside, &m.dblocks[l]
	dhead := grads[param.SlotHead]
	if m.arch.Tie {
		dhead = grads[param.SlotEmbed]
	}
	m.head.Backward(b.nats, b.logZ, b.dfinal, dhead, b.final, m.headWeights, m.in.Labels, m.in.Counts, m.in.Weights,
		scale)
	m.did(PartHead)
	clear(b.dx[:n*m.arch.Width])
	m.norm.Backward(b.dx, grads[param.SlotGain], grads[param.SlotBias], b.finalMean, b.finalRstd, b.dfinal, b.x[l],
		outside[param.SlotGain], n)
	m.did(PartNorms)
	for i := l - 1; i >= 0; i-- {
		// The last block's activations are still there from the forward pass.
		if last := i == l-1; !last {
			switch m.opt.Checkpointing {
			case CheckpointBlock:
				m.attentionHalf(i, false)
				m.mlpHalf(i, true)
			case CheckpointAttention:
				m.attentionHalf(i, true)
			}
		}
		m.mlpHalfBack(i)
		m.attentionHalfBack(i)
		if m.planted(FaultStopGradient, i) {
			clear(b.dx[:n*m.arch.Width])
		}
	}
	if m.adapter == nil {
		m.embedding.Backward(grads[param.SlotEmbed], grads[param.SlotPosition], b.dx, m.in.Tokens, b.pos[:n], m.site(0))
		m.did(PartEmbedding)
	}
}
