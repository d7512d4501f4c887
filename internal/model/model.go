package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// Checkpointing modes: what the forward pass does not keep and the backward pass computes again. That is never the
// embedding or the head.
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
	MicroTokens   int           // most positions of one call
	Checkpointing string        // none (also ""), attention or block
	Mode          string        // fp32 (also ""), bf16 or auto
	ZLoss         float64       // coefficient of the z-loss, see nn.Head
	Adapter       param.Adapter // what is trained, with Rank above 0; else all parameters are
	Forward       bool          // no gradients are allocated: Backward panics
	Workers       int           // for Memory: workers of the Exec, 0 for GOMAXPROCS; New asks its Exec

	// Clock, if it is set, is called on the calling goroutine after each part of a pass, with the part that ended. That
	// is one of the Part constants; each block names its parts again. What checkpointing computes again counts as the
	// same part.
	Clock func(part string)
}

// Parts of a pass, for Options.Clock.
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

// Model is a decoder with its gradients and all memory that training it needs.
type Model[T kernel.Float] struct {
	network[T]
	opt       Options
	footprint Footprint
	grads     []T
	dblocks   []tensors[T]
	buf       *buffers[T]

	adapter *lowRank[T] // nil: all parameters are trained

	head   *nn.Head[T]
	sums   *nn.BlockSums[T]
	prober *nn.Probe[T]

	// chunk is the number of positions at a time that go through the layers that see one position. It changes no bits;
	// in bf16 mode it bounds memory and keeps rows in the caches.
	chunk int

	faults  []PlantedFault // none in a sound model
	probing *ProbeStats    // of the Probe in progress

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
	ar := &arena{bf16: opt.Mode == ModeBF16, resident: opt.resident()}
	b := newBuffers[T](ar, a, opt)
	m := &Model[T]{opt: opt, footprint: ar.footprint, grads: b.grads, buf: b}
	views, _ := layout(ar, a)
	m.sums = nn.NewBlockSums(x, opt.MicroTokens, sumsWidth(a), b.sums)
	m.network = newNetwork(a, x, param.NewIn(b.params, views), nil, m.sums, b.workspace)
	switch {
	case b.adapter != nil:
		m.adapter, m.grads = b.adapter, b.adapter.grads
		m.adapter.bind(x, m.params)
		if ar.resident {
			m.network.bring = m.bringBlock
		}
		m.dblocks = vectors(b.grads, views, a.Layers)
	case !opt.Forward:
		m.dblocks = split(b.grads, views, a.Layers)
	}
	overlay(a, m.dblocks)
	var dbias []T
	if m.dblocks != nil {
		dbias = m.dblocks[a.Layers][param.SlotHeadBias]
	}
	if m.chunk = opt.MicroTokens; m.bf16() {
		m.chunk = chunkRows * x.Workers()
	}
	m.head = nn.NewHead(x, m.stage, b.logits, b.dlogits, opt.ZLoss, m.logits, dbias)
	m.prober = nn.NewProbe(x, a.Heads, a.KVHeads, a.HeadSize, a.MLP, probeRows(opt), b.probe)
	return m, nil
}

// resident reports whether only the matrices of one block are there at a time.
func (o Options) resident() bool { return resident(o.Adapter) && !o.Forward }

// bringBlock makes the matrices of a block, where they are not there.
func (m *Model[T]) bringBlock(block int) {
	if m.adapter.held != block {
		m.adapter.bring(block)
		m.blocks[block].refresh(m.x)
	}
}

// resolve is ResolveMode for either type: auto is fp32 for float64.
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

// Check returns an error if an architecture or an option makes no sense for float32.
func Check(a config.Arch, opt Options) error { return check[float32](a, opt) }

