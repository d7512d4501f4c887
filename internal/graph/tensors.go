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

// layout returns the numbers of an architecture's tensors.
func layout(a config.Arch) tensors {
	views, _ := param.Layout(a)
	next := -1
	take := func(there bool) int {
		if !there {
			return -1
		}
		next++
		return next
	}
	norm := func(there bool) normTensors {
		if there && a.NoGain {
			return bare
		}
		return normTensors{take(there), take(there && a.Norm == "layer")}
	}
	linear := func(rows int, bias bool) (t linearTensors) {
		for ; rows > 0; rows -= views[next].Shape[0] {
			t.weights = append(t.weights, take(true))
		}
		for range t.weights {
			if bias {
				t.biases = append(t.biases, take(true))
			}
		}
		return t
	}
	hidden := a.MLP
	if a.Gated() {
		hidden *= 2
	}
	t := tensors{embed: take(true), position: take(a.Position == "learned")}
	for range a.Layers {
		var b blockTensors
		b.norm1 = norm(a.Norms != "after")
		b.qkv = linear((a.Heads+2*a.KVHeads)*a.HeadSize, a.QKVBias)
		b.qGain, b.kGain = take(a.QKNorm), take(a.QKNorm)
		b.o = linear(a.Width, a.Bias)
		b.post1 = norm(a.Norms != "")
		if b.norm2 = b.norm1; !a.SharedNorm {
			b.norm2 = norm(a.Norms != "after")
		}
		b.gateUp = linear(hidden, a.Bias)
		b.down = linear(a.Width, a.Bias)
		b.post2 = norm(a.Norms != "")
		t.blocks = append(t.blocks, b)
	}
	t.final, t.headBias, t.head = norm(true), take(a.HeadBias), t.embed
	if !a.Tie {
		t.head = take(true)
	}
	if next != len(views)-1 {
		panic("graph: another layout")
	}
	return t
}
