package kernel

import (
	"fmt"
	"math"
	"testing"

	"gimbal/internal/testmem"
)

// lengths are slice lengths around the widths and unrolled blocks of all tiers.
var lengths = []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33,
	47, 48, 63, 64, 65, 100, 127, 128, 129, 1000}

// ulps returns the distance of got from want in units of want's last float32 place, denormal numbers included.
func ulps(got float32, want float64) float64 {
	if math.IsNaN(want) || math.IsInf(float64(float32(want)), 0) {
		if (got != got) == math.IsNaN(want) && (math.IsNaN(want) || float64(got) == float64(float32(want))) {
			return 0
		}
		return math.Inf(1)
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func geluOracle(x float64) float64 {
	return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))
}

func geluSlopeOracle(x float64) float64 {
	c := 2 * math.Sqrt(2/math.Pi)
	s := sigmoid(c * (x + 0.044715*x*x*x))
	return s + x*s*(1-s)*c*(1+3*0.044715*x*x)
}

// vectorCase is one function on slices: ins inputs, outs outputs that may also
// be read, and the oracle for element i (or for the returned number, i = -1).
type vectorCase struct {
	name      string
	outs, ins int
	reduces   bool
	call      func(x *Exec, out, in [][]float32) float64
	oracle    func(i int, out, in [][]float64) []float64 // the new outputs
	tolerance float64                                    // times 2^-24 times size
	size      func(i int, out, in [][]float64) float64   // what the error is relative to
}

