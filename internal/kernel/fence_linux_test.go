package kernel

import (
	"testing"

	"gimbal/internal/testmem"
)

// TestFences lets every kernel work against pages that cannot be read: a vector that runs over an edge of an operand
// ends the test program, even if what it read was not used.
func TestFences(t *testing.T) {
	var fences []*testmem.Fence
	for range 6 {
		fences = append(fences, testmem.NewFence(t))
	}
	for _, tier := range Tiers() {
		x := newExec(t, 1, tier)
		for _, end := range []bool{true, false} {
			for _, c := range vectorCases() {
				for _, n := range lengths {
					if n*4 > fences[0].Size() {
						continue
					}
					var s [][]float32
					for i := range c.outs + c.ins {
						s = append(s, fences[i].Take(n, end))
					}
					c.call(x, s[:c.outs], s[c.outs:])
				}
			}
			depths := []int{1, 3, 4, 7, 16}
			for m := 1; m <= 20; m++ {
				for n := 1; n <= 37; n++ {
					k := depths[(m+n)%len(depths)]
					for flags := range 8 {
						transA, transB := flags&1 != 0, flags&2 != 0
						a, b, out := fences[0].Take(m*k, end), fences[1].Take(k*n, end), fences[2].Take(m*n, end)
						lda, ldb := k, n
						if transA {
							lda = m
						}
						if transB {
							ldb = k
						}
						want := float32(0)
						for l := range k {
							ia, ib := l, l*ldb
							if transA {
								ia = l * lda
							}
							if transB {
								ib = l
							}
							want += a[ia] * b[ib] // exact: small multiples of a quarter
						}
						if flags&4 != 0 {
							want += out[0]
						}
						Gemm(x, 0, transA, transB, m, n, k, 1, a, lda, b, ldb, float32(flags>>2), out, n)
						if out[0] != want {
							t.Fatalf("%v: m %d n %d k %d flags %d: element 0 is %g, want %g",
								tier, m, n, k, flags, out[0], want)
						}
					}
				}
			}
			// The panels of packed operands lie in scratch, but what is packed does not.
			for _, n := range []int{1, 7, 15, 33} {
				w, in, out := fences[0].Take(13*21, end), 21, 13
				src, y := fences[1].Take(n*in, end), fences[2].Take(n*out, end)
				dx := fences[3].Take(n*in, end)
				h := NewWeights(w, out, in)
				h.Refresh(x)
				h.Forward(x, Dense(y, n, out), Dense(src, n, in), n)
				h.BackInput(x, Dense(dx, n, in), Dense(y, n, out), n)
				h.BackWeight(x, fences[4].Take(out*in, end), Dense(y, n, out), Dense(src, n, in), n)
			}
		}
	}
}
