package family

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
)

// One architecture of each family, no size equal to another.
func archs() []config.Arch {
	base := config.Arch{
		Layers: 3, Width: 48, Heads: 6, KVHeads: 2, HeadSize: 10, MLP: 40, Vocab: 37, Context: 24, NormEps: 1e-6,
		Norm: "rms", Position: "rope", RopeTheta: 10000, MLPKind: "swiglu", Tie: true,
	}
	qwen3, qwen2, llama := base, base, base
	qwen3.Shape, qwen3.QKNorm = "qwen3", true
	qwen2.Shape, qwen2.QKVBias, qwen2.RopeTheta = "qwen2", true, 1e6
	llama.Shape, llama.Tie, llama.NormEps = "llama", false, 1e-5
	llama.RopeTheta, llama.RopeScale = 5e5, config.RopeScale{
		Kind:     "llama3",
		Factor:   8,
		Low:      1,
		High:     4,
		Original: 8192,
	}
	gpt2 := config.Arch{
		Shape: "gpt2", Layers: 2, Width: 32, Heads: 4, KVHeads: 4, HeadSize: 8, MLP: 128, Vocab: 37, Context: 24,
		Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true,
	}
	wide := gpt2
	wide.MLP, wide.Tie, wide.MLPKind = 80, false, "gelu-exact"
	mistral := llama
	mistral.Shape, mistral.RopeScale, mistral.Window, mistral.Positions = "mistral", config.RopeScale{}, 12, 0
	list := []config.Arch{qwen3, qwen2, llama, gpt2, wide, mistral}
	for _, shape := range []string{"olmo2", "smollm3", "phi3", "gpt_neox", "gemma", "gemma2", "gemma3_text",
		"stablelm", "granite", "olmo", "phi", "gpt_neo",
		"opt"} {
		a := base
		switch a.Shape = shape; shape {
		case "phi3":
			a.Heads, a.HeadSize, a.Rotary, a.Window = 4, 12, 6, 30
		case "gpt_neo":
			a.RopeTheta, a.Width = 0, 36
		case "opt":
			a.RopeTheta, a.Width, a.NormEps = 0, 36, usualEps
		case "olmo":
			a.NormEps = usualEps
		case "stablelm":
			a.HeadSize, a.Rotary = 8, 2
		}
		list = append(list, variants(a)...)
	}
	for _, s := range []config.RopeScale{
		{Kind: "linear", Factor: 4}, {Kind: "dynamic", Factor: 2},
		{Kind: "yarn", Factor: 4, Low: 1, High: 32, Original: 16, Gain: 1.25, Exact: true},
		{Kind: "longrope", Original: 24, Gain: 1.2, Short: "[1,1.1,1.2,1.3,2]", Long: "[1,2,3,4,5]"}} {
		a := llama
		a.RopeScale = s
		list = append(list, a)
	}
	return list
}

