package param

import (
	"math"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/par"
)

// testArchs is familyArchs with heads that are tied, and with heads that are not.
func testArchs() (list []config.Arch) {
	for _, a := range familyArchs() {
		other := a
		other.Tie = !a.Tie
		list = append(list, a, other)
	}
	return list
}

// gpt2 is a GPT-2 with a head of its own.
func gpt2() config.Arch {
	return config.Arch{Shape: "gpt2", Layers: 2, Width: 16, Heads: 4, KVHeads: 4, HeadSize: 4, MLP: 64, Vocab: 256,
		Context: 200, Norm: "layer", NormEps: 1e-5, Position: "learned", MLPKind: "gelu", QKVBias: true, Bias: true}
}

// align is the elements on whose multiples groups of tensors begin.
const align = 16

func TestLayout(t *testing.T) {
	for _, a := range testArchs() {
		views, total := Layout(a)
		want, _ := a.Params()
		var sum int64
		names := map[string]bool{}
		end := 0
		for _, v := range views {
			n := 1
			for _, d := range v.Shape {
				n *= d
			}
			if v.Len() != n || v.Lo < end || v.Lo-end >= align || v.Hi > total || names[v.Name] {
				t.Fatalf("%s: bad view %+v after %d", a.Shape, v, end)
			}
			end, names[v.Name] = v.Hi, true
			sum += int64(n)
			matrix := len(v.Shape) == 2 && v.Kind != KindEmbed && v.Kind != KindPosition
			if v.Decay != matrix {
				t.Errorf("%s: decay of %s is %v", a.Shape, v.Name, v.Decay)
			}
			if (v.Block >= 0) != (strings.Contains(v.Name, ".layers.") || strings.Contains(v.Name, ".h.")) {
				t.Errorf("%s: block of %s is %d", a.Shape, v.Name, v.Block)
			}
		}
		if sum != want || total%align != 0 {
			t.Errorf("%s: %d parameters in %d elements, the architecture has %d", a.Shape, sum, total, want)
		}
		if head := names["lm_head.weight"] || names["embed_out.weight"]; head == a.Tie {
			t.Errorf("%s: tied %v, head stored %v", a.Shape, a.Tie, head)
		}
	}
	p := New[float32](familyArchs()[1])
	q, _ := p.Lookup("model.layers.1.self_attn.q_proj.weight")
	k, _ := p.Lookup("model.layers.1.self_attn.k_proj.weight")
	v, _ := p.Lookup("model.layers.1.self_attn.v_proj.weight")
	if q.Hi != k.Lo || k.Hi != v.Lo || q.Lo%align != 0 {
		t.Errorf("q, k, v at %d-%d, %d-%d, %d-%d", q.Lo, q.Hi, k.Lo, k.Hi, v.Lo, v.Hi)
	}
	if p.Tensor("no such tensor") != nil || len(p.Tensor(q.Name)) != q.Len() {
		t.Error("look-up by name")
	}
}

func TestInit(t *testing.T) {
	pool := par.New(2)
	defer pool.Close()
	a := gpt2()
	a.Width, a.MLP, a.HeadSize = 64, 256, 16
	p := New[float64](a)
	p.Init(pool, a.Layers, 7)
	inside := make([]bool, len(p.Flat))
	for _, v := range p.Views {
		sum, squares := 0.0, 0.0
		for i := v.Lo; i < v.Hi; i++ {
			inside[i] = true
			sum += p.Flat[i]
			squares += p.Flat[i] * p.Flat[i]
		}
		n := float64(v.Len())
		mean, rms := sum/n, math.Sqrt(squares/n)
		want := 0.02
		switch v.Kind {
		case KindNorm:
			want = 1
		case KindBias:
			want = 0
		case KindO, KindDown:
			want = 0.02 / math.Sqrt(2*float64(a.Layers))
		}
		tol := 5 * want / math.Sqrt(2*n)
		if v.Kind == KindNorm {
			tol = 0
		} else if math.Abs(mean) > 5*want/math.Sqrt(n) {
			t.Errorf("%s: mean %g", v.Name, mean)
		}
		if math.Abs(rms-want) > tol {
			t.Errorf("%s: rms %g, want %g", v.Name, rms, want)
		}
	}
	for i, v := range p.Flat {
		if !inside[i] && v != 0 {
			t.Fatalf("gap at %d holds %g", i, v)
		}
	}
	firsts := map[float64]string{}
	for _, v := range p.Views {
		if v.Kind != KindNorm && v.Kind != KindBias {
			first := math.Round(p.Flat[v.Lo] / p.Flat[v.Lo+1] * 1e9)
			if firsts[first] != "" {
				t.Errorf("%s and %s begin alike", firsts[first], v.Name)
			}
			firsts[first] = v.Name
		}
	}
	// Values belong to names: one more layer moves them and changes none but the projections' scale.
	b := a
	b.Layers++
	other := New[float64](b)
	other.Init(pool, b.Layers, 7)
	for _, name := range []string{"transformer.wte.weight", "transformer.h.1.attn.c_attn.weight", "lm_head.weight"} {
		if !slices.Equal(p.Tensor(name), other.Tensor(name)) {
			t.Errorf("%s depends on the number of layers", name)
		}
	}
	other.Init(pool, b.Layers, 8)
	if slices.Equal(p.Tensor("lm_head.weight"), other.Tensor("lm_head.weight")) {
		t.Error("another seed gives the same weights")
	}
}

func TestScaleBlock(t *testing.T) {
	pool := par.New(1)
	defer pool.Close()
	a := gpt2()
	p := New[float32](a)
	p.Init(pool, a.Layers, 1)
	before := slices.Clone(p.Flat)
	p.ScaleBlock(1, 0.01)
	for _, v := range p.Views {
		factor := float32(1)
		if v.Block == 1 && len(v.Shape) == 2 {
			factor = 0.01
		}
		for i := v.Lo; i < v.Hi; i++ {
			got, want := p.Flat[i], factor*before[i]
			if math.Abs(float64(got-want)) > 1e-6*math.Abs(float64(want)) {
				t.Fatalf("%s: %v, want %v", v.Name, got, want)
			}
		}
	}
}
