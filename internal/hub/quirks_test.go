package hub

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/safetensors"
)

// quirk is what is strange in a directory, as docs/interop.md names it, and what becomes of it. Those of one name are
// of one kind.
type quirk struct {
	name   string
	shape  string // "": llama
	edit   func(d *foreignDir)
	text   string  // is encoded
	ids    []int32 // as these
	start  int32   // of texts; 0: textEnd
	ends   []int32 // the first ends documents; nil: textEnd
	told   string  // in a note; "": there is none
	refuse string  // in the error; "": it is taken
}

// Names of several quirks.
const (
	otherEnds    = "other ends in `generation_config.json`, `eos_token`, the chat template"
	looseStart   = "a `bos_token` that nothing uses, or that opens a turn (Qwen, SmolLM instruct)"
	unknownModel = "another RoPE scaling (`ntk`, `mrope`) or `model_type` (Mixtral, Falcon, Mamba)"
	unknownText  = "a charsmap of SentencePiece (T5, XGLM), an unknown split of the text"
)

var quirks = []quirk{
	{name: "`eos_token_id` is a list (Llama 3)", ends: []int32{textEnd, otherEnd, 65},
		edit: func(d *foreignDir) { d.set(configFile, "eos_token_id", "[256, 260, 65]") }},
	{name: otherEnds, ends: []int32{textEnd, otherEnd, turnEnd},
		edit: func(d *foreignDir) { d.set(generationFile, "eos_token_id", "[260, 258]") }},
	{name: otherEnds, ends: []int32{textEnd, otherEnd}, edit: func(d *foreignDir) {
		d.set(specialFile, "eos_token", `{"content": "<|end|>", "lstrip": false}`)
	}},
	{name: otherEnds, ends: []int32{textEnd, otherEnd}, edit: func(d *foreignDir) {
		d.set(tokConfigFile, "eos_token", `{"__type": "AddedToken", "content": "<|end|>", "normalized": true}`)
	}},
	{name: otherEnds, ends: []int32{textEnd, turnEnd}, edit: func(d *foreignDir) {
		d.set(tokConfigFile, "chat_template", `[{"name":"default","template":"{{ '<|im_end|>' }}"}]`)
	}},
	{name: "the ends are of turns (SmolLM instruct)", ends: []int32{textEnd, turnEnd}, edit: func(d *foreignDir) {
		d.set(configFile, "eos_token_id", "258")
		d.set(configFile, "bos_token_id", "256")
	}},
	{name: "the first end is that of a turn (Qwen instruct)", ends: []int32{textEnd, turnEnd},
		edit: func(d *foreignDir) {
			d.set(configFile, "eos_token_id", "258")
			d.set(configFile, "bos_token_id", "256")
			d.set(generationFile, "eos_token_id", "[258, 256]")
		}},
	{name: "an end that the model does not have", told: "generation_config.json names token 300 as an end",
		edit: func(d *foreignDir) { d.set(generationFile, "eos_token_id", "[256, 300]") }},
	{name: "`eos_token_id` is a word (a default of its class)", edit: func(d *foreignDir) {
		d.set(configFile, "eos_token_id", "2")
	}, refuse: "config.json: eos_token_id: tokenizer: token 2 is"},
	{name: "`eos_token_id` is the tokenizer's `bos_token`", ends: []int32{otherEnd, begin},
		told: `config.json names "<|begin_of_text|>" as an end, which tokenizer_config.json calls bos_token`,
		edit: func(d *foreignDir) {
			d.set(configFile, "eos_token_id", "259")
			d.set(tokConfigFile, "bos_token", `"<|begin_of_text|>"`)
			d.set(tokConfigFile, "eos_token", `"<|end|>"`)
		}, start: otherEnd},
	{name: "`tokenizer.json` puts a token first (Llama 3.1)", start: begin,
		edit: func(d *foreignDir) { d.set(tokenizerFile, "post_processor", bosFirst) }},
	{name: "`tokenizer.json` puts a token first (Llama 3.1)", start: begin, edit: func(d *foreignDir) {
		d.set(tokenizerFile, "post_processor", `{"type":"Sequence","processors":[`+byteLevel+","+bosFirst+"]}")
	}},
	{name: "`add_bos_token` is true, and no post-processor", start: begin, edit: func(d *foreignDir) {
		d.set(tokConfigFile, "add_bos_token", "true")
		d.set(tokConfigFile, "bos_token", `"<|begin_of_text|>"`)
	}},
	{name: "`add_bos_token` is false, and a post-processor", start: begin,
		told: "add_bos_token = false: the former decides, as in transformers",
		edit: func(d *foreignDir) {
			d.set(tokenizerFile, "post_processor", bosFirst)
			d.set(tokConfigFile, "add_bos_token", "false")
		}},
	{name: "only the chat template uses `bos_token`", start: begin, edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "259")
		d.files[templateFile] = []byte("{{ bos_token }}")
	}},
	{name: looseStart, edit: func(d *foreignDir) { d.set(configFile, "bos_token_id", "259") }},
	{name: looseStart, ends: []int32{textEnd, turnEnd}, edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "257")
		d.set(configFile, "eos_token_id", "258")
		d.set(tokConfigFile, "bos_token", `"<|im_start|>"`)
		d.set(tokConfigFile, "eos_token", `"<|im_end|>"`)
	}},
	{name: "`bos_token_id` is not the token put first (DeepSeek distilled)", start: begin, edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "256")
		d.set(generationFile, "bos_token_id", "259")
		d.set(tokenizerFile, "post_processor", bosFirst)
	}},
	{name: "an unknown key is off (`use_mrope: false`, `[]`, `{}`, 0)", edit: func(d *foreignDir) {
		d.set(configFile, "use_mrope", "false")
		d.set(configFile, "num_experts", "0")
		d.set(configFile, "auto_map", "{}")
		d.set(configFile, "no_rope_layers", "[]")
	}},
	{name: "keys of a trainer (`unsloth_version`, `_num_labels`)", edit: func(d *foreignDir) {
		for _, key := range []string{"unsloth_version", "unsloth_fixed", "_num_labels", "torch_dtype", "tokenizer_class",
			"_attn_implementation_autoset", "hidden_dropout", "_name_or_path", "transformers.js_config", "is_llama_config"} {
			d.set(configFile, key, `"1"`)
		}
		d.set(configFile, "pretraining_tp", "1")
	}},
	{name: "`sliding_window` without `use_sliding_window` (Qwen 2)", shape: "qwen2", edit: func(d *foreignDir) {
		d.set(configFile, "sliding_window", "131072")
		d.set(configFile, "max_window_layers", "64")
		d.set(configFile, "use_sliding_window", "false")
	}},
	{name: "`rope_parameters` in place of `rope_theta` (transformers 5)", edit: func(d *foreignDir) {
		d.set(configFile, "rope_theta", "")
		d.set(configFile, "rope_scaling", "")
	}},
	{name: "`rope_parameters` in place of `rope_theta` (transformers 5)", edit: func(d *foreignDir) {
		d.set(configFile, "rope_parameters", "")
	}},
	{name: "an unknown key is on (`auto_map`, `num_experts: 8`)", edit: func(d *foreignDir) {
		d.set(configFile, "num_experts", "8")
	}, refuse: "config.json: num_experts is a key that this program does not know, so it cannot tell what it changes " +
		"(it is 8; delete it"},
	{name: "an unknown key is on (`auto_map`, `num_experts: 8`)", edit: func(d *foreignDir) {
		d.set(configFile, "auto_map", `{"AutoConfig": "configuration_x.X"}`)
	}, refuse: "config.json: auto_map is a key that this program does not know"},
	{name: "quantized weights (bitsandbytes, GPTQ, MLX)", edit: func(d *foreignDir) {
		d.set(configFile, "quantization_config", `{"load_in_4bit": true, "quant_method": "bitsandbytes"}`)
	}, refuse: "config.json: quantization_config is"},
	{name: "quantized weights (bitsandbytes, GPTQ, MLX)", edit: func(d *foreignDir) {
		d.set(configFile, "quantization", `{"group_size": 64, "bits": 4}`)
	}, refuse: "config.json: quantization is a key that this program does not know"},
	{name: "`attention_bias` or `mlp_bias` is true (Granite code)", edit: func(d *foreignDir) {
		d.set(configFile, "attention_bias", "true")
		d.set(configFile, "mlp_bias", "true")
	}, refuse: "config.json: attention_bias is true, which is not supported (only false); mlp_bias is true"},
	{name: "RoPE scaling `linear`, `dynamic`, `yarn`, `longrope`", edit: func(d *foreignDir) {
		d.set(configFile, "rope_parameters", "null")
		d.set(configFile, "rope_scaling", `{"type":"yarn","factor":4.0,"original_max_position_embeddings":32}`)
		d.arch.RopeScale = config.RopeScale{Kind: "yarn", Factor: 4, Low: 1, High: 32, Original: 32,
			Gain: 1.138629436111989}
	}},
	{name: unknownModel, edit: func(d *foreignDir) {
		d.set(configFile, "rope_scaling", `{"rope_type":"ntk","factor":2.0}`)
	}, refuse: `rope_scaling: rope_type is "ntk"`},
	{name: unknownModel, edit: func(d *foreignDir) {
		d.set(configFile, "model_type", `"falcon"`)
	}, refuse: `model_type is "falcon", which is not supported (only qwen3, llama, mistral, qwen2, gpt2, gemma, gemma2`},
	{name: "a tokenizer of SentencePiece (Llama 2, Gemma)", text: "a b", ids: []int32{261, 262, 261, 98},
		edit: func(d *foreignDir) {
			d.sentencePiece()
			d.set(tokenizerFile, "normalizer", `{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},`+
				`{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}`)
		}},
	{name: "a tokenizer of SentencePiece (Llama 2, Gemma)", text: "a b", ids: []int32{261, 262, 261, 98},
		edit: func(d *foreignDir) {
			d.sentencePiece()
			d.set(tokenizerFile, "pre_tokenizer", `{"type":"Metaspace","replacement":"▁","split":false}`)
		}},
	{name: unknownText, edit: func(d *foreignDir) {
		d.set(tokenizerFile, "normalizer", `{"type":"Precompiled","precompiled_charsmap":"AAAA"}`)
	}, refuse: `tokenizer.json has normalizer.type = "Precompiled"`},
	{name: unknownText, edit: func(d *foreignDir) {
		digits := strings.Replace(llamaSplit, "(?i:", `\\p{N}{1,3}|(?i:`, 1)
		d.set(tokenizerFile, "pre_tokenizer", sequence(digits, rawBytes))
	}, refuse: "tokenizer.json has pre_tokenizer.pretokenizers[0].pattern.Regex = "},
	{name: "`add_prefix_space` of the `pre_tokenizer` is true", text: " a", ids: []int32{32, 97},
		edit: func(d *foreignDir) {
			d.set(tokenizerFile, "pre_tokenizer", byteLevel)
		}},
	{name: "a byte is no token (Granite code, GPT-NeoX)", text: "a", ids: []int32{97},
		told: "tokenizer.json has no token for 1 of the 256 bytes (0x21): text that holds one is refused",
		edit: func(d *foreignDir) {
			d.replace(`"!": 33`, `"!!": 33`)
			d.bpe()
		}},
	{name: "a byte is no token (Granite code, GPT-NeoX)", edit: func(d *foreignDir) {
		d.replace(`"ÿ":`, `"!!":`)
		d.bpe()
	}},
	{name: "an added token is not special (`<think>` of Qwen 3)", text: "a<|end|><|im_end|>",
		ids: []int32{97, otherEnd, 60, 124, 105, 109, 95, 101, 110, 100, 124, 62}, edit: func(d *foreignDir) {
			d.replace(end+`, "rstrip": false, "normalized": false, "special": true`,
				end+`, "rstrip": false, "normalized": false, "special": false`)
			d.bpe()
		}},
	{name: "`clean_up_tokenization_spaces` is true (GPT-2, Llama 3)", text: "a . b", ids: []int32{97, 32, 46, 32, 98},
		edit: func(d *foreignDir) { d.set(tokConfigFile, "clean_up_tokenization_spaces", "true") }},
	{name: "more ids than tokens (Qwen)", edit: func(*foreignDir) {}},
	{name: "more tokens than ids (a pad token was added)", edit: func(d *foreignDir) {
		d.set(configFile, "vocab_size", "260")
	}, refuse: "config.json: vocab_size: tokenizer: tokenizer.json has 261 tokens, more than the 260 of the model"},
	{name: "only `vocab.json` and `merges.txt` (DialoGPT)", edit: func(d *foreignDir) {
		delete(d.files, tokenizerFile)
		os.Remove(filepath.Join(d.path, tokenizerFile))
		d.files["vocab.json"], d.files["merges.txt"] = []byte("{}"), nil
	}, refuse: "vocab.json of its older form is not read: save the tokenizer in its fast form"},
	{name: "`padding` or `truncation` in `tokenizer.json`", told: "tokenizer.json has truncation, which is ignored",
		edit: func(d *foreignDir) {
			d.set(tokenizerFile, "truncation", `{"direction":"Right","max_length":50,"strategy":"LongestFirst","stride":0}`)
		}},
	{name: "`padding` or `truncation` in `tokenizer.json`", told: "tokenizer.json has padding, which is ignored",
		edit: func(d *foreignDir) {
			d.set(tokenizerFile, "padding", `{"strategy":"BatchLongest","direction":"Left","pad_id":256,"pad_type_id":0}`)
		}},
	{name: "a token with `lstrip`, `rstrip`, `single_word`",
		edit: func(d *foreignDir) {
			d.replace(end+`, "rstrip": false`, end+`, "rstrip": true`)
		}},
	{name: "a token with `lstrip`, `rstrip`, `single_word`",
		edit: func(d *foreignDir) {
			d.replace(end, strings.Replace(end, `"lstrip": false`, `"lstrip": true`, 1))
		}},
	{name: "shards without an index, all there", edit: func(d *foreignDir) { d.shards(fiveDigits, 3) }},
	{name: "shards without an index, all there", edit: func(d *foreignDir) { d.shards(fiveDigits, 1) }},
	{name: "shards without an index, all there", edit: func(d *foreignDir) { d.shards(sixDigits, 3) }},
	{name: "shards without an index, not all there", edit: func(d *foreignDir) {
		d.shards(fiveDigits, 3, 2)
	}, refuse: "it has 2 of 3 shards and no model.safetensors.index.json; missing are model-00002-of-00003.safetensors"},
	{name: "shards without an index, not all there", edit: func(d *foreignDir) {
		d.shards(sixDigits, 3, 2)
	}, refuse: "it has 2 of 3 shards and no model.safetensors.index.json; missing are model-00002-of-000003.safetensors"},
	{name: "an index beside `model.safetensors`", told: "model.safetensors is read, and model.safetensors.index.json",
		edit: func(d *foreignDir) { d.files[indexFile] = []byte(`{"weight_map":{"a":"x.safetensors"}}`) }},
	{name: "what a trainer leaves (`training_args.bin`, `optimizer.pt`)", edit: func(d *foreignDir) { d.strays() }},
	{name: "what a trainer leaves (`training_args.bin`, `optimizer.pt`)", edit: func(d *foreignDir) {
		d.strays()
		d.rename(weightsFile, "weights.safetensors")
	}, refuse: "weights.safetensors: is not the name of a model"},
	{name: "only `pytorch_model.bin`", edit: func(d *foreignDir) {
		d.strays()
		d.rename(weightsFile, "pytorch_model.bin")
	}, refuse: "pytorch_model.bin: is a pickle file, which can run code when it is read, so gimbal does not read it: " +
		"convert"},
	{name: "only `pytorch_model.bin`", edit: func(d *foreignDir) {
		d.rename(weightsFile, "pytorch_model-00001-of-00002.bin")
		d.files["pytorch_model.bin.index.json"] = []byte("{}")
	}, refuse: "pytorch_model-00001-of-00002.bin: is a pickle file"},
	{name: "tables in the weights (`rotary_emb.inv_freq`, `attn.bias`)", edit: func(d *foreignDir) {
		d.add("model.layers.0.self_attn.rotary_emb.inv_freq", 2)
		d.add("model.rotary_emb.inv_freq", 2)
	}},
	{name: "tables in the weights (`rotary_emb.inv_freq`, `attn.bias`)", shape: "gpt2", edit: func(d *foreignDir) {
		d.add("transformer.h.0.attn.bias", 1, 1, 32, 32)
		d.add("transformer.h.1.attn.masked_bias", 1)
	}},
	{name: "`lm_head.weight`, and the embedding is tied to it", shape: "qwen2", edit: func(d *foreignDir) {
		d.entries(func(e []safetensors.Entry) []safetensors.Entry {
			return append(e, safetensors.Entry{Name: "lm_head.weight", Shape: e[0].Shape, Data: e[0].Data})
		})
	}},
	{name: "`lm_head.weight`, and the embedding is tied to it", shape: "qwen2", edit: func(d *foreignDir) {
		d.add("lm_head.weight", 264, 16)
	}, refuse: "lm_head.weight differs from model.embed_tokens.weight, but the configuration ties them"},
	{name: "no `lm_head.weight`, and nothing ties it", edit: func(d *foreignDir) {
		d.entries(func(e []safetensors.Entry) []safetensors.Entry { return e[:len(e)-1] })
	}, refuse: "lm_head.weight [264 16] is missing"},
}

