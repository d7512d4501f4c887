package model

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/kernel"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
)

// With dropout the gradients are those of what is computed: A reads inputs with a mask, in all shapes, targets and
// kinds of checkpointing, and without keys nothing is dropped.
func TestAdapterDropout(t *testing.T) {
	for n, a := range shapes() {
		t.Run(a.Shape, func(t *testing.T) {
			r := random(t)
			a.Dropout = []float64{0, 0.2}[n%2] // of the branches, too
			ad := param.Adapter{Rank: 3, Scale: 1.5,
				Targets: []param.Targets{param.AllTargets, param.TargetQ | param.TargetV | param.TargetDown}[n%2]}
			_, plain := adaptedPair[float64](t, a, ad, ModeFP32, CheckpointNone)
			ad.Dropout = 0.3
			m, _ := adaptedPair[float64](t, a, ad, ModeFP32, []string{CheckpointNone, CheckpointBlock}[n%2])
			copy(m.params.Flat, plain.params.Flat) // of another draw
			m.Rebase()
			m.Refresh()
			in := ragged(r, a.Vocab, 40, 2, 66)
			whole := m.Loss(in)
			in.Dropout = dropoutKeys(r, len(in.Bounds)-1)
			if masked := m.Loss(in); math.Abs(masked-whole) < 1e-6*whole {
				t.Errorf("nats %v with dropout, %v without", masked, whole)
			}
			m.Backward(in, 0.7)
			loss := func() float64 {
				m.Refresh()
				return 0.7 * m.Loss(in)
			}
			p := m.Trained()
			for _, v := range p.Views {
				i := v.Lo + r.IntN(v.Len())
				want := derivative(&p.Flat[i], 1e-4, loss)
				if got := m.grads[i]; math.Abs(got-want) > 1e-6*math.Abs(want)+1e-8 {
					t.Errorf("%s[%d]: gradient %.12g, finite difference %.12g", v.Name, i-v.Lo, got, want)
				}
			}
			if a.Shape != "qwen3" && a.Shape != "gpt2" {
				return
			}
			with16, _ := adaptedPair[float32](t, a, ad, ModeBF16, CheckpointNone)
			with32, _ := adaptedPair[float32](t, a, ad, ModeFP32, CheckpointNone)
			for _, m := range []*Model[float32]{with16, with32} {
				m.Init(1) // tamer numbers, whose rounding errors do not grow
				for i := range m.Trained().Flat {
					m.Trained().Flat[i] += float32(0.05 * math.Sin(float64(i)))
				}
				m.Refresh()
			}
			if a, b := with16.Backward(in, 1), with32.Backward(in, 1); math.Abs(a-b) > 0.01*b {
				t.Errorf("nats %v in bf16, %v in fp32", a, b)
			}
			if off := distance(with16.Grads(), with32.Grads()); off > 0.05 {
				t.Errorf("gradients in bf16 are off by %.2g", off)
			}
		})
	}
}

// DoRA computes with rows of W + Scale·B·A of the length that the magnitude says, and its gradients follow from that of
// the whole matrix, lengths being constant.
func TestDoRA(t *testing.T) {
	for _, a := range shapes() {
		t.Run(a.Shape, func(t *testing.T) {
			ad := param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets, DoRA: true}
			x := newExec(t, 2, kernel.TierAuto)
			r := random(t)
			m := newModel[float64](t, a, x, Options{MicroTokens: 128, Adapter: ad})
			plain := newModel[float64](t, a, x, Options{MicroTokens: 128})
			m.Init(1)
			scramble(m, r)
			m.Rebase()
			m.Refresh()
			copy(plain.params.Flat, m.params.Flat)
			plain.Refresh()
			in := ragged(r, a.Vocab, 70, 3, 11)
			if a, b := m.Loss(in), plain.Loss(in); math.Abs(a-b) > 1e-11*b {
				t.Errorf("nats %v with a fresh adapter, %v without", a, b)
			}
			p := m.Trained()
			for i := range p.Flat {
				p.Flat[i] += 0.2 * r.NormFloat64()
			}
			m.Refresh()
			type whole struct{ v, ratio, lengths []float64 }
			all := map[string]whole{}
			for i, t := range param.AdaptedViews(a, ad) {
				low, high, magnitude := p.Views[3*i], p.Views[3*i+1], p.Views[3*i+2]
				out, in := t.Shape[0], t.Shape[1]
				w := whole{slices.Clone(m.adapter.blocks[t.Block][t.Slot][0].base[:0]), make([]float64, out),
					make([]float64, out)}
				for _, own := range m.adapter.blocks[t.Block][t.Slot] {
					if own.Name == t.Name {
						w.v = slices.Clone(own.base)
					}
				}
				for o := range out {
					for c := range in {
						for k := range ad.Rank {
							w.v[o*in+c] += ad.Scale * p.Flat[high.Lo+o*ad.Rank+k] * p.Flat[low.Lo+k*in+c]
						}
						w.lengths[o] += w.v[o*in+c] * w.v[o*in+c]
					}
					w.lengths[o] = math.Sqrt(w.lengths[o])
					w.ratio[o] = p.Flat[magnitude.Lo+o] / w.lengths[o]
					for c := range in {
						plain.params.Flat[t.Lo+o*in+c] = w.ratio[o] * w.v[o*in+c]
					}
				}
				all[t.Name] = w
			}
			plain.Refresh()
			for range 2 {
				if a, b := m.Backward(in, 0.01), plain.Backward(in, 0.01); math.Abs(a-b) > 1e-11*b {
					t.Fatalf("nats %v, with merged weights %v", a, b)
				}
			}
			for i, view := range param.AdaptedViews(a, ad) {
				low, high, magnitude := p.Views[3*i], p.Views[3*i+1], p.Views[3*i+2]
				w, dw, in := all[view.Name], plain.grads[view.Lo:view.Hi], view.Shape[1]
				want := make([]float64, magnitude.Hi-low.Lo)
				for o := range view.Shape[0] {
					for c := range in {
						g := dw[o*in+c]
						want[magnitude.Lo-low.Lo+o] += g * w.v[o*in+c] / w.lengths[o]
						for k := range ad.Rank {
							want[k*in+c] += ad.Scale * w.ratio[o] * g * p.Flat[high.Lo+o*ad.Rank+k]
							want[high.Lo-low.Lo+o*ad.Rank+k] += ad.Scale * w.ratio[o] * g * p.Flat[low.Lo+k*in+c]
						}
					}
				}
				for _, v := range p.Views[3*i : 3*i+3] {
					if off := distance(m.grads[v.Lo:v.Hi], want[v.Lo-low.Lo:v.Hi-low.Lo]); off > 1e-10 {
						t.Errorf("%s: the gradient is off by %.2g", v.Name, off)
					}
				}
			}
		})
	}
}

