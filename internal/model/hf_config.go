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

// inert are keys that do not change what the model computes: names and versions; how it is trained, sampled, stored or
// returned; heads for other tasks.
var inert = strings.Fields(`
	_name_or_path _attn_implementation attn_implementation transformers_version transformers.js_config is_llama_config
	dtype torch_dtype use_cache initializer_range bos_token_id eos_token_id pad_token_id sep_token_id
	decoder_start_token_id tokenizer_class task_specific_params problem_type id2label label2id finetuning_task prefix
	attention_dropout embd_pdrop attn_pdrop resid_pdrop reorder_and_upcast_attn n_ctx max_window_layers sliding_window
	summary_type summary_use_proj summary_activation summary_proj_to_labels summary_first_dropout
	output_attentions output_hidden_states output_scores return_dict return_dict_in_generate chunk_size_feed_forward
	torchscript tf_legacy_loss use_bfloat16 max_length min_length do_sample early_stopping num_beams num_beam_groups
	diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size
	encoder_no_repeat_ngram_size bad_words_ids num_return_sequences forced_bos_token_id forced_eos_token_id
	remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens`)

// ParseHFConfig reads a Hugging Face config.json: the decoder, and the ids of the end-of-text and the beginning-of-text
// token, -1 where there is none.
//
// Everything that the decoder is built from must be there. What this package cannot compute is refused by its key:
// sliding windows, RoPE scaling other than Llama 3's, biases where the family has none, other activations, quantized
// weights, and every key that it does not know. The error lists all faults. Keys known not to change what the model
// computes are skipped. Dropout is 0.
func ParseHFConfig(data []byte) (a config.Arch, eos, bos int32, err error) {
	r, err := newHFReader(data)
	if err != nil {
		return a, -1, -1, err
	}
	for _, key := range inert {
		r.known[key] = true
	}
	r.read("model_type", &a.Shape)
	class, known := hfClass[a.Shape]
	if !known {
		return a, -1, -1, fmt.Errorf("model_type is %.60s, which is not supported (only qwen3, llama, qwen2 or gpt2)",
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
	r.only("quantization_config", "null")
	r.only("cross_attention_hidden_size", "null")
	r.only("pruned_heads", "{}")
	if a.Shape == "gpt2" {
		r.gpt2(&a)
	} else {
		r.llama(&a)
	}
	eos, bos = r.token("eos_token_id"), r.token("bos_token_id")
	r.rest()
	if err = r.err(); err == nil {
		a, err = inFamily(a)
	}
	if err == nil {
		err = checkSizes(a)
	}
	return a, eos, bos, err
}

// token reads the id of a token, -1 where there is none. The first of a list counts: the others end a turn, not a text.
func (r *hfReader) token(key string) int32 {
	id := int32(-1)
	if !r.has(key) {
		return id
	}
	var list []int32
	if json.Unmarshal(r.keys[key], &list) == nil && len(list) > 0 {
		id = list[0]
	} else {
		r.read(key, &id)
	}
	if id < 0 {
		r.fault(key, "is %.40s, which is no token", r.keys[key])
	}
	return id
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
	if a.Shape == "llama" {
		kv = a.Heads
	}
	if a.Shape != "qwen3" && a.Heads > 0 {
		head = a.Width / a.Heads
	}
	a.KVHeads, a.HeadSize = r.size("num_key_value_heads", kv, maxHeads), r.size("head_dim", head, maxWide)
	a.Context = r.size("max_position_embeddings", 0, maxPlaces)
	a.NormEps = r.positive("rms_norm_eps")
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
	if !r.has("layer_types") {
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

// rope reads base and scaling from either spelling. Where both are there they must agree.
func (r *hfReader) rope(a *config.Arch) {
	if r.has("rope_theta") {
		a.RopeTheta = r.positive("rope_theta")
	}
	scales := 0
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !r.has(key) {
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
