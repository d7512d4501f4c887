package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/testseed"
)

// random returns a generator whose seed is printed.
var random = testseed.Rand

func newExec(t testing.TB, workers int, tier kernel.Tier) *kernel.Exec {
	t.Helper()
	x, err := kernel.NewExec(workers, tier)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	return x
}

// shapes are families, small, which make every choice between them; a span of 70 makes two blocks of queries.
func shapes() []config.Arch {
	base := config.Arch{Layers: 2, Width: 16, Heads: 4, KVHeads: 2, HeadSize: 4, MLP: 24, Vocab: 29, Context: 80,
		Norm: "rms", NormEps: 1e-5, Position: "rope", RopeTheta: 10000, MLPKind: "swiglu", Tie: true}
	qwen3 := base
	qwen3.Shape, qwen3.QKNorm, qwen3.HeadSize = "qwen3", true, 6
	llama := base
	llama.Shape, llama.Tie = "llama", false
	qwen2 := base
	qwen2.Shape, qwen2.QKVBias, qwen2.KVHeads = "qwen2", true, 1
	gpt2 := base
	gpt2.Shape, gpt2.Norm, gpt2.Position, gpt2.RopeTheta, gpt2.MLPKind = "gpt2", "layer", "learned", 0, "gelu"
	gpt2.QKVBias, gpt2.Bias, gpt2.KVHeads, gpt2.MLP = true, true, 4, 64
	family := func(shape string, change func(a *config.Arch)) config.Arch {
		a := base
		a.Shape = shape
		change(&a)
		a, _ = a.InFamily()
		return a
	}
	opt := family("opt", func(*config.Arch) {})
	opt.MLPKind = "gelu" // finite differences across the kink of ReLU are wrong
	return []config.Arch{qwen3, llama, qwen2, gpt2,
		family("olmo2", func(a *config.Arch) {
			a.RopeScale = config.RopeScale{Kind: "yarn", Factor: 4, Low: 1, High: 4, Original: 40, Gain: 1.1}
		}),
		family(
			"gpt_neox",
			func(a *config.Arch) { a.MLPKind, a.Parallel, a.Rotary, a.Tie = "gelu-exact", true, 2, false },
		),
		family("gemma3_text", func(a *config.Arch) {
			a.HeadSize, a.Window, a.Pattern, a.LocalTheta = 6, 20, "lf", 100
			a.QueryScale, a.ScoreCap, a.LogitCap = 5, 3, 4
		}),
		family("granite", func(a *config.Arch) {
			a.EmbedFactor, a.ScoreFactor, a.ResidualFactor, a.LogitDivisor = 3, 0.7, 0.6, 1.5
		}),
		family("olmo", func(*config.Arch) {}),
		family("phi", func(a *config.Arch) { a.MLPKind, a.Tie = "gelu", false }),
		family("gpt_neo", func(a *config.Arch) { a.MLPKind, a.Window, a.Pattern = "gelu", 20, "fl" }),
		opt,
		family("stablelm", func(a *config.Arch) { a.Rotary = 2 }),
		family("gemma2", func(a *config.Arch) { a.Window, a.Pattern = 9, "ln" }),
	}
}

func newModel[T kernel.Float](t testing.TB, a config.Arch, x *kernel.Exec, opt Options) *Model[T] {
	t.Helper()
	m, err := New[T](a, x, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scramble sets parameters far from their initial values, so that every term of the gradient matters.
func scramble[T kernel.Float](m *Model[T], r *rand.Rand) {
	for _, v := range m.params.Views {
		for i := v.Lo; i < v.Hi; i++ {
			m.params.Flat[i] = T(0.3 * r.NormFloat64())
			if v.Kind == param.KindNorm {
				m.params.Flat[i] += 1
			}
		}
	}
	m.Refresh()
}

// ragged returns sequences of the given lengths with random tokens and labels, all counted.
func ragged(r *rand.Rand, vocab int, lengths ...int) Input {
	in := Input{Bounds: []int32{0}}
	for _, n := range lengths {
		tokens := make([]int32, n+1)
		for i := range tokens {
			tokens[i] = int32(r.IntN(vocab))
		}
		in.Tokens = append(in.Tokens, tokens[:n]...)
		in.Labels = append(in.Labels, tokens[1:]...)
		in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
	}
	in.Counts = make([]bool, len(in.Tokens))
	for i := range in.Counts {
		in.Counts[i] = true
	}
	return in
}

// dropoutKeys returns one key per sequence.
func dropoutKeys(r *rand.Rand, n int) []rng.Key {
	keys := make([]rng.Key, n)
	for i := range keys {
		keys[i] = rng.New(r.Uint64(), rng.Dropout)
	}
	return keys
}

// derivative estimates df/dx at *p by the five-point stencil, error O(h⁴).
func derivative(p *float64, h float64, f func() float64) float64 {
	x := *p
	at := func(d float64) float64 {
		*p = x + d
		return f()
	}
	d := (8*(at(h)-at(-h)) - (at(2*h) - at(-2*h))) / (12 * h)
	*p = x
	return d
}

func TestGradientAgainstFiniteDifferences(t *testing.T) {
	checkGradients(t)
}

// checkGradients compares the gradient of each tensor with finite differences, in all shapes of a model with planted
// faults: those change the function, and its gradient with it.
func checkGradients(t *testing.T, plants ...PlantedFault) {
	x := newExec(t, 2, kernel.TierAuto)
	for _, a := range shapes() {
		t.Run(a.Shape, func(t *testing.T) {
			r := random(t)
			in := ragged(r, a.Vocab, 1, 2, 3, 7, 66, 5)
			for i := range in.Counts {
				in.Counts[i] = r.IntN(4) > 0
			}
			if a.Shape == "qwen2" || a.Shape == "gpt2" {
				a.Dropout, in.Dropout = 0.2, dropoutKeys(r, len(in.Bounds)-1)
			}
			opt := Options{MicroTokens: len(in.Tokens) + 3, ZLoss: 1e-3}
			m := newModel[float64](t, a, x, opt)
			m.PlantFaults(plants...)
			scramble(m, r)
			const scale = 0.7
			loss := func() float64 {
				m.Refresh()
				sum := m.Loss(in)
				for _, z := range m.TokenLogZ() {
					sum += opt.ZLoss * z * z
				}
				return scale * sum
			}
			m.Backward(in, scale)
			norm := 0.0
			for _, g := range m.grads {
				norm += g * g
			}
			norm = math.Sqrt(norm)
			checked := 0
			for _, v := range m.params.Views {
				for range 3 {
					i := v.Lo + r.IntN(v.Len())
					if v.Kind == param.KindEmbed || v.Kind == param.KindPosition { // a row that is read
						p := r.IntN(len(in.Tokens))
						row := int(in.Tokens[p])
						if v.Kind == param.KindPosition {
							row = a.Places + int(m.buf.pos[p])
						}
						i = v.Lo + row*a.Width + r.IntN(a.Width)
					}
					var want float64
					near := false
					for _, step := range []float64{3e-4, 5e-5, 1e-5} { // a shorter one where the loss is sharply curved
						want = derivative(&m.params.Flat[i], step, loss)
						if near = math.Abs(m.grads[i]-want) <= 1e-6*math.Abs(want)+1e-10*norm; near {
							break
						}
					}
					if !near {
						t.Errorf("%s[%d]: gradient %.12g, finite difference %.12g", v.Name, i-v.Lo, m.grads[i], want)
					}
					checked++
				}
			}
			if checked < 3*len(m.params.Views) {
				t.Fatalf("only %d elements checked", checked)
			}
		})
	}
}
