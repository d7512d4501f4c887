package model

import (
	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/nn"
	"gimbal/internal/param"
)

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
	q, k := param.GainWidths(a)
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
	views, _ := param.Layout(a)
	for _, v := range views {
		if v.Unit {
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
