package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/testmem"
)

// reference computes op(A)·op(B) of strided matrices in float64, and the sum of
// the absolute values of the terms, which scales the error bound.
func reference[T Float](m, n, k int, a []T, rs, ks int, b []T, bks, bcs int) (c, size []float64) {
	c, size = make([]float64, m*n), make([]float64, m*n)
	for i := range m {
		for j := range n {
			var s, z float64
			for l := range k {
				v := float64(a[i*rs+l*ks]) * float64(b[l*bks+j*bcs])
				s += v
				z += math.Abs(v)
			}
			c[i*n+j], size[i*n+j] = s, z
		}
	}
	return c, size
}

func epsilon[T Float]() float64 {
	if T(1)+T(1e-10) == 1 {
		return 1.0 / (1 << 24)
	}
	return 1.0 / (1 << 53)
}

// near checks got against want; 16 rounding units of the sum of absolute terms
// is some four times the error of a random sum of a thousand.
func near[T Float](t *testing.T, what string, got []T, ld, m, n int, want, size []float64) {
	t.Helper()
	for i := range m {
		for j := range n {
			g, w := float64(got[i*ld+j]), want[i*n+j]
			if !(math.Abs(g-w) <= 16*epsilon[T]()*(size[i*n+j]+math.Abs(w))) {
				t.Fatalf("%s: element (%d,%d) is %g, want %g", what, i, j, g, w)
			}
		}
	}
}

// edges are sizes around the tiles of every tier.
var edges = []int{1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 17, 29, 31, 32, 33, 47, 64, 65}

func TestGemm(t *testing.T) {
	eachTier(t, testGemm[float32], testGemm[float64])
}

func testGemm[T Float](t *testing.T, x *Exec) {
	r := newRand(t)
	depths := []int{1, 2, 3, 4, 5, 8, 15, 16, 17, 64, 100, kBlock - 1, kBlock, kBlock + 1, 2*kBlock + 7}
	for trial := range 200 {
		pick := func(s []int) int { return s[r.IntN(len(s))] }
		m, n, k := pick(edges), pick(edges), pick(depths)
		if trial%8 == 0 {
			k = 0
		} else if trial%8 == 1 {
			m, n, k = 1+r.IntN(100), 1+r.IntN(800), 1+r.IntN(50)
		} else if trial == 2 {
			m, n, k = 50, 700, 200 // B is packed
		}
		gemmOnce[T](t, x, r, trial&1 != 0, trial&2 != 0, trial&4 != 0, m, n, k)
	}
}

func gemmOnce[T Float](t *testing.T, x *Exec, r *rand.Rand, transA, transB, add bool, m, n, k int) {
	ar := testmem.NewArena[T](r)
	what := fmt.Sprintf("transA %v transB %v add %v m %d n %d k %d", transA, transB, add, m, n, k)
	stored := func(name string, rows, cols int, trans bool) ([]T, int, int, int) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + r.IntN(9)
		s := ar.Random(name, max((rows-1)*ld+cols, 0), true)
		if trans {
			return s, ld, 1, ld
		}
		return s, ld, ld, 1
	}
	a, lda, rs, ks := stored("a", m, k, transA)
	b, ldb, bks, bcs := stored("b", k, n, transB)
	ldc := n + r.IntN(9)
	c := ar.Random("c", (m-1)*ldc+n, false)
	alpha := T([]float64{1, 0.125, -1.7}[r.IntN(3)])
	want, size := reference(m, n, k, a, rs, ks, b, bks, bcs)
	before := append([]T(nil), c...)
	beta := T(0)
	for i := range m {
		for j := range n {
			want[i*n+j] *= float64(alpha)
			size[i*n+j] *= math.Abs(float64(alpha))
			if add {
				beta = 1
				want[i*n+j] += float64(c[i*ldc+j])
				size[i*n+j] += math.Abs(float64(c[i*ldc+j]))
			} else {
				c[i*ldc+j] = T(math.NaN()) // must not be read
			}
		}
	}
	Gemm(x, 1, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	near(t, what, c, ldc, m, n, want, size)
	for i, v := range c {
		if i%ldc >= n && v != before[i] {
			t.Fatalf("%s: wrote between the rows of c", what)
		}
	}
	ar.Check(t, what)
}

// TestGemmBlocks wants the bits of Gemm on the same matrices.
// Syrk has the bits of Gemm below the diagonal, and the same above it. Sizes are on both sides of what is packed.
func TestSyrk(t *testing.T) {
	eachTier(t, testSyrk[float32], testSyrk[float64])
}

