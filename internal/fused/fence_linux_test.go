package fused

import (
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/testmem"
)

// TestRowFences lets every function work against pages that cannot be read: a vector that runs over an edge of a row
// ends the test program, even if what it read was not used.
func TestRowFences(t *testing.T) {
	var f []*testmem.Fence
	for range 6 {
		f = append(f, testmem.NewFence(t))
	}
	for _, tier := range kernel.Tiers() {
		x := newExec(t, 1, tier)
		for _, end := range []bool{true, false} {
			for n := 1; n < 140; n++ {
				temp := make([]float32, 5*n)
				a, b, c, d := f[0].Take(n, end), f[1].Take(n, end), f[2].Take(n, end), f[3].Take(n, end)
				h, g := f[4].Take16(n, end), f[5].Take16(n, end)
				hr, gr := bf(h), bf(g)
				mean, rstd := LayerNorm(x, hr, a, b, c, 1e-5, temp)
				LayerNormBack(x, d, b, c, hr, a, temp[:n], mean, rstd, temp[n:])
				LayerNormBack(x, d, temp[:n], c, hr, a, b, mean, rstd, temp[n:])
				rstd = RMSNorm(x, hr, a, b, 1e-5, temp)
				RMSNormBack(x, d, c, hr, a, b, rstd, temp)
				Add(x, a, b, hr, c, temp)
				Add(x, a, b, hr, nil, temp)
				RoundSum(x, hr, a, b)
				GELU(x, hr, gr, a, temp)
				GELU(x, hr, gr, nil, temp)
				for _, bias := range [][]float32{nil, a} {
					for _, sum := range [][]float32{nil, b} {
						GELUBack(x, hr, hr, gr, bias, sum, temp)
					}
				}
				if n%2 == 0 {
					half := bf(f[0].Take16(n/2, end))
					SwiGLU(x, half, hr, nil, temp)
					SwiGLUBack(x, gr, half, hr, nil, nil, temp)
				}
				Scale(x, hr, a, 0.5, temp)
				Dot(x, h, g, temp)
				if n%headBlock == 0 {
					row := Heads[float32]{Size: n, Bias: a, Gain: b, Scale: 1, Eps: 1e-6,
						Cos: f[2].Take(n/2, end), Sin: f[3].Take(n/2, end)}
					row.Forward(x, 0, hr, gr, []float32{0}, temp)
					row.Backward(x, 0, hr, gr, 1, gr, []float32{1}, make([]float32, n), b, make([]float32, 4*n))
				}
				copy(a, c)
				Softmax(x, h, a)
				SoftmaxBack(x, h, g, a, b, c, d)
				if v := bf16Value(h[0]); v != v {
					t.Fatalf("%v: %d elements: NaN", tier, n)
				}
			}
		}
	}
}
