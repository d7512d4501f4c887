package model

import (
	"fmt"
	"math"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/rng"
)

// Checkpointing modes: what the forward pass forgets and the backward pass computes again. Never embedding or head.
const (
	CheckpointNone      = "none"
	CheckpointAttention = "attention" // the attention half of each block
	CheckpointBlock     = "block"     // whole blocks: one block's activations in all
)

// Modes of numbers.
const (
	ModeAuto = "auto" // bf16 where the hardware of the Exec's tier is faster at it, else fp32
	ModeFP32 = "fp32"
	ModeBF16 = "bf16" // operands of multiplies are bfloat16; everything else, sums included, stays float32
)

// ResolveMode returns the mode that New would choose for float32: mode itself unless it is auto or empty.
func ResolveMode(x *kernel.Exec, mode string) string {
	switch {
	case mode == ModeAuto && x.FasterBF16():
		return ModeBF16
	case mode == ModeAuto || mode == "":
		return ModeFP32
	}
	return mode
}

// Options are the choices of a model that do not change its function.
type Options struct {
	MicroTokens   int     // most positions of one call
	Checkpointing string  // none (also ""), attention or block
	Mode          string  // fp32 (also ""), bf16 or auto
	ZLoss         float64 // coefficient of the z-loss, see nn.Head
	Forward       bool    // no gradients are allocated: Backward panics
	Workers       int     // for Memory: workers of the Exec, 0 for GOMAXPROCS; New asks its Exec

	// Clock, if it is set, is called on the calling goroutine after each part of a pass, with the part that ended:
	// one of the Part constants, again and again as blocks follow one another. What is computed again under
	// checkpointing counts as the part that it is.
	Clock func(part string)
}

// Parts of a pass, as Options.Clock hears of them.
const (
	PartEmbedding         = "embedding"
	PartNorms             = "norms"
	PartHeads             = "heads" // biases, QK-norm and rotation of queries, keys and values
	PartResiduals         = "residuals"
	PartActivation        = "activation" // with the hidden layer's bias
	PartQKVForward        = "qkv forward"
	PartQKVBackInput      = "qkv backward-input"
	PartQKVBackWeight     = "qkv backward-weight"
	PartOForward          = "o forward"
	PartOBackInput        = "o backward-input"
	PartOBackWeight       = "o backward-weight"
	PartMLPForward        = "mlp forward"
	PartMLPBackInput      = "mlp backward-input"
	PartMLPBackWeight     = "mlp backward-weight"
	PartAttentionForward  = "attention forward"
	PartAttentionBackward = "attention backward"
	PartHead              = "head" // and the loss, forward and backward
)

// did tells the clock that a part of the pass has ended.
func (m *Model[T]) did(part string) {
	if m.opt.Clock != nil {
		m.opt.Clock(part)
	}
}

// Input is one call's sequences, lying end to end.
type Input struct {
	Tokens  []int32   // (N) what is read
	Labels  []int32   // (N) the token that follows; not needed by Logits
	Counts  []bool    // (N) whether a position's loss counts; not needed by Logits
	Bounds  []int32   // (S+1) sequence s is positions Bounds[s] to Bounds[s+1]
	Dropout []rng.Key // (S) the key of each sequence's masks in this step; nil: nothing is dropped
}

// Model is a decoder with its gradients and all memory that training it needs.
type Model[T kernel.Float] struct {
	network[T]
	opt     Options
	plan    Plan
	grads   []T
	dblocks []tensors[T]
	buf     *buffers[T]

	embedding *nn.Embedding[T]
	residual  *nn.Residual[T]
	head      *nn.Head[T]
	sums      *nn.BlockSums[T]
	prober    *nn.Probe[T]

	// chunk is the number of positions that go through the layers between two that need them all, such as attention,
	// at a time. It changes no bits; in bf16 mode it bounds memory and keeps rows in the caches.
	chunk int

	plants  []Plant     // faults to watch the guard by; none in a sound model
	probing *ProbeStats // of the Probe in progress

	in Input // the call in progress
	n  int
}

