package nn

import (
	"fmt"
	"math"
	"testing"

	"gimbal/internal/kernel"
)

func ropeFor(context, size int) (cos, sin []float64) {
	cos, sin = make([]float64, RopeLen(context, size)), make([]float64, RopeLen(context, size))
	RopeTables(cos, sin, context, frequencies(size), 1)
	return cos, sin
}

// TestHeads takes gradients of the whole pass in float64, whose rows are not rounded. Training in bf16 mode keeps
// operands apart from the result of the multiply, and has gradients of keys and values for each query head; full
// precision works in place, but for queries and keys that are normed, and has one gradient for each head.
func TestHeads(t *testing.T) {
	const n, heads, kvHeads, d, context, normed = 70, 4, 2, 6, 40, (4 + 2) * 6
	const width = (heads + 2*kvHeads) * d
	x := newExec(t, kernel.TierAuto)
	for choice := range 16 {
		norm, turn, apart, other := choice&1 != 0, choice&2 != 0, choice&4 != 0, choice&8 != 0
		rotary, qWidth, kWidth := d, d, d
		if other { // a part of each head is rotated, and the norm is over all
			rotary, qWidth, kWidth = d-2, heads*d, kvHeads*d
		}
		r := random(t)
		scale := 1.0
		if apart {
			scale = 1 / math.Sqrt(d)
		}
		var cos, sin []float64
		if turn {
			cos, sin = ropeFor(context, rotary)
		}
		sums, stage := sumsFor(
			x,
			n,
			HeadsSums(heads, kvHeads, d, qWidth+kWidth),
		), stageFor(
			x,
			HeadsStage(heads, kvHeads, d),
		)
		l := NewHeads(x, stage, sums, cos, sin, heads, kvHeads, d, rotary, scale, 1e-6)
		src, dst, w, bias := padded(r, n, width), padded(r, n, width), padded(r, n, width), normal(r, width)
		var qGain, kGain, rstd, dqGain, dkGain []float64
		if norm {
			qGain, kGain, rstd = normal(r, qWidth), normal(r, kWidth), make([]float64, n*(heads+kvHeads))
			dqGain, dkGain = make([]float64, qWidth), make([]float64, kWidth)
		}
		pos := make([]int32, n)
		for i := range pos {
			pos[i] = int32(r.IntN(context))
		}
		forward := func() float64 {
			from, to := src, dst
			if !apart {
				from = like(src)
				if to = from; norm {
					to = dst.Columns(0, normed)
				}
			}
			l.Forward(to, rstd, from, bias, qGain, kGain, pos, n)
			if to.Cols == width {
				return weigh(to, w)
			}
			return weigh(to, w.Columns(0, normed)) + weigh(from.Columns(normed, width), w.Columns(normed, width))
		}
		forward()
		dsrc, dbias := like(w), make([]float64, width)
		dpart := dsrc
		if apart {
			const group = heads / kvHeads
			dpart, dsrc = kernel.Dense(make([]float64, n*3*heads*d), n, 3*heads*d), padded(r, n, width)
			for i := range n {
				part := row(dpart, i)
				for c := range heads * d {
					part[c] = row(w, i)[c] * scale
				}
				for h := range 2 * kvHeads {
					for c := range d {
						v, share := row(w, i)[(heads+h)*d+c], r.Float64()
						part[(heads+h*group)*d+c] = v * share
						part[(heads+h*group+1)*d+c] = v * (1 - share)
					}
				}
			}
		}
		l.Backward(dsrc, dbias, dqGain, dkGain, dpart, rstd, src, bias, qGain, kGain, pos, n)
		what := fmt.Sprintf("heads (norm %v, rotation %v, apart %v, other %v)", norm, turn, apart, other)
		agree(t, r, what+" dsrc", dsrc.F, src.F, forward)
		agree(t, r, what+" dbias", dbias, bias, forward)
		if norm {
			agree(t, r, what+" dqGain", dqGain, qGain, forward)
			agree(t, r, what+" dkGain", dkGain, kGain, forward)
		}
	}
}

func TestRope(t *testing.T) {
	const n, heads, d, context = 20, 2, 6, 50
	x, r := newExec(t, kernel.TierAuto), random(t)
	cos, sin := ropeFor(context, d)
	l := NewHeads(x, stageFor(x, HeadsStage(heads, 1, d)), nil, cos, sin, heads, 1, d, d, 1, 1e-6)
	// turn rotates the query heads that m holds; those of keys and values follow them.
	turn := func(m kernel.Mat[float64], pos ...int32) {
		l.Forward(m, nil, m, nil, nil, nil, pos, len(pos))
	}
	const width = (heads + 2) * d
	src := padded(r, n, width)

	// Position 0 is left alone; pair 0 of another turns by as many radians; scores depend on the distance only.
	score := func(p, q int32) float64 {
		m := kernel.Dense(append(append([]float64(nil), row(src, 0)...), row(src, 1)...), 2, width)
		turn(m, p, q)
		return dot(row(m, 0)[:heads*d], row(m, 1)[:heads*d])
	}
	if a, b := score(5, 3), score(30, 28); math.Abs(a-b) > 1e-12 {
		t.Errorf("scores at distance 2 are %v and %v", a, b)
	}
	m := kernel.Dense(make([]float64, width), 1, width)
	m.F[0] = 1
	turn(m, 0)
	if m.F[0] != 1 || m.F[3] != 0 {
		t.Errorf("position 0 was turned: %v", m.F)
	}
	turn(m, 2)
	if math.Abs(m.F[0]-math.Cos(2)) > 1e-15 || math.Abs(m.F[3]-math.Sin(2)) > 1e-15 {
		t.Errorf("position 2 gives %v, want cos and sin of 2 at 0 and 3", m.F)
	}
}

// frequencies are those of RoPE with base 10,000.
func frequencies(size int) []float64 {
	f := make([]float64, size/2)
	for j := range f {
		f[j] = math.Pow(1e4, -2*float64(j)/float64(size))
	}
	return f
}
