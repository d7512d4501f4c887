package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/config"
)

// The largest sizes that a config.json may ask for. Their products are bounded by maxParams.
const (
	maxLayers = 1 << 12
	maxHeads  = 1 << 12
	maxWide   = 1 << 20 // of the residual stream, the hidden layer, a head
	maxIDs    = 1 << 22
	maxPlaces = 1 << 24
)

// ParseHFConfig reads a Hugging Face config.json: the decoder, the ids that end a text, and the id of the
// beginning-of-text token, -1 where there is none.
//
// Everything that the decoder is built from must be there. What this package cannot compute is refused by its key:
// sliding windows, RoPE scaling other than Llama 3's, biases where the family has none, other activations, quantized
// weights, and every key that it does not know and that is on (see off). The error lists all faults. Keys known not to
// change what the model computes are skipped. Dropout is 0.
func ParseHFConfig(data []byte) (a config.Arch, ends []int32, bos int32, err error) {
	r, err := newHFReader(data)
	if err != nil {
		return a, nil, -1, err
	}
	for _, key := range inert {
		r.known[key] = true
	}
	r.read("model_type", &a.Shape)
	class, known := hfClass[a.Shape]
	if !known {
		return a, nil, -1, fmt.Errorf("model_type is %.60s, which is not supported (only qwen3, llama, mistral, "+
			"qwen2 or gpt2)",
			cmp.Or(string(r.keys["model_type"]), "missing"))
	}
	var classes []string
	r.read("architectures", &classes)
	bare := strings.NewReplacer("ForCausalLM", "Model", "LMHeadModel", "Model").Replace(class)
	if len(classes) > 0 && !slices.Contains(classes, class) && !slices.Contains(classes, bare) {
		r.fault("architectures", "is %.80s, which is not supported (only %s)", r.keys["architectures"], class)
	}
	a.Vocab = r.size("vocab_size", 0, maxIDs)
	for _, key := range []string{"is_encoder_decoder", "is_decoder", "add_cross_attention", "tie_encoder_decoder",
		"rope_interleaved"} {
		r.only(key, "false")
	}
	for _, key := range []string{"quantization_config", "cross_attention_hidden_size", "pruned_heads"} {
		r.only(key, "null")
	}
	for _, key := range onSwitches {
		r.only(key, "true")
	}
	if a.Shape == "gpt2" {
		r.gpt2(&a)
	} else {
		r.llama(&a)
	}
	ends, bos = r.tokens()
	r.rest()
	if err = r.err(); err == nil {
		a, err = inFamily(a)
	}
	if err == nil {
		err = checkSizes(a)
	}
	return a, ends, bos, err
}

// ParseHFTokens reads from a Hugging Face generation_config.json the ids that end a text and the id of the
// beginning-of-text token, -1 where there is none. How texts are drawn is not read.
func ParseHFTokens(data []byte) (ends []int32, bos int32, err error) {
	r, err := newHFReader(data)
	if err != nil {
		return nil, -1, err
	}
	ends, bos = r.tokens()
	return ends, bos, r.err()
}

// tokens reads the ids that end a text, in their order, and the one that begins it, -1 where there is none.
func (r *hfReader) tokens() (ends []int32, bos int32) {
	ends = r.ids("eos_token_id")
	if list := r.ids("bos_token_id"); len(list) > 0 {
		return ends, list[0]
	}
	return ends, -1
}

// ids reads the id of a token, or a list of them.
func (r *hfReader) ids(key string) (list []int32) {
	if !r.has(key) {
		return nil
	}
	if json.Unmarshal(r.keys[key], &list) != nil {
		list = make([]int32, 1)
		r.read(key, &list[0])
	}
	if slices.ContainsFunc(list, func(id int32) bool { return id < 0 }) {
		r.fault(key, "is %.40s, which is no token", r.keys[key])
	}
	return list
}

func (r *hfReader) gpt2(a *config.Arch) {
	a.Layers, a.Width = r.size("n_layer", 0, maxLayers), r.size("n_embd", 0, maxWide)
	a.Heads, a.Context = r.size("n_head", 0, maxHeads), r.size("n_positions", 0, maxPlaces)
	a.MLP = r.size("n_inner", 4*a.Width, maxWide)
	a.NormEps = r.positive("layer_norm_epsilon")
	a.Tie = true // the library leaves a true out
	r.read("tie_word_embeddings", &a.Tie)
	r.need("activation_function")
	r.only("activation_function", `"gelu_new"`, `"gelu_pytorch_tanh"`)
	r.only("scale_attn_weights", "true")
	r.only("scale_attn_by_inverse_layer_idx", "false")
}

