package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/kernel"
)

// plainScores are those of most decoders, for heads of size channels.
func plainScores(size int) Scores { return Scores{Scale: 1 / math.Sqrt(float64(size))} }

// attend is the definition: every pair of positions of a span, one at a time.
func attend(q, k, v kernel.Mat[float64], heads, kvHeads, d int, s Scores, bounds []int32) kernel.Mat[float64] {
	out := kernel.Dense(make([]float64, q.Rows*heads*d), q.Rows, heads*d)
	for b := 1; b < len(bounds); b++ {
		for i := int(bounds[b-1]); i < int(bounds[b]); i++ {
			for h := range heads {
				g := h * kvHeads / heads
				total := 0.0
				o := row(out, i)[h*d : (h+1)*d]
				for j := int(bounds[b-1]); j <= i; j++ {
					if s.Window > 0 && i-j >= s.Window {
						continue
					}
					score := dot(row(q, i)[h*d:(h+1)*d], row(k, j)[g*d:(g+1)*d]) * s.Scale
					if s.Cap > 0 {
						score = s.Cap * math.Tanh(score/s.Cap)
					}
					p := math.Exp(score)
					total += p
					for c := range o {
						o[c] += p * row(v, j)[g*d+c]
					}
				}
				for c := range o {
					o[c] /= total
				}
			}
		}
	}
	return out
}

func TestAttention(t *testing.T) {
	const context = 140
	x := newExec(t, kernel.TierAuto)
	for _, c := range []struct {
		heads, kvHeads, d int
		Scores
	}{{1, 1, 2, plainScores(2)}, {4, 2, 6, plainScores(6)}, {3, 1, 4, Scores{0.3, 1.5, 0}}, {2, 2, 8, plainScores(8)},
		{2, 1, 4, Scores{0.5, 0, 1}}, {4, 2, 6, Scores{0.4, 0, 30}}, {2, 2, 4, Scores{0.7, 1, 100}}} {
		r := random(t)
		bounds := []int32{0, 1, 3, 3, 6, 76, 206, 213} // one is empty, two have several blocks of queries
		n := int(bounds[len(bounds)-1])
		l := NewAttention(x, c.heads, c.kvHeads, c.d, context, c.Scores,
			make([]float64, AttentionLen(x.Workers(), context)))
		q, k, v := padded(r, n, c.heads*c.d), padded(r, n, c.kvHeads*c.d), padded(r, n, c.kvHeads*c.d)
		out, dout, lse := padded(r, n, c.heads*c.d), padded(r, n, c.heads*c.d), make([]float64, n*c.heads)
		forward := func() float64 {
			l.Forward(out, lse, q, k, v, bounds)
			return weigh(out, dout)
		}
		forward()
		want := attend(q, k, v, c.heads, c.kvHeads, c.d, c.Scores, bounds)
		for i := range n {
			for j, o := range row(out, i) {
				if e := math.Abs(o - row(want, i)[j]); !(e < 1e-13) {
					t.Fatalf("%+v: position %d channel %d: %v, want %v", c, i, j, o, row(want, i)[j])
				}
			}
		}
		dq, dk, dv := padded(r, n, c.heads*c.d), padded(r, n, c.kvHeads*c.d), padded(r, n, c.kvHeads*c.d)
		l.Backward(dq, dk, dv, dout, out, lse, q, k, v, bounds)
		agree(t, r, "dq", dq.F, q.F, forward)
		agree(t, r, "dk", dk.F, k.F, forward)
		agree(t, r, "dv", dv.F, v.F, forward)

		// A cache with a row per span, extended by runs of every length, in three calls; what is beyond them is NaN.
		const capacity = 135
		kc := make([]float64, len(bounds)*c.kvHeads*KeyCacheLen(capacity, c.d))
		vc := make([]float64, len(bounds)*c.kvHeads*capacity*c.d)
		for _, f := range [][]float64{kc, vc} {
			for i := range f {
				f[i] = math.NaN()
			}
		}
		for call := range 3 {
			var runs []Run
			var order []int
			for s := 1; s < len(bounds); s++ {
				first, length := int(bounds[s-1]), int(bounds[s]-bounds[s-1])
				past, end := length/3, length
				switch call {
				case 0:
					past, end = 0, past
				case 1:
					end = min(end, past+1)
				default:
					past = min(end, past+1)
				}
				if past == end {
					continue
				}
				runs = append(runs, Run{Row: s - 1, Past: past, First: len(order), Len: end - past})
				for p := past; p < end; p++ {
					order = append(order, first+p)
				}
			}
			cq, cout := padded(r, len(order), c.heads*c.d), padded(r, len(order), c.heads*c.d)
			ck, cv := padded(r, len(order), c.kvHeads*c.d), padded(r, len(order), c.kvHeads*c.d)
			for i, p := range order {
				copy(row(cq, i), row(q, p))
				copy(row(ck, i), row(k, p))
				copy(row(cv, i), row(v, p))
			}
			l.Cached(cout, cq, ck, cv, kc, vc, capacity, runs)
			for i, p := range order {
				for j, o := range row(cout, i) {
					if e := math.Abs(o - row(want, p)[j]); !(e < 1e-13) {
						t.Fatalf("%+v: call %d, cached position %d: %v, want %v", c, call, p, o, row(want, p)[j])
					}
				}
			}
		}
	}
}

