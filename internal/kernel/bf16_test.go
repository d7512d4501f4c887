package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"gimbal/internal/testmem"
)

// guarded16 returns n random bfloat16 numbers at any even address between guard
// words, and a function that checks these.
type arena16 struct {
	r      *rand.Rand
	outer  [][]uint16
	inner  []int
	frozen [][]uint16
	names  []string
}

const (
	guardWords = 40
	guard16    = 0x7fb1 // a NaN: what is read by mistake is seen, too
)

func (a *arena16) random(name string, n int, input bool) []uint16 {
	offset := guardWords + a.r.IntN(32)
	o := make([]uint16, offset+n+guardWords)
	for i := range o {
		o[i] = guard16
	}
	s := o[offset : offset+n : offset+n]
	for i := range s {
		s[i] = roundBF16(float32(a.r.NormFloat64()))
	}
	var copied []uint16
	if input {
		copied = append(copied, s...)
	}
	a.outer, a.inner = append(a.outer, o), append(a.inner, offset)
	a.frozen, a.names = append(a.frozen, copied), append(a.names, name)
	return s
}

// rows returns a (rows, cols) matrix; what lies between its rows is NaN.
func (a *arena16) rows(name string, rows, cols int, input bool) Mat[float32] {
	stride := cols + a.r.IntN(40)
	h := a.random(name, (rows-1)*stride+cols, input)
	for i := range h {
		if i%stride >= cols {
			h[i] = guard16
			if input {
				a.frozen[len(a.frozen)-1][i] = guard16
			}
		}
	}
	return Mat[float32]{H: h, Rows: rows, Cols: cols, Stride: stride}
}

func (a *arena16) check(t *testing.T, what string) {
	t.Helper()
	for i, o := range a.outer {
		n := len(o) - a.inner[i] - guardWords
		for j, v := range o {
			if (j < a.inner[i] || j >= a.inner[i]+n) && v != guard16 {
				t.Fatalf("%s: guard word %d of %s (length %d) overwritten", what, j-a.inner[i], a.names[i], n)
			}
		}
		for j, v := range a.frozen[i] {
			if o[a.inner[i]+j] != v {
				t.Fatalf("%s: input %s[%d] changed", what, a.names[i], j)
			}
		}
	}
}

func widened(h []uint16) []float32 {
	f := make([]float32, len(h))
	fromBF16Go(f, h)
	return f
}

// frobenius returns |got-want| / |want|, and fails for NaN.
func frobenius(t *testing.T, what string, got []float32, ld, m, n int, want []float64, bound float64) {
	t.Helper()
	var d, s float64
	for i := range m {
		for j := range n {
			e := float64(got[i*ld+j]) - want[i*n+j]
			d += e * e
			s += want[i*n+j] * want[i*n+j]
		}
	}
	if e := math.Sqrt(d / s); !(e < bound) {
		t.Fatalf("%s: relative error %.2g, more than %.2g", what, e, bound)
	}
}

func TestWeightsBF16(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		shapes := [][3]int{{1, 1, 1}, {1, 40, 70}, {2, 33, 384}, {16, 32, 16}, {17, 31, 385}, {1, 100, 50},
			{31, 65, 500}, {32, 383, 64}, {33, 96, 96}, {100, 17, 23}, {385, 40, 45}, {33, 1, 70}, {70, 70, 1},
			{40, 800, 30}, {384, 64, 64}, {390, 192, 800}, {5, 50, 3100}, {65, 3110, 33}}
		for _, s := range shapes {
			if testing.Short() && s[0]*s[1]*s[2] > 1<<20 {
				continue // the twin is slow
			}
			weightsBF16(t, x, r, s[0], s[1], s[2])
		}
	})
}