// variants are architectures of a family with the choices that its models make.
func variants(a config.Arch) (list []config.Arch) {
	a, _ = a.InFamily()
	add := func(change func(*config.Arch)) {
		b := a
		change(&b)
		list = append(list, b)
	}
	switch a.Shape {
	case "smollm3":
		add(func(a *config.Arch) { a.Pattern = "ffn" })
		add(func(a *config.Arch) { a.Pattern = "nfn" })
	case "phi3":
		add(func(a *config.Arch) {})
		add(func(a *config.Arch) {
			a.Window, a.Positions = 0, 96
			a.RopeScale = config.RopeScale{Kind: "longrope", Original: 24, Gain: longGain(96, 24), Short: "[1,1.5,2]",
				Long: "[1,3,4.25]"}
		})
	case "granite":
		add(func(*config.Arch) {})
		add(func(a *config.Arch) {
			a.EmbedFactor, a.ScoreFactor, a.ResidualFactor, a.LogitDivisor = 12, 0.1, 0.22, 8
		})
	case "phi":
		add(func(a *config.Arch) { a.MLPKind, a.Rotary = "gelu", 4 })
		add(func(a *config.Arch) { a.MLPKind = "gelu-exact" })
	case "stablelm":
		add(func(*config.Arch) {})
		add(func(a *config.Arch) { a.QKVBias, a.Rotary = true, 0 })
	case "gpt_neo":
		add(func(a *config.Arch) { a.MLPKind, a.Window, a.Pattern = "gelu", 8, "flf" })
		add(func(a *config.Arch) { a.MLPKind, a.Window = "gelu-exact", 8 })
		add(func(a *config.Arch) { a.MLPKind = "gelu" })
	case "gpt_neox":
		add(func(a *config.Arch) { a.MLPKind, a.Parallel, a.Rotary = "gelu-exact", true, 2 })
		add(func(a *config.Arch) { a.MLPKind, a.RopeScale = "gelu", config.RopeScale{Kind: "linear", Factor: 2} })
	case "gemma2":
		add(func(a *config.Arch) { a.Window, a.Pattern, a.ScoreCap, a.LogitCap = 8, "lfl", 50, 30 })
		add(func(a *config.Arch) { a.Window, a.Pattern, a.QueryScale, a.LogitCap = 8, "llf", 144, 0.5 })
	case "gemma3_text":
		add(func(a *config.Arch) { a.Window, a.Pattern, a.LocalTheta = 8, "llf", 1e4 })
		add(func(a *config.Arch) {
			a.Window, a.LocalTheta, a.QueryScale, a.RopeScale = 8, 5e3, 7.5, config.RopeScale{
				Kind:   "linear",
				Factor: 8,
			}
		})
	default:
		add(func(*config.Arch) {})
	}
	return list
}

func TestConfigRoundTrip(t *testing.T) {
	for _, a := range archs() {
		data, err := Config(a, 5, -1, "float32")
		if err != nil {
			t.Fatal(err)
		}
		got, eos, bos, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		if got != a || !slices.Equal(eos, []int32{5}) || bos != -1 {
			t.Errorf("%s: read back\n%+v, %d, %d, wrote\n%+v", a.Shape, got, eos, bos, a)
		}
	}
}

// The keys a reader needs, as text: floats must look like floats.
func TestConfigKeys(t *testing.T) {
	archs := archs()
	for _, c := range []struct {
		arch config.Arch
		want map[string]string
	}{
		{archs[0], map[string]string{
			"architectures": `["Qwen3ForCausalLM"]`, "model_type": `"qwen3"`, "hidden_size": "48", "head_dim": "10",
			"num_attention_heads": "6", "num_key_value_heads": "2", "intermediate_size": "40", "num_hidden_layers": "3",
			"max_position_embeddings": "24", "vocab_size": "37", "hidden_act": `"silu"`, "rms_norm_eps": "1e-06",
			"rope_theta": "10000.0", "rope_scaling": "null", "rope_parameters": `{"rope_theta":10000.0,"rope_type":"default"}`,
			"attention_bias": "false", "use_sliding_window": "false", "sliding_window": "null", "max_window_layers": "3",
			"layer_types":         `["full_attention","full_attention","full_attention"]`,
			"tie_word_embeddings": "true", "dtype": `"float32"`, "torch_dtype": `"float32"`, "eos_token_id": "5",
			"bos_token_id": "null", "transformers_version": `"` + transformersVersion + `"`,
		}},
		{archs[2], map[string]string{"architectures": `["LlamaForCausalLM"]`, "mlp_bias": "false", "attention_bias": "false",
			"layer_types": "",
			"rope_scaling": `{"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,` +
				`"original_max_position_embeddings":8192,"rope_type":"llama3"}`,
			"rope_parameters": `{"factor":8.0,"high_freq_factor":4.0,"low_freq_factor":1.0,` +
				`"original_max_position_embeddings":8192,"rope_theta":500000.0,"rope_type":"llama3"}`}},
		{archs[3], map[string]string{
			"architectures": `["GPT2LMHeadModel"]`, "model_type": `"gpt2"`, "n_positions": "24", "n_ctx": "24", "n_embd": "32",
			"n_layer": "2", "n_head": "4", "n_inner": "null", "activation_function": `"gelu_new"`, "layer_norm_epsilon": "1e-05",
			"embd_pdrop": "0.0", "resid_pdrop": "0.0", "attn_pdrop": "0.0", "scale_attn_weights": "true",
		}},
		{archs[4], map[string]string{"n_inner": "80", "tie_word_embeddings": "false"}},
	} {
		data, err := Config(c.arch, 5, -1, "float32")
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatal(err)
		}
		for key, want := range c.want {
			got := strings.Join(strings.Fields(string(keys[key])), "")
			if got != want {
				t.Errorf("%s: %s is %q, want %q", c.arch.Shape, key, got, want)
			}
		}
	}
	gen, err := Generation(5, 2)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(gen, &keys); err != nil {
		t.Fatal(err)
	}
	if keys["eos_token_id"] != 5.0 || keys["bos_token_id"] != 2.0 {
		t.Errorf("generation_config.json: %s", gen)
	}
}

