package optim

import (
	"errors"
	"math"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

func newExec(t testing.TB, workers int, tier kernel.Tier) *kernel.Exec {
	x, err := kernel.NewExec(workers, tier)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// The values are PyTorch's, recorded by testdata/adamw.py.
func TestAdamWAgainstPyTorch(t *testing.T) {
	type state struct{ p, m, v [9]float64 }
	want := map[int64]state{
		1: {
			p: [9]float64{0.4895000008097733, -1.258749999384757, 2.00799999982691, -0.7392500002837696, 0.0999,
				2.9870000128013228, 1.0099999998405522, -1.0099999996575106, 0.24000000067849028},
			m: [9]float64{0.01234913446538092, 0.016253739478295164, -0.05777335723549226, -0.03523984192613389, 0.0,
				0.0007811682621909035, -0.06271641376632603, 0.02919798541424106, 0.01473860352529501},
			v: [9]float64{0.0001525011220440591, 0.00026418404702829114, 0.00333776080625981, 0.0012418464589789059,
				0.0, 6.10223853854357e-07, 0.003933348555709014, 0.0008525223522502349, 0.00021722643387583876},
		},
		10: {
			p: [9]float64{0.3486802059641545, -1.16623713536732, 2.004242498401198, -0.7697116378300614,
				0.09463020068743533, 2.937155339986895, 1.0824137620759646, -1.1413065861705094, 0.18785914262902417},
			m: [9]float64{0.018505046269585237, -0.005622259568131253, -0.07112259631492471, 0.05914405809325004, 0.0,
				-0.022967924665053114, -0.05166504750536904, 0.1184987263345467, 0.00909928475903261},
			v: [9]float64{0.0007447096725966315, 0.0021830410952749075, 0.01323752317679134, 0.03083667230417745, 0.0,
				0.001865982749693553, 0.013711712702907858, 0.03224204121916274, 0.0007962420705911142},
		},
	}
	norms := map[int64]float64{1: 1.5857931416639588, 10: 2.790299047714368}
	segments := []Segment{{Lo: 0, Hi: 6, Decay: true}, {Lo: 6, Hi: 9}}
	a := New[float64](newExec(t, 2, kernel.TierAuto), 9, segments,
		Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1})
	p := []float64{0.5, -1.25, 2.0, -0.75, 0.1, 3.0, 1.0, -1.0, 0.25}
	g := make([]float64, 9)
	for step := int64(1); step <= 10; step++ {
		for i := range g {
			g[i] = math.Sin(1.7*float64(i)+0.9*float64(step)) * math.Pow(2, float64(i%4-2))
		}
		g[4] = 0
		norm := a.GlobalNorm(g)
		scale, err := ClipScale(norm, 1)
		if err != nil {
			t.Fatal(err)
		}
		a.Update(p, g, step, 0.01*float64(step), scale)
		w, ok := want[step]
		if !ok {
			continue
		}
		if !(math.Abs(norm-norms[step]) <= 1e-14) {
			t.Errorf("step %d: norm %.17g, want %.17g", step, norm, norms[step])
		}
		for i := range p {
			for _, c := range []struct {
				name      string
				got, want float64
			}{{"p", p[i], w.p[i]}, {"m", a.M[i], w.m[i]}, {"v", a.V[i], w.v[i]}} {
				if !(math.Abs(c.got-c.want) <= 1e-14*max(1, math.Abs(c.want))) { // NaN fails too
					t.Errorf("step %d: %s[%d] = %.17g, want %.17g", step, c.name, i, c.got, c.want)
				}
			}
		}
	}
}

// The loop of the package against the formula written down once more, on every tier, with gaps between segments,
// and the same bits for any number of workers.
func TestAdamWSegmentsAndWorkers(t *testing.T) {
	r := random(t)
	const n = 3*block + 77
	segments := []Segment{{Lo: 0, Hi: 1000, Decay: true}, {Lo: 1008, Hi: 1009},
		{Lo: 1024, Hi: block + 5, Decay: true},
		{Lo: block + 16, Hi: 2*block + 1}, {Lo: 2*block + 16, Hi: n - 13, Decay: true}}
	covered := make([]int, n) // 0 gap, 1 plain, 2 decays
	for _, s := range segments {
		for i := s.Lo; i < s.Hi; i++ {
			covered[i] = 1
			if s.Decay {
				covered[i] = 2
			}
		}
	}
	o := Options{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, WeightDecay: 0.1}
	p0, g := make([]float32, n), make([]float32, n)
	for i := range p0 {
		p0[i], g[i] = float32(r.NormFloat64()), float32(r.NormFloat64()*1e-3)
	}
	const lr, scale = 1e-2, 0.5
	for _, tier := range kernel.Tiers() {
		var first []float32
		for _, workers := range []int{1, 2, 3, 7} {
			a := New[float32](newExec(t, workers, tier), n, segments, o)
			p := append([]float32(nil), p0...)
			for step := int64(1); step <= 3; step++ {
				a.Update(p, g, step, lr, scale)
			}
			if first == nil {
				first = p
			}
			for i := range p {
				if math.Float32bits(p[i]) != math.Float32bits(first[i]) {
					t.Fatalf("tier %v, %d workers: element %d is %g, with one worker %g",
						tier, workers, i, p[i], first[i])
				}
			}
		}
		for i, got := range first {
			q, m, v := float64(p0[i]), 0.0, 0.0
			for step := 1.0; step <= 3 && covered[i] > 0; step++ {
				x := float64(g[i]) * scale
				m = o.Beta1*m + (1-o.Beta1)*x
				v = o.Beta2*v + (1-o.Beta2)*x*x
				if covered[i] == 2 {
					q -= lr * o.WeightDecay * q
				}
				q -= lr * m / (1 - math.Pow(o.Beta1, step)) / (math.Sqrt(v/(1-math.Pow(o.Beta2, step))) + o.Eps)
			}
			if !(math.Abs(float64(got)-q) <= 2e-6*max(1, math.Abs(q))) || covered[i] == 0 && got != p0[i] {
				t.Fatalf("tier %v: element %d (%d) is %g, want %g", tier, i, covered[i], got, q)
			}
		}
	}
}

func TestGlobalNorm(t *testing.T) {
	r := random(t)
	for _, n := range []int{1, 3, block - 1, block, block + 1, 5*block + 123} {
		g := make([]float32, n)
		want := 0.0
		for i := range g {
			g[i] = float32(r.NormFloat64())
			want += float64(g[i]) * float64(g[i])
		}
		want = math.Sqrt(want)
		for _, tier := range kernel.Tiers() {
			first := math.NaN()
			for _, workers := range []int{1, 2, 5} {
				got := New[float32](newExec(t, workers, tier), n, nil, Options{Eps: 1}).GlobalNorm(g)
				if workers == 1 {
					first = got
				}
				if got != first || !(math.Abs(got-want) <= 1e-12*want) {
					t.Errorf("n %d, tier %v, %d workers: %.17g, one worker %.17g, want %.17g",
						n, tier, workers, got, first, want)
				}
			}
		}
	}
	x := newExec(t, 2, kernel.TierAuto)
	g := make([]float32, 3*block)
	a := New[float32](x, len(g), nil, Options{Eps: 1})
	g[0], g[block] = 3e38, 4e38/4 // their squares overflow float32
	if got := a.GlobalNorm(g); math.IsInf(got, 0) || math.IsNaN(got) || got < 3e38 {
		t.Errorf("large finite gradient: norm %g", got)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for _, at := range []int{0, block - 1, 2*block + 5, len(g) - 1} {
			old := g[at]
			g[at] = bad
			norm := a.GlobalNorm(g)
			if _, err := ClipScale(norm, 1); !errors.Is(err, ErrNonFinite) {
				t.Errorf("%g at %d: norm %g, error %v", bad, at, norm, err)
			}
			g[at] = old
		}
	}
}

func TestClipScale(t *testing.T) {
	for _, c := range []struct{ norm, clip, want float64 }{
		{0, 1, 1}, {0.5, 1, 1}, {1, 1, 1}, {2, 1, 0.5}, {0x1p90, 1, 0x1p-90}, {10, 5, 0.5},
	} {
		if got, err := ClipScale(c.norm, c.clip); err != nil || got != c.want {
			t.Errorf("ClipScale(%g, %g) = %g, %v; want %g", c.norm, c.clip, got, err, c.want)
		}
	}
}

// A step allocates nothing.
func TestNoAllocation(t *testing.T) {
	const n = 2*block + 50
	a := New[float32](newExec(t, 2, kernel.TierAuto), n, []Segment{{Lo: 0, Hi: 100, Decay: true},
		{Lo: 128, Hi: n}}, Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
	p, g := make([]float32, n), make([]float32, n)
	step := int64(0)
	if got := testing.AllocsPerRun(20, func() {
		step++
		a.GlobalNorm(g)
		a.Update(p, g, step, 1e-3, 1)
	}); got != 0 {
		t.Errorf("%g allocations a step", got)
	}
}

func TestMisuse(t *testing.T) {
	x := newExec(t, 1, kernel.TierAuto)
	ok := Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}
	a := New[float32](x, 4, []Segment{{Hi: 4, Decay: true}}, ok)
	four := make([]float32, 4)
	for name, f := range map[string]func(){
		"overlap":   func() { New[float32](x, 4, []Segment{{Hi: 3}, {Lo: 2, Hi: 4}}, ok) },
		"outside":   func() { New[float32](x, 4, []Segment{{Hi: 5}}, ok) },
		"a shape":   func() { New[float32](x, 4, []Segment{{Hi: 4, Rows: 3, Cols: 1}}, ok) },
		"half one":  func() { New[float32](x, 4, []Segment{{Hi: 4, Rows: 4}}, ok) },
		"momentum":  func() { New[float32](x, 4, nil, Options{Eps: 1e-8, Momentum: 1}) },
		"beta":      func() { New[float32](x, 4, nil, Options{Beta1: 1, Eps: 1e-8}) },
		"nan":       func() { New[float32](x, 4, nil, Options{Beta1: math.NaN(), Eps: 1e-8}) },
		"eps":       func() { New[float32](x, 4, nil, Options{}) },
		"short":     func() { a.Update(four[:3], four, 1, 1, 1) },
		"step 0":    func() { a.Update(four, four, 0, 1, 1) },
		"norm":      func() { a.GlobalNorm(four[:3]) },
		"lr step 0": func() { LR(Schedule{Kind: "constant", Peak: 1, Steps: 1, Floor: 1}, 0) },
		"kind":      func() { LR(Schedule{Kind: "step", Peak: 1, Steps: 1, Floor: 1}, 1) },
		"peak":      func() { LR(Schedule{Kind: "linear", Peak: math.NaN(), Steps: 1, Floor: 1}, 1) },
		"floor":     func() { LR(Schedule{Kind: "linear", Peak: 1, Steps: 1}, 1) },
		"steps":     func() { LR(Schedule{Kind: "linear", Peak: 1, Floor: 1}, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func BenchmarkUpdate(b *testing.B) {
	const n = 10 << 20
	a := New[float32](newExec(b, 0, kernel.TierAuto), n, []Segment{{Lo: 0, Hi: n, Decay: true}},
		Options{Beta1: 0.9, Beta2: 0.99, Eps: 1e-8})
	p, g := make([]float32, n), make([]float32, n)
	for i := range g {
		g[i] = float32(i%17) - 8
	}
	b.SetBytes(7 * 4 * n)
	for i := range b.N {
		a.Update(p, g, int64(i+1), 1e-3, 1)
	}
}

func BenchmarkGlobalNorm(b *testing.B) {
	const n = 10 << 20
	a := New[float32](newExec(b, 0, kernel.TierAuto), n, nil, Options{Eps: 1})
	g := make([]float32, n)
	b.SetBytes(4 * n)
	for range b.N {
		a.GlobalNorm(g)
	}
}
