package graph

import (
	"slices"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/param"
)

var (
	testGPT2 = config.Arch{Shape: "gpt2", Layers: 2, Width: 16, Heads: 2, KVHeads: 2, HeadSize: 8, MLP: 24, Vocab: 30,
		Context: 16, Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu",
		Tie: true}
	testQwen3 = config.Arch{Shape: "qwen3", Layers: 2, Width: 16, Heads: 4, KVHeads: 2, HeadSize: 8, MLP: 24, Vocab: 30,
		Context: 16, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, QKNorm: true, MLPKind: "swiglu"}
)

// TestLayoutOfTensors asks which tensors a decoder reads where.
func TestLayoutOfTensors(t *testing.T) {
	for _, a := range []config.Arch{testGPT2, testQwen3} {
		views, _ := param.Layout(a)
		names := func(list ...int) (names []string) {
			for _, i := range list {
				if i >= 0 {
					names = append(names, views[i].Name)
				}
			}
			return names
		}
		l := layout(a)
		b := l.blocks[1]
		got := slices.Concat(names(l.embed, l.position, b.norm1.gain, b.norm1.bias), names(b.qkv.weights...),
			names(b.qkv.biases...), names(b.qGain, b.kGain), names(b.o.weights...), names(b.o.biases...),
			names(b.norm2.gain, b.norm2.bias), names(b.gateUp.weights...), names(b.gateUp.biases...),
			names(b.down.weights...), names(b.down.biases...), names(l.final.gain, l.final.bias, l.head))
		want := []string{"transformer.wte.weight", "transformer.wpe.weight",
			"transformer.h.1.ln_1.weight", "transformer.h.1.ln_1.bias",
			"transformer.h.1.attn.c_attn.weight", "transformer.h.1.attn.c_attn.bias",
			"transformer.h.1.attn.c_proj.weight", "transformer.h.1.attn.c_proj.bias",
			"transformer.h.1.ln_2.weight", "transformer.h.1.ln_2.bias",
			"transformer.h.1.mlp.c_fc.weight", "transformer.h.1.mlp.c_fc.bias",
			"transformer.h.1.mlp.c_proj.weight", "transformer.h.1.mlp.c_proj.bias",
			"transformer.ln_f.weight", "transformer.ln_f.bias", "transformer.wte.weight"}
		if a.Shape == "qwen3" {
			want = []string{"model.embed_tokens.weight", "model.layers.1.input_layernorm.weight",
				"model.layers.1.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight",
				"model.layers.1.self_attn.v_proj.weight",
				"model.layers.1.self_attn.q_norm.weight", "model.layers.1.self_attn.k_norm.weight",
				"model.layers.1.self_attn.o_proj.weight", "model.layers.1.post_attention_layernorm.weight",
				"model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.up_proj.weight",
				"model.layers.1.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q", a.Shape, got)
		}
	}
}

// TestStrips asks that every query is in one block, and sees the keys up to itself.
func TestStrips(t *testing.T) {
	for _, kind := range []string{Plain, Blocks} {
		for n := 1; n <= 3000; n += 37 {
			s := &pass{Pass: Pass{Attention: kind, Length: n}}
			at := 0
			for _, p := range s.strips(0) {
				if p.lo != at || p.hi <= p.lo || (p.hi-p.lo)%p.block != 0 || kind == Blocks && p.block > blockQueries {
					t.Fatalf("%s of %d: %+v", kind, n, s.strips(0))
				}
				at = p.hi
			}
			if at != n || kind == Plain && len(s.strips(0)) != 1 || len(s.strips(0)) > blockStrips+1 {
				t.Fatalf("%s of %d: %+v", kind, n, s.strips(0))
			}
		}
	}
}

// TestPrograms writes every kind of pass: the shapes fit, and the same pass has the same text, by which it is cached.
func TestPrograms(t *testing.T) {
	for _, a := range []config.Arch{testGPT2, testQwen3} {
		a.Dropout = 0.1
		modes := []string{model.CheckpointNone, model.CheckpointAttention, model.CheckpointBlock}
		for _, kind := range []string{Plain, Blocks, CuDNN} {
			for _, checkpointing := range modes {
				p := Pass{Arch: a, Rows: 2, Length: 16, Mode: model.ModeBF16, Checkpointing: checkpointing,
					Attention: kind, Segments: 3, Dropout: true, Devices: 2}
				g := Gradient(p)
				views, _ := param.Layout(a)
				if g.Text != Gradient(p).Text || g.Devices != 2 || len(g.Donated) != len(views) ||
					len(g.Out) != len(views)+2 {
					t.Errorf("%s %s %s: text differs, or %d donated of %d and %d results", a.Shape, kind, checkpointing,
						len(g.Donated), len(views), len(g.Out))
				}
				for i, v := range views {
					in, out := g.In[g.Donated[i]].Dims, g.Out[i].Dims
					if !slices.Equal(in, v.Shape) || !slices.Equal(out, v.Shape) {
						t.Errorf("%s: gradient %v in %v out", v.Name, in, out)
					}
				}
				if f := Forward(p); len(f.In) >= len(g.In) || len(f.Out) != 2 {
					t.Errorf("forward: %d arguments, %d results", len(f.In), len(f.Out))
				}
			}
		}
		p := Pass{Arch: a, Rows: 1, Length: 16, Mode: model.ModeFP32, Attention: Plain}
		out := Probe(p).Out
		if len(out) != 3+a.Layers+1+3*a.Layers || !slices.Equal(out[3].Dims, []int{16, a.Width}) {
			t.Errorf("probe: %v", out)
		}
	}
}

func TestPacked(t *testing.T) {
	p := Pass{Rows: 2, Length: 6, Segments: 2}
	lengths, offsets, err := p.Packed([]int32{0, 0, 0, 1, -1, -1, 1, 1, 1, 1, 1, 1})
	if err != nil || !slices.Equal(lengths, []int32{3, 1, 6, 0}) ||
		!slices.Equal(offsets, []int32{0, 3, 6, 12, 12, 12}) {
		t.Error(lengths, offsets, err)
	}
	if _, _, err := p.Packed([]int32{0, 0, 1, 2, -1, -1, -1, -1, -1, -1, -1, -1}); err == nil {
		t.Error("three sequences in a row of two")
	}
}

// TestMisuse asks that a mistake in a program is found before a compiler sees it.
func TestMisuse(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	b := &builder{}
	b.add(b.constant(0, 2), b.constant(0, 3))
}