func vectorCases() []vectorCase {
	one := func(int, [][]float64, [][]float64) float64 { return 1 }
	sumOf := func(f func(in [][]float64, i int) float64) func(int, [][]float64, [][]float64) []float64 {
		return func(_ int, _, in [][]float64) []float64 {
			s := 0.0
			for i := range in[0] {
				s += f(in, i)
			}
			return []float64{s}
		}
	}
	absOf := func(f func(in [][]float64, i int) float64) func(int, [][]float64, [][]float64) float64 {
		return func(_ int, _, in [][]float64) float64 {
			s := 1e-30
			for i := range in[0] {
				s += math.Abs(f(in, i))
			}
			return s
		}
	}
	first := func(in [][]float64, i int) float64 { return in[0][i] }
	square := func(in [][]float64, i int) float64 { return in[0][i] * in[0][i] }
	product := func(in [][]float64, i int) float64 { return in[0][i] * in[1][i] }
	expm := func(in [][]float64, i int) float64 { return math.Exp(in[0][i] - 1.5) }
	inputs := func(i int, out, in [][]float64) float64 {
		s := 1.0
		for _, v := range in {
			s *= 1 + math.Abs(v[i])
		}
		for _, v := range out {
			s += math.Abs(v[i])
		}
		return s
	}
	adam := AdamWStep{LR: 0.01, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.1, Scale: 0.7,
		Correction1: 0.3, Correction2: 0.2}
	return []vectorCase{
		{"Exp", 1, 1, false, func(x *Exec, o, in [][]float32) float64 { Exp(x, o[0], in[0]); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{math.Exp(in[0][i])} }, 4,
			func(i int, _, in [][]float64) float64 { return math.Exp(in[0][i]) }},
		{"ExpSub", 1, 1, false, func(x *Exec, o, in [][]float32) float64 { ExpSub(x, o[0], in[0], 1.5); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{expm(in, i)} }, 4,
			func(i int, _, in [][]float64) float64 { return expm(in, i) * (1 + math.Abs(in[0][i])) }},
		{"ExpSub sum", 1, 1, true,
			func(x *Exec, o, in [][]float32) float64 { return float64(ExpSub(x, o[0], in[0], 1.5)) },
			sumOf(expm), 12, absOf(expm)},
		{"Max", 0, 1, true, func(x *Exec, _, in [][]float32) float64 { return float64(Max(x, in[0])) },
			func(_ int, _, in [][]float64) []float64 {
				m := math.Inf(-1)
				for _, v := range in[0] {
					m = max(m, v)
				}
				return []float64{m}
			}, 0, one},
		{"Sum", 0, 1, true, func(x *Exec, _, in [][]float32) float64 { return float64(Sum(x, in[0])) },
			sumOf(first), 8, absOf(first)},
		{"Dot", 0, 2, true, func(x *Exec, _, in [][]float32) float64 { return float64(Dot(x, in[0], in[1])) },
			sumOf(product), 8, absOf(product)},
		{"SumSquares", 0, 1, true, func(x *Exec, _, in [][]float32) float64 { return SumSquares(x, in[0]) },
			sumOf(square), 1e-7, absOf(square)},
		{"Axpy", 1, 1, false, func(x *Exec, o, in [][]float32) float64 { Axpy(x, o[0], 1.25, in[0]); return 0 },
			func(i int, o, in [][]float64) []float64 { return []float64{o[0][i] + 1.25*in[0][i]} }, 3, inputs},
		{"Affine", 1, 1, false,
			func(x *Exec, o, in [][]float32) float64 { Affine(x, o[0], in[0], 1.25, -0.5); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{1.25*in[0][i] - 0.5} }, 3, inputs},
		{"Mul", 1, 2, false, func(x *Exec, o, in [][]float32) float64 { Mul(x, o[0], in[0], in[1]); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{product(in, i)} }, 1,
			func(i int, _, in [][]float64) float64 { return math.Abs(product(in, i)) }},
		{"MulAdd", 1, 2, false, func(x *Exec, o, in [][]float32) float64 { MulAdd(x, o[0], in[0], in[1]); return 0 },
			func(i int, o, in [][]float64) []float64 { return []float64{o[0][i] + product(in, i)} }, 3, inputs},
		{"GELU", 1, 1, false, func(x *Exec, o, in [][]float32) float64 { GELU(x, o[0], in[0]); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{geluOracle(in[0][i])} }, 16,
			func(i int, _, in [][]float64) float64 { return math.Abs(geluOracle(in[0][i])) + 1e-3 }},
		{"GELUBackward", 1, 2, false,
			func(x *Exec, o, in [][]float32) float64 { GELUBackward(x, o[0], in[0], in[1]); return 0 },
			func(i int, _, in [][]float64) []float64 { return []float64{in[0][i] * geluSlopeOracle(in[1][i])} }, 16,
			func(i int, _, in [][]float64) float64 { return math.Abs(in[0][i]) }},
		{"SiLUMul", 1, 2, false, func(x *Exec, o, in [][]float32) float64 { SiLUMul(x, o[0], in[0], in[1]); return 0 },
			func(i int, _, in [][]float64) []float64 {
				return []float64{in[0][i] * sigmoid(in[0][i]) * in[1][i]}
			}, 16,
			func(i int, _, in [][]float64) float64 {
				return math.Abs(in[0][i] * sigmoid(in[0][i]) * in[1][i])
			}},
		{"SiLUMulBackward", 2, 3, false, func(x *Exec, o, in [][]float32) float64 {
			SiLUMulBackward(x, o[0], o[1], in[0], in[1], in[2])
			return 0
		}, func(i int, _, in [][]float64) []float64 {
			d, g, u := in[0][i], in[1][i], in[2][i]
			s := sigmoid(g)
			return []float64{d * u * s * (1 + g*(1-s)), d * g * s}
		}, 16, func(i int, _, in [][]float64) float64 {
			return math.Abs(in[0][i]) * (1 + math.Abs(in[1][i])) * (1 + math.Abs(in[2][i]))
		}},
		{"Rotate", 2, 4, false, func(x *Exec, o, in [][]float32) float64 {
			Rotate(x, o[0], o[1], in[0], in[1], in[2], in[3])
			return 0
		}, func(i int, _, in [][]float64) []float64 {
			a, b, c, s := in[0][i], in[1][i], in[2][i], in[3][i]
			return []float64{a*c - b*s, b*c + a*s}
		}, 4, inputs},
		{"AdamW", 3, 1, false, func(x *Exec, o, in [][]float32) float64 {
			for i, v := range o[2] { // the second moment is never negative
				o[2][i] = float32(math.Abs(float64(v)))
			}
			AdamW(x, o[0], in[0], o[1], o[2], adam)
			return 0
		}, func(i int, o, in [][]float64) []float64 {
			g := adam.Scale * in[0][i]
			m := adam.Beta1*o[1][i] + (1-adam.Beta1)*g
			v := adam.Beta2*math.Abs(o[2][i]) + (1-adam.Beta2)*g*g
			p := o[0][i] - adam.LR*((m/adam.Correction1)/(math.Sqrt(v/adam.Correction2)+adam.Eps)+adam.Decay*o[0][i])
			return []float64{p, m, v}
		}, 6, func(i int, o, in [][]float64) float64 {
			return 1 + math.Abs(o[0][i]) + math.Abs(o[1][i]) + math.Abs(o[2][i]) + in[0][i]*in[0][i]
		}},
	}
}

