package kernel

import (
	"fmt"
	"math"
	"os"
	"testing"

	"gimbal/internal/testseed"
)

// newRand returns a generator whose seed is printed.
var newRand = testseed.Rand

// newExec makes an Exec that is closed with the test and must not have fallen back.
func newExec(t testing.TB, workers int, tier Tier) *Exec {
	t.Helper()
	x, err := NewExec(workers, tier)
	if err != nil {
		t.Fatal(err)
	}
	if x.Warning() != "" {
		t.Fatal(x.Warning())
	}
	t.Cleanup(x.Close)
	return x
}

// eachTier runs the test on every tier of this machine and for float64, which only the generic tier computes.
func eachTier(t *testing.T, f32 func(t *testing.T, x *Exec), f64 func(t *testing.T, x *Exec)) {
	for _, tier := range Tiers() {
		t.Run(tier.String(), func(t *testing.T) { f32(t, newExec(t, 2, tier)) })
	}
	if f64 != nil {
		t.Run("float64", func(t *testing.T) { f64(t, newExec(t, 2, Generic)) })
	}
}

// TestTiersPresent fails if a tier of this CPU did not take part in the tests.
func TestTiersPresent(t *testing.T) {
	want := machineTiers()
	got := Tiers()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Tiers() = %v, this CPU and build should have %v", got, want)
	}
	for _, tier := range got {
		if x := newExec(t, 1, tier); x.Tier() != tier {
			t.Errorf("asked for %v, got %v", tier, x.Tier())
		}
	}
}

func TestNewExecEnvironment(t *testing.T) {
	t.Setenv(envTier, "generic")
	if x := newExec(t, 1, TierAuto); x.Tier() != Generic {
		t.Errorf("%s=generic gave %v", envTier, x.Tier())
	}
	best := Tiers()[0]
	if x := newExec(t, 1, best); x.Tier() != best {
		t.Errorf("%s overrode the explicit tier %v", envTier, best)
	}
	t.Setenv(envTier, "")
	if x := newExec(t, 3, TierAuto); x.Tier() != best || x.Workers() != 3 {
		t.Errorf("default is %v with %d workers, want %v with 3", x.Tier(), x.Workers(), best)
	}
	t.Setenv(envTier, "sse9")
	want := fmt.Sprintf(`GIMBAL_KERNEL: no tier is called "sse9"; this machine has %s`, tierList())
	if _, err := NewExec(1, TierAuto); err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
	if _, err := NewExec(1, Tier(99)); err == nil {
		t.Error("tier 99 accepted")
	}
}

// TestSelfTestFallsBack plants a fault in a tier and expects it to be refused.
func TestSelfTestFallsBack(t *testing.T) {
	for i := range tiers {
		broken := tiers[i]
		good := broken.tile
		broken.tile = func(rows, k int, a *float32, rs, ks int, b *float32, bs int,
			c *float32, ldc, cols int, alpha float32, add bool) {
			good(rows, k, a, rs, ks, b, bs, c, ldc, max(cols-1, 1), alpha, add)
		}
		if selfTest(&broken.table) == "" {
			t.Errorf("%v: a tile without its last column passed the self-test", broken.tier)
		}
		for _, f := range []Format{BF16, Int8} {
			for _, what := range []string{"dot", "tile", "expand"} {
				partly := tiers[i].table
				if breakCoded(partly.codedOf(f), what) && selfTest(&partly) == "" {
					t.Errorf("%v: a fault in %s of format %d passed the self-test", broken.tier, what, f)
				}
			}
		}
		if partly := tiers[i].table; partly.dots != nil {
			if partly.dots = shortDots(partly.dots); selfTest(&partly) == "" {
				t.Errorf("%v: a fault in dots passed the self-test", broken.tier)
			}
		}
		saved := tiers[i]
		tiers[i] = broken
		x, err := NewExec(1, broken.tier)
		tiers[i] = saved
		if err != nil {
			t.Fatal(err)
		}
		x.Close()
		if x.Warning() == "" || x.Tier() != Generic {
			t.Errorf("%v: broken, but tier %v with warning %q", broken.tier, x.Tier(), x.Warning())
		}
	}
}

