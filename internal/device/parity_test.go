package device

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/graph"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/param"
	"gimbal/internal/rng"
)

// quick makes compiling faster and the programs slower.
const quick = "XLA_FLAGS=--xla_backend_optimization_level=0"

// openQuick opens a session for small programs.
func openQuick(t *testing.T) Session {
	t.Helper()
	o := testOptions(t, plugins(t)[0], 1)
	o.Env = []string{quick}
	return openOptions(t, o)
}

// Small decoders of the four families.
var (
	smallGPT2 = config.Arch{Shape: "gpt2", Layers: 2, Width: 20, Heads: 4, KVHeads: 4, HeadSize: 4, MLP: 40, Vocab: 29,
		Context: 24, Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu",
		Tie: true}
	smallLlama = config.Arch{Shape: "llama", Layers: 2, Width: 24, Heads: 4, KVHeads: 2, HeadSize: 6, MLP: 32,
		Vocab:   29,
		Context: 24, Norm: "rms", NormEps: 1e-5, Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu"}
	smallQwen2 = family(smallLlama, func(a *config.Arch) {
		a.Shape, a.QKVBias, a.RopeTheta, a.Tie = "qwen2", true, 1e6, true
	})
	smallQwen3 = family(smallLlama, func(a *config.Arch) { a.Shape, a.QKNorm, a.KVHeads = "qwen3", true, 1 })
)

func family(a config.Arch, change func(*config.Arch)) config.Arch {
	change(&a)
	return a
}

// inFamily is smallLlama with what a family does otherwise.
func inFamily(t *testing.T, shape string, change func(*config.Arch)) config.Arch {
	t.Helper()
	a := smallLlama
	a.Shape = shape
	change(&a)
	a, ok := a.InFamily()
	if !ok {
		t.Fatalf("no family %s", shape)
	}
	return a
}

func scaled(a *config.Arch) {
	a.RopeScale = config.RopeScale{Kind: "llama3", Factor: 8, Low: 1, High: 4, Original: 16}
}

// packed is sequences, and the rows in which they lie.
type packed struct {
	in                       model.Input
	rows, length             int
	tokens, labels, seg, pos []int32
	counts, weights          []float32
	keys                     []uint32
	at                       []int // (N) the place of a position
}

// pack draws sequences of these lengths and lays them into rows, first fit in order.
func pack(r *rand.Rand, vocab, length int, sizes ...int) *packed {
	b := &packed{length: length}
	b.in.Bounds = []int32{0}
	var used, starts []int
	for _, n := range sizes {
		row := slices.IndexFunc(used, func(u int) bool { return u+n <= length })
		if row < 0 {
			row, used = len(used), append(used, 0)
		}
		starts = append(starts, row*length+used[row])
		used[row] += n
		for range n {
			b.in.Tokens = append(b.in.Tokens, int32(r.IntN(vocab)))
			b.in.Labels = append(b.in.Labels, int32(r.IntN(vocab)))
			b.in.Counts = append(b.in.Counts, r.IntN(5) > 0)
		}
		b.in.Bounds = append(b.in.Bounds, int32(len(b.in.Tokens)))
	}
	b.rows = len(used)
	n := b.rows * length
	b.tokens, b.labels, b.pos = make([]int32, n), make([]int32, n), make([]int32, n)
	b.seg, b.counts, b.keys = slices.Repeat([]int32{-1}, n), make([]float32, n), make([]uint32, 4*n)
	b.weights = make([]float32, n)
	for i, start := range starts {
		key := rng.New(7, rng.Dropout).Sub(uint64(i))
		b.in.Dropout = append(b.in.Dropout, key)
		words := key.Words()
		for p := b.in.Bounds[i]; p < b.in.Bounds[i+1]; p++ {
			j := start + int(p-b.in.Bounds[i])
			b.tokens[j], b.labels[j], b.seg[j], b.pos[j] = b.in.Tokens[p], b.in.Labels[p], int32(i), p-b.in.Bounds[i]
			if b.in.Counts[p] {
				b.counts[j] = 1
			}
			copy(b.keys[4*j:], words[:])
			b.at = append(b.at, j)
		}
	}
	return b
}

// raw is data as a device takes it.
func raw[T any](s []T) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, s)
	if err != nil {
		panic(err)
	}
	return b
}

func floatsOf(b []byte) []float32 {
	f := make([]float32, len(b)/4)
	if _, err := binary.Decode(b, binary.LittleEndian, f); err != nil {
		panic(err)
	}
	return f
}