func (r *hfReader) llama(a *config.Arch) {
	a.Layers, a.Heads = r.size("num_hidden_layers", 0, maxLayers), r.size("num_attention_heads", 0, maxHeads)
	a.Width, a.MLP = r.size("hidden_size", 0, maxWide), r.size("intermediate_size", 0, maxWide)
	kv, head := 0, 0 // no default: the library's own is neither of these for Qwen
	switch a.Shape {
	case "llama":
		kv = a.Heads
	case "mistral":
		kv = 8 // of the library
	}
	if a.Shape != "qwen3" && a.Heads > 0 {
		head = a.Width / a.Heads
	}
	a.KVHeads, a.HeadSize = r.size("num_key_value_heads", kv, maxHeads), r.size("head_dim", head, maxWide)
	a.Context = r.size("max_position_embeddings", 0, maxPlaces)
	a.NormEps = r.positive("rms_norm_eps")
	if a.Shape == "mistral" {
		r.window(a)
	}
	r.rope(a)
	r.read("tie_word_embeddings", &a.Tie)
	r.need("hidden_act")
	r.only("hidden_act", `"silu"`, `"swish"`)
	if a.Shape != "qwen2" {
		r.only("attention_bias", "false")
	}
	r.only("mlp_bias", "false")
	r.only("use_sliding_window", "false")
	r.only("pretraining_tp", "1")
	r.only("partial_rotary_factor", "1", "1.0")
	if !r.has("layer_types") || off("layer_types", r.keys["layer_types"]) {
		return
	}
	var types []string
	r.read("layer_types", &types)
	if len(types) != a.Layers {
		r.fault("layer_types", "names %d layers of %d", len(types), a.Layers)
	}
	if i := slices.IndexFunc(types, func(t string) bool { return t != "full_attention" }); i >= 0 {
		r.fault("layer_types", "has %q for layer %d; only full_attention is supported", types[i], i)
	}
}

// window reads the keys that a query sees. Within so many positions attention is the same as without a limit, so that
// is the context.
func (r *hfReader) window(a *config.Arch) {
	const key = "sliding_window"
	if _, there := r.keys[key]; !there {
		a.Window = 4096 // of the library
	} else if r.has(key) {
		a.Window = r.size(key, 0, maxPlaces)
	}
	if a.Window > 0 && a.Window < a.Context {
		a.Context, a.Positions = a.Window, a.Context
	}
}

// rope reads base and scaling from either spelling. Where both are there they must agree.
func (r *hfReader) rope(a *config.Arch) {
	if r.has("rope_theta") {
		a.RopeTheta = r.positive("rope_theta")
	}
	scales := 0
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !r.has(key) || off(key, r.keys[key]) {
			continue
		}
		in, err := newHFReader(r.keys[key])
		if err != nil {
			r.fault(key, "is broken: %v", err)
			continue
		}
		if scale, ok := in.ropeScale(); ok {
			if scales > 0 && scale != a.RopeScale {
				in.fault("factor", "and the others differ from those of rope_scaling")
			}
			scales++
			a.RopeScale = scale
		} else if a.RopeScale.Factor != 0 {
			in.fault("rope_type", `is "default", but rope_scaling has "llama3"`)
		}
		if in.has("rope_theta") {
			t := in.positive("rope_theta")
			if a.RopeTheta != 0 && t != a.RopeTheta {
				in.fault("rope_theta", "is %v, but %v outside", t, a.RopeTheta)
			}
			a.RopeTheta = t
		}
		in.only("partial_rotary_factor", "1", "1.0")
		in.rest()
		for _, f := range in.faults {
			r.add("%s: %s", key, f)
		}
	}
	if a.RopeTheta == 0 && len(r.faults) == 0 {
		r.fault("rope_theta", "is missing, here and in rope_parameters")
	}
}

// ropeScale reads the scaling of one spelling. ok is false for the default, which scales nothing.
func (r *hfReader) ropeScale() (s config.RopeScale, ok bool) {
	kind := "default"
	r.read("type", &kind) // the old name of rope_type
	r.read("rope_type", &kind)
	if kind == "linear" || kind == "dynamic" {
		factor := 0.0
		if r.read("factor", &factor); factor == 1 { // stretches nothing
			kind = "default"
		}
	}
	switch kind {
	case "default":
		r.only("factor", "1", "1.0")
		return s, false
	case "llama3":
	default:
		key := "rope_type"
		if !r.has(key) {
			key = "type"
		}
		r.fault(key, `is %q, which is not supported (only "default" or "llama3")`, kind)
		for key := range r.keys { // of a kind that is refused already
			r.known[key] = true
		}
		return s, false
	}
	s = config.RopeScale{Factor: r.positive("factor"), Low: r.positive("low_freq_factor"),
		High: r.positive("high_freq_factor"), Original: r.size("original_max_position_embeddings", 0, maxPlaces)}
	if !(s.Factor >= 1) {
		r.fault("factor", "is %v, below 1", s.Factor)
	}
	if !(s.High > s.Low) {
		r.fault("high_freq_factor", "is %v, not above low_freq_factor, %v", s.High, s.Low)
	}
	return s, true
}