// checkCausal changes one position's query, key and value and wants the output of those before it, and the gradients
// of losses before it, to keep their bits. run computes attention over one span of n positions.
func checkCausal(r *rand.Rand, n, width, at int, run func(out, q, k, v kernel.Mat[float32])) error {
	random := func() kernel.Mat[float32] {
		f := make([]float32, n*width)
		for i := range f {
			f[i] = float32(r.NormFloat64())
		}
		return kernel.Dense(f, n, width)
	}
	q, k, v, before, after := random(), random(), random(), random(), random()
	run(before, q, k, v)
	for _, m := range []kernel.Mat[float32]{q, k, v} {
		for c := range row(m, at) {
			row(m, at)[c] *= -3
		}
	}
	run(after, q, k, v)
	for i := range at {
		if !slices.Equal(row(before, i), row(after, i)) {
			return fmt.Errorf("position %d sees position %d", i, at)
		}
	}
	if slices.Equal(before.F, after.F) {
		return fmt.Errorf("nobody sees position %d", at)
	}
	return nil
}

func TestAttentionIsCausal(t *testing.T) {
	const n, d = 450, 8 // more keys than the multiplies sum at a time
	for _, tier := range kernel.Tiers() {
		x, r := newExec(t, tier), random(t)
		l := NewAttention(x, 2, 2, d, n, plainScores(d), make([]float32, AttentionLen(x.Workers(), n)))
		lse := make([]float32, 2*n)
		honest := func(out, q, k, v kernel.Mat[float32]) { l.Forward(out, lse, q, k, v, []int32{0, n}) }
		// The planted fault turns time round: every position sees its future and not its past.
		turn := func(m kernel.Mat[float32]) kernel.Mat[float32] {
			f := make([]float32, len(m.F))
			for i := range n {
				copy(f[i*m.Cols:], row(m, n-1-i))
			}
			return kernel.Dense(f, n, m.Cols)
		}
		leaky := func(out, q, k, v kernel.Mat[float32]) {
			l.Forward(out, lse, turn(q), turn(k), turn(v), []int32{0, n})
			copy(out.F, turn(out).F)
		}
		for _, at := range []int{0, 1, 63, 64, 65, 100, 383, 384, 385, 447, 448, 449} {
			if err := checkCausal(r, n, 2*d, at, honest); err != nil {
				t.Errorf("%s: %v", tier, err)
			}
		}
		if checkCausal(r, n, 2*d, 70, leaky) == nil {
			t.Errorf("%s: attention to the future was not found out", tier)
		}
	}
}

func TestMisusePanics(t *testing.T) {
	x := newExec(t, kernel.Generic)
	mat := func(rows, cols int) kernel.Mat[float64] { return kernel.Dense(make([]float64, rows*cols), rows, cols) }
	for name, misuse := range map[string]func(){
		"short gain": func() {
			NewNorm(x, stageFor(x, 4), nil, 4, 1e-5).Forward(mat(2, 4), nil, make([]float64, 2), make([]float64, 8),
				make([]float64, 3), nil, 2)
		},
		"span beyond the context": func() {
			NewAttention(x, 1, 1, 2, 4, plainScores(2), make([]float64, AttentionLen(x.Workers(), 4))).
				Forward(mat(5, 2), make([]float64, 5), mat(5, 2), mat(5, 2), mat(5, 2), []int32{0, 5})
		},
		"short tables": func() { RopeTables(make([]float64, 6), make([]float64, 6), 4, []float64{1, 0.1}, 1) },
		"all dropped":  func() { NewDropout[float64](1) },
		"token outside the table": func() {
			NewEmbedding(x, 2, 1, NewDropout[float64](0)).Forward(make([]float64, 2), []int32{9}, []int32{0},
				make([]float64, 8), nil, Masks{})
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			misuse()
		}()
	}
}
