package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gimbal/internal/testmem"
)

// TestMulPacked compares the serial multiplies with the oracle, on operands whose rows are surrounded by NaN.
func TestMulPacked(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		sizes := []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100}
		depths := []int{1, 2, 3, 31, 32, 33, 64, 70, 383, 384, 385, 416, 450, 800}
		trials := 120
		if testing.Short() {
			trials = 30
		}
		for trial := range trials {
			m, n, k := sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))], depths[r.IntN(len(depths))]
			switch trial % 10 {
			case 0:
				k = 0
			case 1:
				m, n, k = 64, 300+r.IntN(200), 64
			case 2:
				m, n, k = 130+r.IntN(10), 40, 100
			}
			mulPackedOnce(t, x, r, trial&1 != 0, trial&2 != 0, trial&4 != 0, m, n, k)
		}
	})
}

func mulPackedOnce(t *testing.T, x *Exec, r *rand.Rand, transA, transB, add bool, m, n, k int) {
	t.Helper()
	what := fmt.Sprintf("transA %v transB %v add %v m %d n %d k %d", transA, transB, add, m, n, k)
	a16, a32 := &arena16{r: r}, testmem.NewArena[float32](r)
	stored := func(name string, rows, cols int, trans bool) (m Mat[float32], rs, ks int) {
		if trans {
			rows, cols = cols, rows
		}
		if rows == 0 || cols == 0 {
			return Mat[float32]{H: []uint16{}, Stride: cols}, 0, 0
		}
		m = a16.rows(name, rows, cols, true)
		if trans {
			return m, 1, m.Stride
		}
		return m, m.Stride, 1
	}
	a, rs, ks := stored("a", m, k, transA)
	b, bks, bcs := stored("b", k, n, transB)
	packed := a16.random("packed", PackLen(k, n), false)
	for i := range packed {
		packed[i] = guard16
	}
	if transB {
		PackT(x, packed, b.H, n, k, b.Stride)
	} else {
		PackPair(x, packed, b.H, k, n, b.Stride)
	}
	ldc := n + r.IntN(9)
	c := Mat[float32]{F: a32.Random("c", (m-1)*ldc+n, false), Rows: m, Cols: n, Stride: ldc}
	before := slices.Clone(c.F)
	want, size := reference(m, n, k, widened(a.H), rs, ks, widened(b.H), bks, bcs)
	for i := range m {
		for j := range n {
			if add {
				want[i*n+j] += float64(c.F[i*ldc+j])
				size[i*n+j] += math.Abs(float64(c.F[i*ldc+j]))
			} else {
				c.F[i*ldc+j] = float32(math.NaN()) // must not be read
			}
		}
	}
	mul := MulPacked
	if transA {
		mul = MulTransPacked
	}
	mul(x, 1, c, a.H, a.Stride, packed, m, n, k, add)
	near(t, what, c.F, ldc, m, n, want, size)
	unwritten(t, what, c.F, before, ldc, n)
	if !add {
		h := a16.rows("h", m, n, false)
		mul(x, 1, h, a.H, a.Stride, packed, m, n, k, false)
		for i, v := range h.H {
			want := uint16(guard16)
			if i%h.Stride < n {
				want = roundBF16(c.F[i/h.Stride*ldc+i%h.Stride])
			}
			if v != want {
				t.Fatalf("%s in bfloat16: element %d is %#x, want %#x", what, i, v, want)
			}
		}
	}
	a16.check(t, what)
	a32.Check(t, what)
}

