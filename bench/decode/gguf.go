package main

import (
	"bufio"
	"encoding/binary"
	"os"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/param"
)

// Types of values in a GGUF file (ggml/docs/gguf.md of llama.cpp).
const (
	ggufUint32 = 4
	ggufFloat  = 6
	ggufString = 8
)

// ggufNames are llama.cpp's names of the tensors of the llama family.
var ggufNames = strings.NewReplacer("model.embed_tokens", "token_embd", "model.layers", "blk",
	"model.norm", "output_norm", "input_layernorm", "attn_norm", "post_attention_layernorm", "ffn_norm",
	"self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k", "self_attn.v_proj", "attn_v", "self_attn.o_proj", "attn_output",
	"mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down", "lm_head", "output")

// ggufWriter writes little-endian fields and counts the bytes.
type ggufWriter struct {
	*bufio.Writer
	at int64
}

func (w *ggufWriter) put(values ...any) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			w.put(uint64(len(s)), []byte(s))
			continue
		}
		binary.Write(w, binary.LittleEndian, v)
		w.at += int64(binary.Size(v))
	}
}

func (w *ggufWriter) pad() {
	for w.at%32 != 0 {
		w.put(uint8(0))
	}
}

// writeGGUF writes the parameters of a model of the llama family in float32, without a vocabulary.
func writeGGUF(path string, a config.Arch, p *param.Params[float32]) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &ggufWriter{Writer: bufio.NewWriterSize(f, 1<<20)}
	keys := []struct {
		name  string
		value any
	}{
		{"general.architecture", "llama"}, {"tokenizer.ggml.model", "none"},
		{"llama.vocab_size", uint32(a.Vocab)}, {"llama.context_length", uint32(a.Context)},
		{"llama.embedding_length", uint32(a.Width)}, {"llama.block_count", uint32(a.Layers)},
		{"llama.feed_forward_length", uint32(a.MLP)}, {"llama.attention.head_count", uint32(a.Heads)},
		{"llama.attention.head_count_kv", uint32(a.KVHeads)}, {"llama.rope.dimension_count", uint32(a.HeadSize)},
		{"llama.rope.freq_base", float32(a.RopeTheta)},
		{"llama.attention.layer_norm_rms_epsilon", float32(a.NormEps)},
	}
	w.put([]byte("GGUF"), uint32(3), uint64(len(p.Views)), uint64(len(keys)))
	for _, k := range keys {
		kind := map[bool]uint32{true: ggufUint32, false: ggufFloat}
		w.put(k.name)
		switch k.value.(type) {
		case string:
			w.put(uint32(ggufString))
		case uint32:
			w.put(kind[true])
		default:
			w.put(kind[false])
		}
		w.put(k.value)
	}
	var offset uint64
	for _, v := range p.Views {
		w.put(ggufNames.Replace(v.Name), uint32(len(v.Shape)))
		for _, n := range slices.Backward(v.Shape) { // the innermost first
			w.put(uint64(n))
		}
		w.put(uint32(0), offset) // float32
		offset += uint64(v.Len()*4+31) / 32 * 32
	}
	w.pad()
	for _, v := range p.Views {
		data := p.Flat[v.Lo:v.Hi]
		if strings.Contains(v.Name, "q_proj") || strings.Contains(v.Name, "k_proj") {
			data = interleave(data, a)
		}
		w.put(data)
		w.pad()
	}
	return w.Flush()
}

// interleave returns the rows of queries or keys as llama.cpp wants them: the channels that are rotated together, half
// a head apart in Hugging Face's order, lie side by side.
func interleave(data []float32, a config.Arch) []float32 {
	out := make([]float32, 0, len(data))
	for head := 0; head < len(data)/a.Width; head += a.HeadSize {
		for i := range a.HeadSize {
			row := head + i/2 + i%2*a.HeadSize/2
			out = append(out, data[row*a.Width:(row+1)*a.Width]...)
		}
	}
	return out
}
