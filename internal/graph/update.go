package graph

import (
	"math"
	"slices"

	"gimbal/internal/config"
	"gimbal/internal/optim"
	"gimbal/internal/param"
)

// Optimizer writes the programs of an update, as optim.Optimizer makes it. Lists are in the order of
// param.TrainedLayout, and n is the number of its tensors:
//
//	params      (n) as they are in the model, whole on every device; Sharded: as slots
//	slots       as Slots lists them
//	grads       (n) on one device as params; on several what Reduce returns: a shard of each tensor
//	numbers     what Numbers returns
//	directions  by tensor that Muon updates, as grads; none without Muon
type Optimizer struct {
	Arch     config.Arch
	Adapter  param.Adapter   // what is trained, with Rank above 0; else all parameters are
	Segments []optim.Segment // engine.Segments
	Options  optim.Options
	Devices  int
	Sharded  bool // each device holds a part of each parameter
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

func (o Optimizer) tensors() []tensor {
	views, _ := param.TrainedLayout(o.Arch, o.Adapter)
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
	atScales // on the gradients
)

// Numbers is the argument numbers of update number step, from 1. scales are the factors on the gradients, by tensor;
// for Propose the norm to which they are clipped.
func (o Optimizer) Numbers(step int64, lr float64, scales ...float64) []float32 {
	first, second := 1-math.Pow(o.Options.Beta1, float64(step)), 1-math.Pow(o.Options.Beta2, float64(step))
	list := []float32{atStep: float32(lr / first), atRoot: float32(1 / math.Sqrt(second)),
		atDecay: float32(lr * o.Options.WeightDecay), atRate: float32(lr)}
	for _, s := range scales {
		list = append(list, float32(s))
	}
	return list
}

// update writes a program of an update.
type update struct {
	*builder
	Optimizer
	list       []tensor
	params     []value // what this device holds, as slots
	slots      [][]value
	grads      []value
	numbers    []value // scalars
	directions []value // absent where AdamW updates
}

// begin adds params, slots, grads and as many numbers. The first two may be donated to the first results.
func (o Optimizer) begin(numbers int, donated bool) *update {
	u, out := &update{builder: &builder{}, Optimizer: o, list: o.tensors()}, 0
	u.slots, u.directions = make([][]value, len(u.list)), make([]value, len(u.list))
	add := func(dims []int) value {
		if !donated {
			return u.argument(F32, dims...)
		}
		out++
		return u.donate(out-1, F32, dims...)
	}
	_, params := Params(o.Arch, o.Adapter, o.Devices, o.Sharded)
	for _, s := range params {
		u.params = append(u.params, add(s.Dims))
	}
	for _, s := range o.Slots() {
		u.slots[s.Tensor] = append(u.slots[s.Tensor], add(s.Dims))
	}
	for i, t := range u.list {
		if u.grads = append(u.grads, u.argument(F32, t.part...)); !o.Sharded {
			u.params[i] = u.shard(u.params[i], o.Devices)
		}
	}
	all := u.argument(F32, numbers)
	for i := range numbers {
		u.numbers = append(u.numbers, u.element(all, i))
	}
	return u
}

// Update returns the program that makes an update: params… (donated), slots… (donated), grads…, numbers, directions… →
// params…, slots…. Directions are those of Propose for these gradients and scales. With direct there are none, and the
// program computes its own.
//
// Numerics: as optim.Optimizer.Update in float32, within the rounding of each operation.
func (o Optimizer) Update(direct bool) Program {
	u := o.begin(atScales+len(o.Segments), true)
	scales := u.numbers[atScales:]
	if direct {
		u.direct(scales)
	}
	var params, slots []value
	for i, t := range u.list {
		if t.muon && !direct {
			u.directions[i] = u.argument(F32, t.part...)
		}
		p, s := u.move(i, t.part, scales[i])
		if !o.Sharded {
			p = u.whole(p, t.dims, o.Devices)
		}
		params, slots = append(params, p), append(slots, s...)
	}
	return u.program("update", o.Devices, append(params, slots...)...)
}

// move returns elements of tensor i after the update, and their slots. dims is the shape of all that this device holds,
// or of the first of it.
func (u *update) move(i int, dims []int, scale value) (after value, slots []value) {
	first := func(x value) value { return u.first(x, dims) }
	all := func(x value) value { return u.spread(x, dims) }
	times := func(x value, f float64) value { return u.mul(x, u.constant(f, dims...)) }
	o, t, p := u.Options, u.list[i], first(u.params[i])
	g := u.mul(first(u.grads[i]), all(scale))
	var change value
	if t.muon {
		slots = []value{u.add(times(first(u.slots[i][0]), o.Momentum), times(g, 1-o.Momentum))}
		size := optim.MuonRMS * math.Sqrt(float64(max(t.Rows, t.Cols)))
		change = u.mul(first(u.directions[i]), all(u.mul(u.numbers[atRate], u.constant(size))))
	} else {
		m := u.add(times(first(u.slots[i][0]), o.Beta1), times(g, 1-o.Beta1))
		v := u.add(times(first(u.slots[i][1]), o.Beta2), times(u.mul(g, g), 1-o.Beta2))
		root := u.add(u.mul(u.unary("sqrt", v), all(u.numbers[atRoot])), u.constant(o.Eps, dims...))
		slots = []value{m, v}
		change = u.div(u.mul(all(u.numbers[atStep]), m), root)
	}
	if t.Decay {
		change = u.add(change, u.mul(all(u.numbers[atDecay]), p))
	}
	return u.sub(p, change), slots
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
