package family

import "cmp"

// form is how a family spells its config.json.
type form struct {
	class  string
	act    string            // key of the activation
	acts   []activation      // that it may have; the first of a kind is written
	eps    string            // key of the epsilon of norms; "": it is usualEps
	kv     int               // num_key_value_heads where the file does not say; 0: it must say
	head   bool              // head_dim must be there; else it is width/heads by default
	even   bool              // the width must be a multiple of the heads
	tie    bool              // tie_word_embeddings where the file does not say
	window bool              // sliding_window counts
	wide   int               // the window where the file does not say; 0: there is none
	types  bool              // layer_types is written
	every  int               // layers in a turn of local ones and a full one, where the file does not say
	base   string            // key of the RoPE base: rope_theta if empty
	theta  float64           // base where the file does not say; 0: it must say
	share  string            // key of the share of channels that RoPE turns; "": all
	part   float64           // that share where the file does not say
	local  bool              // local layers have a base of their own
	caps   [2]float64        // of scores and of logits, where the file does not say
	own    map[string]string // keys of sizes that are called otherwise than in most families
	places bool              // positions are learned
	fixed  map[string]string // keys that may have one value, which is written
}

// activation is a value of the activation's key, and the MLP of it.
type activation struct{ name, kind string }

// Values of form.kv.
const (
	ownKV   = -1 // there is no such key: each query head has its own
	asHeads = -2 // as many as query heads
)

// usualEps is the epsilon of norms of families whose files do not say it.
const usualEps = 1e-5

// Kinds of attention in layer_types.
const (
	fullAttention  = "full_attention"
	localAttention = "sliding_attention"
)

// key is what the family calls a key.
func (f form) key(usual string) string { return cmp.Or(f.own[usual], usual) }

func (f form) thetaKey() string { return cmp.Or(f.base, "rope_theta") }

var (
	plain  = form{act: "hidden_act", acts: []activation{{"silu", "swiglu"}, {"swish", "swiglu"}}, eps: "rms_norm_eps"}
	gemmas = form{act: "hidden_activation", acts: []activation{{"gelu_pytorch_tanh", "geglu"}}, eps: "rms_norm_eps",
		head: true, even: true, tie: true, window: true, wide: 4096, types: true,
		fixed: map[string]string{"attention_bias": "false"}}

	tanhGELU = []activation{{"gelu_new", "gelu"}, {"gelu_pytorch_tanh", "gelu"}, {"gelu", "gelu-exact"}}

	forms = map[string]form{
		"gpt2": {class: "GPT2LMHeadModel", even: true, act: "activation_function", acts: tanhGELU,
			eps: "layer_norm_epsilon"},
		"llama": with(plain, func(f *form) {
			f.class, f.kv, f.even = "LlamaForCausalLM", asHeads, true
			f.fixed = map[string]string{"attention_bias": "false", "mlp_bias": "false"}
		}),
		"mistral": with(plain, func(f *form) {
			f.class, f.kv, f.window, f.wide = "MistralForCausalLM", 8, true, 4096
		}),
		"qwen2": with(plain, func(f *form) { f.class, f.types = "Qwen2ForCausalLM", true }),
		"qwen3": with(plain, func(f *form) {
			f.class, f.types, f.head, f.fixed = "Qwen3ForCausalLM", true, true, map[string]string{
				"attention_bias": "false",
			}
		}),
		"olmo": with(plain, func(f *form) {
			f.class, f.eps, f.kv, f.theta = "OlmoForCausalLM", "", asHeads, 1e4
			f.fixed = map[string]string{"attention_bias": "false", "clip_qkv": "null"}
		}),
		"olmo2": with(plain, func(f *form) {
			f.class, f.kv, f.fixed = "Olmo2ForCausalLM", asHeads, map[string]string{"attention_bias": "false"}
		}),
		"smollm3": with(plain, func(f *form) {
			f.class, f.kv, f.tie, f.types, f.every, f.theta = "SmolLM3ForCausalLM", 4, true, true, 4, 2e6
			f.fixed = map[string]string{"attention_bias": "false", "mlp_bias": "false"}
		}),
		"phi3": with(plain, func(f *form) {
			f.class, f.kv, f.window, f.theta = "Phi3ForCausalLM", asHeads, true, 1e4
			f.share, f.part = "partial_rotary_factor", 1
			f.fixed = map[string]string{"attention_bias": "false"}
		}),
		"granite": with(plain, func(f *form) {
			f.class, f.kv, f.theta = "GraniteForCausalLM", asHeads, 1e4
			f.fixed = map[string]string{"attention_bias": "false", "mlp_bias": "false"}
		}),
		"stablelm": with(plain, func(f *form) {
			f.class, f.eps, f.kv, f.even, f.theta = "StableLmForCausalLM", "layer_norm_eps", 32, true, 1e4
			f.share, f.part = "partial_rotary_factor", 0.25
			f.fixed = map[string]string{"qk_layernorm": "false", "use_parallel_residual": "false"}
		}),
		"opt": {class: "OPTForCausalLM", act: "activation_function", acts: []activation{{"relu", "relu"}}, kv: ownKV,
			even: true, tie: true, places: true, own: map[string]string{"intermediate_size": "ffn_dim"},
			fixed: map[string]string{"do_layer_norm_before": "true", "_remove_final_layer_norm": "false",
				"enable_bias": "true", "layer_norm_elementwise_affine": "true"}},
		"phi": {class: "PhiForCausalLM", act: "hidden_act", acts: tanhGELU, eps: "layer_norm_eps", kv: asHeads, theta: 1e4,
			share: "partial_rotary_factor", part: 0.5, fixed: map[string]string{"qk_layernorm": "false"}},
		"gpt_neo": {class: "GPTNeoForCausalLM", act: "activation_function", acts: tanhGELU, eps: "layer_norm_epsilon",
			kv: ownKV, even: true, tie: true, places: true,
			own: map[string]string{"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"}},
		"gpt_neox": {class: "GPTNeoXForCausalLM", act: "hidden_act", eps: "layer_norm_eps", kv: ownKV, even: true,
			acts: []activation{{"gelu", "gelu-exact"}, {"gelu_new", "gelu"}, {"gelu_pytorch_tanh", "gelu"}},
			base: "rotary_emb_base", theta: 1e4, share: "rotary_pct", part: 0.25,
			fixed: map[string]string{"attention_bias": "true"}},
		"gemma": with(gemmas, func(f *form) { // whose first files say gelu and mean the other form
			f.class, f.kv, f.theta, f.window, f.wide, f.types = "GemmaForCausalLM", asHeads, 1e4, false, 0, false
			f.act, f.acts = "hidden_act", []activation{{"gelu_pytorch_tanh", "geglu"}, {"gelu", "geglu"}}
		}),
		"gemma2": with(gemmas, func(f *form) {
			f.class, f.every, f.theta, f.caps = "Gemma2ForCausalLM", 2, 1e4, [2]float64{50, 30}
		}),
		"gemma3_text": with(gemmas, func(f *form) {
			f.class, f.every, f.theta, f.local = "Gemma3ForCausalLM", 6, 1e6, true
		}),
	}
)