// runner is a program that was compiled for a session.
type runner struct {
	t *testing.T
	s Session
	e *Executable
}

func compile(t *testing.T, s Session, p graph.Program) runner {
	t.Helper()
	return runner{t, s, must[*Executable](t)(s.Compile(t.Context(), p))}
}

// run runs the program on the data of its arguments and returns that of its results.
func (r runner) run(in ...[]byte) (out [][]byte) {
	r.t.Helper()
	ctx, p := r.t.Context(), r.e.Program
	if len(in) != len(p.In) {
		r.t.Fatalf("%s: %d arguments for %d", p.Name, len(in), len(p.In))
	}
	var args []Array
	for i, data := range in {
		args = append(args, must[Array](r.t)(r.s.Upload(ctx, p.In[i], 1, data)))
	}
	results := must[[]Array](r.t)(r.s.Run(ctx, r.e, args))
	for _, a := range results {
		data := make([]byte, a.Bytes())
		if err := r.s.Fetch(ctx, a, 0, data); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, data)
	}
	for i, a := range args {
		if !slices.Contains(p.Donated, i) {
			results = append(results, a)
		}
	}
	if err := r.s.Free(results...); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// tensorsOf are the tensors of parameters or gradients.
func tensorsOf[T kernel.Float](views []param.View, flat []T) (list [][]byte) {
	for _, v := range views {
		f := make([]float32, v.Len())
		for i, x := range flat[v.Lo:v.Hi] {
			f[i] = float32(x)
		}
		list = append(list, raw(f))
	}
	return list
}

// batch are the arguments for a batch.
func (b *packed) batch(p graph.Pass) [][]byte {
	list := [][]byte{raw(b.tokens), raw(b.labels), raw(b.counts), raw(b.seg), raw(b.pos)}
	if p.Weighted {
		list = append(list, raw(b.weights))
	}
	if p.Dropout {
		list = append(list, raw(b.keys))
	}
	return list
}

// gradient runs graph.Gradient on parameters, of which the first are frozen, gradients that are zero and a batch.
func (r runner) gradient(p graph.Pass, params [][]byte, b *packed, scale float64) (grads [][]float32, nats []float32,
	finite []byte) {
	r.t.Helper()
	frozen, trained := graph.Params(p.Arch, p.Adapter, 1, false)
	in := slices.Clone(params)
	for i, s := range frozen {
		if s.Type == graph.BF16 {
			in[i] = halves(in[i])
		}
	}
	params = params[len(frozen):]
	for _, s := range trained {
		in = append(in, make([]byte, s.Bytes()))
	}
	in = append(append(in, b.batch(p)...), raw([]float32{float32(scale)}))
	out := r.run(in...)
	for _, g := range out[:len(params)] {
		grads = append(grads, floatsOf(g))
	}
	return grads, floatsOf(out[len(params)]), out[len(params)+1]
}

// draw sets every parameter to something that is not its initial value.
func draw(r *rand.Rand, p *param.Params[float64]) {
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = float64(float32(0.3 * r.NormFloat64()))
			if v.Kind == param.KindNorm {
				p.Flat[i] = float64(float32(1 + p.Flat[i]))
			}
		}
	}
}

// distance is ‖x−y‖/‖y‖, or ‖x‖ where y is zero.
func distance[X, Y kernel.Float](x []X, y []Y) float64 {
	var d, n float64
	for i := range x {
		e := float64(x[i]) - float64(y[i])
		d += e * e
		n += float64(y[i]) * float64(y[i])
	}
	if n < 1e-24 { // zero but for rounding, as the gradient of a key bias without RoPE
		n = 1
	}
	return math.Sqrt(d / n)
}

// gathered are values of places in the order of positions.
func gathered(x []float32, at []int) []float32 {
	y := make([]float32, len(at))
	for i, j := range at {
		y[i] = x[j]
	}
	return y
}

func newModel[T kernel.Float](t *testing.T, x *kernel.Exec, a config.Arch, positions int,
	o model.Options) *model.Model[T] {
	t.Helper()
	o.MicroTokens = positions
	return must[*model.Model[T]](t)(model.New[T](a, x, o))
}