// check returns an error if the architecture or an option makes no sense.
func check[T kernel.Float](a config.Arch, opt Options) error {
	switch {
	case min(a.Layers, a.Width, a.Heads, a.KVHeads, a.HeadSize, a.MLP, a.Vocab, a.Context) <= 0:
		return fmt.Errorf("model: a size is not positive: %+v", a)
	case a.Heads%a.KVHeads != 0:
		return fmt.Errorf("model: %d query heads do not share %d key and value heads evenly", a.Heads, a.KVHeads)
	case a.Norm != "rms" && a.Norm != "layer":
		return fmt.Errorf("model: norm %q: want rms or layer", a.Norm)
	case a.Position != "rope" && a.Position != "learned":
		return fmt.Errorf("model: position %q: want rope or learned", a.Position)
	case a.Position == "rope" && (a.HeadSize%2 != 0 || a.RotarySize()%2 != 0 || a.RotarySize() > a.HeadSize ||
		!(a.RopeTheta > 0)):
		return fmt.Errorf("model: rope needs an even head size and a positive theta, not %d, of these %d, and %g",
			a.HeadSize, a.RotarySize(), a.RopeTheta)
	case a.RopeScale.Kind == "longrope" && a.Context > a.RopeScale.Original:
		return fmt.Errorf("model: rope is the same for all texts within %d positions, and the context has %d",
			a.RopeScale.Original, a.Context)
	case !slices.Contains([]string{nn.SwiGLU, nn.GEGLU, nn.GELU, nn.GELUExact, nn.ReLU}, a.MLPKind):
		return fmt.Errorf("model: mlp %q: want swiglu, geglu, gelu, gelu-exact or relu", a.MLPKind)
	case !slices.Contains([]string{"", "after", "both"}, a.Norms) || a.Norms != "" && a.Bias:
		return fmt.Errorf(
			"model: norms %q: want none, after or both, and the last without biases before them",
			a.Norms,
		)
	case a.NoGain && (a.Norm != "layer" || a.Norms != ""):
		return fmt.Errorf("model: norms without gains: want layer, before each half, not %s %q", a.Norm, a.Norms)
	case a.SharedNorm && (!a.Parallel || a.Norms != "" || a.UnitGain):
		return errors.New("model: halves of a block share a norm only in parallel, before them, and with a whole gain")
	case strings.Trim(a.Pattern, "fln") != "" || strings.Contains(a.Pattern, "l") && a.Window <= 0:
		return fmt.Errorf("model: pattern %q: want f, l or n for each layer, and a window for l", a.Pattern)
	case !(a.Dropout >= 0 && a.Dropout < 1):
		return fmt.Errorf("model: dropout %g is not in [0,1)", a.Dropout)
	case !(a.NormEps > 0):
		return fmt.Errorf("model: norm epsilon %g is not positive", a.NormEps)
	case opt.MicroTokens <= 0 || opt.MicroTokens > math.MaxInt32:
		return fmt.Errorf("model: micro-batch of %d positions", opt.MicroTokens)
	case opt.Mode != ModeFP32 && opt.Mode != ModeBF16:
		return fmt.Errorf("model: numeric.mode %q: want auto, fp32 or bf16", opt.Mode)
	case opt.Adapter.Base != "" && !slices.Contains(param.Formats, opt.Adapter.Base):
		return fmt.Errorf("model: base %q: want %s", opt.Adapter.Base, strings.Join(param.Formats, ", "))
	case opt.resident() && isFloat64[T]():
		return fmt.Errorf("model: a base in %s is for float32 only", opt.Adapter.Base)
	case opt.Adapter.DoRA && opt.Adapter.Dropout > 0:
		return errors.New("model: dropout and DoRA are not computed together")
	case opt.Mode == ModeBF16 && isFloat64[T]():
		return errors.New("model: numeric.mode bf16 is for float32 only")
	case !slices.Contains([]string{"", CheckpointNone, CheckpointAttention, CheckpointBlock}, opt.Checkpointing):
		return fmt.Errorf("model: numeric.checkpointing %q: want none, attention or block", opt.Checkpointing)
	}
	return nil
}

// chunkRows is the share of a worker in a chunk: a multiple of the rows of a partial sum. With fewer rows, reading the
// weights again costs more than it saves.
const chunkRows = 2048

func (m *Model[T]) bf16() bool { return m.opt.Mode == ModeBF16 }

// Mode returns the mode of numbers in use, ModeFP32 or ModeBF16.
func (m *Model[T]) Mode() string { return m.opt.Mode }

// Footprint returns the memory that New allocated, by part.
func (m *Model[T]) Footprint() Footprint { return m.footprint }

// Grads returns the gradients, in the layout of the trained parameters; nil with Options.Forward. Backward adds to
// them; the caller clears them, by ClearGrads or itself.
func (m *Model[T]) Grads() []T { return m.grads }

// ClearGrads sets the gradients to zero, with all workers: one core alone does not use the bandwidth of the memory.
func (m *Model[T]) ClearGrads() { m.x.Pool().Do(len(m.grads), 1<<14, (*clearGrads[T])(m)) }

type clearGrads[T kernel.Float] Model[T]

func (m *clearGrads[T]) Part(_, lo, hi int) { clear(m.grads[lo:hi]) }

// Init sets the initial weights of a seed; see Params.Init. An adapter begins as none.
func (m *Model[T]) Init(seed uint64) {
	m.params.Init(m.x.Pool(), m.arch.Layers, seed)
	if m.adapter != nil {
		param.InitAdapter(m.adapter.params, m.adapter.Adapter, seed)
		m.adapter.rebase()
	}
	m.Refresh()
}

// Trained returns the parameters that Grads are the gradients of: all, or those of the adapter.
func (m *Model[T]) Trained() *param.Params[T] {
	if m.adapter != nil {
		return m.adapter.params
	}
	return m.params
}

// Rebase takes the parameters as they are for the weights beside the adapter. Call it, and then Refresh, when they have
// been set.
func (m *Model[T]) Rebase() {
	if m.adapter != nil {
		m.adapter.rebase()
	}
}

// Refresh renews what is derived from the trained parameters; call it after every change of them. A model and its
// decoders share it: one call serves all.
func (m *Model[T]) Refresh() {
	if m.adapter != nil {
		m.adapter.refresh()
	}
	m.network.Refresh()
}

// backWeight adds the gradient of a multiply's weights, or that of their adapter.
func (m *Model[T]) backWeight(i int, s param.Slot, w *kernel.Weights[T], dy, src kernel.Mat[T]) {
	if m.adapter != nil {
		m.adapterBackWeight(i, s, w, dy, src)
		return
	}
	w.BackWeight(m.x, m.dblocks[i][s], dy, src, m.n)
}