// A base in bfloat16 or 8 bits takes a part of the memory. Passes, gradients and texts are bit for bit those of a base
// in fp32 that has the same values: with bfloat16 those of a file in bfloat16, and those that 8 bits leave.
func TestBase(t *testing.T) {
	for n, a := range shapes() {
		for k, mode := range []string{ModeFP32, ModeBF16, ModeFP32} {
			base := []string{param.FormatBF16, param.FormatInt8}[(n+k)%2]
			t.Run(fmt.Sprint(a.Shape, " ", base, " ", mode, k), func(t *testing.T) {
				x := newExec(t, 2, []kernel.Tier{kernel.TierAuto, kernel.Generic}[k/2])
				r := random(t)
				source := newModel[float32](t, a, x, Options{MicroTokens: 1})
				source.Init(3)
				scramble(source, r)
				f := written(t, source.params, "F32")
				if base == param.FormatBF16 {
					f = written(t, source.params, "BF16")
				}
				files := []*safetensors.File{f, f}
				if base == param.FormatInt8 {
					for _, v := range param.AdaptedViews(a, param.Adapter{Targets: param.AllTargets}) {
						w, in := source.params.Flat[v.Lo:v.Hi], v.Shape[1]
						code := make([]byte, kernel.CodedLen(kernel.Int8, v.Shape[0], in))
						kernel.EncodeInt8(x, code, w, v.Shape[0], in)
						kernel.DecodeInt8(w, code, in, 0, v.Shape[0])
					}
					files[0] = written(t, source.params, "F32")
				}
				ad := param.Adapter{Rank: 3, Scale: 1.5, DoRA: n%3 == 2,
					Targets: []param.Targets{param.AllTargets, param.TargetQ | param.TargetDown}[n%2]}
				if n%3 == 0 {
					ad.Dropout = 0.2
				}
				in := ragged(r, a.Vocab, 60, 2, 20)
				in.Dropout = dropoutKeys(r, len(in.Bounds)-1)
				var nats [2]float64
				var grads, logits [2][]float32
				var held [2]int64
				for i := range files {
					ad.Base = []string{param.FormatFP32, base}[i]
					opt := Options{MicroTokens: 128, Mode: mode, Adapter: ad, Workers: 2,
						Checkpointing: []string{CheckpointNone, CheckpointAttention, CheckpointBlock}[n%3]}
					m := newModel[float32](t, a, x, opt)
					if got := Memory(a, opt).Total; got != m.Footprint().Total {
						t.Errorf("%d bytes are planned, %d were allocated", got, m.Footprint().Total)
					}
					for _, part := range m.Footprint().Parts {
						if part.Name == partParams {
							held[i] = part.Bytes
						}
					}
					m.Init(1)
					if err := m.Load(files[i]); err != nil {
						t.Fatal(err)
					}
					p := m.Trained()
					for j, v := range p.Views {
						if j%ad.Parts() < 2 {
							for k := v.Lo; k < v.Hi; k++ {
								p.Flat[k] = float32(math.Sin(float64(k))) / 4
							}
						}
					}
					m.Refresh()
					nats[i] = m.Backward(in, 1) + m.Backward(in, 0.5)
					grads[i] = m.Grads()
					d, err := m.Decoder(DecoderOptions{Tokens: 8, Rows: 1})
					if err != nil {
						t.Fatal(err)
					}
					logits[i] = make([]float32, a.Vocab)
					d.Decode(NewCache[float32](a, 1, 16), in.Tokens[:11], make([]int32, 11), logits[i])
				}
				if nats[0] != nats[1] || !slices.Equal(grads[0], grads[1]) || !slices.Equal(logits[0], logits[1]) {
					t.Errorf("nats %v; gradients are off by %v, logits by %v", nats, distance(grads[1], grads[0]),
						distance(logits[1], logits[0]))
				}
				// Without: all in fp32, and what is adapted twice. With: all as the base, and a block in fp32.
				matrices, adapted, bytes := 0, 0, 0
				for _, v := range param.AdaptedViews(a, param.Adapter{Targets: param.AllTargets}) {
					matrices += v.Len()
					if base == param.FormatInt8 {
						bytes += kernel.CodedLen(kernel.Int8, v.Shape[0], v.Shape[1])
					} else {
						bytes += 2 * v.Len()
					}
				}
				for _, v := range param.AdaptedViews(a, ad) {
					adapted += v.Len()
				}
				want := int64(4*(matrices+adapted) - bytes - 4*matrices/a.Layers)
				if saved := held[0] - held[1]; math.Abs(float64(saved-want)) > 0.05*float64(want)+64*7*float64(a.Layers) {
					t.Errorf("it saves %d bytes of %d, want %d", saved, held[0], want)
				}
			})
		}
	}
}

