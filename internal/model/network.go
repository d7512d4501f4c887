package model

import (
	"cmp"
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

// require panics with fault unless ok.
func require(ok bool, fault string) {
	if !ok {
		panic(fault)
	}
}

// network is what training and generation share: the parameters and the layers.
type network[T kernel.Float] struct {
	arch    config.Arch
	x       *kernel.Exec
	params  *param.Params[T]
	outside *tensors[T]
	blocks  []block[T]

	headWeights *kernel.Weights[T]

	bring func(block int) // makes the matrices of a block, before it is computed; nil: all are there

	stage      *nn.Stage[T]
	embedding  *nn.Embedding[T]
	residual   *nn.Residual[T]
	sum        *nn.Residual[T] // without dropout and factor
	norm       *nn.Norm[T]
	rounding   *nn.Rounding[T]
	mixers     []*mixer[T] // (L): blocks that are alike share one
	activation *nn.Activation[T]
	logits     *nn.Logits[T]

	unit []unitGain[T] // gains that are 1 + weight
}

// mixer is the layers of a block that know positions.
type mixer[T kernel.Float] struct {
	heads       *nn.Heads[T]
	scores      nn.Scores        // as attention makes them of what heads leaves
	attention   *nn.Attention[T] // nil where attention16 is not
	attention16 *nn.Attention16  // training in bf16 mode
}

// unitGain is a gain that Refresh computes.
type unitGain[T kernel.Float] struct{ gain, weight []T }

// block is one block's parameters and the multiplies by its matrices.
type block[T kernel.Float] struct {
	tensors[T]
	qkv, o, gateUp, down *kernel.Weights[T]
}

// newNetwork returns a network with the parameters p, or with the parameters and packed weights of shared if that is
// not nil. sums is nil for generation.
func newNetwork[T kernel.Float](a config.Arch, x *kernel.Exec, p *param.Params[T], shared *network[T],
	sums *nn.BlockSums[T], mem workspace[T]) network[T] {
	net := network[T]{arch: a, x: x}
	if shared != nil {
		net.params, net.outside = shared.params, shared.outside
		net.blocks, net.headWeights, net.unit = shared.blocks, shared.headWeights, shared.unit
		net.bring = shared.bring
	} else {
		net.params = p
		net.newWeights(mem)
	}
	net.stage = nn.NewStage(x, stageWidth(a), mem.stage)
	drop := nn.NewDropout[T](a.Dropout) // active only where masks are given
	net.embedding = nn.NewEmbedding(x, a.Width, a.EmbedGain(), drop)
	net.residual = nn.NewResidual(x, net.stage, sums, a.Width, cmp.Or(a.ResidualFactor, 1), drop)
	net.sum = nn.NewResidual(x, net.stage, sums, a.Width, 1, nn.NewDropout[T](0))
	net.norm = nn.NewNorm(x, net.stage, sums, a.Width, a.NormEps)
	net.rounding = nn.NewRounding[T](x)
	net.activation = nn.NewActivation(x, net.stage, sums, a.MLPKind)
	net.logits = nn.NewLogits(x, net.outside[param.SlotHeadBias], cmp.Or(a.LogitDivisor, 1), a.LogitCap)
	net.attend(mem, sums)
	return net
}

// attend makes the layers that know positions.
func (net *network[T]) attend(mem workspace[T], sums *nn.BlockSums[T]) {
	a, n := net.arch, mem.positions
	for l, table := range mem.ropes {
		gain := cmp.Or(l.Scale.Gain, 1)
		nn.RopeTables(table[0], table[1], n, RopeFrequencies(l, a.RotarySize()), gain)
	}
	alike := map[config.Layer]*mixer[T]{}
	net.mixers = make([]*mixer[T], a.Layers)
	for i := range net.mixers {
		l := a.Layer(i)
		if alike[l] == nil {
			alike[l] = net.newMixer(mem, sums, l.Window, mem.ropes[tableOf(a, i)])
		}
		net.mixers[i] = alike[l]
	}
}

// newMixer makes the layers of a block. Those of all blocks use the memory of mem in turn.
func (net *network[T]) newMixer(mem workspace[T], sums *nn.BlockSums[T], window int, table [2][]T) *mixer[T] {
	a, x, n := net.arch, net.x, mem.positions
	m := &mixer[T]{scores: nn.Scores{Scale: a.ScoreGain(), Cap: a.ScoreCap, Window: window}}
	scale := 1.0 // attention in full precision scales the scores itself
	if mem.halves != nil {
		m.attention16 = nn.NewAttention16(x, a.Heads, a.KVHeads, a.HeadSize, n, m.scores, mem.halves, mem.floats)
		scale, m.scores.Scale = m.scores.Scale, 1
	} else {
		m.attention = nn.NewAttention(x, a.Heads, a.KVHeads, a.HeadSize, n, m.scores, mem.score)
	}
	m.heads = nn.NewHeads(x, net.stage, sums, table[0], table[1], a.Heads, a.KVHeads, a.HeadSize,
		a.RotarySize(), scale, a.NormEps)
	return m
}

// newWeights makes the handles of all matrices, with their packed or coded forms in mem.
func (net *network[T]) newWeights(mem workspace[T]) {
	a := net.arch
	all := split(net.params.Flat, net.params.Views, a.Layers)
	if a.NoGain {
		fillNorms(all, mem.gains[:a.Width], mem.gains[a.Width:])
	}
	overlay(a, all)
	net.outside, net.blocks = &all[a.Layers], make([]block[T], a.Layers)
	packed := mem.packed
	for l := range net.blocks {
		t := all[l]
		// Where they share their place:
		if l > 0 && unsafe.SliceData(t[param.SlotQKV]) == unsafe.SliceData(all[0][param.SlotQKV]) {
			mem.packed = packed
		}
		net.blocks[l] = block[T]{
			tensors: t,
			qkv:     mem.weights(t[param.SlotQKV], qkvWidth(a), a.Width),
			o:       mem.weights(t[param.SlotO], a.Width, queryWidth(a)),
			gateUp:  mem.weights(t[param.SlotGateUp], hiddenWidth(a), a.Width),
			down:    mem.weights(t[param.SlotDown], a.Width, a.MLP),
		}
	}
	for _, v := range net.params.Views {
		if v.Unit {
			g := unitGain[T]{mem.gains[:v.Len():v.Len()], net.params.Flat[v.Lo:v.Hi]}
			mem.gains, net.unit = mem.gains[v.Len():], append(net.unit, g)
			if v.Block < 0 {
				net.outside[v.Slot] = g.gain
			} else {
				net.blocks[v.Block].tensors[v.Slot] = g.gain
			}
		}
	}
	head := net.outside[param.SlotHead]
	if a.Tie {
		head = net.outside[param.SlotEmbed]
	}
	net.headWeights = mem.weights(head, a.Vocab, a.Width)
}

// fillNorms gives norms that have neither a gain of ones and a bias of zeros.
func fillNorms[T kernel.Float](all []tensors[T], ones, zeros []T) {
	for i := range ones {
		ones[i] = 1
	}
	for i := range all {
		for _, gain := range []param.Slot{param.SlotGain1, param.SlotGain2, param.SlotGain} {
			all[i][gain], all[i][gain+1] = ones, zeros
		}
	}
}

// overlay sets what is a part of other tensors, of parameters or of gradients: a second norm that is the first one, and
// positions, whose table may begin with rows that nothing reads.
func overlay[T kernel.Float](a config.Arch, all []tensors[T]) {
	for i := range all {
		if t := &all[i]; a.SharedNorm {
			t[param.SlotGain2], t[param.SlotBias2] = t[param.SlotGain1], t[param.SlotBias1]
		}
		if t := &all[i]; t[param.SlotPosition] != nil {
			t[param.SlotPosition] = t[param.SlotPosition][a.Places*a.Width:]
		}
	}
}

// Refresh renews what is derived from the parameters; call it after every change of them. A model and its decoders
// share it: one call serves all.
func (net *network[T]) Refresh() {
	for i := range net.blocks {
		if net.bring == nil {
			net.blocks[i].refresh(net.x)
		}
	}
	net.headWeights.Refresh(net.x)
	for _, u := range net.unit {
		kernel.Affine(net.x, u.gain, u.weight, 1, 1)
	}
}

// before computes what a half of a block reads: the norm of src, or src where there is no such norm.
func (net *network[T]) before(dst kernel.Mat[T], mean, rstd, src []T, w *tensors[T], gain param.Slot, n int) {
	if w[gain] == nil {
		net.rounding.Forward(dst, kernel.Dense(src, n, net.arch.Width), n)
		return
	}
	net.norm.Forward(dst, mean, rstd, src, w[gain], w[gain+1], n)
}

func (b *block[T]) refresh(x *kernel.Exec) {
	for _, w := range []*kernel.Weights[T]{b.qkv, b.o, b.gateUp, b.down} {
		w.Refresh(x)
	}
}

// at returns block l with its matrices there.
func (net *network[T]) at(l int) *block[T] {
	if net.bring != nil {
		net.bring(l)
	}
	return &net.blocks[l]
}

// Arch returns the architecture.
func (net *network[T]) Arch() config.Arch { return net.arch }

// Params returns the parameters; call Refresh after changing them.
func (net *network[T]) Params() *param.Params[T] { return net.params }
