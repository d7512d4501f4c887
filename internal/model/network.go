package model

import (
	"cmp"
	"unsafe"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
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
	params  *Params[T]
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

// Sizes of the rows of buffers, after the legend of package nn.

func queryWidth(a config.Arch) int { return a.Heads * a.HeadSize }
func keyWidth(a config.Arch) int   { return a.KVHeads * a.HeadSize }
func qkvWidth(a config.Arch) int   { return queryWidth(a) + 2*keyWidth(a) }

func hiddenWidth(a config.Arch) int {
	if a.Gated() {
		return 2 * a.MLP
	}
	return a.MLP
}

// directHeads reports whether the gradients that attention computes are those of the multiply by q, k and v: nothing is
// rotated, normed or shared between heads.
func directHeads(a config.Arch) bool {
	return a.Position != "rope" && !a.QKNorm && a.Heads == a.KVHeads
}

// sumsWidth is the widest gradient of a vector that is summed over positions.
func sumsWidth(a config.Arch) int {
	q, k := gainWidths(a)
	return max(2*a.Width, nn.HeadsSums(a.Heads, a.KVHeads, a.HeadSize, q+k), hiddenWidth(a))
}

// stageWidth is the widest row, or rows, that a layer computes in full precision on the way to bfloat16.
func stageWidth(a config.Arch) int {
	return max(a.Width, nn.ActivationStage(a.MLPKind, a.MLP), nn.HeadsStage(a.Heads, a.KVHeads, a.HeadSize),
		nn.HeadStage)
}

// workspace is the memory of the layers of a network.
type workspace[T kernel.Float] struct {
	packed []uint16 // weights as operands, in bf16 mode
	coded  []byte   // weights of a decoder in another format
	format kernel.Format
	ropes  map[config.Layer][2][]T // cosines and sines, by what layers do but for the window
	gains  []T                     // that are 1 + weight; or one of ones, and a bias of zeros, where norms have none
	stage  []T                     // rows in full precision
	score  []T                     // attention in full precision
	halves []uint16                // attention on operands of bfloat16
	floats []float32               // the same

	positions int // of the tables and the memory of attention
}

// What a workspace is for.
const (
	training   = iota
	generation // attention to a cache is in full precision
	sharing    // generation with the packed weights of a model that is trained
)

// newWorkspace allocates for sequences of at most so many positions: a context that a file names may be as long as it
// likes.
func newWorkspace[T kernel.Float](ar *arena, a config.Arch, positions, workers, purpose int) (w workspace[T]) {
	w.positions = positions
	w.newTables(ar, a)
	if a.UnitGain && purpose != sharing {
		w.gains = alloc[T](ar, partScratch, gainsLen(a))
	}
	if a.NoGain && purpose != sharing {
		w.gains = alloc[T](ar, partScratch, 2*a.Width)
	}
	w.stage = alloc[T](ar, partScratch, nn.StageLen(workers, stageWidth(a)))
	if ar.bf16 && purpose != sharing {
		there := a
		if ar.resident {
			there.Layers = 1
		}
		w.packed = alloc[uint16](ar, partPacked, overMatrices(there, kernel.WeightsBF16Len))
	}
	w.format = ar.format
	w.coded = alloc[byte](ar, partPacked, overMatrices(a, func(out, in int) int {
		return kernel.CodedLen(ar.format, out, in)
	}))
	if ar.bf16 && purpose == training {
		halves, floats := nn.Attention16Len(workers, positions, a.HeadSize)
		w.halves, w.floats = alloc[uint16](ar, partScratch, halves), alloc[float32](ar, partScratch, floats)
	} else {
		w.score = alloc[T](ar, partScratch, nn.AttentionLen(workers, positions))
	}
	return w
}

// newTables allocates the tables of RoPE.
func (mem *workspace[T]) newTables(ar *arena, a config.Arch) {
	mem.ropes = map[config.Layer][2][]T{}
	for i := range a.Layers {
		l, n := tableOf(a, i), nn.RopeLen(mem.positions, a.RotarySize())
		if _, there := mem.ropes[l]; !there && l.Theta > 0 {
			mem.ropes[l] = [2][]T{alloc[T](ar, partScratch, n), alloc[T](ar, partScratch, n)}
		}
	}
}

// tableOf is what the tables of RoPE of layer i depend on.
func tableOf(a config.Arch, i int) config.Layer {
	l := a.Layer(i)
	l.Window = 0
	return l
}

// gainsLen is the elements of all gains.
func gainsLen(a config.Arch) (n int) {
	views, _ := Layout(a)
	for _, v := range views {
		if v.unit {
			n += v.Len()
		}
	}
	return n
}

// overMatrices sums length over all matrices (out, in).
func overMatrices(a config.Arch, length func(out, in int) int) int {
	block := length(qkvWidth(a), a.Width) + length(a.Width, queryWidth(a)) + length(hiddenWidth(a), a.Width) +
		length(a.Width, a.MLP)
	return a.Layers*block + length(a.Vocab, a.Width)
}

// weights returns the handle of a matrix. It takes the memory of packed or coded forms off the front of mem.
func (mem *workspace[T]) weights(w []T, out, in int) *kernel.Weights[T] {
	switch {
	case mem.packed != nil:
		n := kernel.WeightsBF16Len(out, in)
		handle := kernel.NewWeightsBF16In(float32s(w), mem.packed[:n:n], out, in)
		mem.packed = mem.packed[n:]
		return any(handle).(*kernel.Weights[T])
	case mem.coded != nil:
		n := kernel.CodedLen(mem.format, out, in)
		handle := kernel.NewWeightsCoded(float32s(w), mem.coded[:n:n], mem.format, out, in)
		mem.coded = mem.coded[n:]
		return any(handle).(*kernel.Weights[T])
	}
	return kernel.NewWeights(w, out, in)
}

// float32s and mat32 are the identity: T is float32 in bf16 mode.
func float32s[T kernel.Float](s []T) []float32                  { return any(s).([]float32) }
func mat32[T kernel.Float](m kernel.Mat[T]) kernel.Mat[float32] { return any(m).(kernel.Mat[float32]) }

// newNetwork returns a network with the parameters p, or with the parameters and packed weights of shared if that is
// not nil. sums is nil for generation.
func newNetwork[T kernel.Float](a config.Arch, x *kernel.Exec, p *Params[T], shared *network[T],
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
	net.logits = nn.NewLogits(x, net.outside[slotHeadBias], cmp.Or(a.LogitDivisor, 1), a.LogitCap)
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
		if l > 0 && unsafe.SliceData(t[slotQKV]) == unsafe.SliceData(all[0][slotQKV]) { // they share their place
			mem.packed = packed
		}
		net.blocks[l] = block[T]{
			tensors: t,
			qkv:     mem.weights(t[slotQKV], qkvWidth(a), a.Width),
			o:       mem.weights(t[slotO], a.Width, queryWidth(a)),
			gateUp:  mem.weights(t[slotGateUp], hiddenWidth(a), a.Width),
			down:    mem.weights(t[slotDown], a.Width, a.MLP),
		}
	}
	for _, v := range net.params.Views {
		if v.unit {
			g := unitGain[T]{mem.gains[:v.Len():v.Len()], net.params.Flat[v.Lo:v.Hi]}
			mem.gains, net.unit = mem.gains[v.Len():], append(net.unit, g)
			if v.Block < 0 {
				net.outside[v.slot] = g.gain
			} else {
				net.blocks[v.Block].tensors[v.slot] = g.gain
			}
		}
	}
	head := net.outside[slotHead]
	if a.Tie {
		head = net.outside[slotEmbed]
	}
	net.headWeights = mem.weights(head, a.Vocab, a.Width)
}

// fillNorms gives norms that have neither a gain of ones and a bias of zeros.
func fillNorms[T kernel.Float](all []tensors[T], ones, zeros []T) {
	for i := range ones {
		ones[i] = 1
	}
	for i := range all {
		for _, gain := range []slot{slotGain1, slotGain2, slotGain} {
			all[i][gain], all[i][gain+1] = ones, zeros
		}
	}
}

// overlay sets what is a part of other tensors, of parameters or of gradients: a second norm that is the first one, and
// positions, whose table may begin with rows that nothing reads.
func overlay[T kernel.Float](a config.Arch, all []tensors[T]) {
	for i := range all {
		if t := &all[i]; a.SharedNorm {
			t[slotGain2], t[slotBias2] = t[slotGain1], t[slotBias1]
		}
		if t := &all[i]; t[slotPosition] != nil {
			t[slotPosition] = t[slotPosition][a.Places*a.Width:]
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
func (net *network[T]) before(dst kernel.Mat[T], mean, rstd, src []T, w *tensors[T], gain slot, n int) {
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
func (net *network[T]) Params() *Params[T] { return net.params }