func testSyrk[T Float](t *testing.T, x *Exec) {
	r := newRand(t)
	for trial, size := range [][2]int{{1, 1}, {3, 5}, {5, 3}, {17, 64}, {31, kBlock + 1}, {64, 33}, {130, 70}, {100, 700},
		{260, 259}} {
		n, k := size[0], size[1]
		for _, trans := range []bool{false, true} {
			rows, lda := n, k+trial%3
			if trans {
				rows, lda = k, n+trial%3
			}
			a := testmem.NewArena[T](r).Random("a", rows*lda, true)
			ldc := n + trial%2
			c := testmem.NewArena[T](r).Random("c", n*ldc, true)
			want := slices.Clone(c)
			beta := T(trial % 2)
			Gemm(x, 0, trans, !trans, n, n, k, 0.5, a, lda, a, lda, beta, want, ldc)
			Syrk(x, 0, trans, n, k, 0.5, a, lda, beta, c, ldc)
			for i := range n {
				for j := range n {
					w := want[max(i, j)*ldc+min(i, j)]
					if got := c[i*ldc+j]; math.Float64bits(float64(got)) != math.Float64bits(float64(w)) {
						t.Fatalf("n %d k %d trans %v: element (%d,%d) is %g, want %g", n, k, trans, i, j, got, w)
					}
				}
			}
		}
	}
}

func TestGemmBlocks(t *testing.T) {
	eachTier(t, testGemmBlocks[float32], testGemmBlocks[float64])
}

func testGemmBlocks[T Float](t *testing.T, x *Exec) {
	r := newRand(t)
	for range 100 {
		m, n, k := edges[r.IntN(len(edges))], 1+r.IntN(150), 1+r.IntN(80)
		if r.IntN(8) == 0 {
			k += kBlock
		}
		ar := testmem.NewArena[T](r)
		lda, ldc := k+r.IntN(9), n+r.IntN(9)
		a, b := ar.Random("a", (m-1)*lda+k, true), ar.Random("b", k*n, true)
		blocks := ar.Random("blocks", (n+BlockCols-1)/BlockCols*BlockCols*k, false)
		for i := range blocks {
			blocks[i] = T(math.NaN()) // what is beyond column n must not matter
		}
		for l := range k {
			for j := range n {
				blocks[(j/BlockCols*k+l)*BlockCols+j%BlockCols] = b[l*n+j]
			}
		}
		c := ar.Random("c", (m-1)*ldc+n, false)
		want := append([]T(nil), c...)
		Gemm(x, 1, false, false, m, n, k, 0.125, a, lda, b, n, 0, want, ldc)
		GemmBlocks(x, m, n, k, 0.125, a, lda, blocks, c, ldc)
		what := fmt.Sprintf("blocks m %d n %d k %d", m, n, k)
		same(t, what, c, want)
		ar.Check(t, what)
	}
}

func TestWeights(t *testing.T) {
	eachTier(t, testWeights[float32], testWeights[float64])
}

// testWeights compares the three multiplies with the oracle.
func testWeights[T Float](t *testing.T, x *Exec) {
	r := newRand(t)
	shapes := [][3]int{{1, 1, 1}, {2, 33, 384}, {14, 32, 16}, {15, 31, 385}, {1, 100, 50}, {5, 65, 500}, {29, 300, 64},
		{100, 17, 23}, {400, 40, 45}, {33, 1, 70}, {70, 70, 1}, {40, 800, 30}}
	for _, shape := range shapes {
		n, out, in := shape[0], shape[1], shape[2]
		what := fmt.Sprintf("n %d out %d in %d", n, out, in)
		ar := testmem.NewArena[T](r)
		w := ar.Random("w", out*in, true)
		mat := func(name string, cols int, input bool) Mat[T] {
			ld := cols + r.IntN(3)*8
			return Mat[T]{F: ar.Random(name, (n-1)*ld+cols, input), Rows: n, Cols: cols, Stride: ld}
		}
		src, dy := mat("src", in, true), mat("dy", out, true)
		y, dx := mat("y", out, false), mat("dx", in, false)
		dw := ar.Random("dw", out*in, false)
		before := append([]T(nil), dw...)
		h := NewWeights(w, out, in)
		h.Refresh(x)
		h.Forward(x, y, src, n)
		h.BackInput(x, dx, dy, n)
		h.BackWeight(x, dw, dy, src, n)
		want, size := reference(n, out, in, src.F, src.Stride, 1, w, 1, in)
		near(t, what+" Forward", y.F, y.Stride, n, out, want, size)
		want, size = reference(n, in, out, dy.F, dy.Stride, 1, w, in, 1)
		near(t, what+" BackInput", dx.F, dx.Stride, n, in, want, size)
		want, size = reference(out, in, n, dy.F, 1, dy.Stride, src.F, src.Stride, 1)
		for i, v := range before {
			want[i] += float64(v)
			size[i] += math.Abs(float64(v))
		}
		near(t, what+" BackWeight", dw, in, out, in, want, size)
		ar.Check(t, what)
	}
}

func TestWeightsBits(t *testing.T) {
	eachTier(t, testWeightsBits[float32], testWeightsBits[float64])
}