// TestPackers compares the packed forms of every tier with their definition.
func TestPackers(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		for _, s := range [][2]int{{1, 1}, {31, 33}, {32, 64}, {33, 31}, {64, 100}, {70, 65}} {
			rows, cols := s[0], s[1]
			a := &arena16{r: r}
			src := a.rows("src", rows, cols, true)
			at := func(i, j int) uint16 {
				if i >= rows || j >= cols {
					return 0
				}
				return src.H[i*src.Stride+j]
			}
			dst := a.random("dst", PackLen(rows, cols), false)
			PackPair(x, dst, src.H, rows, cols, src.Stride)
			steps := roundUp(rows) / 32
			for i := range roundUp(rows) {
				for j := range roundUp(cols) {
					if got := dst[(j/32*steps+i/32)*tileSize+j%32/16*512+i%32/2*32+j%16*2+i%2]; got != at(i, j) {
						t.Fatalf("PackPair %v: element (%d,%d) is %#x, want %#x", s, i, j, got, at(i, j))
					}
				}
			}
			PackT(x, dst, src.H, rows, cols, src.Stride)
			steps = roundUp(cols) / 32
			for j := range roundUp(rows) { // B has its columns here
				for i := range roundUp(cols) {
					if got := dst[(j/32*steps+i/32)*tileSize+j%32/16*512+i%32/2*32+j%16*2+i%2]; got != at(j, i) {
						t.Fatalf("PackT %v: element (%d,%d) is %#x, want %#x", s, i, j, got, at(j, i))
					}
				}
			}
			a.check(t, fmt.Sprint(s))
		}
	})
}

// TestConversions compares both conversions with their definition: every
// bfloat16 number there and back, and what lies between two of them.
func TestConversions(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		for _, n := range []int{0, 1, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100} {
			a16, a32 := &arena16{r: r}, testmem.NewArena[float32](r)
			h, f := a16.random("h", n, false), a32.Random("f", n, true)
			ToBF16(x, h, f)
			for i, v := range f {
				if h[i] != roundBF16(v) {
					t.Fatalf("length %d: %g becomes %#x, want %#x", n, v, h[i], roundBF16(v))
				}
			}
			a16.check(t, "ToBF16")
			a32.Check(t, "ToBF16")
			a16, a32 = &arena16{r: r}, testmem.NewArena[float32](r)
			h, f = a16.random("h", n, true), a32.Random("f", n, false)
			FromBF16(x, f, h)
			for i, v := range h {
				if f[i] != widenBF16(v) {
					t.Fatalf("length %d: %#x becomes %g, want %g", n, v, f[i], widenBF16(v))
				}
			}
			a16.check(t, "FromBF16")
			a32.Check(t, "FromBF16")
		}
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		wide, back := make([]float32, len(all)), make([]uint16, len(all))
		FromBF16(x, wide, all)
		for i, v := range wide {
			if math.Float32bits(v) != uint32(i)<<16 {
				t.Fatalf("%#x widens to %#x", i, math.Float32bits(v))
			}
		}
		for _, low := range []uint32{0, 1, 0x7fff, 0x8000, 0x8001, 0xffff} {
			for i := range wide {
				wide[i] = math.Float32frombits(uint32(i)<<16 | low)
			}
			ToBF16(x, back, wide)
			for i, got := range back {
				exact := float64(wide[i])
				switch v := widenBF16(got); {
				case math.IsNaN(exact):
					if got&0x7fc0 != 0x7fc0 || got>>15 != uint16(i>>15) {
						t.Fatalf("NaN %#x|%#x becomes %#x", i, low, got)
					}
				case math.IsInf(exact, 0) || i&0x7f80 == 0:
					want := uint16(i)
					if i&0x7f80 == 0 {
						want &= 0x8000 // denormal
					}
					if got != want {
						t.Fatalf("%#x|%#x becomes %#x, want %#x", i, low, got, want)
					}
				default:
					// i is the neighbour towards zero, i+1 the other one: nearest, ties to even.
					want := uint16(i)
					if low > 0x8000 || low == 0x8000 && i&1 != 0 {
						want++
					}
					if got != want {
						t.Fatalf("%g becomes %g", exact, v)
					}
				}
			}
		}
	})
}

