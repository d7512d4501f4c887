package graph

import (
	"fmt"

	"gimbal/internal/optim"
)

// direct computes Muon's directions, each as its gradient lies. Tensors of one shape are computed together. On several
// devices they are dealt: each device gets some of them whole, and gives to every device its part of the directions.
func (u *update) direct(scales []value) {
	var kinds []string // in their order
	alike := map[string][]int{}
	for i, t := range u.list {
		if kind := fmt.Sprint(t.dims, t.Rows); t.muon {
			if alike[kind] == nil {
				kinds = append(kinds, kind)
			}
			alike[kind] = append(alike[kind], i)
		}
	}
	for _, kind := range kinds {
		u.directAlike(alike[kind], scales)
	}
}

// directAlike computes the directions of tensors of one shape.
func (u *update) directAlike(tensors []int, scales []value) {
	t, beta, d := u.list[tensors[0]], u.Options.Momentum, u.Devices
	n, held := t.Hi-t.Lo, Shape{F32, t.part}.count()
	var rows []value
	for _, i := range tensors {
		g := u.grads[i]
		x := u.add(u.mul(u.slots[i][0], u.constant(beta*beta, g.Dims...)),
			u.mul(g, u.spread(u.mul(scales[i], u.constant((1-beta)*(1+beta))), g.Dims)))
		rows = append(rows, u.reshape(x, 1, held))
	}
	mine := (len(tensors) + d - 1) / d
	x := u.deal(d, 0, 1, u.upTo(mine*d, u.concat(0, rows...)))
	x = u.reshape(u.cut(x, 1, 0, n), mine*n/t.Cols, t.Cols)
	var matrices []value // each by multiplies of its own, so that the bits do not depend on how they are dealt
	for lo := 0; lo < x.Dims[0]; lo += t.Rows {
		matrices = append(matrices, u.orthogonalize(u.cut(x, 0, lo, lo+t.Rows)))
	}
	x = u.deal(d, 1, 0, u.pad(u.reshape(u.concat(0, matrices...), mine, n), held*d))
	for k, i := range tensors {
		u.directions[i] = u.reshape(u.cut(x, 0, k, k+1), t.part...)
	}
}

// orthogonalize is x (r, c) with its singular values near 1, as optim.Optimizer computes it.
//
// Numerics: multiplies of float32 at the highest precision.
func (b *builder) orthogonalize(x value) value {
	largest, squares := b.sizes(b.asRows([]value{x}), 1)
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