// TestGradientParity compares gradients and nats of every family and option with those of the model in float64.
func TestGradientParity(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	short := []int{20, 11, 3, 13, 1, 24}
	for name, c := range map[string]struct {
		arch  config.Arch
		pass  graph.Pass
		sizes []int
	}{
		"gpt2": {smallGPT2, graph.Pass{Attention: graph.Plain}, short},
		"gpt2 dropout, z-loss, blocks recomputed, pieces": {
			family(smallGPT2, func(a *config.Arch) { a.Dropout = 0.2 }),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointBlock, ZLoss: 0.01, Piece: 10}, short},
		"gpt2 gradient stopped": {smallGPT2, graph.Pass{Attention: graph.Plain,
			Faults: []model.PlantedFault{{Fault: model.FaultStopGradient, Block: 1}}}, short},
		"llama in blocks, attention recomputed": {
			family(smallLlama, func(a *config.Arch) { a.Context = 700 }),
			graph.Pass{Attention: graph.Blocks, Checkpointing: model.CheckpointAttention}, []int{389, 700, 301, 1}},
		"llama biases, scaled frequencies, dropout, residual cut": {
			family(smallLlama, func(a *config.Arch) { scaled(a); a.Bias, a.QKVBias, a.Dropout = true, true, 0.1 }),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointAttention,
				Faults: []model.PlantedFault{{Fault: model.FaultCutResidual, Block: 0}}}, short},
		"qwen2": {smallQwen2, graph.Pass{Attention: graph.Blocks, ZLoss: 0.001}, short},
		"qwen3 scaled frequencies, blocks recomputed": {family(smallQwen3, scaled),
			graph.Pass{Attention: graph.Blocks, Checkpointing: model.CheckpointBlock}, short},
		"mistral with a window, in blocks": {
			inFamily(t, "mistral", func(a *config.Arch) { a.Context, a.Window = 300, 70 }),
			graph.Pass{Attention: graph.Blocks, Checkpointing: model.CheckpointAttention}, []int{300, 150, 40}},
		"olmo2": {inFamily(t, "olmo2", func(a *config.Arch) {}), graph.Pass{Attention: graph.Plain}, short},
		"smollm3": {inFamily(t, "smollm3", func(a *config.Arch) { a.Pattern = "fn" }),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointBlock}, short},
		"phi3": {inFamily(t, "phi3", func(a *config.Arch) {
			a.Rotary, a.Window = 4, 10
			a.RopeScale = config.RopeScale{Kind: "longrope", Original: 24, Gain: 1.2, Short: "[1, 2]", Long: "[1, 4]"}
		}), graph.Pass{Attention: graph.Plain}, short},
		"gpt_neox": {inFamily(t, "gpt_neox", func(a *config.Arch) {
			a.Parallel, a.Rotary, a.MLPKind = true, 2, "gelu-exact"
		}), graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointAttention}, short},
		"granite": {inFamily(t, "granite", func(a *config.Arch) {
			a.EmbedFactor, a.ScoreFactor, a.ResidualFactor, a.LogitDivisor = 3, 0.7, 0.6, 1.5
		}), graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointBlock}, short},
		"olmo": {inFamily(t, "olmo", func(*config.Arch) {}),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointAttention}, short},
		"phi": {inFamily(t, "phi", func(a *config.Arch) { a.MLPKind, a.Rotary = "gelu", 2 }),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointAttention, Piece: 10}, short},
		"gpt_neo": {inFamily(t, "gpt_neo", func(a *config.Arch) { a.MLPKind, a.Window, a.Pattern = "gelu", 7, "fl" }),
			graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointBlock}, short},
		"opt": {inFamily(t, "opt", func(*config.Arch) {}), graph.Pass{Attention: graph.Plain}, short},
		"stablelm": {inFamily(t, "stablelm", func(a *config.Arch) { a.Rotary, a.QKVBias = 2, true }),
			graph.Pass{Attention: graph.Plain}, short},
		"gemma3_text": {inFamily(t, "gemma3_text", func(a *config.Arch) {
			a.Window, a.Pattern, a.LocalTheta, a.QueryScale = 7, "lf", 1e3, 12
		}), graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointBlock}, short},
		"gemma2": {inFamily(t, "gemma2", func(a *config.Arch) {
			a.Window, a.Pattern, a.QueryScale, a.ScoreCap, a.LogitCap = 7, "lf", 12, 2, 3
		}), graph.Pass{Attention: graph.Plain, Checkpointing: model.CheckpointAttention, Piece: 10}, short},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := pack(r, c.arch.Vocab, c.arch.Context, c.sizes...)
			m := newModel[float64](t, x, c.arch, len(b.in.Tokens), model.Options{ZLoss: c.pass.ZLoss})
			draw(r, m.Params())
			m.Refresh()
			in, views := b.in, m.Params().Views
			if c.pass.Dropout = c.arch.Dropout > 0; !c.pass.Dropout {
				in.Dropout = nil
			}
			m.PlantFaults(c.pass.Faults...)
			m.Backward(in, 1.0/70)

			p := c.pass
			p.Arch, p.Rows, p.Length, p.Mode = c.arch, b.rows, b.length, model.ModeFP32
			params := tensorsOf(views, m.Params().Flat)
			grads, nats, finite := compile(t, s, graph.Gradient(p)).gradient(p, params, b, 1.0/70)
			worst := 0.0
			for i, v := range views {
				d := distance(grads[i], m.Grads()[v.Lo:v.Hi])
				if worst = max(worst, d); !(d <= 1e-5) {
					t.Errorf("gradient of %s: off by %.2g", v.Name, d)
				}
			}
			d := distance(gathered(nats, b.at), m.TokenNats())
			if !(d <= 1e-5) {
				t.Errorf("nats: off by %.2g", d)
			}
			if slices.Contains(finite, 0) {
				t.Errorf("finite: %v", finite)
			}
			t.Logf("gradients off by %.2g, nats by %.2g", worst, d)
		})
	}
}

