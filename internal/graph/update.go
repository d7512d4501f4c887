package graph

import (
	"math"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/optim"
)

// Optimizer writes the programs of an update, as optim.Optimizer makes it. Lists are in the order of model.Layout, and
// n is the number of tensors:
//
//	params      (n) as model.Layout has them, whole on every device
//	grads       (n) on one device as params; on several what Reduce returns: a shard of each tensor
//	slots       as Slots lists them
//	directions  by tensor that Muon updates, as grads; none without Muon
//	numbers     (5) what Numbers returns
//	factors     (n) on the gradients
type Optimizer struct {
	Arch     config.Arch
	Segments []optim.Segment // engine.Segments
	Options  optim.Options
	Devices  int
}

// Slot is what an update remembers of a tensor.
type Slot struct {
	Tensor int
	Name   string // as PyTorch names it
	Shape         // on one device as the tensor; on several flat parts, with zeros after its last element
}

// tensor is a trained tensor in a program.
type tensor struct {
	optim.Segment
	dims []int
	part []int // dims of what one device holds of gradient and slots
	muon bool
}

func (t tensor) len() int { return t.Hi - t.Lo }

func (o Optimizer) tensors() []tensor {
	views, _ := model.Layout(o.Arch)
	list := make([]tensor, len(views))
	for i, v := range views {
		s := o.Segments[i]
		list[i] = tensor{s, v.Shape, shardDims(v.Shape, o.Devices), o.Options.Muon && s.Rows > 0}
	}
	return list
}

// Slots lists the slots in the order in which programs take and return them.
func (o Optimizer) Slots() (list []Slot) {
	for i, t := range o.tensors() {
		names := []string{"exp_avg", "exp_avg_sq"}
		if t.muon {
			names = []string{"momentum_buffer"}
		}
		for _, name := range names {
			list = append(list, Slot{i, name, Shape{F32, t.part}})
		}
	}
	return list
}

// Positions of Numbers.
const (
	atStep  = iota // the rate over the first correction
	atRoot         // the root of the second correction, inverted
	atDecay        // the rate times the weight decay
	atRate
	atScale // on the gradients; in Propose the largest norm
	numNumbers
)

// Numbers is the argument numbers of update number step, from 1. scale is the factor on the gradients; for Propose it
// is the norm to which they are clipped.
func (o Optimizer) Numbers(step int64, lr, scale float64) []float32 {
	first, second := 1-math.Pow(o.Options.Beta1, float64(step)), 1-math.Pow(o.Options.Beta2, float64(step))
	return []float32{atStep: float32(lr / first), atRoot: float32(1 / math.Sqrt(second)),
		atDecay: float32(lr * o.Options.WeightDecay), atRate: float32(lr), atScale: float32(scale)}
}

// values are the arguments of a program by tensor.
type values struct {
	params, grads []value
	slots         [][]value
	directions    []value // absent where AdamW updates
	numbers       []value // scalars
}

// Update returns the program that makes an update: params… (donated), slots… (donated), grads…, directions…, numbers,
// factors → params…, slots…. Directions are those of Propose or Direct for these gradients, scale and factors.
//
// Numerics: as optim.Optimizer.Update in float32, within the rounding of each operation.
func (o Optimizer) Update() Program {
	b, list := &builder{}, o.tensors()
	a := o.arguments(b, list, true)
	a.directions = directionArguments(b, list)
	a.numbers = b.scalars(b.argument(F32, numNumbers))
	factors := b.argument(F32, len(list))
	params, slots := make([]value, len(list)), []value{}
	for i, t := range list {
		scale := b.mul(b.element(factors, i), a.numbers[atScale])
		p, s := o.move(b, a, t, i, t.part, b.shard(a.params[i], o.Devices), scale)
		params[i] = b.whole(p, t.dims, o.Devices)
		slots = append(slots, s...)
	}
	return b.program("update", o.Devices, append(params, slots...)...)
}

// arguments adds params, slots and grads. With update the first two are donated to the results of Update.
func (o Optimizer) arguments(b *builder, list []tensor, update bool) values {
	a, out := values{slots: make([][]value, len(list))}, 0
	add := func(dims []int) value {
		if !update {
			return b.argument(F32, dims...)
		}
		out++
		return b.donate(out-1, F32, dims...)
	}
	for _, t := range list {
		a.params = append(a.params, add(t.dims))
	}
	for _, s := range o.Slots() {
		a.slots[s.Tensor] = append(a.slots[s.Tensor], add(s.Dims))
	}
	a.grads = gradArguments(b, list)
	return a
}

func gradArguments(b *builder, list []tensor) (grads []value) {
	for _, t := range list {
		grads = append(grads, b.argument(F32, t.part...))
	}
	return grads
}

func directionArguments(b *builder, list []tensor) []value {
	directions := make([]value, len(list))
	for i, t := range list {
		if t.muon {
			directions[i] = b.argument(F32, t.part...)
		}
	}
	return directions
}

// move returns elements of tensor i after the update, and their slots. p has the shape dims: all elements of this
// device, or of all values the first ones.
func (o Optimizer) move(b *builder, a values, t tensor, i int, dims []int, p, scale value) (value, []value) {
	first := func(x value) value { return b.first(x, dims) }
	all := func(x value) value { return b.spread(x, dims) }
	times := func(x value, f float64) value { return b.mul(x, b.constant(f, dims...)) }
	one, c := o.Options, a.numbers
	g := b.mul(first(a.grads[i]), all(scale))
	slots := make([]value, len(a.slots[i]))
	var change value
	if t.muon {
		slots[0] = b.add(times(first(a.slots[i][0]), one.Momentum), times(g, 1-one.Momentum))
		size := optim.MuonRMS * math.Sqrt(float64(max(t.Rows, t.Cols)))
		change = b.mul(first(a.directions[i]), all(b.mul(c[atRate], b.constant(size))))
	} else {
		m := b.add(times(first(a.slots[i][0]), one.Beta1), times(g, 1-one.Beta1))
		v := b.add(times(first(a.slots[i][1]), one.Beta2), times(b.mul(g, g), 1-one.Beta2))
		root := b.add(b.mul(b.unary("sqrt", v), all(c[atRoot])), b.constant(one.Eps, dims...))
		slots[0], slots[1] = m, v
		change = b.div(b.mul(all(c[atStep]), m), root)
	}
	if t.Decay {
		change = b.add(change, b.mul(all(c[atDecay]), p))
	}
	return b.sub(p, change), slots
}

// scalars are the elements of x.
func (b *builder) scalars(x value) []value {
	list := make([]value, x.Dims[0])
	for i := range list {
		list[i] = b.element(x, i)
	}
	return list
}

// element is the element i of x (n).
func (b *builder) element(x value, i int) value { return b.reshape(b.cut(x, 0, i, i+1)) }

// first is x itself where it has the shape dims, else its first elements.
func (b *builder) first(x value, dims []int) value {
	if slices.Equal(x.Dims, dims) {
		return x
	}
	return b.cut(b.flat(x), 0, 0, dims[0])
}

// flat is x in one dimension.
func (b *builder) flat(x value) value { return b.reshape(x, x.count()) }

// count is the number of elements.
func (s Shape) count() int { return s.Bytes() / s.Type.Bytes() }
