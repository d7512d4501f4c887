package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"

	"gimbal/internal/config"
)

// transformersVersion is the release of Hugging Face transformers that the keys were checked against
// (bench/transformers).
const transformersVersion = "5.23.0"

var hfClass = map[string]string{
	"qwen3":   "Qwen3ForCausalLM",
	"qwen2":   "Qwen2ForCausalLM",
	"llama":   "LlamaForCausalLM",
	"mistral": "MistralForCausalLM",
	"gpt2":    "GPT2LMHeadModel",
}

// hfFloat prints with a point or an exponent: readers of config.json tell floats from integers.
type hfFloat float64

func (f hfFloat) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

// hfToken is a token id, a list where there are more, null where there is none.
func hfToken(id int32, more ...int32) any {
	switch {
	case len(more) > 0:
		return append([]int32{id}, more...)
	case id < 0:
		return nil
	}
	return id
}

// inFamily returns a with every choice as its Hugging Face family makes it. Sizes, base and epsilon stay.
func inFamily(a config.Arch) (config.Arch, error) {
	switch a.Shape {
	case "gpt2":
		a.Norm, a.Position, a.RopeTheta, a.RopeScale, a.MLPKind = "layer", "learned", 0, config.RopeScale{}, "gelu"
		a.Bias, a.QKVBias, a.QKNorm = true, true, false
		a.KVHeads, a.HeadSize = a.Heads, a.Width/max(1, a.Heads)
	case "llama", "mistral", "qwen2", "qwen3":
		a.Norm, a.Position, a.MLPKind = "rms", "rope", "swiglu"
		a.Bias, a.QKVBias, a.QKNorm = false, a.Shape == "qwen2", a.Shape == "qwen3"
	default:
		return a, fmt.Errorf("model: shape %q has no Hugging Face family (qwen3, llama, mistral, qwen2 and gpt2 "+
			"have)", a.Shape)
	}
	return a, nil
}

// maxParams is more than any machine holds, and keeps every product of sizes small.
const maxParams = 1 << 40

// checkSizes refuses sizes that no reader of the family would accept.
func checkSizes(a config.Arch) error {
	switch {
	case a.Heads%a.KVHeads != 0:
		return fmt.Errorf("model: %d query heads do not share %d key heads evenly", a.Heads, a.KVHeads)
	case (a.Shape == "gpt2" || a.Shape == "llama") && a.Width%a.Heads != 0:
		return fmt.Errorf("model: width %d is not a multiple of %d heads, which shape %s requires", a.Width, a.Heads,
			a.Shape)
	case a.HeadSize%2 != 0:
		return fmt.Errorf("model: head size %d is odd", a.HeadSize)
	}
	block := (a.Heads+a.KVHeads)*a.HeadSize + a.MLP
	if params := float64(a.Width) * (float64(a.Layers)*float64(block) + float64(a.Vocab+a.Context)); params > maxParams {
		return fmt.Errorf("model: the sizes make more than %.1g parameters", float64(maxParams))
	}
	return nil
}