// TestGradientBF16 asks that rounding on a device moves gradients about as far as rounding on a CPU.
func TestGradientBF16(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	for _, a := range []config.Arch{smallGPT2, smallQwen3} {
		t.Run(a.Shape, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := pack(r, a.Vocab, a.Context, 20, 11, 3, 13, 1, 24)
			b.in.Dropout = nil
			n := len(b.in.Tokens)
			exact := newModel[float64](t, x, a, n, model.Options{})
			rounded := newModel[float32](t, x, a, n, model.Options{Mode: model.ModeBF16})
			draw(r, exact.Params())
			for i, v := range exact.Params().Flat {
				rounded.Params().Flat[i] = float32(v)
			}
			exact.Refresh()
			rounded.Refresh()
			exact.Backward(b.in, 1.0/70)
			rounded.Backward(b.in, 1.0/70)
			p := graph.Pass{Arch: a, Rows: b.rows, Length: b.length, Mode: model.ModeBF16, Attention: graph.Blocks}
			views := exact.Params().Views
			program := compile(t, s, graph.Gradient(p))
			grads, nats, _ := program.gradient(p, tensorsOf(views, exact.Params().Flat), b, 1.0/70)
			worst := 0.0
			for i, v := range views {
				right := exact.Grads()[v.Lo:v.Hi]
				ours, want := distance(grads[i], right), distance(rounded.Grads()[v.Lo:v.Hi], right)
				if worst = max(worst, ours/want); !(ours <= 3*want) {
					t.Errorf("gradient of %s: off by %.2g, and by %.2g on a CPU", v.Name, ours, want)
				}
			}
			right := exact.TokenNats()
			ours, want := distance(gathered(nats, b.at), right), distance(rounded.TokenNats(), right)
			if !(ours <= 3*want) {
				t.Errorf("nats: off by %.2g, and by %.2g on a CPU", ours, want)
			}
			t.Logf("at most %.2g times as far as on a CPU; nats %.2g", worst, ours/want)
		})
	}
}

// TestForwardParity compares nats and logZ with those of the model, and changes what must not matter: the words of
// empty places, of a neighbour in the row, and labels that do not count.
func TestForwardParity(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	for _, kind := range []string{graph.Plain, graph.Blocks} {
		t.Run(kind, func(t *testing.T) {
			a := family(smallLlama, func(a *config.Arch) { a.Context = 300 })
			r := rand.New(rand.NewPCG(3, 4))
			b := pack(r, a.Vocab, a.Context, 150, 90, 40, 299)
			b.in.Dropout = nil
			m := newModel[float64](t, x, a, len(b.in.Tokens), model.Options{})
			draw(r, m.Params())
			m.Refresh()
			m.Loss(b.in)
			p := graph.Pass{Arch: a, Rows: b.rows, Length: b.length, Mode: model.ModeFP32, Attention: kind, Piece: 128}
			program := compile(t, s, graph.Forward(p))
			params := tensorsOf(m.Params().Views, m.Params().Flat)
			run := func() (nats, logZ []float32) {
				out := program.run(append(slices.Clone(params), b.batch(p)...)...)
				return floatsOf(out[0]), floatsOf(out[1])
			}
			nats, logZ := run()
			if d := distance(gathered(nats, b.at), m.TokenNats()); !(d <= 1e-5) {
				t.Errorf("nats: off by %.2g", d)
			}
			if d := distance(gathered(logZ, b.at), m.TokenLogZ()); !(d <= 1e-5) {
				t.Errorf("logZ: off by %.2g", d)
			}
			const changed = 1 // the sequence whose words change
			for j, id := range b.seg {
				if id == changed || id < 0 {
					b.tokens[j] = (b.tokens[j] + 1 + int32(r.IntN(a.Vocab-1))) % int32(a.Vocab)
				}
				if b.counts[j] == 0 {
					b.labels[j] = int32(r.IntN(a.Vocab))
				}
			}
			again, logZAgain := run()
			same, other := true, false
			for j, id := range b.seg {
				equal := nats[j] == again[j] && logZ[j] == logZAgain[j]
				if id == changed {
					other = other || !equal
				} else {
					same = same && equal
				}
			}
			if !same || !other {
				t.Errorf("others as before %v, the changed sequence otherwise %v", same, other)
			}
		})
	}
}

