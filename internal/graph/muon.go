package graph

import "gimbal/internal/optim"

// Direct returns the program that computes Muon's directions: slots…, grads…, numbers, factors → directions…. It is
// for an update by other factors than Propose had.
func (o Optimizer) Direct() Program {
	b, list := &builder{}, o.tensors()
	a := values{slots: make([][]value, len(list))}
	for _, s := range o.Slots() {
		a.slots[s.Tensor] = append(a.slots[s.Tensor], b.argument(F32, s.Dims...))
	}
	a.grads = gradArguments(b, list)
	scale := b.element(b.argument(F32, numNumbers), atScale)
	factors := b.argument(F32, len(list))
	var out []value
	for i, t := range list {
		if t.muon {
			out = append(out, o.direction(b, a, t, i, b.mul(b.element(factors, i), scale)))
		}
	}
	return b.program("direct", o.Devices, out...)
}

// direction is the direction of tensor i, as the gradient lies. On several devices each of them computes all of it.
func (o Optimizer) direction(b *builder, a values, t tensor, i int, scale value) value {
	beta, g := o.Options.Momentum, a.grads[i]
	x := b.add(b.mul(a.slots[i][0], b.constant(beta*beta, g.Dims...)),
		b.mul(g, b.spread(b.mul(scale, b.constant((1-beta)*(1+beta))), g.Dims)))
	x = b.whole(x, t.dims, o.Devices)
	var matrices []value
	for lo := 0; lo < x.Dims[0]; lo += t.Rows {
		matrices = append(matrices, b.orthogonalize(b.cut(x, 0, lo, lo+t.Rows)))
	}
	return b.shard(b.concat(0, matrices...), o.Devices)
}

// orthogonalize is x (r, c) with its singular values near 1, as optim.Optimizer computes it.
//
// Numerics: multiplies of float32 at the highest precision.
func (b *builder) orthogonalize(x value) value {
	largest, squares := b.sizes([]value{b.reshape(x, 1, x.count())}, 1)
	length := b.atLeast(b.reshape(b.mul(largest, b.unary("sqrt", squares))), optim.MuonLeast)
	x = b.div(x, b.spread(length, x.Dims))
	side, along := 0, 1 // the shorter dimension and the other
	if x.Dims[0] > x.Dims[1] {
		side, along = 1, 0
	}
	n := x.Dims[side]
	times := func(x value, f float64) value { return b.mul(x, b.constant(f, n, n)) }
	diagonal := b.choose(b.compare("EQ", b.count(I32, 0, n, n), b.count(I32, 1, n, n)), b.constant(optim.MuonA, n, n),
		b.constant(0, n, n))
	for range optim.MuonRounds {
		gram := b.dot(F32, x, x, 0, along, along)
		poly := b.add(b.add(times(gram, optim.MuonB), diagonal), times(b.dot(F32, gram, gram, 0, 1, 1), optim.MuonC))
		if side == 0 {
			x = b.dot(F32, poly, x, 0, 1, 0)
		} else {
			x = b.dot(F32, x, poly, 0, 1, 0)
		}
	}
	return x
}
