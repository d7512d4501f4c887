package graph

import (
	"math"

	"gimbal/internal/optim"
)

// Stats returns the program that describes gradients and an update in detail, and changes nothing: params…, slots…,
// grads…, directions…, numbers → sizes (7n), counts (2n, of type U32), for ReadStats.
func (o Optimizer) Stats() Program {
	b, list := &builder{}, o.tensors()
	a := o.arguments(b, list, false)
	a.directions = o.directionArguments(b, list)
	a.numbers = b.scalars(b.argument(F32, numNumbers))
	var grads, params, changes, broken, still []value
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
	var sizes []value
	for _, x := range [][]value{grads, changes, params} {
		largest, squares := b.sizes(x, o.Devices)
		sizes = append(sizes, largest, squares)
	}
	sums := make([]value, len(list))
	for i, g := range grads {
		unit := b.atLeast(b.element(sizes[0], i), tiniest)
		sums[i] = b.total(b.div(g, b.spread(unit, g.Dims)))
	}
	sizes = append(sizes, b.across("add", o.Devices, b.stack(sums)))
	counts := b.across("add", o.Devices, b.concat(0, b.stack(broken), b.stack(still)))
	return b.program("stats", o.Devices, b.concat(0, sizes...), counts)
}

// number is how many elements of p hold.
func (b *builder) number(p value) value {
	return b.reduce("add", b.integer(U32, 0), b.flat(b.cast(p, U32)), 0)
}

// ReadStats reads the results of Stats: what optim.Optimizer.Stats and Trial say, but from float32.
func (o Optimizer) ReadStats(sizes []float32, counts []uint32) (states []optim.TensorState, median float64) {
	n := len(o.Segments)
	states = make([]optim.TensorState, n)
	row := func(k int) []float32 { return sizes[k*n:][:n] }
	for i, t := range o.tensors() {
		g, u, all := &states[i].Grad, &states[i].Update, float64(max(1, t.len()))
		g.NonFinite = int64(counts[i])
		finite := float64(max(1, int64(t.len())-g.NonFinite))
		g.Max, g.MeanAbs = float64(row(0)[i]), float64(row(0)[i])*float64(row(6)[i])/finite
		g.RMS = norm(row(0)[i], row(1)[i]) / math.Sqrt(finite)
		u.RMS, u.WeightRMS = norm(row(2)[i], row(3)[i])/math.Sqrt(all), norm(row(4)[i], row(5)[i])/math.Sqrt(all)
		if u.Max = float64(row(2)[i]); u.Max-u.Max != 0 {
			u.Max = math.NaN()
		}
		padding := o.Devices*Shape{F32, t.part}.count() - t.len() // which never moves
		u.Unmoved = int64(counts[n+i]) - int64(padding)
	}
	return states, optim.UpdateMedian(o.Segments, states, nil)
}