// TestQuirks: each of the most common peculiarities of models is taken as it is meant, or refused by its name; what is
// set aside is told. What an import saves, and an export of that, say the same again.
func TestQuirks(t *testing.T) {
	for _, q := range quirks {
		t.Run(q.name, func(t *testing.T) {
			d := newForeign(t, cmp.Or(q.shape, "llama"))
			q.edit(d)
			for name, data := range d.files {
				putBytes(t, filepath.Join(d.path, name), data)
			}
			in, err := Import(t.Context(), d.path, filepath.Join(t.TempDir(), "checkpoints"))
			if q.refuse != "" {
				var bad *Error
				if !errors.As(err, &bad) || !strings.Contains(err.Error(), q.refuse) {
					t.Errorf("error %v, want %q", err, q.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if told := strings.Join(in.Notes, "\n"); (told == "") != (q.told == "") || !strings.Contains(told, q.told) {
				t.Errorf("told %q, want %q", told, q.told)
			}
			out := filepath.Join(t.TempDir(), "out")
			m, err := OpenModel(in.Path, "")
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := Export(t.Context(), m.Checkpoint, out, "fp32"); err != nil {
				t.Fatal(err)
			}
			again, err := OpenModel(out, "")
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			start, ends := q.start, q.ends
			if start == 0 {
				start = textEnd
			}
			if ends == nil {
				ends = []int32{textEnd}
			}
			for what, m := range map[string]*Model{"imported": m, "exported": again} {
				if m.Arch != d.arch || len(m.Tok.Bytes(int32(d.arch.Vocab-1))) > 0 {
					t.Errorf("%s: %+v, the last token is %q", what, m.Arch, m.Tok.Name(int32(d.arch.Vocab-1)))
				}
				ids, err := m.Tok.Append(nil, []byte(q.text))
				if back := m.Tok.Decode(nil, ids); err != nil || !slices.Equal(ids, q.ids) || string(back) != q.text {
					t.Errorf("%s: %q is %v and comes back as %q, %v, want %v", what, q.text, ids, back, err, q.ids)
				}
				if m.Start() != start || !slices.Equal(m.Tok.Ends(), ends) || m.Tok.EOS() != ends[0] {
					t.Errorf("%s: texts begin with %d and end with %v, want %d and %v", what, m.Start(), m.Tok.Ends(), start, ends)
				}
			}
		})
	}
}

// TestQuirksAreDocumented wants the table of docs/interop.md to have the quirks of the test, in their order.
func TestQuirksAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "interop.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Peculiarities\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var names []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && !strings.HasPrefix(cells[1], "-") {
			names = append(names, strings.TrimSpace(cells[1]))
		}
	}
	var want []string
	for _, q := range quirks {
		want = append(want, q.name)
	}
	want = slices.Compact(want)
	if len(names) == 0 || !slices.Equal(names[1:], want) {
		t.Errorf("the table has\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}
