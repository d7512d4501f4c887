package graph

import (
	"math"

	"gimbal/internal/optim"
)

// Propose returns the program that describes an update and changes nothing: params…, slots…, grads…, numbers → report
// (5n+1), directions…. The gradients are clipped to the norm in numbers. In detail, sizes (6n) and counts (2n, of type
// U32) follow the report. All three are for ReadReport.
func (o Optimizer) Propose(detail bool) Program {
	u := o.begin(atScales+1, false)
	grads, scales := u.asRows(u.grads), make([]value, len(u.list))
	largest, squares := u.sizes(grads, o.Devices)
	scale := u.clip(largest, squares, u.numbers[atScales])
	for i := range scales {
		scales[i] = scale
	}
	u.direct(scales)
	sample, _ := u.changes(optim.SampleLen, scales)
	outs := []value{u.concat(0, largest, squares, sample, u.reshape(scale, 1))}
	if detail {
		var shares, broken []value
		for i, g := range grads {
			g = u.unary("abs", g)
			finite := u.compare("LE", g, u.constant(math.MaxFloat32, g.Dims...))
			grads[i] = u.choose(finite, g, u.constant(0, g.Dims...))
			broken = append(broken, u.number(u.unary("not", finite)))
		}
		largest, squares := u.sizes(grads, o.Devices)
		for _, x := range u.inUnits(grads, largest) {
			shares = append(shares, u.total(x))
		}
		all, moved := u.changes(math.MaxInt, scales)
		outs = append(outs, u.concat(0, largest, squares, u.across("add", o.Devices, u.concat(0, shares...)), all),
			u.concat(0, u.across("add", o.Devices, u.concat(0, broken...)), moved))
	}
	for i, t := range u.list {
		if t.muon {
			outs = append(outs, u.directions[i])
		}
	}
	return u.program("propose", o.Devices, outs...)
}

// changes measures what an update would do to the first elements of each tensor, at most so many. sizes (3n) are the
// largest change and the sums of squares of changes and of weights. moved (n) counts the elements that change.
func (u *update) changes(most int, scales []value) (sizes, moved value) {
	var changes, weights, counts []value
	for i, t := range u.list {
		dims := t.part
		if (Shape{F32, dims}).count() > most {
			dims = []int{most}
		}
		none, p := u.constant(0, dims...), u.first(u.params[i], dims)
		after, _ := u.move(i, dims, scales[i])
		change := u.sub(after, p)
		if u.Devices > 1 && t.Hi-t.Lo > most { // of the first elements, those in the shard of this device
			inside := u.compare("LT", u.add(u.count(U32, 0, dims...), u.spread(u.shardAt(t.part[0]), dims)),
				u.integer(U32, uint64(most), dims...))
			change, p = u.choose(inside, change, none), u.choose(inside, p, none)
		}
		changes, weights = append(changes, change), append(weights, p)
		counts = append(counts, u.number(u.asRows([]value{u.compare("NE", change, none)})[0]))
	}
	changes, weights = u.asRows(changes), u.asRows(weights)
	return u.concat(0, u.tops(changes, u.Devices), u.squares(changes, u.Devices), u.squares(weights, u.Devices)),
		u.across("add", u.Devices, u.concat(0, counts...))
}

// clip is the factor that brings the norm of tensors down to most: 1 where the norm is lower, and 0 where it is not
// finite.
func (b *builder) clip(largest, squares, most value) value {
	top := b.atLeast(b.largest(largest, 0), tiniest)
	share := b.div(largest, b.spread(top, largest.Dims))
	root := b.unary("sqrt", b.sum(b.mul(b.mul(share, share), squares), 0))
	factor, one := b.div(b.div(most, top), root), b.constant(1)
	lower := b.choose(b.compare("GE", factor, one), one, b.constant(0))
	return b.choose(b.compare("LT", factor, one), factor, lower)
}

