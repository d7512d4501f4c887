package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/model"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// Ids of the tokens of the directories below.
const (
	textEnd  = 256 + iota // <|endoftext|>
	turn                  // <|im_start|>
	turnEnd               // <|im_end|>
	begin                 // <|begin_of_text|>
	otherEnd              // <|end|>
)

// foreignDir is a model directory as others write them, to be changed.
type foreignDir struct {
	t     *testing.T
	path  string
	arch  config.Arch
	files map[string][]byte // but the weights
}

// newForeign returns a Llama with the tokens above.
func newForeign(t *testing.T) *foreignDir {
	t.Helper()
	d := &foreignDir{t: t, arch: archs()[2], files: map[string][]byte{}}
	d.path = putModel(t, d.arch, "F32", 1)
	conf, err := model.HFConfig(d.arch, textEnd, -1, "float32")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewBytes().WithSpecial("<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|end|>").JSON()
	if err != nil {
		t.Fatal(err)
	}
	d.files[configFile], d.files[tokenizerFile] = conf, tok
	return d
}

// set sets a key of a JSON file, which may be new; "" deletes it.
func (d *foreignDir) set(file, key, value string) {
	d.t.Helper()
	keys := map[string]json.RawMessage{}
	if raw, ok := d.files[file]; ok {
		if err := json.Unmarshal(raw, &keys); err != nil {
			d.t.Fatal(err)
		}
	}
	if keys[key] = json.RawMessage(value); value == "" {
		delete(keys, key)
	}
	data, err := json.Marshal(keys)
	if err != nil {
		d.t.Fatal(err)
	}
	d.files[file] = data
}

// entries writes the weights, changed.
func (d *foreignDir) entries(edit func([]safetensors.Entry) []safetensors.Entry) {
	putFile(d.t, filepath.Join(d.path, weightsFile), edit(model.Entries(weights(d.arch))), "F32")
}

// shards puts the weights into n files without an index, and leaves out those that are named.
func (d *foreignDir) shards(n int, without ...int) {
	e := model.Entries(weights(d.arch))
	os.Remove(filepath.Join(d.path, weightsFile))
	for i := range n {
		if !slices.Contains(without, i+1) {
			name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n)
			putFile(d.t, filepath.Join(d.path, name), e[i*len(e)/n:(i+1)*len(e)/n], "F32")
		}
	}
}

func (d *foreignDir) rename(from, to string) {
	if err := os.Rename(filepath.Join(d.path, from), filepath.Join(d.path, to)); err != nil {
		d.t.Fatal(err)
	}
}

const (
	bosFirst = `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|begin_of_text|>","type_id":0}},` +
		`{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{}}`
	byteLevel = `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true}`
)

// quirk is what is strange in a directory, as docs/interop.md names it, and what becomes of it.
type quirk struct {
	name   string
	edit   func(d *foreignDir)
	start  int32   // of texts; 0: textEnd
	ends   []int32 // the first ends documents; nil: textEnd
	told   string  // in a note; "": there is none
	refuse string  // in the error; "": it is taken
}

