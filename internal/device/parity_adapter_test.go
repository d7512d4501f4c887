package device

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/graph"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

// halves are numbers of float32 in bfloat16.
func halves(raw []byte) (list []byte) {
	for _, x := range floatsOf(raw) {
		list = binary.LittleEndian.AppendUint16(list, uint16(math.Float32bits(param.RoundBF16(x))>>16))
	}
	return list
}

// adapted draws the parameters of a model with an adapter, and returns those that are not trained, which are numbers of
// bfloat16 where the adapter holds them so.
func adapted(r *rand.Rand, ad param.Adapter, m *model.Model[float64]) (base []float64) {
	draw(r, m.Params())
	for i, x := range m.Params().Flat {
		if ad.Base == param.FormatBF16 {
			m.Params().Flat[i] = float64(param.RoundBF16(float32(x)))
		}
	}
	base = slices.Clone(m.Params().Flat)
	m.Rebase()
	for i, x := range m.Trained().Flat {
		m.Trained().Flat[i] = float64(float32(x + 0.2*r.NormFloat64()))
	}
	m.Refresh()
	return base
}

// TestAdapterParity compares the gradients of adapters, and of weighted losses, with those of the model in float64.
func TestAdapterParity(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	all := param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets}
	few := param.Adapter{Rank: 4, Scale: 8 / math.Sqrt(4), Targets: param.TargetQ | param.TargetV | param.TargetDown}
	with := func(ad param.Adapter, change func(*param.Adapter)) param.Adapter {
		change(&ad)
		return ad
	}
	dora := func(ad *param.Adapter) { ad.DoRA = true }
	dropout := func(ad *param.Adapter) { ad.Dropout = 0.3 }
	for name, c := range map[string]struct {
		arch     config.Arch
		adapter  param.Adapter
		pass     graph.Pass
		weighted bool
	}{
		"llama":                           {arch: smallLlama, adapter: all},
		"qwen3, some, weighted, z-loss":   {smallQwen3, few, graph.Pass{ZLoss: 0.01, Piece: 10}, true},
		"qwen2 without adapter, weighted": {smallQwen2, param.Adapter{}, graph.Pass{ZLoss: 0.01}, true},
		"gpt2, dropout, blocks recomputed": {smallGPT2, with(all, dropout),
			graph.Pass{Checkpointing: model.CheckpointBlock}, false},
		"llama, dropout of both, attention recomputed, weighted": {
			family(smallLlama, func(a *config.Arch) { a.Dropout, a.Bias = 0.2, true }), with(few, dropout),
			graph.Pass{Checkpointing: model.CheckpointAttention}, true},
		"qwen2, base in bf16": {smallQwen2, with(few, func(ad *param.Adapter) { ad.Base = param.FormatBF16 }),
			graph.Pass{}, false},
		"llama, DoRA": {smallLlama, with(all, dora), graph.Pass{}, false},
		"phi3, DoRA, base in bf16, blocks recomputed": {inFamily(t, "phi3", func(a *config.Arch) {}),
			with(few, func(ad *param.Adapter) { ad.DoRA, ad.Base = true, param.FormatBF16 }),
			graph.Pass{Checkpointing: model.CheckpointBlock}, false},
		"gemma2": {inFamily(t, "gemma2", func(a *config.Arch) {
			a.Window, a.Pattern, a.QueryScale, a.ScoreCap, a.LogitCap = 7, "lf", 12, 2, 3
		}), few, graph.Pass{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := pack(r, c.arch.Vocab, c.arch.Context, 20, 11, 3, 13, 1, 24)
			own := c.adapter
			own.Base = "" // of a model in float64
			m := newModel[float64](t, x, c.arch, len(b.in.Tokens), model.Options{ZLoss: c.pass.ZLoss, Adapter: own})
			base := adapted(r, c.adapter, m)
			p, trained := c.pass, m.Trained()
			p.Arch, p.Adapter, p.Rows, p.Length, p.Mode = c.arch, c.adapter, b.rows, b.length, model.ModeFP32
			p.Attention, p.Weighted, p.Dropout = graph.Plain, c.weighted, max(c.arch.Dropout, c.adapter.Dropout) > 0
			for i := range b.at {
				if c.weighted {
					b.in.Weights = append(b.in.Weights, float64(float32(r.NormFloat64())))
					b.weights[b.at[i]] = float32(b.in.Weights[i])
				}
			}
			if !p.Dropout {
				b.in.Dropout = nil
			}
			params := tensorsOf(trained.Views, trained.Flat)
			if c.adapter.Rank > 0 {
				params = slices.Concat(tensorsOf(m.Params().Views, base), params)
			}
			m.Backward(b.in, 1.0/70)
			grads, nats, _ := compile(t, s, graph.Gradient(p)).gradient(p, params, b, 1.0/70)
			worst := 0.0
			for i, v := range trained.Views {
				d := distance(grads[i], m.Grads()[v.Lo:v.Hi])
				if worst = max(worst, d); !(d <= 1e-5) {
					t.Errorf("gradient of %s: off by %.2g", v.Name, d)
				}
			}
			d := distance(gathered(nats, b.at), m.TokenNats())
			if !(d <= 1e-5) {
				t.Errorf("nats: off by %.2g", d)
			}
			t.Logf("gradients off by %.2g, nats by %.2g", worst, d)
		})
	}
}