// TestFaultsAreFlagged plants a NaN in the middle of a decoder.
func TestFaultsAreFlagged(t *testing.T) {
	s := openQuick(t)
	a := family(smallGPT2, func(a *config.Arch) { a.Layers = 3 })
	r := rand.New(rand.NewPCG(5, 6))
	b := pack(r, a.Vocab, a.Context, 20, 3)
	params := param.New[float64](a)
	draw(r, params)
	p := graph.Pass{Arch: a, Rows: b.rows, Length: b.length, Mode: model.ModeFP32, Attention: graph.Plain,
		Faults: []model.PlantedFault{{Fault: model.FaultNaN, Block: 1}}}
	_, nats, finite := compile(t, s, graph.Gradient(p)).gradient(p, tensorsOf(params.Views, params.Flat), b, 1)
	if got, want := fmt.Sprint(finite), "[1 1 0 0 0]"; got != want {
		t.Errorf("finite %s, want %s", got, want)
	}
	if sum := float64(slices.Max(nats)); !math.IsNaN(sum) {
		t.Errorf("nats %g", sum)
	}
}

// TestProbeParity compares what a device says of a sequence, which fills a part of its row, with what the model says.
func TestProbeParity(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	for name, a := range map[string]config.Arch{
		"gpt2": family(smallGPT2, func(a *config.Arch) { a.Context = 100 }),
		// Its streams have more elements than are sampled.
		"qwen3": family(smallQwen3, func(a *config.Arch) { a.Context, a.Width = 100, 88 }),
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			p := graph.Pass{Arch: a, Rows: 1, Length: a.Context, Mode: model.ModeFP32, Attention: graph.Plain}
			program := compile(t, s, graph.Probe(p))
			for _, n := range []int{97, 8, 1} {
				b := pack(r, a.Vocab, a.Context, n)
				b.in.Dropout = nil
				m := newModel[float64](t, x, a, n, model.Options{})
				draw(r, m.Params())
				for _, v := range m.Params().Views {
					if v.Block == 0 && v.Kind == param.KindGateUp {
						clear(m.Params().Flat[v.Lo : v.Lo+v.Len()/4]) // dead units, unless there is a bias
					}
				}
				m.Refresh()
				want := m.NewProbeStats()
				m.Probe(b.in, want)
				out := program.run(append(tensorsOf(m.Params().Views, m.Params().Flat), b.batch(p)...)...)
				var got [][]float32
				for _, data := range out {
					got = append(got, floatsOf(data))
				}
				nats := gathered(got[0], b.at)
				stats := must[*model.ProbeStats](t)(activations(got, b.in.Counts).Stats(a))
				numbers := func(s *model.ProbeStats) (list []float64) {
					for _, v := range s.Stream {
						list = append(list, v.RMS, v.Kept, v.Peak)
					}
					for _, v := range s.Heads {
						list = append(list, v.Logit, v.Entropy)
					}
					return append(append(list, s.Dead...), s.LogZ, s.Logit)
				}
				list := numbers(stats)
				for i, w := range numbers(want) {
					if g := list[i]; !(math.Abs(g-w) <= 1e-4*max(1, math.Abs(w))) && !(math.IsNaN(g) && math.IsNaN(w)) {
						t.Errorf("%d positions: number %d: %g, want %g", n, i, g, w)
					}
				}
				if d := distance(nats, m.TokenNats()); !(d <= 1e-5) {
					t.Errorf("nats: off by %.2g", d)
				}
			}
		})
	}
}