var quirks = []quirk{
	{name: "`eos_token_id` is a list", ends: []int32{textEnd, otherEnd, 65},
		edit: func(d *foreignDir) { d.set(configFile, "eos_token_id", "[256, 260, 65]") }},
	{name: "`generation_config.json` names other ends", ends: []int32{textEnd, otherEnd, turnEnd},
		edit: func(d *foreignDir) { d.set(generationFile, "eos_token_id", "[260, 258]") }},
	{name: "`eos_token` of the tokenizer is another", ends: []int32{textEnd, otherEnd}, edit: func(d *foreignDir) {
		d.set(specialFile, "eos_token", `{"content": "<|end|>", "lstrip": false}`)
	}},
	{name: "only the chat template knows the end of a turn", ends: []int32{textEnd, turnEnd}, edit: func(d *foreignDir) {
		d.set(tokConfigFile, "chat_template", `[{"name":"default","template":"{{ '<|im_end|>' }}"}]`)
	}},
	{name: "the first end is that of a turn (Qwen instruct)", ends: []int32{textEnd, turnEnd},
		edit: func(d *foreignDir) {
			d.set(configFile, "eos_token_id", "258")
			d.set(configFile, "bos_token_id", "256")
			d.set(generationFile, "eos_token_id", "[258, 256]")
		}},
	{name: "an end that the model does not have", told: "generation_config.json names token 300 as an end",
		edit: func(d *foreignDir) { d.set(generationFile, "eos_token_id", "[256, 300]") }},
	{name: "`tokenizer.json` puts a token first (Llama 3)", start: begin,
		edit: func(d *foreignDir) { d.set(tokenizerFile, "post_processor", bosFirst) }},
	{name: "the same in a `Sequence` with `ByteLevel`", start: begin, edit: func(d *foreignDir) {
		d.set(tokenizerFile, "post_processor", `{"type":"Sequence","processors":[`+byteLevel+","+bosFirst+"]}")
	}},
	{name: "`add_bos_token` is true, and no post-processor", start: begin, edit: func(d *foreignDir) {
		d.set(tokConfigFile, "add_bos_token", "true")
		d.set(tokConfigFile, "bos_token", `"<|begin_of_text|>"`)
	}},
	{name: "`add_bos_token` is false, and a post-processor", told: "add_bos_token = false, which decides",
		edit: func(d *foreignDir) {
			d.set(tokenizerFile, "post_processor", bosFirst)
			d.set(tokConfigFile, "add_bos_token", "false")
		}},
	{name: "only the chat template uses `bos_token`", start: begin, edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "259")
		d.files[templateFile] = []byte("{{ bos_token }}")
	}},
	{name: "a `bos_token_id` that nothing uses", edit: func(d *foreignDir) { d.set(configFile, "bos_token_id", "259") }},
	{name: "`bos_token` opens a turn (SmolLM2)", edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "257")
		d.set(tokConfigFile, "bos_token", `"<|im_start|>"`)
	}},
	{name: "`bos_token_id` is not the token put first (DeepSeek distilled)", start: begin, edit: func(d *foreignDir) {
		d.set(configFile, "bos_token_id", "256")
		d.set(tokenizerFile, "post_processor", bosFirst)
	}},
	{name: "an unknown key is off (`use_mrope: false`, `[]`, `{}`, 0)", edit: func(d *foreignDir) {
		d.set(configFile, "use_mrope", "false")
		d.set(configFile, "num_experts", "0")
		d.set(configFile, "auto_map", "{}")
		d.set(configFile, "no_rope_layers", "[]")
	}},
	{name: "keys of a trainer (`unsloth_version`, `num_labels`)", edit: func(d *foreignDir) {
		for _, key := range []string{"unsloth_version", "_num_labels", "torch_dtype", "_attn_implementation_autoset",
			"tokenizer_class", "hidden_dropout", "_name_or_path", "transformers.js_config"} {
			d.set(configFile, key, `"1"`)
		}
		d.set(configFile, "pretraining_tp", "1")
	}},
	{name: "an unknown key is on (`auto_map`, `num_experts: 8`)", edit: func(d *foreignDir) {
		d.set(configFile, "num_experts", "8")
	}, refuse: "config.json: num_experts is a key that this program does not know, so it cannot tell what it changes " +
		"(it is 8; delete it"},
	{name: "RoPE scaling `yarn`, `linear`, `dynamic`", edit: func(d *foreignDir) {
		d.set(configFile, "rope_scaling", `{"rope_type":"yarn","factor":4.0}`)
	}, refuse: `rope_scaling: rope_type is "yarn"`},
	{name: "another `model_type` (Mistral, Phi, Gemma, Pythia)", edit: func(d *foreignDir) {
		d.set(configFile, "model_type", `"gpt_neox"`)
	}, refuse: `model_type is "gpt_neox", which is not supported (only qwen3, llama, qwen2 or gpt2)`},
	{name: "a tokenizer of SentencePiece (Llama 2, TinyLlama)", edit: func(d *foreignDir) {
		d.set(tokenizerFile, "normalizer", `{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"}]}`)
	}, refuse: `tokenizer.json: tokenizer: tokenizer.json has normalizer.type = "Sequence"`},
	{name: "only `vocab.json` and `merges.txt` (old GPT-2)", edit: func(d *foreignDir) {
		delete(d.files, tokenizerFile)
		os.Remove(filepath.Join(d.path, tokenizerFile))
		d.files["vocab.json"], d.files["merges.txt"] = []byte("{}"), nil
	}, refuse: "vocab.json of its older form is not read: save the tokenizer in its fast form"},
	{name: "`padding` or `truncation` in `tokenizer.json`", told: "tokenizer.json has truncation, which is ignored",
		edit: func(d *foreignDir) { d.set(tokenizerFile, "truncation", `{"max_length":512,"stride":0}`) }},
	{name: "a special token with `lstrip`, `rstrip`, `single_word`",
		told: `rstrip = true for the special token "<|end|>"`,
		edit: func(d *foreignDir) {
			d.files[tokenizerFile] = bytes.Replace(d.files[tokenizerFile], []byte(`"<|end|>", "single_word": false, `+
				`"lstrip": false, "rstrip": false`), []byte(`"<|end|>", "single_word": false, "lstrip": false, "rstrip": true`), 1)
		}},
	{name: "shards without an index, all there", edit: func(d *foreignDir) { d.shards(3) }},
	{name: "shards without an index, not all there", edit: func(d *foreignDir) { d.shards(3, 2) },
		refuse: "it has 2 of 3 shards and no model.safetensors.index.json; missing are model-00002-of-00003.safetensors"},
	{name: "an index beside `model.safetensors`", told: "model.safetensors is read, and model.safetensors.index.json",
		edit: func(d *foreignDir) { d.files[indexFile] = []byte(`{"weight_map":{"a":"x.safetensors"}}`) }},
	{name: "what a trainer leaves (`training_args.bin`, `optimizer.pt`)", edit: func(d *foreignDir) {
		for _, name := range []string{"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"} {
			d.files[name] = nil
		}
		d.rename(weightsFile, "weights.safetensors")
	}, refuse: "weights.safetensors: is not the name of a model"},
	{name: "only `pytorch_model.bin`", edit: func(d *foreignDir) {
		d.rename(weightsFile, "pytorch_model.bin")
		d.files["training_args.bin"] = nil
	}, refuse: "pytorch_model.bin: is a pickle file, which can run code when it is read, so gimbal does not read it: " +
		"convert"},
	{name: "tables in the weights (`rotary_emb.inv_freq`, `attn.bias`)", edit: func(d *foreignDir) {
		d.entries(func(e []safetensors.Entry) []safetensors.Entry {
			return append(e, safetensors.Entry{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", Shape: []int{2},
				Data: make([]float32, 2)}, safetensors.Entry{Name: "model.rotary_emb.inv_freq", Shape: []int{2},
				Data: make([]float32, 2)})
		})
	}},
	{name: "no `lm_head.weight`, and nothing ties it", edit: func(d *foreignDir) {
		d.entries(func(e []safetensors.Entry) []safetensors.Entry { return e[:len(e)-1] })
	}, refuse: "lm_head.weight [264 16] is missing"},
}

// TestQuirks: each of the most common peculiarities of models is taken as it is meant, or refused by its name; what is
// set aside is told. What an import saves, and an export of that, say the same again.
func TestQuirks(t *testing.T) {
	for _, q := range quirks {
		t.Run(q.name, func(t *testing.T) {
			d := newForeign(t)
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
	if len(names) == 0 || !slices.Equal(names[1:], want) {
		t.Errorf("the table has\n%s\nwant\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
}