// written is a file of parameters in a type of numbers.
func written(t *testing.T, p *param.Params[float32], dtype string) *safetensors.File {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, param.Entries(p), nil, dtype); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// A fresh adapter with DoRA changes nothing of a base that is rounded: its lengths are those of the rounded rows.
func TestDoRAOfRounded(t *testing.T) {
	a, x := shapes()[0], newExec(t, 2, kernel.TierAuto)
	source := newModel[float32](t, a, x, Options{MicroTokens: 1})
	source.Init(3)
	scramble(source, random(t))
	f, in := written(t, source.params, "F32"), ragged(random(t), a.Vocab, 60)
	for _, base := range []string{param.FormatBF16, param.FormatInt8} {
		var logits [2][]float32
		for i, dora := range []bool{false, true} {
			m := newModel[float32](t, a, x, Options{MicroTokens: 64,
				Adapter: param.Adapter{Rank: 3, Scale: 1, Targets: param.AllTargets, DoRA: dora, Base: base}})
			m.Init(1)
			if err := m.Load(f); err != nil {
				t.Fatal(err)
			}
			m.Refresh()
			logits[i] = make([]float32, 60*a.Vocab)
			m.Logits(logits[i], in)
		}
		if off := distance(logits[1], logits[0]); off > 1e-5 {
			t.Errorf("%s: logits with DoRA are off by %.2g", base, off)
		}
	}
}

// A weight that is not finite is refused by its name where 8 bits are to hold it.
func TestInt8NotFinite(t *testing.T) {
	a, x := shapes()[0], newExec(t, 2, kernel.TierAuto)
	m := newModel[float32](t, a, x, Options{MicroTokens: 8,
		Adapter: param.Adapter{Rank: 3, Scale: 1, Targets: param.TargetQ, Base: param.FormatInt8}})
	for _, bad := range []float64{math.NaN(), math.Inf(-1)} {
		p := param.New[float32](a)
		v := p.Views[len(p.Views)-3]
		p.Flat[v.Lo+40] = float32(bad)
		err := m.Load(written(t, p, "F32"))
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s[40] is %v", v.Name, bad)) {
			t.Errorf("%v in %s: %v", bad, v.Name, err)
		}
	}
}

// What is exported computes what was trained: the files of base and adapter, merged, in the orientation of the family.
func TestMerged(t *testing.T) {
	for _, a := range shapes() {
		for _, dora := range []bool{false, true} {
			ad := param.Adapter{Rank: 3, Scale: 1.5, Targets: param.AllTargets, DoRA: dora}
			x := newExec(t, 2, kernel.TierAuto)
			m := newModel[float32](t, a, x, Options{MicroTokens: 128, Adapter: ad})
			plain := newModel[float32](t, a, x, Options{MicroTokens: 128})
			plain.Init(1)
			base := written(t, plain.params, "F32")
			m.Init(2)
			if err := m.Load(base); err != nil {
				t.Fatal(err)
			}
			for i := range m.Trained().Flat {
				m.Trained().Flat[i] += float32(0.2 * math.Sin(float64(i)))
			}
			m.Refresh()
			merged := param.Merged(a, ad, base, written(t, m.Trained(), "F32"))
			if err := param.LoadEntries(plain.params, merged); err != nil {
				t.Fatal(err)
			}
			plain.Refresh()
			in := ragged(random(t), a.Vocab, 60, 2)
			if a, b := m.Loss(in), plain.Loss(in); math.Abs(a-b) > 1e-5*b {
				t.Errorf("DoRA %t: %v nats, merged %v", dora, a, b)
			}
			if off := distance(m.params.Flat, plain.params.Flat); off > 1e-6 {
				t.Errorf("DoRA %t: merged weights are off by %.2g", dora, off)
			}
		}
	}
}
