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

// ReadNorms reads norms: the Euclidean norm of each tensor, and that of all. They are NaN or infinite where an element
// is.
func (o Optimizer) ReadNorms(norms []float32) (tensors []float64, global float64) {
	n := len(o.Segments)
	tensors = make([]float64, n)
	for i := range tensors {
		tensors[i] = norm(norms[i], norms[n+i])
		global += tensors[i] * tensors[i]
	}
	return tensors, math.Sqrt(global)
}

// norm is the root of a sum of squares in units of the largest element.
func norm(largest, squares float32) float64 {
	if largest-largest != 0 {
		return float64(largest) // the squares are NaN
	}
	return float64(largest) * math.Sqrt(float64(squares))
}

// Propose returns the program that describes an update and changes nothing: params…, slots…, grads…, numbers → report
// (2n+1+3d), for ReadReport, and directions…. The gradients are clipped to the norm in numbers.
func (o Optimizer) Propose() Program {
	b, list := &builder{}, o.tensors()
	a := o.arguments(b, list, false)
	a.numbers = b.scalars(b.argument(F32, numNumbers))
	largest, squares := b.sizes(a.grads, o.Devices)
	scale := b.clip(largest, squares, a.numbers[atScale])
	a.directions = make([]value, len(list))
	var directions, changes, weights []value
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
	report := b.concat(0, largest, squares, b.reshape(scale, 1), b.tops(changes, o.Devices),
		b.squares(changes, o.Devices), b.squares(weights, o.Devices))
	return b.program("propose", o.Devices, append([]value{report}, directions...)...)
}

// clip is the factor that brings the norm of tensors down to most, 1 where the norm is lower or not a number.
func (b *builder) clip(largest, squares, most value) value {
	top := b.atLeast(b.largest(largest, 0), tiniest)
	share := b.div(largest, b.spread(top, largest.Dims))
	root := b.unary("sqrt", b.total(b.mul(b.mul(share, share), squares)))
	factor, one := b.div(b.div(most, top), root), b.constant(1)
	return b.choose(b.compare("LT", factor, one), factor, one)
}

// Report is what Propose says.
type Report struct {
	Norms []float64 // of gradients, by tensor
	Norm  float64   // of all
	Scale float64   // factor that clips the gradients: that of the directions
	Ratio float64   // as optim.Optimizer.UpdateRatio; 0 where the norm is not finite
}

// ReadReport reads the first result of Propose.
func (o Optimizer) ReadReport(report []float32) (r Report) {
	n := len(o.Segments)
	r.Norms, r.Norm = o.ReadNorms(report)
	if r.Scale = float64(report[2*n]); r.Norm-r.Norm != 0 {
		r.Scale = 1
		return r
	}
	rows, states, k := report[2*n+1:], make([]optim.TensorState, n), 0
	for i, s := range o.Segments {
		if s.Decay {
			d, count := len(rows)/3, float64(min(s.Hi-s.Lo, optim.SampleLen))
			states[i].Update = updateOf(rows[k], rows[d+k], rows[2*d+k], count)
			k++
		}
	}
	r.Ratio = optim.UpdateMedian(o.Segments, states, nil)
	return r
}

// updateOf describes the change of n elements by their largest change, and the squares of changes and of weights.
func updateOf(top, changes, weights float32, n float64) optim.TensorUpdate {
	u := optim.TensorUpdate{RMS: math.Sqrt(float64(changes) / n), Max: float64(top),
		WeightRMS: math.Sqrt(float64(weights) / n)}
	if u.Max-u.Max != 0 {
		u.Max = math.NaN()
	}
	return u
}

