package model

import (
	"fmt"
	"hash/fnv"
	"math"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/kernel"
	"gimbal/internal/par"
	"gimbal/internal/rng"
)

// Kind says what a tensor does, for statistics over tensors that do the same.
type Kind string

// The kinds of tensors.
const (
	KindEmbed    Kind = "embed"
	KindPosition Kind = "position"
	KindQKV      Kind = "qkv"
	KindO        Kind = "o"
	KindGateUp   Kind = "gate_up"
	KindDown     Kind = "down"
	KindNorm     Kind = "norm"
	KindBias     Kind = "bias"
	KindHead     Kind = "head"
)

// View names a part of the flat parameters.
type View struct {
	Name   string // as in a Hugging Face checkpoint
	Shape  []int  // matrices are (Out, In); Entries and LoadEntries arrange them as the family stores them
	Lo, Hi int    // elements of the flat slice
	Decay  bool   // whether weight decay applies: matrices of the blocks and an untied head
	Kind   Kind
	Block  int // -1 outside the blocks

	slot   slot
	conv1D bool // stored as (In, Out)
	unit   bool // a gain less 1
	heads  int  // stored with q, k and v of each of so many heads together; 0: all q, then all k, then all v
}

// Len is the number of elements.
func (v View) Len() int { return v.Hi - v.Lo }

// slot is the place of a tensor, or of a group of adjacent ones, in the decoder. The bias of a matrix or norm follows
// it.
type slot int

const (
	slotEmbed slot = iota
	slotPosition
	slotGain1
	slotBias1
	slotQKV
	slotQKVBias
	slotQGain
	slotKGain
	slotO
	slotOBias
	slotPost1
	slotPostBias1
	slotGain2
	slotBias2
	slotGateUp
	slotGateUpBias
	slotDown
	slotDownBias
	slotPost2
	slotPostBias2
	slotGain
	slotBias
	slotHead
	slotHeadBias
	numSlots
)

// tensors holds the slices of one block, or of what is outside the blocks; absent ones are nil.
type tensors[T kernel.Float] [numSlots][]T

// align is the number of elements that begin on a boundary of 64 bytes in float32, and of 128 in float64.
const align = 16

func roundUp(n int) int { return (n + align - 1) / align * align }

// Layout returns the tensors of an architecture in their order, and the length of the flat slice that holds them.
//
// Each tensor begins on a multiple of 16 elements, except within a group that one multiply serves: q, k and v are
// adjacent, gate and up are, and so are their biases.
func Layout(a config.Arch) (views []View, total int) {
	names := family.NamesOf(a.Shape)
	c, q, kv := a.Width, queryWidth(a), keyWidth(a)
	block, prefix := -1, ""
	add := func(s slot, kind Kind, name string, shape ...int) {
		n := 1
		for _, v := range shape {
			n *= v
		}
		if last := len(views) - 1; last < 0 || views[last].slot != s || views[last].Block != block {
			total = roundUp(total)
		}
		v := View{Name: prefix + name, Shape: shape, Lo: total, Hi: total + n, Kind: kind, Block: block, slot: s,
			Decay: block >= 0 && len(shape) == 2 ||
				kind == KindHead, conv1D: names.Conv1D && block >= 0 && len(shape) == 2}
		v.unit = kind == KindNorm && a.UnitGain
		if names.Interleaved && (s == slotQKV || s == slotQKVBias) {
			v.heads = a.Heads
		}
		views = append(views, v)
		total += n
	}
	norm := func(gain slot, name string) {
		if a.NoGain {
			return
		}
		add(gain, KindNorm, name+".weight", c)
		if a.Norm == "layer" {
			add(gain+1, KindBias, name+".bias", c)
		}
	}
	// linear adds the matrices of one multiply, with outs rows each and in columns, and then their biases. With one
	// name they are one matrix.
	linear := func(s slot, kind Kind, in int, bias bool, names []string, outs ...int) {
		if len(names) == 1 {
			for _, n := range outs[1:] {
				outs[0] += n
			}
		}
		for i, name := range names {
			add(s, kind, name+".weight", outs[i], in)
		}
		for i, name := range names {
			if bias {
				add(s+1, KindBias, name+".bias", outs[i])
			}
		}
	}

	add(slotEmbed, KindEmbed, names.Embed+".weight", a.Vocab, c)
	if a.Position == "learned" {
		add(slotPosition, KindPosition, names.Position+".weight", a.Places+a.Context, c)
	}
	for block = range a.Layers {
		prefix = fmt.Sprintf(names.Block, block)
		if a.Norms != "after" {
			norm(slotGain1, names.Norm1)
		}
		linear(slotQKV, KindQKV, c, a.QKVBias, names.QKV, q, kv, kv)
		if a.QKNorm {
			qGain, kGain := gainWidths(a)
			add(slotQGain, KindNorm, names.QNorm+".weight", qGain)
			add(slotKGain, KindNorm, names.KNorm+".weight", kGain)
		}
		linear(slotO, KindO, q, a.Bias, []string{names.O}, c)
		if a.Norms != "" {
			norm(slotPost1, names.Post1)
		}
		if a.Norms != "after" && !a.SharedNorm {
			norm(slotGain2, names.Norm2)
		}
		if a.Gated() {
			linear(slotGateUp, KindGateUp, c, a.Bias, names.GateUp, a.MLP, a.MLP)
		} else {
			linear(slotGateUp, KindGateUp, c, a.Bias, names.GateUp[len(names.GateUp)-1:], a.MLP)
		}
		linear(slotDown, KindDown, a.MLP, a.Bias, []string{names.Down}, c)
		if a.Norms != "" {
			norm(slotPost2, names.Post2)
		}
	}
	block, prefix = -1, ""
	norm(slotGain, names.Final)
	if a.HeadBias {
		add(slotHeadBias, KindBias, names.Head+".bias", a.Vocab)
	}
	if !a.Tie { // the last one: see CheckEntries
		add(slotHead, KindHead, names.Head+".weight", a.Vocab, c)
	}
	return views, roundUp(total)
}