// TestAdapterBF16 asks that rounding on a device moves the gradients of adapters about as far as rounding on a CPU.
func TestAdapterBF16(t *testing.T) {
	s := openQuick(t)
	x := must[*kernel.Exec](t)(kernel.NewExec(1, kernel.TierAuto))
	defer x.Close()
	for name, c := range map[string]struct {
		arch    config.Arch
		adapter param.Adapter
	}{
		"gpt2, dropout": {smallGPT2, param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets, Dropout: 0.2}},
		"llama, DoRA, base in bf16": {smallLlama, param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets,
			DoRA: true, Base: param.FormatBF16}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := pack(r, c.arch.Vocab, c.arch.Context, 20, 11, 3, 13, 1, 24)
			own, n := c.adapter, len(b.in.Tokens)
			own.Base = "" // of a model in float64, and the same numbers in float32
			exact := newModel[float64](t, x, c.arch, n, model.Options{Adapter: own})
			base := adapted(r, c.adapter, exact)
			rounded := newModel[float32](t, x, c.arch, n, model.Options{Mode: model.ModeBF16, Adapter: own})
			for i, v := range base {
				rounded.Params().Flat[i] = float32(v)
			}
			rounded.Rebase()
			for i, v := range exact.Trained().Flat {
				rounded.Trained().Flat[i] = float32(v)
			}
			rounded.Refresh()
			p := graph.Pass{Arch: c.arch, Adapter: c.adapter, Rows: b.rows, Length: b.length, Mode: model.ModeBF16,
				Attention: graph.Plain, Dropout: c.adapter.Dropout > 0}
			if !p.Dropout {
				b.in.Dropout = nil
			}
			exact.Backward(b.in, 1.0/70)
			rounded.Backward(b.in, 1.0/70)
			trained := exact.Trained()
			params := slices.Concat(tensorsOf(exact.Params().Views, base), tensorsOf(trained.Views, trained.Flat))
			grads, _, _ := compile(t, s, graph.Gradient(p)).gradient(p, params, b, 1.0/70)
			worst := 0.0
			for i, v := range trained.Views {
				right := exact.Grads()[v.Lo:v.Hi]
				ours, want := distance(grads[i], right), distance(rounded.Grads()[v.Lo:v.Hi], right)
				if worst = max(worst, ours/want); !(ours <= 3*want) {
					t.Errorf("gradient of %s: off by %.2g, and by %.2g on a CPU", v.Name, ours, want)
				}
			}
			t.Logf("at most %.2g times as far as on a CPU", worst)
		})
	}
}