// New plans and allocates a model with all parameters zero: Init sets them, or the caller does and calls Refresh.
//
// Returns an error if the architecture or an option makes no sense.
func New[T kernel.Float](a config.Arch, x *kernel.Exec, opt Options) (*Model[T], error) {
	opt.Workers = x.Workers()
	opt.Mode = resolve[T](x, opt.Mode)
	if err := check[T](a, opt); err != nil {
		return nil, err
	}
	ar := &arena{bf16: opt.Mode == ModeBF16}
	b := newBuffers[T](ar, a, opt)
	m := &Model[T]{opt: opt, plan: ar.plan, grads: b.grads, buf: b}
	views, _ := Layout(a)
	m.sums = nn.NewBlockSums(x, opt.MicroTokens, sumsWidth(a), b.sums)
	m.network = newNetwork(a, x, newParams(b.params, views), nil, m.sums, b.workspace)
	if !opt.Forward {
		m.dblocks = split(b.grads, views, a.Layers)
	}
	drop := nn.NewDropout[T](a.Dropout)
	m.embedding = nn.NewEmbedding(x, a.Width, drop)
	m.residual = nn.NewResidual(x, m.stage, m.sums, a.Width, drop)
	if m.chunk = opt.MicroTokens; m.bf16() {
		m.chunk = chunkRows * x.Workers()
	}
	m.head = nn.NewHead(x, m.stage, b.logits, b.dlogits, opt.ZLoss)
	m.prober = nn.NewProbe(x, a.Heads, a.KVHeads, a.HeadSize, a.MLP, probeRows(opt), b.probe)
	return m, nil
}

// resolve is ResolveMode, but that float64 has one mode only.
func resolve[T kernel.Float](x *kernel.Exec, mode string) string {
	if mode == ModeAuto && isFloat64[T]() {
		return ModeFP32
	}
	return ResolveMode(x, mode)
}

func isFloat64[T kernel.Float]() bool {
	var zero T
	_, ok := any(zero).(float64)
	return ok
}

