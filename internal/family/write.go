package family

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"gimbal/internal/config"
)

// transformersVersion is the release of Hugging Face transformers that the keys were checked against
// (bench/transformers).
const transformersVersion = "5.23.0"

// float prints with a point or an exponent: readers of config.json tell floats from integers.
type float float64

func (f float) MarshalJSON() ([]byte, error) {
	s := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return []byte(s), nil
}

// token is a token id, a list where there are more, null where there is none.
func token(id int32, more ...int32) any {
	switch {
	case len(more) > 0:
		return append([]int32{id}, more...)
	case id < 0:
		return nil
	}
	return id
}

// inFamily is config.Arch.InFamily, with an error that names the families.
func inFamily(a config.Arch) (config.Arch, error) {
	f, ok := a.InFamily()
	if !ok {
		return a, fmt.Errorf("model: shape %q has no Hugging Face family (%s have)", a.Shape,
			strings.Join(config.Shapes(), ", "))
	}
	return f, nil
}

// maxParams is more than any machine holds, and keeps every product of sizes small.
const maxParams = 1 << 40

// checkSizes refuses sizes that no reader of the family would accept.
func checkSizes(a config.Arch) error {
	switch {
	case a.Heads%a.KVHeads != 0:
		return fmt.Errorf("model: %d query heads do not share %d key heads evenly", a.Heads, a.KVHeads)
	case forms[a.Shape].even && a.Width%a.Heads != 0:
		return fmt.Errorf("model: width %d is not a multiple of %d heads, which shape %s requires", a.Width, a.Heads,
			a.Shape)
	case forms[a.Shape].eps == "" && a.NormEps != usualEps:
		return fmt.Errorf("model: the epsilon of norms is %v in shape %s, not %v", usualEps, a.Shape, a.NormEps)
	case a.HeadSize%2 != 0:
		return fmt.Errorf("model: head size %d is odd", a.HeadSize)
	case a.RotarySize()%2 != 0 || a.Rotary < 0 || a.Rotary > a.HeadSize:
		return fmt.Errorf("model: RoPE cannot turn %d channels of a head of %d", a.RotarySize(), a.HeadSize)
	}
	block := (a.Heads+a.KVHeads)*a.HeadSize + a.MLP
	if params := float64(a.Width) * (float64(a.Layers)*float64(block) + float64(a.Vocab+a.Context)); params > maxParams {
		return fmt.Errorf("model: the sizes make more than %.1g parameters", float64(maxParams))
	}
	return nil
}

