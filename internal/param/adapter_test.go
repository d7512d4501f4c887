package param

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The names of adapters are PEFT's.
func TestAdapterNames(t *testing.T) {
	a := familyArchs()[0]
	v, _ := AdapterLayout(a, Adapter{Rank: 4, Scale: 2, Targets: AllTargets})
	if v[0].Name != "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" || !slices.Equal(v[0].Shape,
		[]int{4, a.Width}) ||
		v[1].Name != "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight" ||
		!slices.Equal(v[1].Shape, []int{a.Heads * a.HeadSize, 4}) {
		t.Errorf("%+v", v[:2])
	}
	if got, want := strings.Join(ModuleNames(a, AllTargets),
		" "), "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj"; got != want {
		t.Errorf("targets %s, want %s", got, want)
	}
	if set, err := ParseTargets(a, []string{"q_proj", "down_proj"}); err != nil || set != TargetQ|TargetDown {
		t.Errorf("%b, %v", set, err)
	}
	var whole []string // as PEFT writes the names of a small model
	for i := range a.Layers {
		whole = append(whole, fmt.Sprintf("model.layers.%d.self_attn.q_proj", i), fmt.Sprintf("%d.mlp.down_proj", i))
	}
	if set, err := ParseTargets(a, whole); err != nil || set != TargetQ|TargetDown {
		t.Errorf("names of every layer: %v, %v", set, err)
	}
	if set, err := ParseTargets(a, whole[:1]); err == nil {
		t.Errorf("names of one layer mean %v", set)
	}
	if _, err := ParseTargets(a, []string{"c_attn"}); err == nil {
		t.Error("a target of another family was taken")
	}
}