// shortDots forgets the last terms.
func shortDots(good func(c, w *float32, ldw int, x, next *float32, k int, add bool)) func(
	c, w *float32, ldw int, x, next *float32, k int, add bool) {
	return func(c, w *float32, ldw int, x, next *float32, k int, add bool) { good(c, w, ldw, x, next, k-4, add) }
}

// breakCoded makes a kernel of c forget the last term, or expand the wrong rows. It reports whether c has that kernel.
func breakCoded(c *codedTable, what string) bool {
	good := *c
	switch {
	case what == "dot" && good.dot != nil:
		c.dot = func(c *float32, src *byte, x *float32, k int, add bool) { good.dot(c, src, x, k-1, add) }
	case what == "tile" && good.tile != nil:
		c.tile = func(rows, k int, a *float32, rs int, src *byte, c *float32, ldc, cols int, alpha float32, add bool) {
			good.tile(rows, k-1, a, rs, src, c, ldc, cols, alpha, add)
		}
	case what == "expand" && good.expand != nil:
		c.expand = func(dst *float32, ldd int, src *byte, col, k int) { good.expand(dst, ldd, src, 16-col, k) }
	default:
		return false
	}
	return true
}

// TestAllocs checks that no operation allocates.
func TestAllocs(t *testing.T) {
	for _, tier := range Tiers() {
		x := newExec(t, 2, tier)
		const n, out, in = 37, 50, 70
		f := func(n int) []float32 { return make([]float32, n) }
		w := NewWeights(f(out*in), out, in)
		y, src, dw := Dense(f(n*out), n, out), Dense(f(n*in), n, in), f(out*in)
		a, b, c, d, e := f(100), f(100), f(100), f(100), f(100)
		var sink float64
		for name, op := range map[string]func(){
			"Forward":         func() { w.Forward(x, y, src, n) },
			"BackInput":       func() { w.BackInput(x, src, y, n) },
			"BackWeight":      func() { w.BackWeight(x, dw, y, src, n) },
			"Gemm":            func() { Gemm(x, 0, true, true, 9, 8, 7, 1, a, 9, b, 7, 0, c, 8) },
			"Exp":             func() { Exp(x, a, b) },
			"ExpSub":          func() { sink += float64(ExpSub(x, a, b, 1)) },
			"Max":             func() { sink += float64(Max(x, a)) },
			"Sum":             func() { sink += float64(Sum(x, a)) },
			"Dot":             func() { sink += float64(Dot(x, a, b)) },
			"SumSquares":      func() { sink += SumSquares(x, a) },
			"Axpy":            func() { Axpy(x, a, 2, b) },
			"Affine":          func() { Affine(x, a, b, 2, 1) },
			"Mul":             func() { Mul(x, a, b, c) },
			"MulAdd":          func() { MulAdd(x, a, b, c) },
			"GELU":            func() { GELU(x, a, b) },
			"GELUBackward":    func() { GELUBackward(x, a, b, c) },
			"SiLUMul":         func() { SiLUMul(x, a, b, c) },
			"SiLUMulBackward": func() { SiLUMulBackward(x, a, b, c, d, e) },
			"Rotate":          func() { Rotate(x, a, b, c, d, e, e) },
			"AdamW":           func() { AdamW(x, a, b, c, d, AdamWStep{Eps: 1, Correction1: 1, Correction2: 1}) },
		} {
			if got := testing.AllocsPerRun(20, op); got != 0 {
				t.Errorf("%v: %s allocates %g times", tier, name, got)
			}
		}
		if math.IsNaN(sink) {
			t.Error("NaN from zeros")
		}
	}
}

// benchTier is the tier that the environment asks benchmarks to use.
var benchTier = os.Getenv(envTier)

func TestMain(m *testing.M) {
	// The tests choose their tiers themselves.
	if err := os.Unsetenv(envTier); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
