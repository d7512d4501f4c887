package graph

import (
	"gimbal/internal/config"
	"gimbal/internal/param"
)

// tensors are the numbers of a decoder's tensors in the order of param.Layout. -1: there is none.
type tensors struct {
	embed, position int
	blocks          []blockTensors
	final           normTensors
	head            int // that of embed where they are tied
	headBias        int
}

type blockTensors struct {
	norm1, norm2         normTensors // gain -1: there is none
	post1, post2         normTensors // on what each half adds
	qGain, kGain         int
	qkv, o, gateUp, down linearTensors
}

type normTensors struct{ gain, bias int }

// bare is a norm that has neither gain nor bias.
var bare = normTensors{-2, -2}

// linearTensors are matrices that one multiply serves, one above the other, and their biases.
type linearTensors struct{ weights, biases []int }

// lowTensors are the numbers of an adapter's tensors for one matrix, and the place of its masks.
type lowTensors struct {
	a, b, magnitude int // the last with DoRA
	place           uint64
}

// adapt adds the tensors of the adapter, and freezes the others.
func (s *pass) adapt() {
	views, _ := param.AdapterLayout(s.Arch, s.Adapter)
	list := param.AdaptedViews(s.Arch, s.Adapter)
	s.frozen, s.low = len(s.views), map[int]lowTensors{}
	for i, m := range list {
		at := s.frozen + i*len(views)/len(list)
		s.low[m.Tensor] = lowTensors{at, at + 1, at + 2, m.Place}
	}
	s.views = append(s.views, views...)
}

// place is where a tensor stands in the decoder.
type place struct {
	block int // -1 outside the blocks
	slot  param.Slot
}

// layout returns the numbers of an architecture's tensors.
func layout(a config.Arch) tensors {
	views, _ := param.Layout(a)
	at := map[place][]int{}
	for i, v := range views {
		p := place{v.Block, v.Slot}
		at[p] = append(at[p], i)
	}
	one := func(block int, s param.Slot) int {
		if list := at[place{block, s}]; list != nil {
			return list[0]
		}
		return -1
	}
	norm := func(block int, s param.Slot, there bool) normTensors {
		if there && a.NoGain {
			return bare
		}
		return normTensors{one(block, s), one(block, s+1)}
	}
	linear := func(block int, s param.Slot) linearTensors {
		return linearTensors{at[place{block, s}], at[place{block, s + 1}]}
	}
	t := tensors{embed: one(-1, param.SlotEmbed), position: one(-1, param.SlotPosition),
		final: norm(-1, param.SlotGain, true), head: one(-1, param.SlotHead), headBias: one(-1, param.SlotHeadBias)}
	if a.Tie {
		t.head = t.embed
	}
	before, after := a.Norms != "after", a.Norms != ""
	for l := range a.Layers {
		b := blockTensors{
			norm1: norm(l, param.SlotGain1, before), qkv: linear(l, param.SlotQKV),
			qGain: one(l, param.SlotQGain), kGain: one(l, param.SlotKGain),
			o: linear(l, param.SlotO), post1: norm(l, param.SlotPost1, after),
			norm2: norm(l, param.SlotGain2, before), gateUp: linear(l, param.SlotGateUp),
			down: linear(l, param.SlotDown), post2: norm(l, param.SlotPost2, after),
		}
		if a.SharedNorm {
			b.norm2 = b.norm1
		}
		t.blocks = append(t.blocks, b)
	}
	return t
}
