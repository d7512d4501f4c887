package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/checkpoint"
	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/param"
	"gimbal/internal/rundir"
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
	added []safetensors.Entry
}

// newForeign returns a model of a family with the tokens above.
func newForeign(t *testing.T, shape string) *foreignDir {
	t.Helper()
	i := slices.IndexFunc(archs(), func(a config.Arch) bool { return a.Shape == shape })
	d := &foreignDir{t: t, arch: archs()[i], files: map[string][]byte{}}
	d.path = putModel(t, d.arch, "F32", 1)
	conf, err := family.Config(d.arch, textEnd, -1, "float32")
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

// replace changes text of tokenizer.json.
func (d *foreignDir) replace(old, new string) {
	d.t.Helper()
	if !bytes.Contains(d.files[tokenizerFile], []byte(old)) {
		d.t.Fatalf("tokenizer.json lacks %s", old)
	}
	d.files[tokenizerFile] = bytes.Replace(d.files[tokenizerFile], []byte(old), []byte(new), 1)
}

// bpe makes the tokenizer one that splits text like Llama 3.
func (d *foreignDir) bpe() {
	d.set(tokenizerFile, "pre_tokenizer", sequence(llamaSplit, rawBytes))
}

// sentencePiece makes the tokenizer one of SentencePiece: the bytes, and behind the special tokens ▁ and a.
func (d *foreignDir) sentencePiece() {
	vocab := map[string]int{"▁": 261, "a": 262}
	for c := range 256 {
		vocab[fmt.Sprintf("<0x%02X>", c)] = c
	}
	data, err := json.Marshal(map[string]any{"type": "BPE", "vocab": vocab, "merges": []string{},
		"byte_fallback": true})
	if err != nil {
		d.t.Fatal(err)
	}
	d.set(tokenizerFile, "model", string(data))
	d.set(tokenizerFile, "pre_tokenizer", "null")
	d.set(tokenizerFile, "decoder", `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},`+
		`"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`)
}

// sequence is a pre_tokenizer of parts.
func sequence(parts ...string) string {
	return `{"type":"Sequence","pretokenizers":[` + strings.Join(parts, ",") + "]}"
}

// entries writes the weights, changed.
func (d *foreignDir) entries(edit func([]safetensors.Entry) []safetensors.Entry) {
	putFile(d.t, filepath.Join(d.path, weightsFile), edit(param.Entries(weights(d.arch))), "F32")
}

// add adds a tensor to the weights.
func (d *foreignDir) add(name string, shape ...int) {
	n := 1
	for _, k := range shape {
		n *= k
	}
	d.added = append(d.added, safetensors.Entry{Name: name, Shape: shape, Data: make([]float32, n)})
	d.entries(func(e []safetensors.Entry) []safetensors.Entry { return append(e, d.added...) })
}

// strays leaves what trainers leave.
func (d *foreignDir) strays() {
	for _, name := range []string{"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "scaler.pt"} {
		d.files[name] = nil
	}
}

// shards puts the weights into n files without an index, named by a format, and leaves out those that are named.
func (d *foreignDir) shards(format string, n int, without ...int) {
	e := param.Entries(weights(d.arch))
	os.Remove(filepath.Join(d.path, weightsFile))
	for i := range n {
		if !slices.Contains(without, i+1) {
			name := fmt.Sprintf(format, i+1, n)
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
	fiveDigits = "model-%05d-of-%05d.safetensors"
	sixDigits  = "model-%05d-of-%06d.safetensors" // DeepSeek's
	end        = `"<|end|>", "single_word": false, "lstrip": false`
	byteLevel  = `{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true}`
	rawBytes   = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}`
	llamaSplit = `{"type":"Split","pattern":{"Regex":"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|` +
		`\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false}`
)

// TestRunKeepsItsEnd: documents of a run end as they did, where a model of others with the same files would end them
// with <|endoftext|>.
func TestRunKeepsItsEnd(t *testing.T) {
	for i, run := range []bool{true, false, true, false} {
		d, want := newForeign(t, "llama"), []int32{turnEnd, textEnd, begin, otherEnd}[i]
		if d.set(configFile, "eos_token_id", "258"); i >= 2 {
			d.set(configFile, "eos_token_id", "259")
			d.set(tokConfigFile, "bos_token", `"<|begin_of_text|>"`)
			d.set(tokConfigFile, "eos_token", `"<|end|>"`)
		}
		if run {
			d.files[rundir.StateFile] = []byte("{}")
		}
		path, err := checkpoint.Save(durable.OS, t.TempDir(), &checkpoint.Snapshot{Files: d.files,
			Model: param.Entries(weights(d.arch))})
		if err != nil {
			t.Fatal(err)
		}
		m, err := OpenModel(path, "")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if got := m.Tok.EOS(); got != want || m.Start() != want {
			t.Errorf("run %t: documents end with %d and begin with %d, want %d", run, got, m.Start(), want)
		}
	}
}
