package graph

import (
	"math"

	"gimbal/internal/optim"
)

// Norms returns the program that measures gradients: grads… → norms (2n), for ReadNorms.
func (o Optimizer) Norms() Program {
	b := &builder{}
	largest, squares := b.sizes(b.grouped(gradArguments(b, o.tensors())), o.Devices)
	return b.program("norms", o.Devices, b.concat(0, largest, squares))
}

// ReadNorms reads norms: the Euclidean norm of each tensor, and that of all. They are NaN or infinite where an element
// is.
func (o Optimizer) ReadNorms(norms []float32) (tensors []float64, global float64) {
	n := len(o.Segments)
	tensors = make([]float64, n)
	for i, k := range o.places() {
		tensors[i] = norm(norms[k], norms[n+k])
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
	largest, squares := b.sizes(b.grouped(a.grads), o.Devices)
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
	changes, weights = b.grouped(changes), b.grouped(weights)
	report := b.concat(0, largest, squares, b.reshape(scale, 1), b.tops(changes, o.Devices),
		b.squares(changes, o.Devices), b.squares(weights, o.Devices))
	return b.program("propose", o.Devices, append([]value{report}, directions...)...)
}

// clip is the factor that brings the norm of tensors down to most, 1 where the norm is lower or not a number.
func (b *builder) clip(largest, squares, most value) value {
	top := b.atLeast(b.largest(largest, 0), tiniest)
	share := b.div(largest, b.spread(top, largest.Dims))
	root := b.unary("sqrt", b.sum(b.mul(b.mul(share, share), squares), 0))
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
	var params, changes []value
	for i, t := range list {
		p := b.shard(a.params[i], o.Devices)
		after, _ := o.move(b, a, t, i, t.part, p, a.numbers[atScale])
		params, changes = append(params, p), append(changes, b.sub(after, p))
	}
	grads, params, changes := b.grouped(a.grads), b.grouped(params), b.grouped(changes)
	var shares, broken, moved []value
	for i, g := range grads {
		zero := b.constant(0, g.Dims...)
		g = b.unary("abs", g)
		finite := b.compare("LE", g, b.constant(math.MaxFloat32, g.Dims...))
		grads[i] = b.choose(finite, g, zero)
		broken = append(broken, b.number(b.unary("not", finite)))
		moved = append(moved, b.number(b.compare("NE", changes[i], zero)))
	}
	largest, squares := b.sizes(grads, o.Devices)
	for _, x := range b.inUnits(grads, largest) {
		shares = append(shares, b.total(x))
	}
	sizes := b.concat(0, largest, squares, b.across("add", o.Devices, b.concat(0, shares...)),
		b.tops(changes, o.Devices), b.squares(changes, o.Devices), b.squares(params, o.Devices))
	counts := b.across("add", o.Devices, b.concat(0, append(broken, moved...)...))
	return b.program("stats", o.Devices, sizes, counts)
}

// ReadStats reads the results of Stats: what optim.Optimizer.Stats and Trial say.
func (o Optimizer) ReadStats(sizes []float32, counts []uint32) (states []optim.TensorState, median float64) {
	n, list := len(o.Segments), o.tensors()
	states = make([]optim.TensorState, n)
	for i, k := range o.places() {
		row := func(j int) float32 { return sizes[j*n+k] }
		all, broken, largest := int64(list[i].len()), int64(counts[k]), float64(row(0))
		finite := float64(max(1, all-broken))
		states[i].Grad = optim.TensorGrad{MeanAbs: largest * float64(row(2)) / finite,
			RMS: norm(row(0), row(1)) / math.Sqrt(finite), Max: largest, NonFinite: broken}
		states[i].Update = updateOf(row(3), row(4), row(5), float64(all))
		states[i].Update.Unmoved = all - int64(counts[n+k])
	}
	return states, optim.UpdateMedian(o.Segments, states, nil)
}

// smallest is the elements of a shard up to which it is measured together with others, so that a device does not begin
// hundreds of tiny sums.
const smallest = 4096

// grouped puts values into matrices, of which each row is measured apart: the small ones into the first, one above the
// other and padded with zeros, and each of the others into one of its own.
func (b *builder) grouped(xs []value) (groups []value) {
	width, rows := 0, []value{}
	for _, x := range xs {
		if n := x.count(); n <= smallest {
			width = max(width, n)
		}
	}
	for _, x := range xs {
		if n := x.count(); n <= smallest {
			rows = append(rows, b.reshape(b.pad(b.flat(x), width), 1, width))
		} else {
			groups = append(groups, b.reshape(x, 1, n))
		}
	}
	if len(rows) > 0 {
		groups = append([]value{b.concat(0, rows...)}, groups...)
	}
	return groups
}

// places are the rows of tensors among those of their groups.
func (o Optimizer) places() []int {
	list := o.tensors()
	places, next := make([]int, len(list)), 0
	for _, small := range []bool{true, false} {
		for i, t := range list {
			if (Shape{F32, t.part}.count() <= smallest) == small {
				places[i], next = next, next+1
			}
		}
	}
	return places
}

// sizes describes groups, of which each device has a shard: the largest absolute value of each row, and the sum of its
// squares in units of the largest, so that no square overflows or vanishes. Shapes: (n).
func (b *builder) sizes(groups []value, devices int) (largest, squares value) {
	largest = b.tops(groups, devices)
	return largest, b.squares(b.inUnits(groups, largest), devices)
}

// tiniest is the smallest number with all its digits.
const tiniest = 0x1p-126

// inUnits is groups with each row in units of its largest element.
func (b *builder) inUnits(groups []value, largest value) []value {
	list, lo := make([]value, len(groups)), 0
	for i, x := range groups {
		hi := lo + x.Dims[0]
		list[i] = b.div(x, b.spread(b.atLeast(b.cut(largest, 0, lo, hi), tiniest), x.Dims, 0))
		lo = hi
	}
	return list
}

func (b *builder) atLeast(x value, least float64) value {
	return b.binary("maximum", x, b.constant(least, x.Dims...))
}

// tops is the largest absolute value of each row. Infinity is larger than all numbers, and NaN larger than that: bits
// are compared, since plugins differ in the maximum of floats that are not numbers.
func (b *builder) tops(groups []value, devices int) value {
	list := make([]value, len(groups))
	for i, x := range groups {
		list[i] = b.reduce("maximum", b.integer(U32, 0), b.bitcast(b.unary("abs", x), U32), 1)
	}
	return b.bitcast(b.across("maximum", devices, b.concat(0, list...)), F32)
}

// bitcast is the bits of x as a type of the same size.
func (b *builder) bitcast(x value, t Type) value {
	return b.put(t, x.Dims, "stablehlo.bitcast_convert %s : (%s) -> %s", x, x.Shape, Shape{t, x.Dims})
}

// squares is the sum of the squares of each row.
func (b *builder) squares(groups []value, devices int) value {
	list := make([]value, len(groups))
	for i, x := range groups {
		list[i] = b.total(b.mul(x, x))
	}
	return b.across("add", devices, b.concat(0, list...))
}

// total is the sum of each row. It adds at most stride numbers in a row, so float32 is precise enough for any number of
// them.
func (b *builder) total(x value) value {
	const stride = 1024
	for rows := x.Dims[0]; x.Dims[1] > stride; {
		parts := (x.Dims[1] + stride - 1) / stride
		x = b.sum(b.reshape(b.pad(x, parts*stride), rows*parts, stride), 1)
		x = b.reshape(x, rows, parts)
	}
	return b.sum(x, 1)
}

// number is how many elements of each row of p hold.
func (b *builder) number(p value) value { return b.reduce("add", b.integer(U32, 0), b.cast(p, U32), 1) }
