package nn

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/kernel"
)

// operand returns a random bfloat16 matrix and its values. What lies between the rows, and after them, is NaN: nothing
// may read it.
func operand(x *kernel.Exec, r *rand.Rand, rows, cols int) (kernel.Mat[float32], kernel.Mat[float64]) {
	n, stride := kernel.OperandLen(rows, cols)
	m := kernel.Mat[float32]{H: make([]uint16, n), Rows: rows, Cols: cols, Stride: stride}
	for i := range m.H {
		m.H[i] = 0x7fc0
	}
	values := kernel.Dense(make([]float64, rows*cols), rows, cols)
	line := make([]float32, cols)
	for i := range rows {
		for c := range line {
			line[c] = float32(r.NormFloat64())
		}
		kernel.ToBF16(x, m.RowH(i), line)
		kernel.FromBF16(x, line, m.RowH(i))
		for c, v := range line {
			row(values, i)[c] = float64(v)
		}
	}
	return m, values
}

// relative is the Frobenius norm of got−want over that of want.
func relative(got func(i int) float64, want kernel.Mat[float64]) float64 {
	diff, norm := 0.0, 0.0
	for i := range want.Rows {
		for c, v := range row(want, i) {
			d := got(i*want.Cols+c) - v
			diff += d * d
			norm += v * v
		}
	}
	return math.Sqrt(diff / norm)
}

// TestAttention16 compares with the float64 twin on the same operands.
func TestAttention16(t *testing.T) {
	const context = 260
	bounds := []int32{0, 1, 3, 3, 6, 76, 206, 213, 213 + context} // one is empty, several have more than one block
	n := int(bounds[len(bounds)-1])
	for _, tier := range kernel.Tiers() {
		x := newExec(t, tier)
		if x.BF16() == "" && tier != kernel.Generic {
			continue
		}
		for _, c := range []struct {
			heads, kvHeads, d int
			Scores
		}{{1, 1, 2, plainScores(2)}, {4, 2, 6, plainScores(6)}, {3, 1, 64, plainScores(64)},
			{2, 2, 128, plainScores(128)},
			{4, 2, 6, Scores{0.5, 2, 0}}, {3, 1, 64, Scores{0.1, 0, 40}}, {2, 2, 32, Scores{0.2, 3, 100}}} {
			r := random(t)
			hd, kd := c.heads*c.d, c.kvHeads*c.d
			qkv, values := operand(x, r, n, hd+2*kd)
			dout, dout64 := operand(x, r, n, hd)
			out, _ := operand(x, r, n, hd)
			halves, floats := Attention16Len(x.Workers(), context, c.d)
			l := NewAttention16(x, c.heads, c.kvHeads, c.d, context, c.Scores, make([]uint16, halves),
				make([]float32, floats))
			lse := make([]float32, n*c.heads)
			l.Forward(out, lse, qkv, bounds)

			// The twin scales scores itself.
			q := kernel.Dense(make([]float64, n*hd), n, hd)
			for i := range n {
				for j, v := range row(values.Columns(0, hd), i) {
					row(q, i)[j] = v / c.Scale
				}
			}
			k, v := values.Columns(hd, hd+kd), values.Columns(hd+kd, hd+2*kd)
			twin := NewAttention(x, c.heads, c.kvHeads, c.d, context, c.Scores,
				make([]float64, AttentionLen(x.Workers(), context)))
			out64, lse64 := kernel.Dense(make([]float64, n*hd), n, hd), make([]float64, n*c.heads)
			twin.Forward(out64, lse64, q, k, v, bounds)
			widened := make([]float32, hd)
			if e := relative(func(at int) float64 {
				kernel.FromBF16(x, widened, out.RowH(at/hd))
				return float64(widened[at%hd])
			}, out64); !(e < 0.004) {
				t.Errorf("%s, %+v: outputs differ by %.5f", tier, c, e)
			}
			for i, v := range lse64 {
				if !(math.Abs(float64(lse[i])-v) < 1e-5*max(1, math.Abs(v))) {
					t.Fatalf("%s, %+v: lse[%d] is %v, want %v", tier, c, i, lse[i], v)
				}
			}

			dpart, _ := operand(x, r, n, 3*hd)
			l.Backward(dpart, dout, out, lse, qkv, bounds)
			dq, dk, dv := kernel.Dense(make([]float64, n*hd), n, hd), kernel.Dense(make([]float64, n*kd), n, kd),
				kernel.Dense(make([]float64, n*kd), n, kd)
			twin.Backward(dq, dk, dv, dout64, out64, lse64, q, k, v, bounds)
			group := c.heads / c.kvHeads
			wide := kernel.Dense(make([]float32, n*3*hd), n, 3*hd)
			for i := range n {
				kernel.FromBF16(x, wide.RowF(i), dpart.RowH(i))
			}
			summed := func(part int) func(at int) float64 {
				return func(at int) (sum float64) {
					for j := range group {
						sum += float64(wide.RowF(at / kd)[part*hd+(at%kd/c.d*group+j)*c.d+at%c.d])
					}
					return sum
				}
			}
			for name, e := range map[string]float64{
				"dq": relative(func(at int) float64 { return float64(wide.RowF(at / hd)[at%hd]) }, dq),
				"dk": relative(summed(1), dk),
				"dv": relative(summed(2), dv),
			} {
				if !(e < 0.008) {
					t.Errorf("%s, %+v: %s differs by %.5f", tier, c, name, e)
				}
			}

			// Shares of the work change no bits.
			for _, workers := range []int{1, 3} {
				y, err := kernel.NewExec(workers, tier)
				if err != nil {
					t.Fatal(err)
				}
				halves, floats := Attention16Len(workers, context, c.d)
				other := NewAttention16(y, c.heads, c.kvHeads, c.d, context, c.Scores, make([]uint16, halves),
					make([]float32, floats))
				out2, lse2 := out, make([]float32, len(lse))
				out2.H = slices.Clone(out.H)
				other.Forward(out2, lse2, qkv, bounds)
				dpart2 := dpart
				dpart2.H = slices.Clone(dpart.H)
				for i := range n {
					clear(dpart2.RowH(i))
				}
				other.Backward(dpart2, dout, out2, lse2, qkv, bounds)
				if !slices.Equal(out2.H, out.H) || !slices.Equal(lse2, lse) || !slices.Equal(dpart2.H, dpart.H) {
					t.Errorf("%s, %+v: %d workers give other bits", tier, c, workers)
				}
				y.Close()
			}
		}
	}
}
