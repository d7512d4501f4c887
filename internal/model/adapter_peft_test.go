package model

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/kernel"
	"gimbal/internal/param"
)

// What PEFT computes with LoRA, rsLoRA and DoRA: nats, and the gradient of every tensor. Recorded by
// testdata/parity/peft_record.py.
func TestPEFT(t *testing.T) {
	var recorded struct {
		Tokens []int32
		Cases  []struct {
			Shape       string
			Scale, Nats float64
			DoRA        bool
			Gradients   map[string][]float64
		}
	}
	raw, err := os.ReadFile("testdata/peft.json")
	if err == nil {
		err = json.Unmarshal(raw, &recorded)
	}
	if err != nil || len(recorded.Cases) != 3 {
		t.Fatal(err, len(recorded.Cases))
	}
	archs := map[string]config.Arch{
		"llama": {Shape: "llama", Layers: 2, Width: 16, Heads: 4, KVHeads: 2, HeadSize: 4, MLP: 24, Vocab: 19,
			Context: 32,
			Norm:    "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu"},
		"gpt2": {Shape: "gpt2", Layers: 1, Width: 16, Heads: 4, KVHeads: 4, HeadSize: 4, MLP: 24, Vocab: 19,
			Context: 32,
			Norm:    "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
	}
	n := len(recorded.Tokens)
	in := Input{Tokens: recorded.Tokens[:n-1], Labels: recorded.Tokens[1:], Bounds: []int32{0, int32(n - 1)}}
	for range n - 1 {
		in.Counts = append(in.Counts, true)
	}
	for _, c := range recorded.Cases {
		a := archs[c.Shape]
		ad := param.Adapter{Rank: 3, Scale: c.Scale, DoRA: c.DoRA,
			Targets: param.TargetQ | param.TargetV | param.TargetO | param.TargetUp | param.TargetDown}
		if c.Shape == "gpt2" {
			ad.Targets = param.TargetQ | param.TargetUp
		}
		m := newModel[float64](t, a, newExec(t, 2, kernel.TierAuto), Options{MicroTokens: 32, Adapter: ad})
		for _, set := range []*param.Params[float64]{m.params, m.Trained()} {
			scale := map[bool]float64{true: 0.3, false: 0.5}[set == m.params]
			views := slices.Clone(set.Views)
			slices.SortFunc(views, func(a, b param.View) int { return strings.Compare(a.Name, b.Name) })
			for i, v := range views {
				for k := range v.Len() {
					at := k
					if c.Shape == "gpt2" && v.Block >= 0 && len(v.Shape) == 2 && set == m.params {
						at = k%v.Shape[0]*v.Shape[1] + k/v.Shape[0]
					}
					x := scale * math.Sin(0.37*float64(k)+float64(i))
					if v.Kind == param.KindNorm || strings.HasSuffix(v.Name, ".lora_magnitude_vector") {
						x++
					}
					set.Flat[v.Lo+at] = x
				}
			}
			if set == m.params {
				m.Rebase()
			}
		}
		m.Refresh()
		limit := 1e-10
		if c.Shape == "llama" { // of which transformers norms and rotates in float32
			limit = 1e-5
		}
		if nats := m.Backward(in, 1); math.Abs(nats-c.Nats) > limit*c.Nats {
			t.Errorf("%s: %v nats, PEFT has %v", c.Shape, nats, c.Nats)
		}
		if len(c.Gradients) != len(m.Trained().Views) {
			t.Errorf("%s: %d gradients for %d tensors", c.Shape, len(c.Gradients), len(m.Trained().Views))
		}
		for _, v := range m.Trained().Views {
			if off := distance(m.grads[v.Lo:v.Hi], c.Gradients[v.Name]); !(off < limit) {
				t.Errorf("%s: %s is off by %.2g", c.Shape, v.Name, off)
			}
		}
	}
}
