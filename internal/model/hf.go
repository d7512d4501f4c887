package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/safetensors"
)

// transformersVersion is the release of Hugging Face transformers that the keys were checked against; see
// bench/transformers.
const transformersVersion = "5.23.0"

var hfClass = map[string]string{
	"qwen3": "Qwen3ForCausalLM",
	"qwen2": "Qwen2ForCausalLM",
	"llama": "LlamaForCausalLM",
	"gpt2":  "GPT2LMHeadModel",
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

// hfToken is a token id, null where there is none.
func hfToken(id int32) any {
	if id < 0 {
		return nil
	}
	return id
}

// inFamily returns a with every choice made as its Hugging Face family makes it; sizes, base and epsilon stay.
func inFamily(a config.Arch) (config.Arch, error) {
	switch a.Shape {
	case "gpt2":
		a.Norm, a.Position, a.RopeTheta, a.MLPKind = "layer", "learned", 0, "gelu"
		a.Bias, a.QKVBias, a.QKNorm = true, true, false
		a.KVHeads, a.HeadSize = a.Heads, a.Width/max(1, a.Heads)
	case "llama", "qwen2", "qwen3":
		a.Norm, a.Position, a.MLPKind = "rms", "rope", "swiglu"
		a.Bias, a.QKVBias, a.QKNorm = false, a.Shape == "qwen2", a.Shape == "qwen3"
	default:
		return a, fmt.Errorf("model: shape %q has no Hugging Face family (qwen3, llama, qwen2 and gpt2 have)", a.Shape)
	}
	return a, nil
}

// checkSizes returns what no reader of the family would accept.
func checkSizes(a config.Arch) error {
	switch {
	case a.Heads%a.KVHeads != 0:
		return fmt.Errorf("model: %d query heads do not share %d key heads evenly", a.Heads, a.KVHeads)
	case (a.Shape == "gpt2" || a.Shape == "llama") && a.Width%a.Heads != 0:
		return fmt.Errorf("model: width %d is not a multiple of %d heads, which shape %s requires", a.Width, a.Heads, a.Shape)
	case a.HeadSize%2 != 0:
		return fmt.Errorf("model: head size %d is odd", a.HeadSize)
	}
	return nil
}

// HFConfig returns the config.json that makes Hugging Face transformers build the decoder a.
//
// eos and bos are token ids; a negative one is written as null. RoPE is spelled both ways (rope_theta and
// rope_parameters), for readers of either. Dropout is a choice of a run and not of the file: 0 is written.
// It fails when a mixes choices in a way that its family does not know.
func HFConfig(a config.Arch, eos, bos int32) ([]byte, error) {
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
		"eos_token_id":         hfToken(eos),
		"pad_token_id":         nil,
		"tie_word_embeddings":  a.Tie,
		"initializer_range":    hfFloat(0.02),
		"use_cache":            true,
		"dtype":                "float32",
		"torch_dtype":          "float32",
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
	c["max_position_embeddings"] = a.Context
	c["rms_norm_eps"] = hfFloat(a.NormEps)
	c["attention_dropout"] = hfFloat(0)
	c["rope_theta"] = hfFloat(a.RopeTheta)
	c["rope_scaling"] = nil
	c["rope_parameters"] = map[string]any{"rope_type": "default", "rope_theta": hfFloat(a.RopeTheta)}
	switch a.Shape {
	case "llama":
		c["attention_bias"], c["mlp_bias"] = false, false
	case "qwen3":
		c["attention_bias"] = false
	}
	if a.Shape != "llama" {
		types := make([]string, a.Layers)
		for i := range types {
			types[i] = "full_attention"
		}
		c["layer_types"], c["max_window_layers"] = types, a.Layers
		c["use_sliding_window"], c["sliding_window"] = false, nil
	}
	return hfJSON(c)
}

// GenerationConfig returns the generation_config.json of a base model: how to sample and where to stop.
func GenerationConfig(eos, bos int32) ([]byte, error) {
	return hfJSON(map[string]any{
		"bos_token_id":         hfToken(bos),
		"eos_token_id":         hfToken(eos),
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

// isConv1D reports whether the family stores a matrix as (In, Out): GPT-2 does for those of its blocks.
func isConv1D(v View) bool {
	return len(v.Shape) == 2 && strings.HasPrefix(v.Name, "transformer.h.")
}

// transpose overwrites dst (cols, rows) with src (rows, cols) transposed.
func transpose(dst, src []float32, rows, cols int) {
	for i := range rows {
		for j, x := range src[i*cols : (i+1)*cols] {
			dst[j*rows+i] = x
		}
	}
}

// Entries returns the tensors of model.safetensors, in the order of the views. A tied head is not among them.
//
// Memory: entries are views of p, but for the matrices of GPT-2's blocks, which are transposed copies.
func Entries(p *Params[float32]) []safetensors.Entry {
	entries := make([]safetensors.Entry, len(p.Views))
	for i, v := range p.Views {
		e := safetensors.Entry{Name: v.Name, Shape: v.Shape, Data: p.Flat[v.Lo:v.Hi:v.Hi]}
		if isConv1D(v) {
			e.Shape, e.Data = []int{v.Shape[1], v.Shape[0]}, make([]float32, v.Len())
			transpose(e.Data, p.Flat[v.Lo:v.Hi], v.Shape[0], v.Shape[1])
		}
		entries[i] = e
	}
	return entries
}

// LoadEntries overwrites p with the tensors of a Hugging Face model file, of any floating-point type.
//
// The names and shapes are all checked first: p is untouched when one is missing, misshaped or unexpected, and the
// error names them. Names may lack the prefix of the family (transformer., model.), as in files of the bare decoder;
// tables that are no weights (GPT-2's masks, RoPE's frequencies) are passed over; a head in the file of a tied model
// must equal the embedding. An error while reading leaves p partly overwritten. The caller refreshes the model.
func LoadEntries(p *Params[float32], f *safetensors.File) error {
	prefix, _, _ := strings.Cut(p.Views[0].Name, ".")
	prefix += "."
	bare := !slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, prefix) })
	inFile := func(v View) string {
		if bare {
			return strings.TrimPrefix(v.Name, prefix)
		}
		return v.Name
	}

	var faults hfFaults
	expected := make(map[string]bool, len(p.Views))
	for _, v := range p.Views {
		name := inFile(v)
		expected[name] = true
		want := v.Shape
		if isConv1D(v) {
			want = []int{v.Shape[1], v.Shape[0]}
		}
		if t, ok := f.Lookup(name); !ok {
			faults.add("%s %v is missing", name, want)
		} else if !slices.Equal(t.Shape, want) {
			faults.add("%s has shape %v, the configuration asks for %v", name, t.Shape, want)
		}
	}
	const head = "lm_head.weight"
	tiedHead := false
	for _, t := range f.Tensors() {
		switch {
		case expected[t.Name]:
		case t.Name == head && slices.Equal(t.Shape, p.Views[0].Shape): // the embedding is the first view
			tiedHead = true
		case strings.HasSuffix(t.Name, ".attn.bias") && len(t.Shape) == 4,
			strings.HasSuffix(t.Name, ".attn.masked_bias"),
			strings.HasSuffix(t.Name, ".rotary_emb.inv_freq"):
		default:
			faults.add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	if err := faults.err(); err != nil {
		return err
	}

	var scratch []float32
	for _, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		if isConv1D(v) {
			scratch = slices.Grow(scratch[:0], v.Len())[:v.Len()]
			dst = scratch
		}
		if err := f.ReadF32(dst, inFile(v)); err != nil {
			return fmt.Errorf("model: load: %w", err)
		}
		if isConv1D(v) {
			transpose(p.Flat[v.Lo:v.Hi], scratch, v.Shape[1], v.Shape[0])
		}
	}
	if tiedHead {
		embed := p.Views[0]
		other := make([]float32, embed.Len())
		if err := f.ReadF32(other, head); err != nil {
			return fmt.Errorf("model: load: %w", err)
		}
		if !slices.Equal(other, p.Flat[embed.Lo:embed.Hi]) {
			return fmt.Errorf("model: load: %s differs from %s, but the configuration ties them", head, inFile(embed))
		}
	}
	return nil
}

// hfFaults gathers what is wrong with the tensors of a file; of many it tells the first.
type hfFaults struct {
	texts []string
	more  int
}

func (f *hfFaults) add(format string, args ...any) {
	if len(f.texts) == 8 {
		f.more++
		return
	}
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func (f *hfFaults) err() error {
	if len(f.texts) == 0 {
		return nil
	}
	s := strings.Join(f.texts, "; ")
	if f.more > 0 {
		s += fmt.Sprintf("; and %d more", f.more)
	}
	return fmt.Errorf("model: load: the file does not fit its configuration: %s", s)
}