func TestConfigRefusesWhatNoFamilyHas(t *testing.T) {
	for name, c := range map[string]struct {
		family int
		edit   func(*config.Arch)
	}{
		"QKNorm":            {0, func(a *config.Arch) { a.QKNorm = false }},
		"Norm":              {0, func(a *config.Arch) { a.Norm = "layer" }},
		"KVHeads":           {3, func(a *config.Arch) { a.KVHeads = 2 }},
		"HeadSize":          {3, func(a *config.Arch) { a.HeadSize = 10 }},
		"no Hugging Face":   {0, func(a *config.Arch) { a.Shape = "mamba" }},
		"is not a multiple": {2, func(a *config.Arch) { a.Width = 50 }},
		"do not share":      {0, func(a *config.Arch) { a.KVHeads = 4 }},
		"is 1e-05 in shape": {slices.IndexFunc(archs(), func(a config.Arch) bool { return a.Shape == "olmo" }),
			func(a *config.Arch) { a.NormEps = 1e-6 }},
		"head size 9 is odd": {0, func(a *config.Arch) { a.HeadSize = 9 }},
	} {
		a := archs()[c.family]
		c.edit(&a)
		if _, err := Config(a, 0, 0, "float32"); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every refusal names its key, and all of them are reported at once.
func TestParseHFConfigRefuses(t *testing.T) {
	archs := archs()
	for _, c := range []struct {
		family int
		key    string
		value  string // JSON; "" removes the key
		want   string
	}{
		{0, "use_sliding_window", "true", "use_sliding_window is true"},
		{0, "layer_types", `["full_attention","sliding_attention","full_attention"]`,
			`layer_types has "sliding_attention" for layer 1`},
		{0, "layer_types", `["full_attention"]`, "layer_types names 1 layers of 3"},
		{0, "rope_scaling", `{"rope_type":"ntk","factor":4.0}`, `rope_scaling: rope_type is "ntk"`},
		{0, "rope_scaling", `{"type":"linear","factor":2.0}`,
			`rope_parameters: rope_type is "default", but rope_scaling has "linear"`},
		{0, "rope_scaling", `{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0}`,
			"rope_scaling: original_max_position_embeddings is missing"},
		{0, "rope_scaling", `{"rope_type":"llama3","factor":0.5,"low_freq_factor":4.0,"high_freq_factor":4.0,` +
			`"original_max_position_embeddings":64}`, "rope_scaling: factor is 0.5, below 1"},
		{0, "rope_scaling", `{"rope_type":"default","rope_type":"default"}`, "rope_scaling/rope_type comes twice, at byte"},
		{0, "rope_parameters", `{"rope_type":"default","rope_theta":10000.0,"attention_factor":1.2}`,
			"rope_parameters: attention_factor is a key that this program does not know"},
		{2, "rope_scaling", `{"rope_type":"llama3","factor":4.0,"low_freq_factor":1.0,"high_freq_factor":4.0,` +
			`"original_max_position_embeddings":8192}`, "differ from those of rope_scaling"},
		{2, "rope_parameters", `{"rope_type":"default","rope_theta":500000.0}`,
			`rope_type is "default", but rope_scaling has "llama3"`},
		{0, "auto_map", `{"AutoModel":"x.py"}`, "auto_map is a key that this program does not know"},
		{0, "Hidden_size", "48", "Hidden_size is a key that this program does not know"},
		{0, "no_rope_layers", "[1]", "no_rope_layers is a key that this program does not know"},
		{0, "architectures", `["Qwen3ForSequenceClassification"]`, "architectures is"},
		{0, "hidden_size", "1048576", "more than 1e+12 parameters"},
		{0, "num_hidden_layers", "5000", "num_hidden_layers is 5000, outside 1 to 4096"},
		{0, "rope_parameters", `{"rope_type":"default","rope_theta":5.0}`,
			"rope_parameters: rope_theta is 5, but 10000 outside"},
		{0, "attention_bias", "true", "attention_bias is true"},
		{0, "hidden_act", `"gelu"`, `hidden_act is "gelu"`},
		{0, "hidden_act", "", "hidden_act is missing"},
		{0, "hidden_size", "", "hidden_size is missing"},
		{0, "hidden_size", "-3", "hidden_size is -3"},
		{0, "hidden_size", `"48"`, `hidden_size is "48", not a int`},
		{0, "head_dim", "", "head_dim is missing"},
		{0, "head_dim", "7", "head size 7 is odd"},
		{0, "num_key_value_heads", "4", "do not share"},
		{0, "rms_norm_eps", "0", "rms_norm_eps is 0, not above 0"},
		{0, "quantization_config", `{"bits":4}`, "quantization_config"},
		{0, "model_type", `"mixtral"`, `"mixtral"`},
		{2, "mlp_bias", "true", "mlp_bias is true"},
		{3, "activation_function", `"relu"`, `activation_function is "relu"`},
		{3, "scale_attn_by_inverse_layer_idx", "true", "scale_attn_by_inverse_layer_idx is true"},
		{3, "n_head", "5", "not a multiple"},
	} {
		data, err := Config(archs[c.family], 0, 0, "float32")
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatal(err)
		}
		if c.value == "" {
			delete(keys, c.key)
		} else {
			keys[c.key] = json.RawMessage(c.value)
		}
		if c.key == "hidden_size" && len(c.value) > 6 {
			keys["vocab_size"] = json.RawMessage("2000000")
		}
		if data, err = json.Marshal(keys); err != nil {
			t.Fatal(err)
		}
		if a, _, _, err := Parse(data); err == nil {
			t.Errorf("%s = %s was read as %+v", c.key, c.value, a)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %s: %v", c.key, c.value, err)
		}
	}
	_, _, _, err := Parse([]byte(`{"model_type":"gpt2","n_layer":0}`))
	for _, want := range []string{"n_layer is 0", "n_embd is missing", "activation_function is missing",
		"layer_norm_epsilon is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("not all faults are reported: %v", err)
		}
	}
	for _, bad := range []string{"", "{", "[]", "null", "{}", `{"model_type":3}`,
		`{"model_type":"gpt2","model_type":"gpt2"}`, "{}{}", "{\"\xff\":1}", `{"a":NaN}`,
		`{"a":` + strings.Repeat("[", 20000), `{"model_type":"` + strings.Repeat("x", maxObject) + `"}`} {
		if _, _, _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// What models of the newer families may ask for and is not done is refused by its key.
func TestParseRefusesByFamily(t *testing.T) {
	for _, c := range []struct{ shape, key, value, want string }{
		{"olmo2", "attention_bias", "true", "attention_bias is true"},
		{"olmo2", "clip_qkv", "8.0", "clip_qkv"},
		{"smollm3", "no_rope_layers", "[1]", "no_rope_layers names 1 layers of 3"},
		{"smollm3", "use_sliding_window", "true", "use_sliding_window is true"},
		{"smollm3", "layer_types", `["full_attention","sliding_attention","full_attention"]`, `"sliding_attention"`},
		{"phi3", "partial_rotary_factor", "0.1", "turns no channels of a head of 12"},
		{"phi3", "partial_rotary_factor", "1.5", "RoPE cannot turn 18 channels"},
		{"phi3", "rope_scaling", `{"type":"longrope","short_factor":[1,2],"long_factor":[1,2]}`,
			"no list of 3 numbers"},
		{"phi3", "hidden_act", `"gelu"`, `hidden_act is "gelu"`},
		{"gpt_neox", "attention_bias", "false", "attention_bias is false"},
		{"gpt_neox", "hidden_act", `"relu"`, `hidden_act is "relu"`},
		{"gpt_neox", "rotary_pct", "0.45", "RoPE cannot turn 3 channels"},
		{"gpt_neox", "num_key_value_heads", "2", "num_key_value_heads is a key that this program does not know"},
		{"phi", "qk_layernorm", "true", "qk_layernorm is true"},
		{"gpt_neo", "attention_types", `[[["global"],2]]`, "attention_types names other layers than the 3"},
		{"gpt_neo", "attention_layers", `["global","global","global"]`, "or than attention_layers"},
		{"gpt_neo", "attention_types", `[["global",3]]`, "not kinds and how often"},
		{"gpt_neo", "attention_types", `[[[],3]]`, "not kinds and how often"},
		{"gpt_neo", "rope_theta", "10000.0", "rope_theta is a key that this program does not know"},
		{"opt", "do_layer_norm_before", "false", "do_layer_norm_before is false"},
		{"opt", "word_embed_proj_dim", "512", "word_embed_proj_dim is 512"},
		{"opt", "enable_bias", "false", "enable_bias is false"},
		{"opt", "activation_function", `"gelu"`, `activation_function is "gelu"`},
		{"olmo", "clip_qkv", "8.0", "clip_qkv is 8.0"},
		{"granite", "mlp_bias", "true", "mlp_bias is true"},
		{"granite", "logits_scaling", "0", "logits_scaling is 0"},
		{"stablelm", "qk_layernorm", "true", "qk_layernorm is true"},
		{"stablelm", "use_parallel_residual", "true", "use_parallel_residual is true"},
		{"gemma2", "hidden_activation", `"gelu"`, `hidden_activation is "gelu"`},
		{"gemma2", "sliding_window", "null", "sliding_window is missing"},
		{"gemma2", "attn_logit_softcapping", "-1", "attn_logit_softcapping is -1"},
		{"gemma2", "query_pre_attn_scalar", "0", "query_pre_attn_scalar is 0"},
		{"gemma3_text", "use_bidirectional_attention", "true", "use_bidirectional_attention"},
		{"gemma3_text", "layer_types", `["chunked_attention","full_attention","full_attention"]`,
			`"chunked_attention"`},
		{"gemma3_text", "rope_local_base_freq", "7.0", "rope_theta is 10000, but 7 outside"},
		{"gemma3_text", "rope_parameters", `{"rope_type":"default","rope_theta":10000.0}`, "full_attention is missing"},
	} {
		i := slices.IndexFunc(archs(), func(a config.Arch) bool { return a.Shape == c.shape })
		data, err := Config(archs()[i], 0, 0, "float32")
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(data, &keys); err != nil {
			t.Fatal(err)
		}
		if keys[c.key] = json.RawMessage(c.value); c.key == "rotary_pct" || c.key == "partial_rotary_factor" {
			delete(keys, "rope_parameters")
		}
		if data, err = json.Marshal(keys); err != nil {
			t.Fatal(err)
		}
		if a, _, _, err := Parse(data); err == nil {
			t.Errorf("%s: %s = %s was read as %+v", c.shape, c.key, c.value, a)
		} else if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s = %s: %v", c.shape, c.key, c.value, err)
		}
	}
}

// Files as other tools write them: keys that the library leaves out at their defaults, one RoPE spelling only.
func TestParseHFConfigOfOthers(t *testing.T) {
	for want, text := range map[config.Arch]string{
		{Shape: "gpt2", Layers: 12, Width: 768, Heads: 12, KVHeads: 12, HeadSize: 64, MLP: 3072, Vocab: 50257, Context: 1024,
			Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true}: `{
			"activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1, "bos_token_id": 50256,
			"embd_pdrop": 0.1, "eos_token_id": 50256, "initializer_range": 0.02, "layer_norm_epsilon": 1e-05,
			"model_type": "gpt2",
			"n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "resid_pdrop": 0.1,
			"task_specific_params": {"text-generation": {"do_sample": true, "max_length": 50}}, "vocab_size": 50257}`,
		{Shape: "qwen3", Layers: 28, Width: 1024, Heads: 16, KVHeads: 8, HeadSize: 128, MLP: 3072, Vocab: 151936,
			Context: 40960, Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e6,
			QKNorm: true, MLPKind: "swiglu", Tie: true}: `{
			"architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "head_dim": 128,
			"hidden_act": "silu", "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960,
			"max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
			"num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": null,
			"tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_sliding_window": false, "vocab_size": 151936}`,
		{Shape: "llama", Layers: 6, Width: 288, Heads: 6, KVHeads: 6, HeadSize: 48, MLP: 768, Vocab: 32000, Context: 256,
			Norm: "rms", NormEps: 1e-5, Position: "rope", RopeTheta: 10000, MLPKind: "swiglu"}: `{
			"architectures": ["LlamaForCausalLM"], "dtype": "float32", "hidden_act": "silu", "hidden_size": 288,
			"intermediate_size": 768, "max_position_embeddings": 256, "model_type": "llama", "num_attention_heads": 6,
			"num_hidden_layers": 6, "rms_norm_eps": 1e-05, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
			"vocab_size": 32000}`,
	} {
		if got, _, _, err := Parse([]byte(text)); err != nil || got != want {
			t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	for text, want := range map[string]struct {
		ends []int32
		bos  int32
	}{
		`{}`:                                     {nil, -1},
		`{"eos_token_id":null,"bos_token_id":7}`: {nil, 7},
		`{"eos_token_id":5,"bos_token_id":[3,4]}`:                 {[]int32{5}, 3},
		`{"eos_token_id":[128001,128008,7],"bos_token_id":[]}`:    {[]int32{128001, 128008, 7}, -1},
		`{"eos_token_id":[],"temperature":0.6,"do_sample":true}`:  {[]int32{}, -1},
		`{"eos_token_id":[2,2],"_from_model_config":true,"x":[]}`: {[]int32{2, 2}, -1},
	} {
		if ends, bos, err := Tokens([]byte(text)); err != nil || !slices.Equal(ends, want.ends) || bos != want.bos {
			t.Errorf("%s: %d, %d, %v", text, ends, bos, err)
		}
	}
	for text, want := range map[string]string{
		`{"eos_token_id":-1}`:            "eos_token_id is -1",
		`{"bos_token_id":"<s>"}`:         "bos_token_id",
		`{"eos_token_id":[1,-3]}`:        "eos_token_id",
		`{"eos_token_id":[1,"<|end|>"]}`: "eos_token_id",
		`{"eos_token_id":{"a":1}}`:       "eos_token_id",
		`{"bos_token_id":99999999999}`:   "bos_token_id",
		`[]`:                             "not a JSON object",
	} {
		if _, _, err := Tokens([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestOffIsInert: what is off changes nothing, whatever it is called, and what is on is refused by its name.
func TestOffIsInert(t *testing.T) {
	plain, err := Config(archs()[1], 0, 0, "float32")
	if err != nil {
		t.Fatal(err)
	}
	want, _, _, err := Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	with := func(key, value string) ([]byte, error) {
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(plain, &keys); err != nil {
			return nil, err
		}
		keys[key] = json.RawMessage(value)
		return json.Marshal(keys)
	}
	for _, key := range []string{"use_mrope", "auto_map", "no_rope_layers", "num_experts", "brand_new_switch",
		"quantization_config", "rope_scaling", "layer_types", "is_decoder", "mlp_bias", "pruned_heads"} {
		for _, value := range []string{"false", "null", "[]", "{}", "[ ]", `""`, "0", "0.0", "-0", "0e5"} {
			data, err := with(key, value)
			if err != nil {
				t.Fatal(err)
			}
			if key == "rope_scaling" && strings.Contains(value, "0") {
				continue // no number means anything there
			}
			if got, _, _, err := Parse(data); err != nil || got != want {
				t.Errorf("%s = %s: %v", key, value, err)
			}
		}
	}
	for _, text := range []string{`{"type":"linear","factor":1.0}`, `{"rope_type":"dynamic","factor":1}`} {
		data, err := with("rope_scaling", text)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _, err := Parse(data); err != nil || got != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	if got, _, _, err := Parse(append([]byte("\ufeff"), plain...)); err != nil || got != want {
		t.Errorf("behind a mark: %v", err)
	}
	for key, value := range map[string]string{"use_mrope": "true", "auto_map": `{"AutoModel":"x.py"}`,
		"num_experts": "8", "brand_new_switch": `"on"`, "no_rope_layers": "[1]", "quantization_config": `{"bits":4}`,
		"residual_multiplier": "0", "logit_scale": "0.0", "is_causal": "false", "use_rope": "false", "rope_scaling": "1",
		"attn_logit_softcapping": "50.0", "image_token_id": "0"} {
		data, err := with(key, value)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := Parse(data); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s = %s: %v", key, value, err)
		}
	}
}

// Whatever is read can be written, and means the same; reading takes memory in proportion.
func FuzzParseHFConfig(f *testing.F) {
	for _, a := range archs() {
		data, err := Config(a, 0, 0, "float32")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model_type":"gpt2"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		a, ends, bos, err := Parse(data)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100*len(data)+1<<20); got > most {
			t.Fatalf("%d bytes allocated for %d", got, len(data))
		}
		if err != nil {
			return
		}
		eos, more := int32(-1), []int32(nil)
		if len(ends) > 0 {
			eos, more = ends[0], ends[1:]
		}
		again, err := Config(a, eos, bos, "float32", more...)
		if err != nil {
			t.Fatalf("%+v was read and cannot be written: %v", a, err)
		}
		if b, ends2, bos2, err := Parse(again); err != nil || b != a || !slices.Equal(ends, ends2) || bos2 != bos {
			t.Fatalf("%v: read %+v, then %+v", err, a, b)
		}
	})
}

// Mistral's window and its positions come back.
func TestMistral(t *testing.T) {
	const text = `{"model_type": "mistral", "architectures": ["MistralForCausalLM"], "vocab_size": 32000, "hidden_size": 64,
		"intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"hidden_act": "silu", "max_position_embeddings": 32768, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
		"eos_token_id": 2, "bos_token_id": 1%s}`
	for _, c := range []struct {
		more                       string
		context, positions, window int
	}{
		{``, 32768, 0, 4096}, {`, "sliding_window": 1024`, 32768, 0, 1024}, {`, "sliding_window": null`, 32768, 0, 0},
		{`, "sliding_window": 65536`, 32768, 0, 65536},
	} {
		a, _, _, err := Parse(fmt.Appendf(nil, text, c.more))
		if err != nil || a.Context != c.context || a.Positions != c.positions || a.Window != c.window ||
			a.HeadSize != 16 {
			t.Errorf("%s: %+v, %v", c.more, a, err)
			continue
		}
		again, err := Config(a, 2, 1, "float32")
		if err != nil {
			t.Fatal(err)
		}
		if b, _, _, err := Parse(again); err != nil || b != a {
			t.Errorf("%s: read back %+v, %v", c.more, b, err)
		}
	}
}
