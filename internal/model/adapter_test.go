package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// adaptedPair returns a model with an adapter that is nowhere zero, and one without whose weights are the sum.
func adaptedPair[T kernel.Float](t *testing.T, a config.Arch, ad param.Adapter, mode, checkpointing string) (with,
	plain *Model[T]) {
	t.Helper()
	x := newExec(t, 2, kernel.TierAuto)
	r := random(t)
	opt := Options{MicroTokens: 128, Mode: mode, Checkpointing: checkpointing}
	plain = newModel[T](t, a, x, opt)
	opt.Adapter = ad
	with = newModel[T](t, a, x, opt)
	with.Init(1)
	scramble(with, r)
	with.Rebase()
	p := with.Trained()
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = T(0.2 * r.NormFloat64())
		}
	}
	copy(plain.params.Flat, with.params.Flat)
	for i, m := range param.AdaptedViews(a, ad) {
		av, bv := p.Views[2*i], p.Views[2*i+1]
		w, n := plain.params.Flat[m.Lo:m.Hi], m.Shape[1]
		for o := range m.Shape[0] {
			for c := range n {
				for k := range ad.Rank {
					w[o*n+c] += T(ad.Scale) * p.Flat[bv.Lo+o*ad.Rank+k] * p.Flat[av.Lo+k*n+c]
				}
			}
		}
	}
	with.Refresh()
	plain.Refresh()
	return with, plain
}

// A model with an adapter computes what one with the merged weights does, and its gradients follow from that one's:
// dA = Scale·Bᵀ·dW and dB = Scale·dW·Aᵀ. Every family, every target, every checkpointing, both modes.
func TestAdapterGradients(t *testing.T) {
	for _, a := range shapes() {
		for _, set := range []param.Targets{param.AllTargets, param.TargetQ | param.TargetV,
			param.TargetDown | param.TargetO} {
			ad := param.Adapter{Rank: 3, Scale: 1.5, Targets: set}
			t.Run(fmt.Sprint(a.Shape, " ", param.ModuleNames(a, set)), func(t *testing.T) {
				checkpointing := []string{CheckpointNone, CheckpointAttention, CheckpointBlock}[int(set)%3]
				with, plain := adaptedPair[float64](t, a, ad, ModeFP32, checkpointing)
				compareAdapter(t, with, plain, 1e-11)
				if a.Shape == "qwen3" || a.Shape == "gpt2" {
					with16, plain16 := adaptedPair[float32](t, a, ad, ModeBF16, checkpointing)
					compareAdapter(t, with16, plain16, 0.03)
				}
			})
		}
	}
}

func compareAdapter[T kernel.Float](t *testing.T, with, plain *Model[T], limit float64) {
	t.Helper()
	in := ragged(random(t), with.arch.Vocab, 70, 3, 11)
	for range 2 { // gradients add up
		a, b := with.Backward(in, 0.01), plain.Backward(in, 0.01)
		if math.Abs(a-b) > limit*math.Abs(b) {
			t.Fatalf("nats %v, with merged weights %v", a, b)
		}
	}
	ad, p := with.adapter.Adapter, with.Trained()
	for i, m := range param.AdaptedViews(with.arch, ad) {
		av, bv := p.Views[2*i], p.Views[2*i+1]
		dw, n := plain.grads[m.Lo:m.Hi], m.Shape[1]
		da, db := make([]float64, av.Len()), make([]float64, bv.Len())
		for o := range m.Shape[0] {
			for c := range n {
				for k := range ad.Rank {
					g := ad.Scale * float64(dw[o*n+c])
					da[k*n+c] += g * float64(p.Flat[bv.Lo+o*ad.Rank+k])
					db[o*ad.Rank+k] += g * float64(p.Flat[av.Lo+k*n+c])
				}
			}
		}
		for _, c := range []struct {
			view param.View
			want []float64
		}{{av, da}, {bv, db}} {
			off, size := 0.0, 0.0
			for j, w := range c.want {
				d := float64(with.Grads()[c.view.Lo+j]) - w
				off, size = off+d*d, size+w*w
			}
			if size == 0 || math.Sqrt(off/size) > limit {
				t.Errorf("%s: the gradient is off by %.2g of %.2g", c.view.Name, math.Sqrt(off), math.Sqrt(size))
			}
		}
	}
}

// A fresh adapter changes nothing.
func TestAdapterBegins(t *testing.T) {
	a := shapes()[0]
	x := newExec(t, 1, kernel.TierAuto)
	with := newModel[float32](t, a, x, Options{MicroTokens: 64, Adapter: param.Adapter{Rank: 4, Scale: 2,
		Targets: param.AllTargets}})
	plain := newModel[float32](t, a, x, Options{MicroTokens: 64})
	with.Init(7)
	plain.Init(7)
	in := ragged(random(t), a.Vocab, 20, 9)
	if a, b := with.Loss(in), plain.Loss(in); a != b {
		t.Errorf("nats %v with a fresh adapter, %v without", a, b)
	}
	opt := Options{MicroTokens: 64, Mode: ModeFP32, Workers: 1, Adapter: param.Adapter{Rank: 4, Scale: 2,
		Targets: param.AllTargets}}
	if got, want := Memory(a, opt).Total, with.Footprint().Total; got != want {
		t.Errorf("%d bytes are planned, %d were allocated", got, want)
	}
}

// filled returns parameters that are all different.
func filled(a config.Arch) *param.Params[float32] {
	p := param.New[float32](a)
	rnd := rand.New(rand.NewPCG(1, uint64(a.Vocab)))
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = rnd.Float32() - 0.5
		}
	}
	return p
}

// An adapter comes back from its file, and the file with its base gives the weights that the model computes with, also
// where the family stores q, k and v another way.
func TestAdapterFiles(t *testing.T) {
	for _, a := range shapes() {
		ad := param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets}
		base := written(t, filled(a), "F32")
		load := func(files ...*safetensors.File) *Model[float32] {
			m := newModel[float32](t, a, newExec(t, 2, kernel.TierAuto), Options{MicroTokens: 8, Adapter: ad})
			for _, f := range files {
				if err := m.Load(f); err != nil {
					t.Fatal(err)
				}
			}
			return m
		}
		m, r := load(base), random(t)
		for _, v := range m.Trained().Views {
			for i := v.Lo; i < v.Hi; i++ {
				m.Trained().Flat[i] = float32(r.NormFloat64())
			}
		}
		m.Refresh()
		file := written(t, m.Trained(), "F32")
		if !slices.Equal(load(base, file).Trained().Flat, m.Trained().Flat) {
			t.Errorf("%s: another adapter came back", a.Shape)
		}
		merged := param.New[float32](a)
		if err := param.LoadEntries(merged, param.Merged(a, ad, base, file)); err != nil {
			t.Fatal(err)
		}
		for i, v := range merged.Flat {
			if math.Abs(float64(v-m.params.Flat[i])) > 1e-4 {
				t.Fatalf("%s: element %d is %v merged, and the model computes with %v", a.Shape, i, v, m.params.Flat[i])
			}
		}
	}
}