// Stats returns the program that describes gradients and an update in detail, and changes nothing: params…, slots…,
// grads…, directions…, numbers → sizes (6n), counts (2n, of type U32), for ReadStats.
func (o Optimizer) Stats() Program {
	b, list := &builder{}, o.tensors()
	a := o.arguments(b, list, false)
	a.directions = directionArguments(b, list)
	a.numbers = b.scalars(b.argument(F32, numNumbers))
	var grads, shares, params, changes, broken, still []value
	for i, t := range list {
		g := b.unary("abs", a.grads[i])
		finite := b.compare("LE", g, b.constant(math.MaxFloat32, t.part...))
		broken = append(broken, b.number(b.unary("not", finite)))
		grads = append(grads, b.choose(finite, g, b.constant(0, t.part...)))
		p := b.shard(a.params[i], o.Devices)
		after, _ := o.move(b, a, t, i, t.part, p, a.numbers[atScale])
		params, changes = append(params, p), append(changes, b.sub(after, p))
		still = append(still, b.number(b.compare("EQ", after, p)))
	}
	largest, squares := b.sizes(grads, o.Devices)
	for i, g := range grads {
		shares = append(shares, b.total(b.inUnits(g, largest, i)))
	}
	sizes := b.concat(0, largest, squares, b.across("add", o.Devices, b.stack(shares)), b.tops(changes, o.Devices),
		b.squares(changes, o.Devices), b.squares(params, o.Devices))
	counts := b.across("add", o.Devices, b.concat(0, b.stack(broken), b.stack(still)))
	return b.program("stats", o.Devices, sizes, counts)
}

// ReadStats reads the results of Stats: what optim.Optimizer.Stats and Trial say.
func (o Optimizer) ReadStats(sizes []float32, counts []uint32) (states []optim.TensorState, median float64) {
	n := len(o.Segments)
	states = make([]optim.TensorState, n)
	row := func(k, i int) float32 { return sizes[k*n+i] }
	for i, t := range o.tensors() {
		g, largest := &states[i].Grad, float64(row(0, i))
		finite := float64(max(1, int64(t.len())-int64(counts[i])))
		*g = optim.TensorGrad{MeanAbs: largest * float64(row(2, i)) / finite, Max: largest,
			RMS: norm(row(0, i), row(1, i)) / math.Sqrt(finite), NonFinite: int64(counts[i])}
		states[i].Update = updateOf(row(3, i), row(4, i), row(5, i), float64(t.len()))
		padding := o.Devices*Shape{F32, t.part}.count() - t.len() // which never moves
		states[i].Update.Unmoved = int64(counts[n+i]) - int64(padding)
	}
	return states, optim.UpdateMedian(o.Segments, states, nil)
}

// sizes describes tensors, of which each device has a shard: the largest absolute value of each, and the sum of its
// squares in units of the largest, so that no square overflows or vanishes. Shapes: (n).
func (b *builder) sizes(xs []value, devices int) (largest, squares value) {
	largest = b.tops(xs, devices)
	shares := make([]value, len(xs))
	for i, x := range xs {
		shares[i] = b.inUnits(x, largest, i)
	}
	return largest, b.squares(shares, devices)
}

// tiniest is the smallest number with all its digits.
const tiniest = 0x1p-126

// inUnits is x, the tensor i, in units of its largest element.
func (b *builder) inUnits(x, largest value, i int) value {
	return b.div(x, b.spread(b.atLeast(b.element(largest, i), tiniest), x.Dims))
}

func (b *builder) atLeast(x value, least float64) value {
	return b.binary("maximum", x, b.constant(least, x.Dims...))
}

// tops is the largest absolute value of each tensor. Infinity is larger than all numbers, and NaN larger than that:
// bits are compared, since plugins differ in the maximum of floats that are not numbers.
func (b *builder) tops(xs []value, devices int) value {
	list := make([]value, len(xs))
	for i, x := range xs {
		list[i] = b.reduce("maximum", b.integer(U32, 0), b.bitcast(b.unary("abs", b.flat(x)), U32), 0)
	}
	return b.bitcast(b.across("maximum", devices, b.stack(list)), F32)
}

// bitcast is the bits of x as a type of the same size.
func (b *builder) bitcast(x value, t Type) value {
	return b.put(t, x.Dims, "stablehlo.bitcast_convert %s : (%s) -> %s", x, x.Shape, Shape{t, x.Dims})
}

// squares is the sum of the squares of each tensor.
func (b *builder) squares(xs []value, devices int) value {
	list := make([]value, len(xs))
	for i, x := range xs {
		list[i] = b.total(b.mul(x, x))
	}
	return b.across("add", devices, b.stack(list))
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

// number is how many elements of p hold.
func (b *builder) number(p value) value {
	return b.reduce("add", b.integer(U32, 0), b.flat(b.cast(p, U32)), 0)
}

// stack is scalars side by side.
func (b *builder) stack(xs []value) value {
	rows := make([]value, len(xs))
	for i, x := range xs {
		rows[i] = b.reshape(x, 1)
	}
	return b.concat(0, rows...)
}
