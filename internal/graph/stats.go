package graph

import (
	"math"

	"gimbal/internal/optim"
)

// Norms returns the program that measures gradients: grads… → norms (2n), for ReadNorms.
func (o Optimizer) Norms() Program {
	b := &builder{}
	largest, squares := b.sizes(gradArguments(b, o.tensors()), o.Devices)
	return b.program("norms", o.Devices, b.concat(0, largest, squares))
}

// Weights returns the program that measures parameters: params… → norms (2n), for ReadNorms. A largest element that is
// not finite, or absurd, says which tensor to fetch.
func (o Optimizer) Weights() Program {
	b := &builder{}
	var params []value
	for _, t := range o.tensors() {
		params = append(params, b.argument(F32, t.dims...))
	}
	largest, squares := b.sizes(params, 1)
	return b.program("weights", o.Devices, b.concat(0, largest, squares))
}

// ReadNorms reads norms: the largest absolute value of each tensor, the Euclidean norm of each, and that of all. They
// are NaN or infinite where an element is.
func (o Optimizer) ReadNorms(norms []float32) (largest, tensors []float64, global float64) {
	n := len(norms) / 2
	largest, tensors = make([]float64, n), make([]float64, n)
	for i := range n {
		largest[i], tensors[i] = float64(norms[i]), norm(norms[i], norms[n+i])
		global += tensors[i] * tensors[i]
	}
	return largest, tensors, math.Sqrt(global)
}

// norm is the root of a sum of squares that were divided by the square of the largest element.
func norm(largest, squares float32) float64 {
	if largest-largest != 0 {
		return float64(largest) // the squares are NaN
	}
	return float64(largest) * math.Sqrt(float64(squares))
}

// Propose returns the program that describes an update and changes nothing: params…, slots…, grads…, numbers → report
// (2n+1+4d), for ReadReport, and directions…. The gradients are clipped to the norm in numbers.
func (o Optimizer) Propose() Program {
	b, list := &builder{}, o.tensors()
	a := o.arguments(b, list, false)
	a.numbers = b.scalars(b.argument(F32, numNumbers))
	largest, squares := b.sizes(a.grads, o.Devices)
	scale := b.clip(largest, squares, a.numbers[atScale])
	a.numbers[atScale] = scale
	var directions, changes, weights []value
	a.directions = make([]value, len(list))
	for i, t := range list {
		if t.muon {
			a.directions[i] = o.direction(b, a, t, i, scale)
			directions = append(directions, a.directions[i])
		}
		if !t.Decay {
			continue
		}
		dims := []int{min(t.len(), (Shape{F32, t.part}).count(), optim.SampleLen)}
		p := b.first(b.shard(a.params[i], o.Devices), dims)
		after, _ := o.move(b, a, t, i, dims, p, scale)
		change := b.sub(after, p)
		if o.Devices > 1 { // of the first elements of the tensor, those in the shard of this device
			inside := b.compare("LT", b.add(b.count(U32, 0, dims...), b.spread(b.shardAt(t.part[0]), dims)),
				b.integer(U32, optim.SampleLen, dims...))
			none := b.constant(0, dims...)
			change, p = b.choose(inside, change, none), b.choose(inside, p, none)
		}
		changes, weights = append(changes, change), append(weights, p)
	}
	report := []value{largest, squares, b.reshape(scale, 1)}
	for _, x := range [][]value{changes, weights} {
		largest, squares := b.sizes(x, o.Devices)
		report = append(report, largest, squares)
	}
	return b.program("propose", o.Devices, append([]value{b.concat(0, report...)}, directions...)...)
}

// clip is the factor that brings the norm of tensors down to most, 1 where the norm is lower or not a number.
func (b *builder) clip(largest, squares, most value) value {
	top := b.atLeast(b.largest(largest, 0), tiniest)
	share := b.div(largest, b.spread(top, largest.Dims))
	root := b.unary("sqrt", b.total(b.mul(b.mul(share, share), squares)))
	factor := b.div(b.div(most, top), root)
	one := b.constant(1)
	return b.choose(b.compare("LT", factor, one), factor, one)
}

// tiniest is the smallest number with all its digits.
const tiniest = 0x1p-126

func (b *builder) atLeast(x value, least float64) value {
	return b.binary("maximum", x, b.constant(least, x.Dims...))
}

// sizes describes tensors, of which each device has a shard: the largest absolute value of each, and the sum of its
// squares in units of the largest, so that no square overflows or vanishes.
//
// Shapes: (n).
func (b *builder) sizes(xs []value, devices int) (largest, squares value) {
	tops, sums := make([]value, len(xs)), make([]value, len(xs))
	for i, x := range xs {
		tops[i] = b.top(x)
	}
	largest = b.bitcast(b.across("maximum", devices, b.stack(tops)), F32)
	for i, x := range xs {
		unit := b.atLeast(b.element(largest, i), tiniest)
		x = b.div(x, b.spread(unit, x.Dims))
		sums[i] = b.total(b.mul(x, x))
	}
	return largest, b.across("add", devices, b.stack(sums))
}

// top is the bits of the largest absolute value. Infinity is larger than all numbers, and NaN larger than that: among
// bits, since plugins differ in the maximum of floats that are not numbers.
func (b *builder) top(x value) value {
	x = b.bitcast(b.unary("abs", b.flat(x)), U32)
	return b.reduce("maximum", b.integer(U32, 0), x, 0)
}

// bitcast is the bits of x as a type of the same size.
func (b *builder) bitcast(x value, t Type) value {
	return b.put(t, x.Dims, "stablehlo.bitcast_convert %s : (%s) -> %s", x, x.Shape, Shape{t, x.Dims})
}

// stack is scalars side by side.
func (b *builder) stack(xs []value) value {
	rows := make([]value, len(xs))
	for i, x := range xs {
		rows[i] = b.reshape(x, 1)
	}
	return b.concat(0, rows...)
}

// total is the sum of all elements. It adds at most stride numbers in a row, so float32 is precise enough for any
// number of them.
func (b *builder) total(x value) value {
	const stride = 1024
	x = b.flat(x)
	for x.Dims[0] > stride {
		rows := (x.Dims[0] + stride - 1) / stride
		x = b.sum(b.reshape(b.pad(x, rows*stride), rows, stride), 1)
	}
	return b.sum(x, 0)
}

// Report is what Propose says.
type Report struct {
	Largest, Norms []float64 // of gradients, by tensor
	Norm           float64   // of all
	Scale          float64   // factor that clips the gradients: that of Directions
	Ratio          float64   // as optim.Optimizer.UpdateRatio; 0 where the norm is not finite
}

// ReadReport reads the first result of Propose.
func (o Optimizer) ReadReport(report []float32) (r Report) {
	n := len(o.Segments)
	r.Largest, r.Norms, r.Norm = o.ReadNorms(report[:2*n])
	r.Scale = float64(report[2*n])
	if r.Norm-r.Norm != 0 {
		r.Scale = 1
		return r
	}
	rows := report[2*n+1:]
	d, k := len(rows)/4, 0
	states := make([]optim.TensorState, n)
	for i, s := range o.Segments {
		if !s.Decay {
			continue
		}
		root := math.Sqrt(float64(min(s.Hi-s.Lo, optim.SampleLen)))
		u := &states[i].Update
		u.Max, u.RMS, u.WeightRMS = float64(rows[k]), norm(rows[k], rows[d+k])/root, norm(rows[2*d+k], rows[3*d+k])/root
		k++
	}
	r.Ratio = optim.UpdateMedian(o.Segments, states, nil)
	return r
}