// testWeightsBits checks that the bits of the three multiplies depend neither on the number of workers nor, for the
// first two, on how many rows there are or where a row stands.
func testWeightsBits[T Float](t *testing.T, x *Exec) {
	r := newRand(t)
	for _, shape := range [][3]int{{70, 100, 800}, {200, 65, 130}, {9, 200, 400}} {
		n, out, in := shape[0], shape[1], shape[2]
		random := func(k int) []T {
			s := make([]T, k)
			for i := range s {
				s[i] = T(r.NormFloat64())
			}
			return s
		}
		h := NewWeights(random(out*in), out, in)
		src, dy, dw0 := Dense(random(n*in), n, in), Dense(random(n*out), n, out), random(out*in)
		run := func(x *Exec) (y, dx Mat[T], dw []T) {
			y, dx = Dense(make([]T, n*out), n, out), Dense(make([]T, n*in), n, in)
			dw = append([]T(nil), dw0...)
			h.Refresh(x)
			h.Forward(x, y, src, n)
			h.BackInput(x, dx, dy, n)
			h.BackWeight(x, dw, dy, src, n)
			return
		}
		y, dx, dw := run(x)
		for _, workers := range []int{1, 3, 5} {
			x2 := newExec(t, workers, x.Tier())
			y2, dx2, dw2 := run(x2)
			same(t, fmt.Sprintf("%v: %d workers against 2: Forward", shape, workers), y2.F, y.F)
			same(t, fmt.Sprintf("%v: %d workers against 2: BackInput", shape, workers), dx2.F, dx.F)
			same(t, fmt.Sprintf("%v: %d workers against 2: BackWeight", shape, workers), dw2, dw)
		}
		for _, part := range []int{1, 2, 7, 15} {
			for i := 0; i+part <= n; i += 1 + r.IntN(n) {
				y2, dx2 := make([]T, part*out), make([]T, part*in)
				h.Forward(x, Dense(y2, part, out), Dense(src.F[i*in:], part, in), part)
				h.BackInput(x, Dense(dx2, part, in), Dense(dy.F[i*out:], part, out), part)
				same(t, fmt.Sprintf("%v: rows %d+%d alone: Forward", shape, i, part), y2, y.F[i*out:(i+part)*out])
				same(t, fmt.Sprintf("%v: rows %d+%d alone: BackInput", shape, i, part), dx2, dx.F[i*in:(i+part)*in])
			}
		}
		// Gemm on the same operands is the same sum.
		y2 := make([]T, n*out)
		Gemm(x, 0, false, true, n, out, in, 1, src.F, in, h.w, in, 0, y2, out)
		same(t, fmt.Sprintf("%v: Gemm", shape), y2, y.F)
	}
}

func same[T Float](t *testing.T, what string, got, want []T) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: element %d is %g, not %g", what, i, got[i], want[i])
		}
	}
}

// TestAscendingOrder checks the documented order of summation: blocks of kBlock terms from zero, added in ascending
// order. The numbers make any other order of the blocks or of the terms give another result.
func TestAscendingOrder(t *testing.T) {
	eachTier(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		const k = 3*kBlock + 50
		a, one := make([]float32, k), make([]float32, k)
		for i := range a {
			a[i], one[i] = float32(r.NormFloat64()*math.Exp(5*r.NormFloat64())), 1
		}
		var want float32
		for l0 := 0; l0 < k; l0 += kBlock {
			var s float32
			for _, v := range a[l0:min(l0+kBlock, k)] {
				s += v // products with 1 are exact, fused or not
			}
			want += s
		}
		var got [1]float32
		Gemm(x, 0, false, false, 1, 1, k, 1, a, k, one, 1, 0, got[:], 1)
		if got[0] != want {
			t.Errorf("sum is %v, in the documented order it is %v", got[0], want)
		}
	}, nil)
}

func TestMisusePanics(t *testing.T) {
	x := newExec(t, 1, Generic)
	f := make([]float32, 100)
	w := NewWeights(f[:20], 4, 5)
	for name, c := range map[string]struct {
		want string
		call func()
	}{
		"weights": {"kernel: short weight", func() { NewWeights(f, 3, 5) }},
		"columns": {"kernel: wrong number of columns", func() { w.Forward(x, Dense(f, 2, 5), Dense(f, 2, 5), 2) }},
		"rows":    {"kernel: short matrix", func() { w.Forward(x, Dense(f, 2, 4), Dense(f, 2, 5), 3) }},
		"dw": {"kernel: short weight gradient",
			func() { w.BackWeight(x, f[:19], Dense(f, 2, 4), Dense(f, 2, 5), 2) }},
		"kind": {"kernel: operand of a kind this weight does not take", func() {
			w.Forward(x, Dense(f, 2, 4), Mat[float32]{H: make([]uint16, 10), Rows: 2, Cols: 5, Stride: 5}, 2)
		}},
		"beta": {"kernel: beta must be 0 or 1", func() { Gemm(x, 0, false, false, 1, 1, 1, 1, f, 1, f, 1, 2, f, 1) }},
		"gemm": {"kernel: short matrix", func() { Gemm(x, 0, false, false, 10, 10, 11, 1, f, 10, f, 10, 0, f, 10) }},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != c.want {
					t.Errorf("panic %v, want %q", got, c.want)
				}
			}()
			c.call()
		})
	}
}