// gainWidths are the widths of the gains of QK-norm.
func gainWidths(a config.Arch) (q, k int) {
	if a.QKWide {
		return queryWidth(a), keyWidth(a)
	}
	return a.HeadSize, a.HeadSize
}

// Params is the parameters of a model: one flat slice, 64-byte aligned, whose gaps between tensors stay zero.
type Params[T kernel.Float] struct {
	Flat  []T
	Views []View
	index map[string]int
}

// NewParams allocates the parameters of an architecture, all zero.
func NewParams[T kernel.Float](a config.Arch) *Params[T] {
	return NewTrained[T](a, Adapter{})
}

// NewTrained allocates the parameters that training changes, all zero.
func NewTrained[T kernel.Float](a config.Arch, ad Adapter) *Params[T] {
	views, total := TrainedLayout(a, ad)
	return newParams(alloc[T](new(arena), partParams, total), views)
}

func newParams[T kernel.Float](flat []T, views []View) *Params[T] {
	p := &Params[T]{Flat: flat, Views: views, index: make(map[string]int, len(views))}
	for i, v := range views {
		p.index[v.Name] = i
	}
	return p
}

// Lookup finds a view by name.
func (p *Params[T]) Lookup(name string) (View, bool) {
	i, ok := p.index[name]
	if !ok {
		return View{}, false
	}
	return p.Views[i], true
}

// Tensor returns the elements of a named tensor, nil if there is none.
func (p *Params[T]) Tensor(name string) []T {
	v, ok := p.Lookup(name)
	if !ok {
		return nil
	}
	return p.Flat[v.Lo:v.Hi:v.Hi]
}

// FirstNonFinite returns the first tensor that holds a NaN or an infinity, the index inside the tensor and the value.
// flat has the layout of the parameters: it may be gradients or moments. found is false if all elements are finite.
func (p *Params[T]) FirstNonFinite(flat []T) (name string, index int, value float64, found bool) {
	for _, v := range p.Views {
		for i, e := range flat[v.Lo:v.Hi] {
			if e-e != 0 {
				return v.Name, i, float64(e), true
			}
		}
	}
	return "", 0, 0, false
}

// split returns the slices of flat by block; the last element holds what is outside the blocks.
func split[T kernel.Float](flat []T, views []View, layers int) []tensors[T] {
	all := make([]tensors[T], layers+1)
	for i := 0; i < len(views); {
		first := views[i]
		hi := first.Hi
		for i++; i < len(views) && views[i].slot == first.slot && views[i].Block == first.Block; i++ {
			hi = views[i].Hi
		}
		block := first.Block
		if block < 0 {
			block = layers
		}
		all[block][first.slot] = flat[first.Lo:hi:hi]
	}
	return all
}

// vectorsLen is the elements of all tensors of one dimension.
func vectorsLen(a config.Arch) (n int) {
	views, _ := Layout(a)
	for _, v := range views {
		if len(v.Shape) == 1 {
			n += v.Len()
		}
	}
	return n
}

// vectors is split for the tensors of one dimension, end to end in flat. Those of matrices are nil.
func vectors[T kernel.Float](flat []T, views []View, layers int) []tensors[T] {
	at := 0
	moved := make([]View, 0, len(views))
	for _, v := range views {
		if len(v.Shape) == 1 {
			v.Lo, v.Hi, at = at, at+v.Len(), at+v.Len()
			moved = append(moved, v)
		}
	}
	return split(flat, moved, layers)
}

// Init sets the initial weights: N(0, 0.02²), with the projections that write to the residual stream divided by
// √(2·layers); gains are 1 and biases 0. Each tensor has its own random stream, keyed by its name.
//
// Source: Radford et al. 2019 (GPT-2), section 2.3.
func (p *Params[T]) Init(pool *par.Pool, layers int, seed uint64) {
	base := rng.New(seed, rng.Init)
	for _, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		switch v.Kind {
		case KindNorm:
			for i := range dst {
				if dst[i] = 1; v.unit {
					dst[i] = 0
				}
			}
		case KindBias:
			clear(dst)
		default:
			std := 0.02
			if v.Kind == KindO || v.Kind == KindDown {
				std /= math.Sqrt(2 * float64(layers))
			}
			h := fnv.New64a()
			h.Write([]byte(v.Name))
			pool.Do(len(dst), 1024, &normalFill[T]{dst, base.Sub(h.Sum64()), std})
		}
	}
}

type normalFill[T kernel.Float] struct {
	dst []T
	key rng.Key
	std float64
}

func (f *normalFill[T]) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		f.dst[i] = T(f.key.Normal(uint64(i)) * f.std)
	}
}
