package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// TestImportRefuses: every broken, foreign or hostile directory is an *Error that names the file and says what is
// wrong, and leaves nothing behind.
func TestImportRefuses(t *testing.T) {
	a := archs()[0]
	key := func(key, value string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			name := filepath.Join(dir, configFile)
			var keys map[string]json.RawMessage
			if err := json.Unmarshal(files(t, dir)[configFile], &keys); err != nil {
				t.Fatal(err)
			}
			keys[key] = json.RawMessage(value)
			data, err := json.Marshal(keys)
			if err != nil {
				t.Fatal(err)
			}
			putBytes(t, name, data)
		}
	}
	put := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) { putBytes(t, filepath.Join(dir, name), []byte(text)) }
	}
	instead := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, weightsFile)); err != nil {
				t.Fatal(err)
			}
			if name != "" {
				put(name, text)(t, dir)
			}
		}
	}
	entries := func(dtype string, edit func(e []safetensors.Entry)) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			e := param.Entries(weights(a))
			edit(e)
			putFile(t, filepath.Join(dir, weightsFile), e, dtype)
		}
	}
	index := func(tensor, file string) func(*testing.T, string) {
		return instead(indexFile, fmt.Sprintf(`{"metadata":{},"weight_map":{%q:%q}}`, tensor, file))
	}
	for _, c := range []struct {
		name string
		edit func(t *testing.T, dir string)
		want string // in the message
	}{
		{"no configuration", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, configFile)) },
			"config.json: no such file"},
		{"no tokenizer", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, tokenizerFile)) },
			"tokenizer.json: no such file"},
		{"foreign model", key("model_type", `"mamba"`), `config.json: model_type is "mamba"`},
		{"unknown key", key("rope_dimensions", "3"), "rope_dimensions is a key that this program does not know"},
		{"large configuration", put(configFile, strings.Repeat(" ", maxFile+1)), "config.json: has 1048577 bytes"},
		{"end outside", key("eos_token_id", "300"), "config.json: eos_token_id: tokenizer: there is no token 300"},
		{"end that text holds", key("eos_token_id", "65"), `eos_token_id: tokenizer: token 65 is "A"`},
		{"start that text holds", key("bos_token_id", "65"), `bos_token_id: tokenizer: token 65 is "A"`},
		{"small vocabulary", key("vocab_size", "100"), "vocab_size: tokenizer: tokenizer.json has 257 tokens, more than " +
			"the 100"},
		{"foreign tokenizer", put(tokenizerFile, `{"version":"1.0","model":{"type":"Unigram"}}`),
			`tokenizer.json: tokenizer: tokenizer.json has model.type = "Unigram"`},
		{"broken weights", put(weightsFile, "PK\x03\x04"), "model.safetensors: safetensors: file of 4 bytes"},
		{"weights of integers", entries("I32", func([]safetensors.Entry) {}), "model.embed_tokens.weight has dtype I32"},
		{"weights of another model", entries("F32", func(e []safetensors.Entry) { e[1].Name = "other" }),
			"model.layers.0.input_layernorm.weight [16] is missing"},
		{"NaN", entries("F32", func(e []safetensors.Entry) { e[2].Data[5] = float32(math.NaN()) }),
			"weight model.layers.0.self_attn.q_proj.weight[5] is NaN"},
		{"infinity", entries("F32", func(e []safetensors.Entry) { e[0].Data[0] = float32(math.Inf(-1)) }),
			"weight model.embed_tokens.weight[0] is -Inf"},
		{"pickle", instead("pytorch_model.bin", "\x80\x02"), "pytorch_model.bin: is a pickle file"},
		{"pickle in parts", instead("pytorch_model-00001-of-00002.bin", "x"), "is a pickle file"},
		{"pickle by another name", instead("consolidated.00.PTH", "x"), "is a pickle file"},
		{"GGUF", instead("model.gguf", "GGUF"), "model.gguf: is not read"},
		{"no weights", instead("", ""), "it has no weights: neither model.safetensors"},
		{"index is no object", instead(indexFile, "[]"), "index.json: not a JSON object"},
		{"index with more", instead(indexFile, `{"weight_map":{},"x":1}`), "x is not known"},
		{"index without map", instead(indexFile, `{"metadata":{}}`), "weight_map is missing"},
		{"index of nothing", instead(indexFile, `{"weight_map":{}}`), "0 tensors"},
		{"index twice", instead(indexFile, `{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}`), "a comes twice"},
		{"index of numbers", instead(indexFile, `{"weight_map":{"a":1}}`), "a: 1 is not the name of a file"},
		{"parent", index("a", "../x.safetensors"), "not the plain name"},
		{"absolute", index("a", "/etc/x.safetensors"), "not the plain name"},
		{"backslash", index("a", `..\x.safetensors`), "not the plain name"},
		{"drive", index("a", "C:x.safetensors"), "not the plain name"},
		{"NUL", instead(indexFile, `{"weight_map":{"a":"x\u0000.safetensors"}}`), "not the plain name"},
		{"hidden", index("a", ".x.safetensors"), "not the plain name"},
		{"folder", index("a", "x/y.safetensors"), "not the plain name"},
		{"no safetensors", index("a", "config.json"), "not the plain name of a safetensors file"},
		{"case", instead(indexFile, `{"weight_map":{"a":"x.safetensors","b":"X.safetensors"}}`),
			"are one file on some systems"},
		{"missing shard", index("a", "x.safetensors"), "names files that are not there: x.safetensors"},
		{"tensor not in its shard", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, weightsFile))
			putFile(t, filepath.Join(dir, "x.safetensors"), nil, "F32")
			putIndex(t, dir, map[string]string{"a": "x.safetensors"})
		}, "x.safetensors: lacks a"},
		{"tensor nobody named", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, weightsFile))
			e := []safetensors.Entry{{Name: "a", Shape: []int{1}, Data: []float32{1}},
				{Name: "b", Shape: []int{1}, Data: []float32{1}}}
			putFile(t, filepath.Join(dir, "x.safetensors"), e, "F32")
			putIndex(t, dir, map[string]string{"a": "x.safetensors"})
		}, "x.safetensors: holds b, which model.safetensors.index.json does not say"},
		{"link out", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, weightsFile))
			outside := filepath.Join(t.TempDir(), "w.safetensors")
			putFile(t, outside, param.Entries(weights(a)), "F32")
			if err := os.Symlink(outside, filepath.Join(dir, weightsFile)); err != nil {
				t.Skip(err)
			}
		}, "model.safetensors: is a symbolic link that leads out"},
		{"weights are a folder", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, weightsFile))
			os.Mkdir(filepath.Join(dir, weightsFile), 0o777)
		}, "model.safetensors: is not a regular file"},
		{"companion is no object", put(generationFile, "[]"), "generation_config.json: not a JSON object"},
		{"companion twice", put(tokConfigFile, `{"a":1,"a":2}`), "tokenizer_config.json: a comes twice"},
		{"template is no text", put(templateFile, "\xff"), "chat_template.jinja: not UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, out := putModel(t, a, "F32", 1), filepath.Join(t.TempDir(), "out")
			c.edit(t, dir)
			_, err := Import(t.Context(), dir, out)
			var bad *Error
			if !errors.As(err, &bad) || bad.Dir != dir || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("something was written")
			}
		})
	}
	file := filepath.Join(t.TempDir(), "model.bin")
	putBytes(t, file, nil)
	for path, want := range map[string]string{file: "is a file",
		filepath.Join(t.TempDir(), "nowhere"): "there is no such directory"} {
		var bad *Error
		if _, err := Import(t.Context(), path, t.TempDir()); !errors.As(err, &bad) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestNothingIsAllocatedOnFaith: a small directory that claims to be a large model is refused before its weights are
// made.
func TestNothingIsAllocatedOnFaith(t *testing.T) {
	big := archs()[0]
	big.Layers, big.Width, big.MLP, big.Vocab = 100, 8192, 65536, 1<<18
	dir := putModel(t, archs()[0], "F32", 1)
	conf, err := family.Config(big, 256, -1, "float32")
	if err != nil {
		t.Fatal(err)
	}
	putBytes(t, filepath.Join(dir, configFile), conf)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = Import(t.Context(), dir, filepath.Join(t.TempDir(), "out"))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "does not fit its configuration") {
		t.Errorf("error %v", err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// FuzzIndex: whatever an index says, the files are plain names in the directory, and memory stays in proportion.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{`{"metadata":{"total_size":8},"weight_map":{"a":"model-00001-of-00002.safetensors",` +
		`"b":"model-00002-of-00002.safetensors"}}`,
		`{"weight_map":{"a":"../x.safetensors"}}`, `{"weight_map":{"a":"x.safetensors",` +
			`"a":"y.safetensors"}}`, `{"weight_map":{"a":"CON.safetensors"}}`, `{"weight_map":`,
		`{"weight_map":{"a":"x.safetensors","b":"X.safetensors"}}`, "{}", `{"weight_map":{"":"\u0000.safetensors"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		where, err := parseIndex(data)
		runtime.ReadMemStats(&after)
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100*len(data)+1<<20); got > most {
			t.Fatalf("%d bytes allocated for %d", got, len(data))
		}
		if err != nil {
			return
		}
		for tensor, name := range where {
			if filepath.Base(name) != name || !filepath.IsLocal(name) || strings.ContainsAny(name, "/\\\x00") ||
				!strings.HasSuffix(name, ".safetensors") {
				t.Fatalf("%q is in %q", tensor, name)
			}
		}
	})
}

// FuzzDescribe: configuration and tokenizer that are each well formed are refused or fit one another.
func FuzzDescribe(f *testing.F) {
	tok, err := tokenizer.NewBytes().JSON()
	if err != nil {
		f.Fatal(err)
	}
	for _, a := range archs() {
		conf, err := family.Config(a, 256, 256, "float32")
		if err != nil {
			f.Fatal(err)
		}
		gen, tokConf := []byte(`{"eos_token_id": [256, 3]}`), []byte(`{"add_bos_token": true, "bos_token": "<|endoftext|>"}`)
		f.Add(conf, tok, gen, tokConf, "{{ bos_token }}<|im_end|>")
		f.Add(bytes.Replace(conf, []byte("256"), []byte("[256, 3]"), 1), tok, []byte("{}"), []byte("{}"), "")
	}
	f.Fuzz(func(t *testing.T, conf, tok, gen, tokConf []byte, template string) {
		m := memory{configFile: conf, tokenizerFile: tok, generationFile: gen, tokConfigFile: tokConf,
			templateFile: []byte(template)}
		got, arch, _, err := describe(m)
		if err != nil {
			var bad *Error
			if !errors.As(err, &bad) || bad.File == "" {
				t.Fatalf("error %v names no file", err)
			}
			return
		}
		start := (&Model{Tok: got}).Start()
		for _, id := range append(got.Ends(), start, got.EOS()) {
			if got.VocabSize() != arch.Vocab || id < 0 || int(id) >= arch.Vocab {
				t.Fatalf("%d ids of %d, ends %v, end of text %d, start %d", got.VocabSize(), arch.Vocab, got.Ends(), got.EOS(),
					start)
			}
		}
		// What is written of it reads the same.
		files, err := ModelFiles(arch, got, Manner{Start: start, Template: template,
			Kept: Kept{Generation: gen, TokConfig: tokConf, Template: template, own: true}})
		if err != nil {
			t.Fatal(err)
		}
		again, _, _, err := describe(memory(files))
		if err != nil || again.EOS() != got.EOS() || (&Model{Tok: again}).Start() != start {
			t.Fatalf("%v: read ends %v, end of text %d, start %d; then %v, %d, %d", err, got.Ends(), got.EOS(), start,
				again.Ends(), again.EOS(), (&Model{Tok: again}).Start())
		}
	})
}

// memory is a directory of a test.
type memory map[string][]byte

func (memory) Path() string { return "memory" }

func (m memory) File(name string) ([]byte, error) {
	if data, ok := m[name]; ok {
		return data, nil
	}
	return nil, os.ErrNotExist
}