// Report is what Propose says.
type Report struct {
	Norms []float64 // of gradients, by tensor
	Norm  float64   // of all; it and those before are NaN or infinite where an element is
	Scale float64   // factor that clips the gradients: that of the directions; 0 where the norm is not finite
	Ratio float64   // as optim.Optimizer.UpdateRatio; 0 where the norm is not finite

	Tensors []optim.TensorState // in detail: what optim.Optimizer.Stats and Trial say
	Median  float64
}

// ReadReport reads the results of Propose. sizes and counts are empty where there is no detail.
func (o Optimizer) ReadReport(report, sizes []float32, counts []uint32) (r Report) {
	n, sample, squares := len(o.Segments), make([]optim.TensorState, len(o.Segments)), 0.0
	r.Tensors, r.Scale = make([]optim.TensorState, n), float64(report[5*n])
	for i, s := range o.Segments {
		all, row := s.Hi-s.Lo, func(j int) float32 { return report[j*n+i] }
		r.Norms = append(r.Norms, norm(row(0), row(1)))
		squares += r.Norms[i] * r.Norms[i]
		if s.Decay {
			sample[i].Update = updateOf(row(2), row(3), row(4), float64(min(all, optim.SampleLen)))
		}
		if len(sizes) > 0 {
			row := func(j int) float32 { return sizes[j*n+i] }
			broken, largest := int64(counts[i]), float64(row(0))
			finite := float64(max(1, int64(all)-broken))
			r.Tensors[i] = optim.TensorState{Update: updateOf(row(3), row(4), row(5), float64(all)),
				Grad: optim.TensorGrad{MeanAbs: largest * float64(row(2)) / finite,
					RMS: norm(row(0), row(1)) / math.Sqrt(finite), Max: largest, NonFinite: broken}}
			r.Tensors[i].Update.Unmoved = int64(all) - int64(counts[n+i])
		}
	}
	if r.Norm = math.Sqrt(squares); r.Norm-r.Norm == 0 {
		r.Ratio = optim.UpdateMedian(o.Segments, sample, nil)
	}
	r.Median = optim.UpdateMedian(o.Segments, r.Tensors, nil)
	return r
}

// norm is the root of a sum of squares in units of the largest element.
func norm(largest, squares float32) float64 {
	if largest-largest != 0 {
		return float64(largest) // the squares are NaN
	}
	return float64(largest) * math.Sqrt(float64(squares))
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

// The functions below measure rows of matrices, of which each device has a shard. Results are by row.

// asRows makes a matrix of one row of each value.
func (b *builder) asRows(xs []value) []value {
	list := make([]value, len(xs))
	for i, x := range xs {
		list[i] = b.reshape(x, 1, x.count())
	}
	return list
}

// sizes is the largest absolute value of each row, and the sum of its squares in units of the largest, so that no
// square overflows or vanishes.
func (b *builder) sizes(xs []value, devices int) (largest, squares value) {
	largest = b.tops(xs, devices)
	return largest, b.squares(b.inUnits(xs, largest), devices)
}

// tiniest is the smallest number with all its digits.
const tiniest = 0x1p-126

// inUnits is xs with each row in units of its largest element.
func (b *builder) inUnits(xs []value, largest value) []value {
	list, lo := make([]value, len(xs)), 0
	for i, x := range xs {
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
func (b *builder) tops(xs []value, devices int) value {
	bits := func(x value, t Type) value { return b.op("bitcast_convert", "", t, x.Dims, x) }
	list := make([]value, len(xs))
	for i, x := range xs {
		list[i] = b.reduce("maximum", b.integer(U32, 0), bits(b.unary("abs", x), U32), 1)
	}
	return bits(b.across("maximum", devices, b.concat(0, list...)), F32)
}

// squares is the sum of the squares of each row.
func (b *builder) squares(xs []value, devices int) value {
	list := make([]value, len(xs))
	for i, x := range xs {
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
