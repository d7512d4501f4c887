package graph

import (
	"cmp"
	"math"
	"slices"

	"gimbal/internal/model"
)

// block is block i: x (N, C) → (N, C).
func (s *pass) block(i int, x value) (y value, back func(dy value) value) {
	x = s.gathered(i, x)
	middle, back1 := s.attentionHalf(i, x)
	from := middle
	if s.Arch.Parallel {
		from = x
	}
	y, back2 := s.mlpHalf(i, middle, from)
	if s.planted(model.FaultNaN, i) {
		number := s.add(s.count(I32, 0, y.Dims...), s.count(I32, 1, y.Dims...))
		first := s.compare("EQ", number, s.integer(I32, 0, y.Dims...))
		y = s.choose(first, s.constant(math.NaN(), y.Dims...), y)
	}
	return y, func(dy value) value {
		d, branch := back2(s.gathered(i, dy))
		if !s.Arch.Parallel {
			d = s.add(d, branch)
		}
		if s.Checkpointing == model.CheckpointAttention && i < s.Arch.Layers-1 {
			again := s.later(x, d)
			_, back1 = s.attentionHalf(i, again[0])
			d = again[1]
		}
		dx, own := back1(d)
		if dx = s.add(dx, own); s.Arch.Parallel {
			dx = s.add(dx, branch)
		}
		return dx
	}
}

// attentionHalf is x + o(attention(norm(x))). Between two multiplies, the backward pass computes again what it needs.
func (s *pass) attentionHalf(i int, x value) (y value, back halfBack) {
	t := s.blocks[i]
	normed, normBack := s.norm(t.norm1, x)
	qkv, qkvBack := s.linear(t.qkv.weights, normed)
	parts, _ := s.heads(i, qkv)
	s.parts = append(s.parts, parts)
	o, attentionBack := s.attention(i, parts)
	branch, oBack := s.linear(t.o.weights, o)
	branch, postBack := s.post(t.post1, branch)
	return s.residual(i, 1+2*i, t.o.biases, x, branch, func(d value) value {
		_, headsBack := s.heads(i, s.later(qkv)[0])
		return normBack(qkvBack(headsBack(attentionBack(oBack(postBack(d))))))
	})
}

// halfBack returns the gradients of what a half of a block adds to, and of what its branch reads.
type halfBack func(dy value) (skip, branch value)

// post is the norm of what a half adds, where there is one. Its gradient is rounded like that of any multiply.
func (s *pass) post(t normTensors, x value) (y value, back func(dy value) value) {
	if t.gain == -1 {
		return x, func(dy value) value { return dy }
	}
	return s.norm(t, s.cast(x, F32))
}

// mlpHalf is x + down(activation(gateUp(norm(from)))).
func (s *pass) mlpHalf(i int, x, from value) (y value, back halfBack) {
	t := s.blocks[i]
	normed, normBack := s.norm(t.norm2, from)
	hidden, hiddenBack := s.linear(t.gateUp.weights, normed)
	active, _ := s.activation(t.gateUp.biases, hidden)
	s.active = append(s.active, active)
	branch, downBack := s.linear(t.down.weights, active)
	branch, postBack := s.post(t.post2, branch)
	return s.residual(i, 2+2*i, t.down.biases, x, branch, func(d value) value {
		_, activeBack := s.activation(t.gateUp.biases, s.later(hidden)[0])
		return normBack(hiddenBack(activeBack(downBack(postBack(d)))))
	})
}

// residual is x + factor·dropout(branch + biases). branchBack takes the gradient back through the branch.
func (s *pass) residual(i, place int, biases []int, x, branch value, branchBack func(d value) value) (y value,
	back halfBack) {
	y, biasBack := s.biased(biases, branch)
	drop, cut := s.dropout(uint64(place), s.Arch.Dropout, s.Arch.Width), s.planted(model.FaultCutResidual, i)
	scale := s.factor(cmp.Or(s.Arch.ResidualFactor, 1))
	if y = scale(drop(y)); !cut {
		y = s.add(x, y)
	}
	return y, func(dy value) (skip, branch value) {
		if branch, skip = branchBack(biasBack(drop(scale(dy)))), dy; cut {
			skip = s.constant(0, dy.Dims...)
		}
		return skip, branch
	}
}

func (s *pass) planted(f model.Fault, block int) bool {
	return slices.Contains(s.Faults, model.PlantedFault{Fault: f, Block: block})
}
