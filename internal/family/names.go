package family

// Names are what a family calls its tensors, without .weight and .bias. Those of a block follow Block.
type Names struct {
	Embed, Position, Final, Head, Block string

	Norm1, Post1, Norm2, Post2 string // before and after attention, before and after the MLP
	QNorm, KNorm               string
	QKV                        []string // one, or q, k and v apart
	O                          string
	GateUp                     []string // one, or gate and up apart
	Down                       string

	Conv1D      bool // matrices of the blocks are stored as (in, out)
	Interleaved bool // q, k and v of a head lie together, head by head
}

var (
	llama = Names{Embed: "model.embed_tokens", Final: "model.norm", Head: "lm_head", Block: "model.layers.%d.",
		Norm1: "input_layernorm", Norm2: "post_attention_layernorm",
		QNorm: "self_attn.q_norm", KNorm: "self_attn.k_norm",
		QKV: []string{"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}, O: "self_attn.o_proj",
		GateUp: []string{"mlp.gate_proj", "mlp.up_proj"}, Down: "mlp.down_proj",
	}
	names = map[string]Names{
		"gpt2": gpt2,
		"gpt_neo": with(gpt2, func(n *Names) {
			n.QKV = []string{"attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"}
			n.O, n.Conv1D = "attn.attention.out_proj", false
		}),
		"olmo2": with(llama, func(n *Names) { n.Post1, n.Post2 = n.Norm2, "post_feedforward_layernorm" }),
		"phi3": with(llama, func(n *Names) {
			n.QKV, n.GateUp = []string{"self_attn.qkv_proj"}, []string{"mlp.gate_up_proj"}
		}),
		"opt": with(llama, func(n *Names) {
			n.Embed, n.Position = "model.decoder.embed_tokens", "model.decoder.embed_positions"
			n.Final, n.Block = "model.decoder.final_layer_norm", "model.decoder.layers.%d."
			n.Norm1, n.Norm2 = "self_attn_layer_norm", "final_layer_norm"
			n.O, n.GateUp, n.Down = "self_attn.out_proj", []string{"fc1"}, "fc2"
		}),
		"phi": with(llama, func(n *Names) {
			n.Final, n.O, n.GateUp, n.Down = "model.final_layernorm", "self_attn.dense", []string{"mlp.fc1"}, "mlp.fc2"
		}),
		"gpt_neox": {Embed: "gpt_neox.embed_in", Final: "gpt_neox.final_layer_norm", Head: "embed_out",
			Block: "gpt_neox.layers.%d.", Norm1: "input_layernorm", Norm2: "post_attention_layernorm",
			QKV: []string{"attention.query_key_value"}, O: "attention.dense",
			GateUp: []string{"mlp.dense_h_to_4h"}, Down: "mlp.dense_4h_to_h", Interleaved: true},
		"gemma2": gemma, "gemma3_text": gemma,
	}
	gpt2 = Names{Embed: "transformer.wte", Position: "transformer.wpe", Final: "transformer.ln_f", Head: "lm_head",
		Block: "transformer.h.%d.", Norm1: "ln_1", Norm2: "ln_2", QKV: []string{"attn.c_attn"}, O: "attn.c_proj",
		GateUp: []string{"mlp.c_fc"}, Down: "mlp.c_proj", Conv1D: true}
	gemma = with(llama, func(n *Names) {
		n.Post1, n.Norm2, n.Post2 = n.Norm2, "pre_feedforward_layernorm", "post_feedforward_layernorm"
	})
)

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

// NamesOf returns the names of a shape's tensors. What a shape has no names for is called as Llama does.
func NamesOf(shape string) Names {
	if n, ok := names[shape]; ok {
		return n
	}
	return llama
}