// TestBF16Accuracy compares products with those of the numbers before they were rounded to bfloat16.
func TestBF16Accuracy(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		const n, out, in = 64, 96, 800
		w, f, src := randomMat(out, in), randomMat(n, in), NewOperand(n, in)
		r := newRand(t)
		for i := range f.F {
			f.F[i] = float32(r.NormFloat64())
		}
		for i := range n {
			ToBF16(x, src.RowH(i), f.RowF(i))
		}
		h := NewWeightsBF16(w.F, out, in)
		h.Refresh(x)
		y := Dense(make([]float32, n*out), n, out)
		h.Forward(x, y, src, n)
		want, _ := reference(n, out, in, f.F, in, 1, w.F, 1, in)
		frobenius(t, "Forward of unrounded operands", y.F, out, n, out, want, 0.004)
	})
}

// TestBF16Specials sends NaN, infinities and denormal numbers through a
// multiply: they must reach just the rows they belong to.
func TestBF16Specials(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		const n, out, in = 40, 50, 70
		w := randomMat(out, in)
		h := NewWeightsBF16(w.F, out, in)
		h.Refresh(x)
		src := NewOperand(n, in)
		for i := range n {
			for j := range in {
				src.H[i*src.Stride+j] = 0x3f80 // 1
			}
		}
		src.RowH(3)[69], src.RowH(20)[0], src.RowH(39)[64] = 0x7fc0, 0x7f80, 0x0001
		y := Dense(make([]float32, n*out), n, out)
		h.Forward(x, y, src, n)
		for i := range n {
			for j, v := range y.RowF(i) {
				ok := !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0)
				switch i {
				case 3:
					ok = math.IsNaN(float64(v))
				case 20:
					ok = math.IsInf(float64(v), int(math.Copysign(1, float64(w.F[j*in]))))
				}
				if !ok {
					t.Fatalf("element (%d,%d) is %g", i, j, v)
				}
			}
		}
	})
}

// TestBF16Bits checks that the bits depend neither on the number of workers nor
// on n, the row's position, or what stands in the rows beyond n.
func TestBF16Bits(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		for _, s := range [][3]int{{70, 100, 800}, {200, 65, 130}, {9, 200, 400}, {400, 70, 40}, {40, 33, 3200}} {
			n, out, in := s[0], s[1], s[2]
			if testing.Short() && n*out*in > 2<<20 {
				continue // the twin is slow
			}
			w := make([]float32, out*in)
			for i := range w {
				w[i] = float32(r.NormFloat64())
			}
			src, dy := NewOperand(n, in), NewOperand(n, out)
			for _, m := range []Mat[float32]{src, dy} {
				for i := range m.H {
					if m.H[i] = guard16; i/m.Stride < n && i%m.Stride < m.Cols {
						m.H[i] = roundBF16(float32(r.NormFloat64()))
					}
				}
			}
			dw0 := randomMat(out, in).F
			run := func(x *Exec) (y, dx Mat[float32], dw []float32) {
				h := NewWeightsBF16(w, out, in)
				h.Refresh(x)
				y, dx, dw = Dense(make([]float32, n*out), n, out), Dense(make([]float32, n*in), n, in),
					slices.Clone(dw0)
				h.Forward(x, y, src, n)
				h.BackInput(x, dx, dy, n)
				h.BackWeight(x, dw, dy, src, n)
				return
			}
			y, dx, dw := run(x)
			for _, workers := range []int{1, 3} {
				y2, dx2, dw2 := run(newExec(t, workers, x.Tier()))
				same(t, fmt.Sprintf("%v: %d workers against 2: Forward", s, workers), y2.F, y.F)
				same(t, fmt.Sprintf("%v: %d workers against 2: BackInput", s, workers), dx2.F, dx.F)
				same(t, fmt.Sprintf("%v: %d workers against 2: BackWeight", s, workers), dw2, dw)
			}
			h := NewWeightsBF16(w, out, in)
			for lo := 0; lo < out; lo += 32 { // in pieces, as an optimizer does it
				h.RefreshRows(x, lo, min(lo+32, out))
			}
			for _, part := range []int{1, 5, 16, 31} {
				for i := 0; i+part <= n; i += 1 + r.IntN(n) {
					sub := func(m Mat[float32]) Mat[float32] { m.H, m.Rows = m.H[i*m.Stride:], part; return m }
					y2, dx2 := make([]float32, part*out), make([]float32, part*in)
					h.Forward(x, Dense(y2, part, out), sub(src), part)
					h.BackInput(x, Dense(dx2, part, in), sub(dy), part)
					same(t, fmt.Sprintf("%v: rows %d+%d alone: Forward", s, i, part), y2, y.F[i*out:(i+part)*out])
					same(t, fmt.Sprintf("%v: rows %d+%d alone: BackInput", s, i, part), dx2, dx.F[i*in:(i+part)*in])
				}
			}
			y2 := Dense(make([]float32, n*out), n, out)
			MulPacked(x, 0, y2, src.H, src.Stride, h.bf16.forward, n, out, in, false)
			same(t, fmt.Sprintf("%v: MulPacked", s), y2.F, y.F)
		}
	})
}