// Config returns the config.json that makes Hugging Face transformers build the decoder a.
//
// eos and bos are token ids; a negative one is written as null. more are further ids that end a text. RoPE is spelled
// both ways (rope_theta and rope_parameters), for readers of either. Dropout is written as 0: it is a choice of a run.
// dtype is that of the weights beside the file, float32 or bfloat16. It fails when a mixes choices in a way that its
// family does not know.
func Config(a config.Arch, eos, bos int32, dtype string, more ...int32) ([]byte, error) {
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
	form := forms[a.Shape]
	c := map[string]any{
		"architectures":        []string{form.class},
		"model_type":           a.Shape,
		"vocab_size":           a.Vocab,
		"bos_token_id":         token(bos),
		"eos_token_id":         token(eos, more...),
		"pad_token_id":         nil,
		"tie_word_embeddings":  a.Tie,
		"initializer_range":    float(0.02),
		"use_cache":            true,
		"dtype":                dtype,
		"torch_dtype":          dtype,
		"transformers_version": transformersVersion,
	}
	for _, act := range form.acts {
		if act.kind == a.MLPKind {
			c[form.act] = act.name
			break
		}
	}
	if a.Shape == "gpt2" {
		c["n_positions"], c["n_ctx"] = a.Context, a.Context
		c["n_embd"], c["n_layer"], c["n_head"] = a.Width, a.Layers, a.Heads
		c["n_inner"] = nil // 4·n_embd; some converters know no other
		if a.MLP != 4*a.Width {
			c["n_inner"] = a.MLP
		}
		c["layer_norm_epsilon"] = float(a.NormEps)
		for _, k := range []string{"embd_pdrop", "attn_pdrop", "resid_pdrop"} {
			c[k] = float(0)
		}
		c["scale_attn_weights"] = true
		c["scale_attn_by_inverse_layer_idx"] = false
		c["reorder_and_upcast_attn"] = false
		return indent(c)
	}
	for key, size := range map[string]int{"hidden_size": a.Width, "intermediate_size": a.MLP,
		"num_hidden_layers": a.Layers, "num_attention_heads": a.Heads} {
		c[form.key(key)] = size
	}
	if form.kv != ownKV {
		c["num_key_value_heads"], c["head_dim"] = a.KVHeads, a.HeadSize
	}
	c["max_position_embeddings"] = max(a.Context, a.Positions)
	if form.eps != "" {
		c[form.eps] = float(a.NormEps)
	}
	c["attention_dropout"] = float(0)
	if !form.places {
		writeRope(c, a, form)
	}
	for key, value := range form.fixed {
		c[key] = json.RawMessage(value)
	}
	writeLayers(c, a, form)
	switch a.Shape {
	case "granite":
		for key, factor := range graniteFactors(&a) {
			c[key] = float(cmp.Or(*factor, usualFactor(a, key)))
		}
	case "stablelm":
		c["use_qkv_bias"], c["hidden_dropout"] = a.QKVBias, float(0)
	case "opt":
		c["word_embed_proj_dim"], c["dropout"] = a.Width, float(0)
	case "gpt_neo":
		kinds := make([]string, a.Layers)
		for i := range kinds {
			kinds[i] = map[bool]string{false: globalAttention, true: nearAttention}[a.Kind(i) == config.Local]
		}
		c["attention_types"], c["attention_layers"] = []any{[]any{kinds, 1}}, kinds
		c["window_size"], c["embed_dropout"], c["resid_dropout"] = cmp.Or(a.Window, usualWindow), float(0), float(0)
	case "gpt_neox":
		c["use_parallel_residual"], c["hidden_dropout"] = a.Parallel, float(0)
	case "gemma2", "gemma3_text":
		c["query_pre_attn_scalar"] = cmp.Or(a.QueryScale, float64(a.HeadSize)) // whole numbers without a point
		c["attn_logit_softcapping"], c["final_logit_softcapping"] = orNull(a.ScoreCap), orNull(a.LogitCap)
	}
	return indent(c)
}

// orNull is x, or null for 0.
func orNull(x float64) any {
	if x == 0 {
		return nil
	}
	return float(x)
}

// writeLayers writes what differs between layers.
func writeLayers(c map[string]any, a config.Arch, f form) {
	if f.window {
		if c["sliding_window"] = nil; a.Window > 0 {
			c["sliding_window"] = a.Window
		}
	}
	if !f.types {
		return
	}
	types, rope := make([]string, a.Layers), make([]int, a.Layers)
	for i := range types {
		types[i] = map[bool]string{false: fullAttention, true: localAttention}[a.Kind(i) == config.Local]
		if a.Kind(i) != config.Plain {
			rope[i] = 1
		}
	}
	c["layer_types"] = types
	if a.Shape == "smollm3" {
		c["no_rope_layers"] = rope
	}
	if !f.window {
		c["use_sliding_window"], c["sliding_window"] = false, nil
	}
	if strings.HasPrefix(a.Shape, "qwen") {
		c["max_window_layers"] = a.Layers
	}
}

// Generation returns the generation_config.json of a model: how to sample and where to stop. more are further
// ids that end a text, such as the end of a turn.
func Generation(eos, bos int32, more ...int32) ([]byte, error) {
	return indent(map[string]any{
		"bos_token_id":         token(bos),
		"eos_token_id":         token(eos, more...),
		"do_sample":            true,
		"temperature":          float(0.8),
		"top_k":                50,
		"transformers_version": transformersVersion,
	})
}

func indent(c map[string]any) ([]byte, error) {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("model: configuration for Hugging Face: %w", err)
	}
	return append(b, '\n'), nil
}