func weightsBF16(t *testing.T, x *Exec, r *rand.Rand, n, out, in int) {
	what := fmt.Sprintf("n %d out %d in %d", n, out, in)
	a16, a32 := &arena16{r: r}, testmem.NewArena[float32](r)
	w := a32.Random("w", out*in, true)
	rounded := make([]float32, len(w))
	for i, v := range w {
		rounded[i] = widenBF16(roundBF16(v))
	}
	packed := a16.random("packed", WeightsBF16Len(out, in), false)
	for i := range packed {
		packed[i] = guard16
	}
	h := NewWeightsBF16In(w, packed, out, in)
	src, dy := a16.rows("src", n, in, true), a16.rows("dy", n, out, true)
	fsrc, fdy := widened(src.H), widened(dy.H)
	h.Refresh(x)
	f32 := func(name string, cols int) Mat[float32] {
		ld := cols + r.IntN(20)
		return Mat[float32]{F: a32.Random(name, (n-1)*ld+cols, false), Rows: n, Cols: cols, Stride: ld}
	}
	wantY, _ := reference(n, out, in, fsrc, src.Stride, 1, rounded, 1, in)
	wantDX, _ := reference(n, in, out, fdy, dy.Stride, 1, rounded, in, 1)
	y, dx := f32("y", out), f32("dx", in)
	betweenY, betweenDX := append([]float32(nil), y.F...), append([]float32(nil), dx.F...)
	h.Forward(x, y, src, n)
	h.BackInput(x, dx, dy, n)
	frobenius(t, what+" Forward", y.F, y.Stride, n, out, wantY, 1e-5)
	frobenius(t, what+" BackInput", dx.F, dx.Stride, n, in, wantDX, 1e-5)
	unwritten(t, what+" Forward", y.F, betweenY, y.Stride, out)
	unwritten(t, what+" BackInput", dx.F, betweenDX, dx.Stride, in)
	y16, dx16 := a16.rows("y16", n, out, false), a16.rows("dx16", n, in, false)
	h.Forward(x, y16, src, n)
	h.BackInput(x, dx16, dy, n)
	for _, c := range []struct {
		name string
		h    Mat[float32]
		f    Mat[float32]
	}{{"Forward", y16, y}, {"BackInput", dx16, dx}} {
		for i := range c.h.H {
			want := uint16(guard16)
			if row, col := i/c.h.Stride, i%c.h.Stride; col < c.h.Cols {
				if out > slab && c.name == "BackInput" || in > slab {
					continue // the sums are cut where they can be stored in between
				}
				want = roundBF16(c.f.F[row*c.f.Stride+col])
			}
			if c.h.H[i] != want {
				t.Fatalf("%s %s in bfloat16: element %d is %#x, want %#x", what, c.name, i, c.h.H[i], want)
			}
		}
	}
	dw := a32.Random("dw", out*in, false)
	before := append([]float32(nil), dw...)
	h.BackWeight(x, dw, dy, src, n)
	want, _ := reference(out, in, n, fdy, 1, dy.Stride, fsrc, src.Stride, 1)
	for i, v := range before {
		want[i] += float64(v)
	}
	frobenius(t, what+" BackWeight", dw, in, out, in, want, 1e-5)
	a16.check(t, what)
	a32.Check(t, what)
}

// unwritten checks that what lies between the rows is what it was.
func unwritten(t *testing.T, what string, got, before []float32, stride, cols int) {
	t.Helper()
	for i, v := range got {
		if i%stride >= cols && v != before[i] {
			t.Fatalf("%s: wrote between the rows at %d", what, i)
		}
	}
}

func randomOperand(rows, cols int) Mat[float32] {
	m := NewOperand(rows, cols)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rows {
		row := m.RowH(i)
		for j := range row {
			row[j] = roundBF16(float32(r.NormFloat64()))
		}
	}
	return m
}

// eachBF16 runs the test on every tier with bfloat16 kernels of its own.
func eachBF16(t *testing.T, f func(t *testing.T, x *Exec)) {
	for _, tier := range Tiers() {
		if k, _ := tableOf(tier); tier == Generic || k.bf16.name != "" {
			t.Run(tier.String(), func(t *testing.T) { f(t, newExec(t, 2, tier)) })
		}
	}
}
