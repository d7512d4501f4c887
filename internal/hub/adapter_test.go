package hub

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// peft is an adapter_config.json as PEFT 0.21 writes it; the last two are the base and what is changed.
const peft = `{"alora_invocation_tokens": null, "alpha_pattern": {}, "auto_mapping": null, "base_model_name_or_path": %q,
	"bias": "none", "corda_config": null, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
	"inference_mode": true, "init_lora_weights": true, "layer_replication": null, "layers_pattern": null,
	"layers_to_transform": null, "loftq_config": {}, "lora_alpha": 7, "lora_bias": false, "lora_dropout": 0.0,
	"megatron_config": null, "modules_to_save": null, "peft_type": "LORA", "r": 5, "rank_pattern": {}, "revision": null,
	"target_modules": ["down_proj", "q_proj"], "task_type": "CAUSAL_LM", "use_dora": false, "use_rslora": true}`

// An adapter of others is added to what is read of its base: alpha/√r times B·A. What it asks for and is not computed is
// refused by its key.
func TestAdapterOfOthers(t *testing.T) {
	a := archs()[0]
	base := putModel(t, a, "F32", 1)
	ad, _, err := NewAdapter(a, config.Adapter{Rank: 5, Alpha: 7, RSLoRA: true,
		Targets: []string{"q_proj", "down_proj"}})
	if err != nil {
		t.Fatal(err)
	}
	views, total := param.AdapterLayout(a, ad)
	flat := make([]float32, total)
	for i := range flat {
		flat[i] = float32(i%11-5) / 8
	}
	var entries []safetensors.Entry
	for _, v := range views {
		entries = append(entries, safetensors.Entry{Name: v.Name, Shape: v.Shape, Data: flat[v.Lo:v.Hi]})
	}
	put := func(conf string, entries []safetensors.Entry) string {
		dir := t.TempDir()
		putFile(t, filepath.Join(dir, checkpoint.AdapterFile), entries, "F32")
		if err := os.WriteFile(filepath.Join(dir, adapterFile), []byte(conf), 0o666); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	conf := fmt.Sprintf(peft, base)
	dir := put(conf, entries)
	m, err := OpenModel(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	own, err := OpenModel(base, "")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	names := map[string]int{}
	for i, v := range views {
		names[v.Name] = i
	}
	for _, tensor := range own.Model().Tensors() {
		was, is := make([]float32, tensor.Len()), make([]float32, tensor.Len())
		if err := own.Model().ReadF32(was, tensor.Name); err != nil {
			t.Fatal(err)
		}
		if err := m.Model().ReadF32(is, tensor.Name); err != nil {
			t.Fatal(err)
		}
		low, there := names["base_model.model."+strings.TrimSuffix(tensor.Name, "weight")+"lora_A.weight"]
		for i, w := range was {
			want := float64(w)
			if there {
				av, bv, in := views[low], views[low+1], tensor.Shape[1]
				for k := range 5 {
					want += 7 / math.Sqrt(5) * float64(flat[bv.Lo+i/in*5+k]) * float64(flat[av.Lo+k*in+i%in])
				}
			}
			if math.Abs(float64(is[i])-want) > 1e-5 {
				t.Fatalf("%s[%d] is %v, want %v", tensor.Name, i, is[i], want)
			}
		}
	}
	upper := put(fmt.Sprintf(peft, dir), entries) // the same adapter, on itself
	twice, err := OpenModel(upper, "")
	if err != nil {
		t.Fatal(err)
	}
	defer twice.Close()
	name := "model.layers.0.self_attn.q_proj.weight"
	sizes, _ := own.Model().Lookup(name)
	var levels [3][]float32
	for i, m := range []*Model{own, m, twice} {
		levels[i] = make([]float32, sizes.Len())
		if err := m.Model().ReadF32(levels[i], name); err != nil {
			t.Fatal(err)
		}
	}
	for i := range levels[0] {
		was, once, is := levels[0][i], levels[1][i], levels[2][i]
		if math.Abs(float64(is-once)-float64(once-was)) > 1e-5 {
			t.Fatalf("%s[%d] is %v, then %v, and with an adapter on the adapter %v", name, i, was, once, is)
		}
	}
	const template = "{{ messages }}" // its own, and the base has none: it was trained with it
	if err := os.WriteFile(filepath.Join(dir, templateFile), []byte(template), 0o666); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "merged")
	c, err := checkpoint.OpenWeights(durable.OS, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := Export(t.Context(), c, out, "fp32"); err != nil {
		t.Fatal(err)
	}
	if merged, err := OpenModel(out, ""); err != nil || merged.Base() != nil {
		t.Errorf("exported: %v", err)
	} else {
		if got, err := merged.File(templateFile); string(got) != template {
			t.Errorf("the template of the export is %q, %v", got, err)
		}
		merged.Close()
	}
	more, err := tokenizer.NewBytes().WithSpecial(manyTokens(64)...).JSON()
	if err != nil {
		t.Fatal(err)
	}
	grown := put(conf, entries)
	if err := os.WriteFile(filepath.Join(grown, tokenizerFile), more, 0o666); err != nil {
		t.Fatal(err)
	}
	if m, err := OpenModel(grown, ""); err == nil || !strings.Contains(err.Error(), "vocab_size") {
		t.Errorf("a tokenizer with more tokens than the weights: %v", err)
		if err == nil {
			m.Close()
		}
	}

	broken := slices.Clone(entries)
	broken[1].Data = slices.Clone(broken[1].Data)
	broken[1].Data[3] = float32(math.NaN())
	if c, err = checkpoint.OpenWeights(durable.OS, put(conf, broken)); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, err := range map[string]error{"lora_B.weight[3]": ExportAdapter(t.Context(), c, filepath.Join(t.TempDir(), "x")),
		"proj.weight[": Export(t.Context(), c, filepath.Join(t.TempDir(), "x"), "fp32")} {
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "is NaN") {
			t.Errorf("weights that are not finite: %v", err)
		}
	}

	for key, with := range map[string][2]string{
		"lora_magnitude_vector": {`"use_dora": false`, `"use_dora": true`},
		"lora_dropout":          {`"lora_dropout": 0.0`, `"lora_dropout": 1.5`},
		"bias":                  {`"bias": "none"`, `"bias": "all"`},
		"modules_to_save":       {`"modules_to_save": null`, `"modules_to_save": ["lm_head"]`},
		"peft_type":             {`"peft_type": "LORA"`, `"peft_type": "IA3"`},
		"rank_pattern":          {`"rank_pattern": {}`, `"rank_pattern": {"q_proj": 2}`},
		"layers_to_transform":   {`"layers_to_transform": null`, `"layers_to_transform": [0]`},
		"init_lora_weights":     {`"init_lora_weights": true`, `"init_lora_weights": "pissa_niter_4"`},
		"alora_invocation":      {`"alora_invocation_tokens": null`, `"alora_invocation_tokens": [7]`},
		"lora_bias":             {`"lora_bias": false`, `"lora_bias": true`},
		"target_parameters":     {`"revision": null`, `"target_parameters": ["experts.gate"]`},
		"path is missing":       {fmt.Sprintf("%q", base), "null"},
		"r comes twice":         {`"r": 5`, `"r": 5, "r": 5`},
		"no target \"c_attn\"":  {`"down_proj", `, `"c_attn", `},
		"base_model_name_or":    {fmt.Sprintf("%q", base), `"nobody/nothing"`},
		"lora_alpha":            {`"lora_alpha": 7`, `"lora_alpha": 0`},
		"want [6 16]":           {`"r": 5`, `"r": 6`},
		"adapter_config.json":   {`{"alora`, `"alora`},
		"is unexpected":         {`["down_proj", "q_proj"]`, `["q_proj"]`},
	} {
		text := strings.Replace(conf, with[0], with[1], 1)
		if text == conf {
			t.Fatalf("%s: nothing was changed", key)
		}
		if m, err := OpenModel(put(text, entries), ""); err == nil {
			m.Close()
			t.Errorf("%s: taken", key)
		} else if !strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// manyTokens makes special tokens.
func manyTokens(n int) (tokens []string) {
	for i := range n {
		tokens = append(tokens, fmt.Sprintf("<|more %d|>", i))
	}
	return tokens
}