func widen(s [][]float32) [][]float64 {
	w := make([][]float64, len(s))
	for i := range s {
		for _, v := range s[i] {
			w[i] = append(w[i], float64(v))
		}
	}
	return w
}

// TestVectors compares every function on slices with its float64 oracle, checks
// guard words and inputs, and that elements computed alone have the same bits.
func TestVectors(t *testing.T) {
	for _, c := range vectorCases() {
		t.Run(c.name, func(t *testing.T) {
			eachTier(t, func(t *testing.T, x *Exec) {
				r := newRand(t)
				for _, n := range lengths {
					ar := testmem.NewArena[float32](r)
					var out, in [][]float32
					for k := range c.outs {
						out = append(out, ar.Random(fmt.Sprint("out", k), n, false))
					}
					for k := range c.ins {
						in = append(in, ar.Random(fmt.Sprint("in", k), n, true))
					}
					out64, in64 := widen(out), widen(in)
					before := make([][]float32, len(out))
					for k := range out {
						before[k] = append([]float32(nil), out[k]...)
					}
					got := c.call(x, out, in)
					ar.Check(t, fmt.Sprintf("length %d", n))
					if c.reduces {
						want := c.oracle(-1, out64, in64)[0]
						if got != want &&
							!(math.Abs(got-want) <= c.tolerance*epsilon[float32]()*c.size(-1, out64, in64)) {
							t.Fatalf("length %d: %g, want %g", n, got, want)
						}
						continue
					}
					for i := range n {
						for k, want := range c.oracle(i, out64, in64) {
							limit := c.tolerance * epsilon[float32]() * c.size(i, out64, in64)
							if g := float64(out[k][i]); !(math.Abs(g-want) <= limit) {
								t.Fatalf("length %d: output %d [%d] is %g, want %g (inputs %v)",
									n, k, i, g, want, column(in, i))
							}
						}
					}
					if n == 0 {
						continue
					}
					i := r.IntN(n)
					alone, aloneIn := make([][]float32, len(out)), make([][]float32, len(in))
					for k := range out {
						alone[k] = []float32{before[k][i]}
					}
					for k := range in {
						aloneIn[k] = in[k][i : i+1]
					}
					c.call(x, alone, aloneIn)
					for k := range out {
						if alone[k][0] != out[k][i] {
							t.Fatalf("length %d: output %d [%d] alone is %g, not %g", n, k, i, alone[k][0], out[k][i])
						}
					}
				}
			}, nil)
		})
	}
}

func column(s [][]float32, i int) (c []float32) {
	for _, v := range s {
		c = append(c, v[i])
	}
	return c
}

// TestExpEverywhere checks the documented bound over the whole range, and the ends of it.
func TestExpEverywhere(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachTier(t, func(t *testing.T, x *Exec) {
		r := newRand(t)
		src := []float32{0, 1, -1, inf, -inf, nan, 88.72283, 88.72284, 88.8, 89, 1e10, -87.33655, -87.4, -103.2789,
			-103.9, -103.98, -104, -110, -1e10,
			math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, float32(math.Copysign(0, -1))}
		for len(src) < 1<<17 {
			src = append(src, float32(r.Float64()*196-105))
		}
		dst := make([]float32, len(src))
		Exp(x, dst, src)
		worst := 0.0
		for i, v := range src {
			u := ulps(dst[i], math.Exp(float64(v)))
			worst = max(worst, u)
			if u > 2 {
				t.Fatalf("exp(%g) = %g, want %g (%.2f ulp)", v, dst[i], math.Exp(float64(v)), u)
			}
		}
		t.Logf("worst error of Exp %.3f ulp", worst)
		if s := ExpSub(x, dst[:6], src[:6], 0); s == s {
			t.Error("the sum of ExpSub hides a NaN")
		}
		if s := ExpSub(x, dst[:5], []float32{-inf, -inf, 0, -inf, -inf}, 0); s != 1 {
			t.Errorf("softmax over -Inf sums to %g, want 1", s)
		}
	}, nil)
}

