package family

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
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

// Parse reads a Hugging Face config.json: the decoder, the ids that end a text, and the id of the
// beginning-of-text token, -1 where there is none.
//
// Everything that the decoder is built from must be there. What this package cannot compute is refused by its key:
// windows in families without, RoPE scaling of other kinds, biases where the family has none, other activations,
// quantized weights, and every key that it does not know and that is on (see Off). The error lists all faults. Keys
// known not to change what the model computes are skipped. Dropout is 0.
func Parse(data []byte) (a config.Arch, ends []int32, bos int32, err error) {
	r, err := newReader(data)
	if err != nil {
		return a, nil, -1, err
	}
	for _, key := range inert {
		r.known[key] = true
	}
	r.read("model_type", &a.Shape)
	form, known := forms[a.Shape]
	if !known {
		return a, nil, -1, fmt.Errorf("model_type is %.60s, which is not supported (only %s)",
			cmp.Or(string(r.keys["model_type"]), "missing"), strings.Join(config.Shapes(), ", "))
	}
	class := form.class
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
		r.decoder(&a, form)
	}
	ends, bos = r.tokens()
	r.rest()
	if err = r.Err(); err == nil {
		a, err = inFamily(a)
	}
	if err == nil {
		err = checkSizes(a)
	}
	return a, ends, bos, err
}

// Tokens reads from a Hugging Face generation_config.json the ids that end a text and the id of the
// beginning-of-text token, -1 where there is none. How texts are drawn is not read.
func Tokens(data []byte) (ends []int32, bos int32, err error) {
	r, err := newReader(data)
	if err != nil {
		return nil, -1, err
	}
	ends, bos = r.tokens()
	return ends, bos, r.Err()
}

// tokens reads the ids that end a text, in their order, and the one that begins it, -1 where there is none.
func (r *reader) tokens() (ends []int32, bos int32) {
	ends = r.ids("eos_token_id")
	if list := r.ids("bos_token_id"); len(list) > 0 {
		return ends, list[0]
	}
	return ends, -1
}

// ids reads the id of a token, or a list of them.
func (r *reader) ids(key string) (list []int32) {
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

func (r *reader) gpt2(a *config.Arch) {
	a.Layers, a.Width = r.size("n_layer", 0, maxLayers), r.size("n_embd", 0, maxWide)
	a.Heads, a.Context = r.size("n_head", 0, maxHeads), r.size("n_positions", 0, maxPlaces)
	a.MLP = r.size("n_inner", 4*a.Width, maxWide)
	a.NormEps = r.positive(forms["gpt2"].eps)
	a.Tie = true // the library leaves a true out
	r.read("tie_word_embeddings", &a.Tie)
	r.activation(a, forms["gpt2"])
	r.only("scale_attn_weights", "true")
	r.only("scale_attn_by_inverse_layer_idx", "false")
}

// decoder reads the keys of all families but GPT-2.
func (r *reader) decoder(a *config.Arch, f form) {
	size := func(key string, byDefault, most int) int { return r.size(f.key(key), byDefault, most) }
	a.Layers, a.Heads = size("num_hidden_layers", 0, maxLayers), size("num_attention_heads", 0, maxHeads)
	a.Width, a.MLP = size("hidden_size", 0, maxWide), 0
	if a.Shape == "gpt_neo" {
		a.MLP = 4 * a.Width
	}
	a.MLP = size("intermediate_size", a.MLP, maxWide)
	kv, head := f.kv, 0 // no default: the library's own is neither of these for Qwen
	if kv == asHeads {
		kv = a.Heads
	}
	if !f.head && a.Heads > 0 {
		head = a.Width / a.Heads
	}
	if a.KVHeads, a.HeadSize = a.Heads, a.Width/max(1, a.Heads); f.kv != ownKV {
		a.KVHeads, a.HeadSize = r.size("num_key_value_heads", kv, maxHeads), r.size("head_dim", head, maxWide)
	}
	a.Context = r.size("max_position_embeddings", 0, maxPlaces)
	if a.NormEps = usualEps; f.eps != "" {
		a.NormEps = r.positive(f.eps)
	}
	a.Tie = f.tie
	r.read("tie_word_embeddings", &a.Tie)
	r.activation(a, f)
	if !f.places {
		r.rope(a, f)
	}
	r.layers(a, f)
	for _, key := range slices.Sorted(maps.Keys(f.fixed)) { // faults have one order
		r.only(key, f.fixed[key])
	}
	if _, told := f.fixed["mlp_bias"]; !told {
		r.only("mlp_bias", "false")
	}
	r.only("use_sliding_window", "false")
	r.only("pretraining_tp", "1")
	switch a.Shape {
	case "granite":
		for key, factor := range graniteFactors(a) {
			if *factor = r.number(key, 1); *factor == usualFactor(*a, key) {
				*factor = 0
			}
		}
	case "stablelm":
		r.read("use_qkv_bias", &a.QKVBias)
	case "opt":
		r.only("word_embed_proj_dim", strconv.Itoa(a.Width))
	case "gpt_neo":
		a.Window = r.size("window_size", usualWindow, maxPlaces)
		r.turns(a)
	case "gpt_neox":
		a.Parallel = true // where the library is not told
		r.read("use_parallel_residual", &a.Parallel)
	case "gemma2", "gemma3_text":
		if a.QueryScale = r.number("query_pre_attn_scalar", 256); a.QueryScale == float64(a.HeadSize) {
			a.QueryScale = 0
		}
		a.ScoreCap = r.number("attn_logit_softcapping", f.caps[0])
		a.LogitCap = r.number("final_logit_softcapping", f.caps[1])
		r.only("hidden_act", `"gelu_pytorch_tanh"`) // which the library does not read
	}
}

// graniteFactors are the factors of a Granite by their keys.
func graniteFactors(a *config.Arch) map[string]*float64 {
	return map[string]*float64{"embedding_multiplier": &a.EmbedFactor, "attention_multiplier": &a.ScoreFactor,
		"residual_multiplier": &a.ResidualFactor, "logits_scaling": &a.LogitDivisor}
}

// usualFactor is the factor of a decoder that has none.
func usualFactor(a config.Arch, key string) float64 {
	if key == "attention_multiplier" {
		return 1 / math.Sqrt(float64(a.HeadSize))
	}
	return 1
}

func (r *reader) activation(a *config.Arch, f form) {
	name := ""
	r.need(f.act)
	r.read(f.act, &name)
	var names []string
	for _, act := range f.acts {
		if act.name == name {
			a.MLPKind = act.kind
			return
		}
		names = append(names, strconv.Quote(act.name))
	}
	if r.has(f.act) {
		r.only(f.act, names...)
	}
}

// number reads a positive number: byDefault where the key is missing, 0 where it is null.
func (r *reader) number(key string, byDefault float64) float64 {
	if _, there := r.keys[key]; !there {
		return byDefault
	}
	if !r.has(key) {
		return 0
	}
	return r.positive(key)
}