// HFConfig returns the config.json that makes Hugging Face transformers build the decoder a.
//
// eos and bos are token ids; a negative one is written as null. more are further ids that end a text. RoPE is spelled
// both ways (rope_theta and rope_parameters), for readers of either. Dropout is written as 0: it is a choice of a run.
// dtype is that of the weights beside the file, float32 or bfloat16. It fails when a mixes choices in a way that its
// family does not know.
func HFConfig(a config.Arch, eos, bos int32, dtype string, more ...int32) ([]byte, error) {
	f, err := inFamily(a)
	if err != nil {
		return nil, err
	}
	for i, got, want := 0, reflect.ValueOf(a), reflect.ValueOf(f); i < got.NumField(); i++ {
		if !got.Field(i).Equal(want.Field(i)) {
			return nil, fmt.Errorf("model: shape %s cannot be saved with %s %v (it has %v)",
				a.Shape, got.Type().Field(i).Name, got.Field(i), want.Field(i))
		}
	}
	if err := checkSizes(a); err != nil {
		return nil, err
	}
	c := map[string]any{
		"architectures":        []string{hfClass[a.Shape]},
		"model_type":           a.Shape,
		"vocab_size":           a.Vocab,
		"bos_token_id":         hfToken(bos),
		"eos_token_id":         hfToken(eos, more...),
		"pad_token_id":         nil,
		"tie_word_embeddings":  a.Tie,
		"initializer_range":    hfFloat(0.02),
		"use_cache":            true,
		"dtype":                dtype,
		"torch_dtype":          dtype,
		"transformers_version": transformersVersion,
	}
	if a.Shape == "gpt2" {
		c["n_positions"], c["n_ctx"] = a.Context, a.Context
		c["n_embd"], c["n_layer"], c["n_head"] = a.Width, a.Layers, a.Heads
		c["n_inner"] = nil // 4·n_embd; some converters know no other
		if a.MLP != 4*a.Width {
			c["n_inner"] = a.MLP
		}
		c["activation_function"] = "gelu_new"
		c["layer_norm_epsilon"] = hfFloat(a.NormEps)
		for _, k := range []string{"embd_pdrop", "attn_pdrop", "resid_pdrop"} {
			c[k] = hfFloat(0)
		}
		c["scale_attn_weights"] = true
		c["scale_attn_by_inverse_layer_idx"] = false
		c["reorder_and_upcast_attn"] = false
		return hfJSON(c)
	}
	c["hidden_size"], c["intermediate_size"], c["num_hidden_layers"] = a.Width, a.MLP, a.Layers
	c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"] = a.Heads, a.KVHeads, a.HeadSize
	c["hidden_act"] = "silu"
	c["max_position_embeddings"] = max(a.Context, a.Positions)
	c["rms_norm_eps"] = hfFloat(a.NormEps)
	c["attention_dropout"] = hfFloat(0)
	c["rope_theta"] = hfFloat(a.RopeTheta)
	c["rope_scaling"], c["rope_parameters"] = hfRope(a)
	switch a.Shape {
	case "llama":
		c["attention_bias"], c["mlp_bias"] = false, false
	case "qwen3":
		c["attention_bias"] = false
	}
	if a.Shape == "mistral" {
		if c["sliding_window"] = nil; a.Window > 0 {
			c["sliding_window"] = a.Window
		}
	} else if a.Shape != "llama" {
		types := make([]string, a.Layers)
		for i := range types {
			types[i] = "full_attention"
		}
		c["layer_types"], c["max_window_layers"] = types, a.Layers
		c["use_sliding_window"], c["sliding_window"] = false, nil
	}
	return hfJSON(c)
}

// hfRope returns RoPE as older and as newer readers look for it.
func hfRope(a config.Arch) (scaling, parameters map[string]any) {
	s := a.RopeScale
	if s.Factor == 0 {
		return nil, map[string]any{"rope_type": "default", "rope_theta": hfFloat(a.RopeTheta)}
	}
	scaling = map[string]any{
		"rope_type":                        "llama3",
		"factor":                           hfFloat(s.Factor),
		"low_freq_factor":                  hfFloat(s.Low),
		"high_freq_factor":                 hfFloat(s.High),
		"original_max_position_embeddings": s.Original,
	}
	parameters = maps.Clone(scaling)
	parameters["rope_theta"] = hfFloat(a.RopeTheta)
	return scaling, parameters
}

// GenerationConfig returns the generation_config.json of a model: how to sample and where to stop. more are further
// ids that end a text, such as the end of a turn.
func GenerationConfig(eos, bos int32, more ...int32) ([]byte, error) {
	return hfJSON(map[string]any{
		"bos_token_id":         hfToken(bos),
		"eos_token_id":         hfToken(eos, more...),
		"do_sample":            true,
		"temperature":          hfFloat(0.8),
		"top_k":                50,
		"transformers_version": transformersVersion,
	})
}

func hfJSON(c map[string]any) ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("model: configuration for Hugging Face: %w", err)
	}
	return append(b, '\n'), nil
}
