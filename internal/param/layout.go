package param

import (
	"fmt"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/memory"
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
	Slot   Slot
	Unit   bool // a gain less 1

	conv1D bool // stored as (In, Out)
	heads  int  // stored with q, k and v of each of so many heads together; 0: all q, then all k, then all v
}

// Len is the number of elements.
func (v View) Len() int { return v.Hi - v.Lo }

// Slot is the place of a tensor, or of a group of adjacent ones, in the decoder. The bias of a matrix or norm follows
// it.
type Slot int

// The places, in the order of a block. Gain1 and Gain2 are norms before its halves, Post1 and Post2 those after them,
// and Gain is the last one of the model.
const (
	SlotEmbed Slot = iota
	SlotPosition
	SlotGain1
	SlotBias1
	SlotQKV
	SlotQKVBias
	SlotQGain
	SlotKGain
	SlotO
	SlotOBias
	SlotPost1
	SlotPostBias1
	SlotGain2
	SlotBias2
	SlotGateUp
	SlotGateUpBias
	SlotDown
	SlotDownBias
	SlotPost2
	SlotPostBias2
	SlotGain
	SlotBias
	SlotHead
	SlotHeadBias
	NumSlots
)

// Layout returns the tensors of an architecture in their order, and the length of the flat slice that holds them.
//
// Each tensor begins on a multiple of 16 elements, except within a group that one multiply serves: q, k and v are
// adjacent, gate and up are, and so are their biases.
func Layout(a config.Arch) (views []View, total int) {
	names := family.NamesOf(a.Shape)
	c, q, kv := a.Width, a.Heads*a.HeadSize, a.KVHeads*a.HeadSize
	block, prefix := -1, ""
	add := func(s Slot, kind Kind, name string, shape ...int) {
		n := 1
		for _, v := range shape {
			n *= v
		}
		if last := len(views) - 1; last < 0 || views[last].Slot != s || views[last].Block != block {
			total = memory.RoundUp(total)
		}
		v := View{Name: prefix + name, Shape: shape, Lo: total, Hi: total + n, Kind: kind, Block: block, Slot: s,
			Decay: block >= 0 && len(shape) == 2 ||
				kind == KindHead, conv1D: names.Conv1D && block >= 0 && len(shape) == 2}
		v.Unit = kind == KindNorm && a.UnitGain
		if names.Interleaved && (s == SlotQKV || s == SlotQKVBias) {
			v.heads = a.Heads
		}
		views = append(views, v)
		total += n
	}
	norm := func(gain Slot, name string) {
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
	linear := func(s Slot, kind Kind, in int, bias bool, names []string, outs ...int) {
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

	add(SlotEmbed, KindEmbed, names.Embed+".weight", a.Vocab, c)
	if a.Position == "learned" {
		add(SlotPosition, KindPosition, names.Position+".weight", a.Places+a.Context, c)
	}
	for block = range a.Layers {
		prefix = fmt.Sprintf(names.Block, block)
		if a.Norms != "after" {
			norm(SlotGain1, names.Norm1)
		}
		linear(SlotQKV, KindQKV, c, a.QKVBias, names.QKV, q, kv, kv)
		if a.QKNorm {
			qGain, kGain := GainWidths(a)
			add(SlotQGain, KindNorm, names.QNorm+".weight", qGain)
			add(SlotKGain, KindNorm, names.KNorm+".weight", kGain)
		}
		linear(SlotO, KindO, q, a.Bias, []string{names.O}, c)
		if a.Norms != "" {
			norm(SlotPost1, names.Post1)
		}
		if a.Norms != "after" && !a.SharedNorm {
			norm(SlotGain2, names.Norm2)
		}
		if a.Gated() {
			linear(SlotGateUp, KindGateUp, c, a.Bias, names.GateUp, a.MLP, a.MLP)
		} else {
			linear(SlotGateUp, KindGateUp, c, a.Bias, names.GateUp[len(names.GateUp)-1:], a.MLP)
		}
		linear(SlotDown, KindDown, a.MLP, a.Bias, []string{names.Down}, c)
		if a.Norms != "" {
			norm(SlotPost2, names.Post2)
		}
	}
	block, prefix = -1, ""
	norm(SlotGain, names.Final)
	if a.HeadBias {
		add(SlotHeadBias, KindBias, names.Head+".bias", a.Vocab)
	}
	if !a.Tie { // the last one: see CheckEntries
		add(SlotHead, KindHead, names.Head+".weight", a.Vocab, c)
	}
	return views, memory.RoundUp(total)
}

// GainWidths are the widths of the gains of QK-norm.
func GainWidths(a config.Arch) (q, k int) {
	if a.QKWide {
		return a.Heads * a.HeadSize, a.KVHeads * a.HeadSize
	}
	return a.HeadSize, a.HeadSize
}