// TestBF16Concurrency runs the serial multiplies on many goroutines while the collector stops the world again and
// again: tiles must survive preemption and moves between threads.
func TestBF16Concurrency(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		const m, n, k, goroutines = 45, 70, 200, 8
		y := newExec(t, goroutines, x.Tier()) // only its scratch is used
		src, b := randomOperand(m, k), randomOperand(n, k)
		packed := make([]uint16, PackLen(n, k))
		PackT(y, packed, b.H, n, k, b.Stride)
		want := Dense(make([]float32, m*n), m, n)
		MulPacked(y, 0, want, src.H, src.Stride, packed, m, n, k, false)
		var stop atomic.Bool
		var collector, wg sync.WaitGroup
		collector.Go(func() {
			for !stop.Load() {
				runtime.GC()
			}
		})
		errs := make([]error, goroutines)
		calls := 2000
		if x.BF16() == "" {
			calls = 5
		}
		for g := range goroutines {
			wg.Go(func() {
				got, own := Dense(make([]float32, m*n), m, n), make([]uint16, PackLen(n, k))
				for range calls {
					clear(own)
					clear(got.F)
					PackT(y, own, b.H, n, k, b.Stride)
					MulPacked(y, g, got, src.H, src.Stride, own, m, n, k, false)
					if !slices.Equal(got.F, want.F) {
						errs[g] = fmt.Errorf("goroutine %d: a product differs", g)
					}
				}
			})
		}
		wg.Wait()
		stop.Store(true)
		collector.Wait()
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestBF16Allocs(t *testing.T) {
	eachBF16(t, func(t *testing.T, x *Exec) {
		const n, out, in = 37, 50, 70
		w := NewWeightsBF16(make([]float32, out*in), out, in)
		y, src, dw := NewOperand(n, out), NewOperand(n, in), make([]float32, out*in)
		f := Dense(make([]float32, n*out), n, out)
		packed := make([]uint16, PackLen(n, max(in, out)))
		for name, op := range map[string]func(){
			"Refresh":        func() { w.Refresh(x) },
			"RefreshRows":    func() { w.RefreshRows(x, 0, 32) },
			"Forward":        func() { w.Forward(x, y, src, n) },
			"Forward to F":   func() { w.Forward(x, f, src, n) },
			"BackInput":      func() { w.BackInput(x, src, y, n) },
			"BackWeight":     func() { w.BackWeight(x, dw, y, src, n) },
			"PackT":          func() { PackT(x, packed, src.H, n, in, src.Stride) },
			"PackPair":       func() { PackPair(x, packed, src.H, n, in, src.Stride) },
			"MulPacked":      func() { MulPacked(x, 1, f, src.H, src.Stride, packed, 8, 9, 10, true) },
			"MulTransPacked": func() { MulTransPacked(x, 1, f, src.H, src.Stride, packed, 8, 9, 10, true) },
			"ToBF16":         func() { ToBF16(x, y.RowH(0), f.RowF(0)) },
			"FromBF16":       func() { FromBF16(x, f.RowF(0), y.RowH(0)) },
		} {
			if got := testing.AllocsPerRun(10, op); got != 0 {
				t.Errorf("%s allocates %g times", name, got)
			}
		}
	})
}

// TestBF16SelfTestFallsBack plants a fault in the bfloat16 kernels of each tier that has some.
func TestBF16SelfTestFallsBack(t *testing.T) {
	for _, tier := range Tiers() {
		k, _ := tableOf(tier)
		table := &k.bf16
		if table.name == "" {
			continue
		}
		saved := *table
		table.panel = func(p *panel) {
			saved.panel(p)
			if p.mode == storeF32 {
				*(*float32)(p.c)++
			}
		}
		x, err := NewExec(1, tier)
		*table = saved
		if err != nil {
			t.Fatal(err)
		}
		x.Close()
		if !strings.Contains(x.Warning(), "self-test") || x.BF16() == saved.name {
			t.Errorf("%v: broken, but %q multiplies, with warning %q", tier, x.BF16(), x.Warning())
		}
		if k, _ := tableOf(AVX512); tier == AMX && (x.Tier() != AVX512 || x.BF16() != k.bf16.name) {
			t.Errorf("without tiles tier %v with %q, not the best there is", x.Tier(), x.BF16())
		}
	}
}

func TestBF16MisusePanics(t *testing.T) {
	x := newExec(t, 1, Generic)
	f, h := make([]float32, 100), make([]uint16, 4096)
	w := NewWeightsBF16(f[:20], 4, 5)
	half := func(rows, cols int) Mat[float32] {
		return Mat[float32]{H: h[:rows*cols], Rows: rows, Cols: cols, Stride: cols}
	}
	for name, c := range map[string]struct {
		want string
		call func()
	}{
		"packed memory": {"kernel: short packed form", func() { NewWeightsBF16In(f[:20], h[:100], 4, 5) }},
		"columns":       {"kernel: wrong number of columns", func() { w.Forward(x, Dense(f, 2, 5), half(2, 5), 2) }},
		"rows":          {"kernel: short matrix", func() { w.Forward(x, Dense(f, 2, 4), half(2, 5), 3) }},
		"result rows":   {"kernel: short matrix", func() { w.Forward(x, Dense(f, 2, 4), half(4, 5), 3) }},
		"kind": {"kernel: operand of a kind this weight does not take",
			func() { w.Forward(x, Dense(f, 2, 4), Dense(f, 2, 5), 2) }},
		"gradient kind": {"kernel: operand of a kind this weight does not take",
			func() { w.BackWeight(x, f[:20], half(2, 4), Dense(f, 2, 5), 2) }},
		"dw": {"kernel: short weight gradient",
			func() { w.BackWeight(x, f[:19], half(2, 4), half(2, 5), 2) }},
		"refresh": {"kernel: rows to refresh do not fit the blocks", func() { w.RefreshRows(x, 1, 4) }},
		"pack":    {"kernel: short packed form", func() { PackT(x, h[:1023], h, 2, 2, 2) }},
		"source":  {"kernel: short matrix", func() { PackPair(x, h, h[:3], 2, 2, 2) }},
		"added": {"kernel: result of a kind that cannot be written",
			func() { MulPacked(x, 0, half(2, 2), h, 2, h, 2, 2, 2, true) }},
		"a": {"kernel: short matrix", func() { MulPacked(x, 0, half(2, 2), h[:3], 2, h, 2, 2, 2, false) }},
		"b": {"kernel: short matrix",
			func() { MulPacked(x, 0, half(2, 2), h, 2, h[:1023], 2, 2, 2, false) }},
		"terms": {"kernel: too many terms for a transposed operand",
			func() { MulTransPacked(x, 0, half(1, 1), h, 1, make([]uint16, 32*4096), 1, 1, 3073, false) }},
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
