package graph

import (
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

// Kinds of attention. They compute the same function.
const (
	Plain  = "plain"  // whole (T, T) scores: the reference
	Blocks = "blocks" // memory of context × block
	CuDNN  = "cudnn"  // the library's flash attention over packed sequences, on bf16 operands
)

// Pass says which pass to write, for one device.
type Pass struct {
	Arch          config.Arch
	Adapter       param.Adapter // what is trained, with Rank above 0; else all parameters are
	Rows, Length  int           // of a batch: R and T
	Mode          string        // model.ModeFP32, or model.ModeBF16: operands of multiplies are bfloat16, sums float32
	Checkpointing string        // model.CheckpointNone, CheckpointAttention or CheckpointBlock
	Attention     string        // Plain, Blocks or CuDNN
	Segments      int           // most sequences of a row, for CuDNN: at least 2
	Piece         int           // positions of a piece of the cross-entropy; 0: chosen by size
	ZLoss         float64
	Dropout       bool // whether masks are drawn; Arch and Adapter say which share is dropped
	Weighted      bool // each position has a factor on its loss
	Faults        []model.PlantedFault
	Devices       int  // that run the program
	Sharded       bool // each device holds a part of each parameter, as Optimizer says
}

// pass writes one pass. Its layers return their output and a function, which takes the gradient of the output, adds to
// the gradients of the tensors and returns the gradient of the input.
type pass struct {
	*builder
	Pass
	tensors
	operand Type         // of multiplies
	n       int          // positions: R·T
	views   []param.View // those that are frozen, then those that are trained
	frozen  int          // beside an adapter; else none are
	shards  []value      // by tensor: the arguments
	w, g    []value      // by tensor: parameters, and gradients so far; frozen ones have none
	low     map[int]lowTensors

	tokens, labels, counts, seg, pos value // (N)
	weights                          value // (N), with Weighted
	keys                             value // (N, 4)
	flash                            [2]value
	cache                            *cache // of a decoder; nil: attention inside the batch

	// What went by, for those who look at it.
	stream []value    // (N, C) before each block and after the last
	parts  [][3]value // what attention reads
	active []value    // (N, F) of each MLP

}

// newPass returns a pass with its first arguments: parameters, with gradient the gradients, and the batch.
func newPass(p Pass, gradient bool) *pass {
	s := begin(p)
	if gradient {
		s.g = make([]value, len(s.views))
		for i, v := range s.views[s.frozen:] {
			s.g[s.frozen+i] = s.donate(i, F32, v.Shape...)
		}
	}
	batch := func(t Type) value { return s.argument(t, p.Rows, p.Length) }
	tokens, labels, counts := batch(I32), batch(I32), batch(F32)
	s.seg = batch(I32)
	s.pos = s.reshape(batch(I32), s.n)
	s.tokens, s.labels, s.counts = s.reshape(tokens, s.n), s.reshape(labels, s.n), s.reshape(counts, s.n)
	if p.Weighted && gradient {
		s.weights = s.reshape(batch(F32), s.n)
	}
	if p.Dropout && gradient {
		s.keys = s.reshape(s.argument(U32, p.Rows, p.Length, 4), s.n, 4)
	}
	if p.Attention == CuDNN {
		s.flash = [2]value{s.argument(I32, p.Rows, p.Segments), s.argument(I32, p.Rows, p.Segments+1)}
	}
	return s
}

// Gradient is the program that adds the gradient of scale times the summed nats, and z-loss, of a batch.
//
// In: the parameters, as Params; the gradients so far, donated; tokens, labels (R, T) I32; counts (R, T) F32, 1 where a
// position's loss counts, else 0; seg (R, T) I32, the number of a position's sequence within its row, -1 where the place
// is empty; pos (R, T) I32, the place in the sequence. With Weighted weights (R, T) F32. With Dropout keys (R, T, 4)
// U32, rng.Key.Words of the key of a position's sequence. With CuDNN the two values of Packed. Then scale, F32. An empty
// place needs a token of its row.
//
// Out: the gradients; nats (R, T), zero where a position does not count; finite (L+2) Bool: the output of the embedding
// and of each block, then the nats.
//
// A sequence lies in one row without gaps. Its numbers do not depend on what else is in the row, except that a number
// that is not finite reaches the whole row.
func Gradient(p Pass) Program {
	s := newPass(p, true)
	scale := s.argument(F32)
	x, back := s.decoder()
	nats, _, _, dx := s.head(x, scale)
	back(dx)
	var finite []value
	for _, x := range append(s.stream, nats) {
		finite = append(finite, s.reshape(s.allFinite(x), 1))
	}
	outs := append(s.g[s.frozen:], s.reshape(nats, p.Rows, p.Length), s.concat(0, finite...))
	return s.program("gradient", max(1, p.Devices), outs...)
}

// Forward is the program that returns nats and logZ (R, T) of a batch, logZ being the logarithm of the sum of
// exponentials of the logits; both are zero where a position does not count. In: as Gradient, without gradients, keys
// and scale.
func Forward(p Pass) Program {
	s := newPass(p, false)
	x, _ := s.decoder()
	nats, logZ, _, _ := s.head(x, value{})
	return s.program("forward", max(1, p.Devices), s.reshape(nats, p.Rows, p.Length), s.reshape(logZ, p.Rows, p.Length))
}

// begin returns a pass with the arguments of its parameters. Those outside of blocks are gathered.
func begin(p Pass) *pass {
	s := &pass{builder: &builder{}, Pass: p, tensors: layout(p.Arch), operand: F32, n: p.Rows * p.Length}
	if p.Mode == model.ModeBF16 {
		s.operand = BF16
	}
	s.views, _ = param.Layout(s.Arch)
	if s.Adapter.Rank > 0 {
		s.adapt()
	}
	frozen, trained := Params(s.Arch, s.Adapter, s.Devices, s.Sharded)
	for _, p := range slices.Concat(frozen, trained) {
		s.shards = append(s.shards, s.argument(p.Type, p.Dims...))
	}
	if s.w = slices.Clone(s.shards); s.Sharded {
		for i, v := range s.views {
			if v.Block < 0 {
				s.w[i] = s.whole(s.shards[i], v.Shape, s.Devices)
			}
		}
	}
	return s
}

// gathered gathers the parameters of a block, after v is there: whole ones are on a device for one block at a time.
func (s *pass) gathered(block int, v value) value {
	if !s.Sharded {
		return v
	}
	waiting, tensors := []value{v}, []int{}
	for i, v := range s.views {
		if v.Block == block {
			waiting, tensors = append(waiting, s.shards[i]), append(tensors, i)
		}
	}
	waiting = s.later(waiting...)
	for k, i := range tensors {
		s.w[i] = s.whole(waiting[1+k], s.views[i].Shape, s.Devices)
	}
	return waiting[0]
}

// decoder is everything but the head: x (N, C).
func (s *pass) decoder() (x value, back func(dy value)) {
	x, embedBack := s.embedding()
	s.stream = []value{x}
	backs := make([]func(value) value, s.Arch.Layers)
	for i := range backs {
		x, backs[i] = s.block(i, x)
		s.stream = append(s.stream, x)
	}
	x, normBack := s.norm(s.final, x)
	return x, func(dy value) {
		d := normBack(dy)
		for i := len(backs) - 1; i >= 0; i-- {
			if s.Checkpointing == model.CheckpointBlock && i < len(backs)-1 {
				again := s.later(s.stream[i], d)
				_, backs[i] = s.block(i, again[0])
				d = again[1]
			}
			if d = backs[i](d); s.planted(model.FaultStopGradient, i) {
				d = s.constant(0, s.n, s.Arch.Width)
			}
		}
		embedBack(d)
	}
}

// gradient adds g to the gradient of tensor i, unless it is frozen.
func (s *pass) gradient(i int, g value) {
	if i >= s.frozen {
		s.g[i] = s.add(s.g[i], g)
	}
}

// allFinite tells whether all elements of x are.
func (s *pass) allFinite(x value) value {
	f := s.op("is_finite", "", Bool, x.Dims, x)
	all := make([]int, len(x.Dims))
	for i := range all {
		all[i] = i
	}
	return s.reduce("and", s.integer(Bool, 1), f, all...)
}