func check[T kernel.Float](a config.Arch, opt Options) error {
	bad := func(ok bool, format string, args ...any) error {
		if ok {
			return nil
		}
		return fmt.Errorf("model: "+format, args...)
	}
	for _, err := range []error{
		bad(min(a.Layers, a.Width, a.Heads, a.KVHeads, a.HeadSize, a.MLP, a.Vocab, a.Context) > 0,
			"a size is not positive: %+v", a),
		bad(a.KVHeads > 0 && a.Heads%max(1, a.KVHeads) == 0,
			"%d query heads do not share %d key and value heads evenly", a.Heads, a.KVHeads),
		bad(a.Norm == "rms" || a.Norm == "layer", "norm %q: want rms or layer", a.Norm),
		bad(a.Position == "rope" || a.Position == "learned", "position %q: want rope or learned", a.Position),
		bad(a.Position != "rope" || a.HeadSize%2 == 0 && a.RopeTheta > 0,
			"rope needs an even head size and a positive theta, not %d and %g", a.HeadSize, a.RopeTheta),
		bad(a.MLPKind == "swiglu" || a.MLPKind == "gelu", "mlp %q: want swiglu or gelu", a.MLPKind),
		bad(a.Dropout >= 0 && a.Dropout < 1, "dropout %g is not in [0,1)", a.Dropout),
		bad(a.NormEps > 0, "norm epsilon %g is not positive", a.NormEps),
		bad(opt.MicroTokens > 0 && opt.MicroTokens <= math.MaxInt32, "micro-batch of %d positions", opt.MicroTokens),
		bad(opt.Mode == ModeFP32 || opt.Mode == ModeBF16, "numeric.mode %q: want auto, fp32 or bf16", opt.Mode),
		bad(opt.Mode != ModeBF16 || !isFloat64[T](), "numeric.mode bf16 is for float32 only"),
		bad(opt.Checkpointing == "" || opt.Checkpointing == CheckpointNone ||
			opt.Checkpointing == CheckpointAttention || opt.Checkpointing == CheckpointBlock,
			"numeric.checkpointing %q: want none, attention or block", opt.Checkpointing),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// chunkRows is the part of a worker in a chunk: a multiple of the rows that partial sums are made of. With fewer rows
// reading the weights again costs more than it saves.
const chunkRows = 2048

func (m *Model[T]) bf16() bool { return m.opt.Mode == ModeBF16 }

// Mode returns the mode of numbers in use, ModeFP32 or ModeBF16.
func (m *Model[T]) Mode() string { return m.opt.Mode }

// Arch returns the architecture.
func (m *Model[T]) Arch() config.Arch { return m.arch }

// Plan returns the memory that New allocated, by part.
func (m *Model[T]) Plan() Plan { return m.plan }

// Params returns the parameters; call Refresh after changing them.
func (m *Model[T]) Params() *Params[T] { return m.params }

// Grads returns the gradients, in the layout of the parameters; nil with Options.Forward. Backward adds to them; the
// caller clears them, by ClearGrads or itself.
func (m *Model[T]) Grads() []T { return m.grads }

// ClearGrads sets the gradients to zero. All workers do: one core alone does not write as fast as memory takes it.
func (m *Model[T]) ClearGrads() { m.x.Pool().Do(len(m.grads), 1<<14, (*clearGrads[T])(m)) }

type clearGrads[T kernel.Float] Model[T]

func (m *clearGrads[T]) Part(_, lo, hi int) { clear(m.grads[lo:hi]) }

// Init sets the initial weights of a seed; see Params.Init.
func (m *Model[T]) Init(seed uint64) {
	m.params.Init(m.x.Pool(), m.arch.Layers, seed)
	m.Refresh()
}

// TokenNats returns the nats of each position of the last Loss or Backward, zero where Counts was false. It is valid
// until the next call.
func (m *Model[T]) TokenNats() []float64 { return m.buf.nats[:m.n] }

// TokenLogZ returns the logarithm of each counted position's sum of exponentials of logits, as TokenNats.
func (m *Model[T]) TokenLogZ() []float64 { return m.buf.logZ[:m.n] }

// Loss returns the summed nats of the counted positions; forward only.
//
// Numerics: each position's nats depend on its own sequence only, to the bit; they are summed in float64 in order.
func (m *Model[T]) Loss(in Input) (nats float64) {
	m.begin(in, true)
	m.forward()
	m.head.Loss(m.buf.nats, m.buf.logZ, m.buf.final, m.headWeights, in.Labels, in.Counts)
	return m.sumNats()
}

// Backward is Loss, and adds the gradient of scale times the sum (and the z-loss) to Grads.
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
	m.head.Logits(dst, m.buf.final, m.headWeights, m.n)
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
	switch {
	case n > m.opt.MicroTokens:
		panic("model: input larger than the micro-batch")
	case s < 0 || in.Bounds[0] != 0 || int(in.Bounds[s]) != n:
		panic("model: bounds do not cover the input")
	case labels && (len(in.Labels) != n || len(in.Counts) != n):
		panic("model: labels and counts do not match the tokens")
	case in.Dropout != nil && len(in.Dropout) != s:
		panic("model: dropout keys do not match the sequences")
	}
	m.in, m.n = in, n
	for i := range s {
		lo, hi := in.Bounds[i], in.Bounds[i+1]
		if lo > hi || int(hi-lo) > m.arch.Context {
			panic("model: sequence longer than the context")
		}
		for p := lo; p < hi; p++ {
			m.buf.pos[p], m.buf.span[p] = p-lo, int32(i)
		}
	}
}

// site returns the masks of one place of the model: 0 is the embedding, 1+2l and 2+2l the branches of block l.
func (m *Model[T]) site(place int) nn.Masks {
	if m.in.Dropout == nil || m.buf.keys == nil {
		return nn.Masks{}
	}
	keys := m.buf.keys[:len(m.in.Dropout)]
	for i, k := range m.in.Dropout {
		keys[i] = k.Sub(uint64(place))
	}
	return nn.Masks{Keys: keys, Span: m.buf.span, Pos: m.buf.pos}
}

func (m *Model[T]) forward() {
	b, n, l := m.buf, m.n, m.arch.Layers
	pos := b.pos[:n]
	m.embedding.Forward(b.x[0], m.in.Tokens, pos, m.outside[slotEmbed], m.outside[slotPosition], m.site(0))
	m.did(PartEmbedding)
	for i := range l {
		m.attentionHalf(i, false)
		m.mlpHalf(i, false)
		m.spoil(i)
		if m.probing != nil {
			m.probeBlock(i, m.probing)
		}
	}
	m.norm.Forward(b.final, b.finalMean, b.finalRstd, b.x[l], m.outside[slotGain], m.outside[slotBias], n)
	m.did(PartNorms)
}

func (m *Model[T]) backward(scale float64) {
	b, n, l := m.buf, m.n, m.arch.Layers
	outside, grads := m.outside, &m.dblocks[l]
	dhead := grads[slotHead]
	if m.arch.Tie {
		dhead = grads[slotEmbed]
	}
	m.head.Backward(b.nats, b.logZ, b.dfinal, dhead, b.final, m.headWeights, m.in.Labels, m.in.Counts, scale)
	m.did(PartHead)
	clear(b.dx[:n*m.arch.Width])
	m.norm.Backward(b.dx, grads[slotGain], grads[slotBias], b.finalMean, b.finalRstd, b.dfinal, b.x[l],
		outside[slotGain], n)
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
	m.embedding.Backward(grads[slotEmbed], grads[slotPosition], b.dx, m.in.Tokens, b.pos[:n], m.site(0))
	m.did(PartEmbedding)
}
