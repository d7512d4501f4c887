package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"gimbal/internal/config"
)

// ParseHFConfig reads a Hugging Face config.json.
//
// Everything the decoder is built from must be there, and whatever this package cannot compute is refused by its
// key: sliding windows, RoPE scaling, biases where the family has none, other activations, quantized weights.
// All faults are reported together. Keys that do not change the function of the model are ignored; Dropout is 0.
func ParseHFConfig(data []byte) (config.Arch, error) {
	var none config.Arch
	r := hfReader{}
	if err := json.Unmarshal(data, &r.keys); err != nil {
		return none, fmt.Errorf("model: config.json: %w", err)
	}
	if len(r.keys) == 0 {
		return none, errors.New("model: config.json: no keys")
	}
	var a config.Arch
	r.read("model_type", &a.Shape)
	if _, known := hfClass[a.Shape]; !known {
		return none, fmt.Errorf("model: config.json: model_type %q is not one of qwen3, llama, qwen2, gpt2", a.Shape)
	}
	a.Vocab = r.size("vocab_size", 0)
	r.only("quantization_config", "null")
	r.only("is_encoder_decoder", "false")
	r.only("add_cross_attention", "false")
	if a.Shape == "gpt2" {
		r.gpt2(&a)
	} else {
		r.llama(&a)
	}
	if len(r.faults) > 0 {
		return none, fmt.Errorf("model: config.json: %w", errors.Join(r.faults...))
	}
	a, err := inFamily(a)
	if err == nil {
		err = checkSizes(a)
	}
	if err != nil {
		return none, err
	}
	return a, nil
}

func (r *hfReader) gpt2(a *config.Arch) {
	a.Layers, a.Width, a.Heads = r.size("n_layer", 0), r.size("n_embd", 0), r.size("n_head", 0)
	a.Context = r.size("n_positions", 0)
	a.MLP = r.size("n_inner", 4*a.Width)
	a.NormEps = r.positive("layer_norm_epsilon")
	a.Tie = true // the library leaves a true out
	r.read("tie_word_embeddings", &a.Tie)
	if r.has("activation_function") {
		r.only("activation_function", `"gelu_new"`, `"gelu_pytorch_tanh"`)
	} else {
		r.fault("activation_function", "is missing")
	}
	r.only("scale_attn_weights", "true")
	r.only("scale_attn_by_inverse_layer_idx", "false")
}

func (r *hfReader) llama(a *config.Arch) {
	a.Layers, a.Width, a.MLP = r.size("num_hidden_layers", 0), r.size("hidden_size", 0), r.size("intermediate_size", 0)
	a.Heads = r.size("num_attention_heads", 0)
	kv, head := 0, 0 // no default: the library's own is neither of these for Qwen
	if a.Shape == "llama" {
		kv = a.Heads
	}
	if a.Shape != "qwen3" && a.Heads > 0 {
		head = a.Width / a.Heads
	}
	a.KVHeads, a.HeadSize = r.size("num_key_value_heads", kv), r.size("head_dim", head)
	a.Context = r.size("max_position_embeddings", 0)
	a.NormEps = r.positive("rms_norm_eps")
	a.RopeTheta = r.rope()
	r.read("tie_word_embeddings", &a.Tie)
	if r.has("hidden_act") {
		r.only("hidden_act", `"silu"`, `"swish"`)
	} else {
		r.fault("hidden_act", "is missing")
	}
	if a.Shape != "qwen2" {
		r.only("attention_bias", "false")
	}
	r.only("mlp_bias", "false")
	r.only("use_sliding_window", "false")
	r.only("pretraining_tp", "1")
	r.only("partial_rotary_factor", "1", "1.0")
	if r.has("layer_types") {
		var types []string
		r.read("layer_types", &types)
		if len(types) != a.Layers {
			r.fault("layer_types", "names %d layers of %d", len(types), a.Layers)
		}
		for i, t := range types {
			if t != "full_attention" {
				r.fault("layer_types", "has %q for layer %d; only full_attention is supported", t, i)
				break
			}
		}
	}
}

// rope reads the base from either spelling, which must agree, and refuses any scaling.
func (r *hfReader) rope() float64 {
	var theta float64
	if r.has("rope_theta") {
		theta = r.positive("rope_theta")
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !r.has(key) {
			continue
		}
		var p map[string]json.RawMessage
		r.read(key, &p)
		in := hfReader{keys: p}
		in.only("rope_type", `"default"`)
		in.only("type", `"default"`)
		in.only("partial_rotary_factor", "1", "1.0")
		in.only("factor", "1", "1.0")
		if in.has("rope_theta") {
			t := in.positive("rope_theta")
			if theta != 0 && t != theta {
				in.fault("rope_theta", "is %v, but %v outside", t, theta)
			}
			theta = t
		}
		for _, f := range in.faults {
			r.faults = append(r.faults, fmt.Errorf("%s: %w", key, f))
		}
	}
	if theta == 0 && len(r.faults) == 0 {
		r.fault("rope_theta", "is missing, there and in rope_parameters")
	}
	return theta
}

// hfReader reads keys of a JSON object and gathers the faults.
type hfReader struct {
	keys   map[string]json.RawMessage
	faults []error
}

func (r *hfReader) fault(key, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s "+format, append([]any{key}, args...)...))
}

// has reports whether key is there and not null.
func (r *hfReader) has(key string) bool {
	v, ok := r.keys[key]
	return ok && string(v) != "null"
}

// read leaves dst as it is when key is missing or null.
func (r *hfReader) read(key string, dst any) {
	if !r.has(key) {
		return
	}
	if err := json.Unmarshal(r.keys[key], dst); err != nil {
		r.fault(key, "is %.40s, not a %T", r.keys[key], reflect.ValueOf(dst).Elem().Interface())
	}
}

// size reads a number of things; byDefault 0 makes the key a must.
func (r *hfReader) size(key string, byDefault int) int {
	if !r.has(key) {
		if byDefault == 0 {
			r.fault(key, "is missing")
		}
		return max(1, byDefault)
	}
	n := 0
	r.read(key, &n)
	if n < 1 || n > 1<<24 {
		r.fault(key, "is %.40s, outside 1 to %d", r.keys[key], 1<<24)
		return 1
	}
	return n
}

func (r *hfReader) positive(key string) float64 {
	if !r.has(key) {
		r.fault(key, "is missing")
		return 1
	}
	x := 0.0
	r.read(key, &x)
	if !(x > 0) {
		r.fault(key, "is %.40s, not above 0", r.keys[key])
	}
	return x
}

// only refuses a key that is there with another value than those allowed (as JSON text).
func (r *hfReader) only(key string, allowed ...string) {
	if !r.has(key) {
		return
	}
	for _, a := range allowed {
		if string(r.keys[key]) == a {
			return
		}
	}
	r.fault(key, "is %.60s, which is not supported (only %s)", r.keys[key], strings.Join(allowed, " or "))
}