// TestActivationExtremes checks that large activations give the limits and that NaN and Inf are not hidden.
func TestActivationExtremes(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachTier(t, func(t *testing.T, x *Exec) {
		src := []float32{5, 9, 30, 1e5, 1e20, 3e38, 0, -5, -9, -30, -1e5, -1e20}
		ones := make([]float32, len(src))
		for i := range ones {
			ones[i] = 1
		}
		gelu, slope := make([]float32, len(src)), make([]float32, len(src))
		silu, dgate, dup := make([]float32, len(src)), make([]float32, len(src)), make([]float32, len(src))
		GELU(x, gelu, src)
		GELUBackward(x, slope, ones, src)
		SiLUMul(x, silu, src, ones)
		SiLUMulBackward(x, dgate, dup, ones, src, ones)
		for i, v := range src {
			relu, step := max(v, 0), float32(0)
			if v > 0 {
				step = 1
			} else if v == 0 {
				step = 0.5
			}
			within := func(what string, got, want, tolerance float32) {
				if !(math.Abs(float64(got-want)) <= float64(tolerance)) {
					t.Errorf("%s at %g is %g, want %g", what, v, got, want)
				}
			}
			within("gelu", gelu[i], relu, 2e-6)
			within("gelu'", slope[i], step, 2e-5)
			if v == 0 || v >= 30 || v <= -30 {
				within("silu", silu[i], relu, 1e-9)
				within("silu'", dgate[i], step, 1e-9)
				within("dup", dup[i], relu, 1e-9)
			}
		}
		for _, bad := range []float32{nan, inf} {
			in, out, out2 := []float32{1, bad, 1}, make([]float32, 3), make([]float32, 3)
			GELU(x, out, in)
			SiLUMul(x, out2, in, ones)
			if out[1]-out[1] == 0 || out2[1]-out2[1] == 0 {
				t.Errorf("gelu(%g) = %g and silu = %g hide it", bad, out[1], out2[1])
			}
			if s := SumSquares(x, in); s-s == 0 {
				t.Errorf("SumSquares hides %g", bad)
			}
		}
		high, low := float32(3e38), float32(1e-30)
		if s := SumSquares(x, []float32{high, low}); s != float64(high)*float64(high)+float64(low)*float64(low) {
			t.Errorf("SumSquares near the limits is %g", s)
		}
	}, nil)
}

// TestVectors64 checks the float64 twin against its oracles more tightly.
func TestVectors64(t *testing.T) {
	x := newExec(t, 1, Generic)
	r := newRand(t)
	a, b := make([]float64, 101), make([]float64, 101)
	for i := range a {
		a[i], b[i] = r.NormFloat64(), r.NormFloat64()
	}
	gelu, slope := make([]float64, 101), make([]float64, 101)
	GELU(x, gelu, a)
	GELUBackward(x, slope, b, a)
	dot, squares := 0.0, 0.0
	for i := range a {
		dot += a[i] * b[i]
		squares += a[i] * a[i]
		if math.Abs(gelu[i]-geluOracle(a[i])) > 1e-14 ||
			math.Abs(slope[i]-b[i]*geluSlopeOracle(a[i])) > 1e-14*(1+math.Abs(b[i])) {
			t.Fatalf("gelu(%g) = %g, slope %g", a[i], gelu[i], slope[i]/b[i])
		}
	}
	if math.Abs(Dot(x, a, b)-dot) > 1e-12 || math.Abs(SumSquares(x, a)-squares) > 1e-12 {
		t.Errorf("Dot %g, SumSquares %g; want %g, %g", Dot(x, a, b), SumSquares(x, a), dot, squares)
	}
}

// TestActivationSweep checks the documented bounds over the whole range in which the activations bend.
func TestActivationSweep(t *testing.T) {
	eachTier(t, func(t *testing.T, x *Exec) {
		const n = 1 << 15
		src, ones := make([]float32, n), make([]float32, n)
		gelu, slope, silu := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range src {
			src[i], ones[i] = float32(i-n/2)/(n/2)*12, 1
		}
		GELU(x, gelu, src)
		GELUBackward(x, slope, ones, src)
		var worst [3]float64
		for i, v := range src {
			want := geluOracle(float64(v))
			worst[0] = max(worst[0], math.Abs(float64(gelu[i])-want)/(math.Abs(want)+1e-3))
			worst[1] = max(worst[1], math.Abs(float64(slope[i])-geluSlopeOracle(float64(v))))
		}
		for i := range src {
			src[i] *= 80.0 / 12
		}
		SiLUMul(x, silu, src, ones)
		for i, v := range src {
			if want := float64(v) * sigmoid(float64(v)); want != 0 {
				worst[2] = max(worst[2], math.Abs(float64(silu[i])/want-1))
			}
		}
		t.Logf("worst errors: gelu %.2g, gelu' %.2g, silu %.2g", worst[0], worst[1], worst[2])
		for i, w := range worst {
			if !(w <= 1e-6) {
				t.Errorf("bound %d exceeded: %g", i, w)
			}
		}
	}, nil)
}
