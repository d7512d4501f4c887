package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// archs are small decoders of each family. The vocabulary is larger than that of the tokenizer, as those of others are.
func archs() []config.Arch {
	base := config.Arch{Layers: 2, Width: 16, Heads: 4, KVHeads: 2, HeadSize: 6, MLP: 24, Vocab: 264, Context: 32,
		NormEps: 1e-6, Norm: "rms", Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu", Tie: true}
	qwen3, qwen2, llama := base, base, base
	qwen3.Shape, qwen3.QKNorm = "qwen3", true
	qwen2.Shape, qwen2.QKVBias, qwen2.HeadSize, qwen2.RopeTheta = "qwen2", true, 4, 1e6
	llama.Shape, llama.Tie, llama.NormEps, llama.RopeTheta = "llama", false, 1e-5, 5e5
	llama.RopeScale = config.RopeScale{Kind: "llama3", Factor: 8, Low: 1, High: 4, Original: 16}
	gpt2 := config.Arch{Shape: "gpt2", Layers: 2, Width: 16, Heads: 4, KVHeads: 4, HeadSize: 4, MLP: 64, Vocab: 264,
		Context: 32, NormEps: 1e-5, Norm: "layer", Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true}
	return []config.Arch{qwen3, qwen2, llama, gpt2}
}

// weights returns parameters that are exact in each of the types of weights, and all nowhere at their initial value.
func weights(a config.Arch) *param.Params[float32] {
	p := param.New[float32](a)
	r := rand.New(rand.NewPCG(1, 2))
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = float32(r.IntN(255)-127) / 128
		}
	}
	return p
}

// putFile writes a file of weights of one type, by hand: the package under test writes others.
func putFile(t *testing.T, name string, entries []safetensors.Entry, dtype string) {
	t.Helper()
	put := map[string]func([]byte, float32) []byte{
		"F32": func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint32(b, math.Float32bits(x)) },
		"BF16": func(b []byte, x float32) []byte {
			return binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(x)>>16))
		},
		"F16": func(b []byte, x float32) []byte { // normal numbers with few digits only
			bits := math.Float32bits(x)
			if x == 0 {
				return append(b, 0, 0)
			}
			return binary.LittleEndian.AppendUint16(b, uint16(bits>>16&0x8000|(bits>>23&0xff-112)<<10|bits>>13&0x3ff))
		},
		"I32": func(b []byte, x float32) []byte { return binary.LittleEndian.AppendUint32(b, uint32(int32(x))) },
	}[dtype]
	header, data := map[string]any{"__metadata__": map[string]string{"format": "pt"}}, []byte{}
	for _, e := range entries {
		begin := len(data)
		for _, x := range e.Data {
			data = put(data, x)
		}
		header[e.Name] = map[string]any{"dtype": dtype, "shape": e.Shape, "data_offsets": []int{begin, len(data)}}
	}
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	putBytes(t, name, slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h, data))
}

func putBytes(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// putModel writes a model directory as others do, in so many shards.
func putModel(t *testing.T, a config.Arch, dtype string, shards int) string {
	t.Helper()
	dir := t.TempDir()
	conf, err := family.Config(a, 256, -1, "float32")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.NewBytes().JSON()
	if err != nil {
		t.Fatal(err)
	}
	putBytes(t, filepath.Join(dir, configFile), conf)
	putBytes(t, filepath.Join(dir, tokenizerFile), tok)
	entries := param.Entries(weights(a))
	if shards == 1 {
		putFile(t, filepath.Join(dir, weightsFile), entries, dtype)
		return dir
	}
	where := map[string]string{}
	per := (len(entries) + shards - 1) / shards
	for i := 0; i*per < len(entries); i++ {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		part := entries[i*per : min(len(entries), (i+1)*per)]
		putFile(t, filepath.Join(dir, name), part, dtype)
		for _, e := range part {
			where[e.Name] = name
		}
	}
	putIndex(t, dir, where)
	return dir
}

func putIndex(t *testing.T, dir string, where map[string]string) {
	t.Helper()
	index, err := json.Marshal(map[string]any{"metadata": map[string]any{"total_size": 1}, "weight_map": where})
	if err != nil {
		t.Fatal(err)
	}
	putBytes(t, filepath.Join(dir, indexFile), index)
}

func mustImport(t *testing.T, dir string) *checkpoint.Checkpoint {
	t.Helper()
	in, err := Import(t.Context(), dir, filepath.Join(t.TempDir(), "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(durable.OS, in.Path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// files reads a directory.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, n := range names {
		if all[n.Name()], err = os.ReadFile(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestRoundTrip: whatever the family, the type and the number of files, no bit of a weight changes on the way in, out
// and in again, and what goes out is the same bytes each time.
func TestRoundTrip(t *testing.T) {
	for _, a := range archs() {
		want := weights(a)
		for _, c := range []struct {
			dtype  string
			shards int
		}{{"F32", 1}, {"F16", 1}, {"BF16", 3}} {
			t.Run(fmt.Sprintf("%s %s in %d", a.Shape, c.dtype, c.shards), func(t *testing.T) {
				in := mustImport(t, putModel(t, a, c.dtype, c.shards))
				tok, arch, notes, err := describe(in)
				if err != nil || arch != a || tok.VocabSize() != a.Vocab || tok.EOS() != 256 {
					t.Fatalf("%v: %+v, %d tokens", err, arch, tok.VocabSize())
				}
				if start := (&Model{Tok: tok}).Start(); start != 256 || len(notes) > 0 {
					t.Errorf("texts begin with %d, %v", start, notes)
				}
				var first map[string][]byte
				for _, dtype := range []string{"fp32", "fp32", "bf16"} {
					dir := filepath.Join(t.TempDir(), "a", "b")
					if err := Export(t.Context(), in, dir, dtype); err != nil {
						t.Fatal(err)
					}
					out := files(t, dir)
					if first == nil {
						first = out
					} else if dtype == "fp32" {
						for name := range first {
							if !bytes.Equal(first[name], out[name]) || len(first) != len(out) {
								t.Errorf("%s differs when it is exported again", name)
							}
						}
					}
					back := mustImport(t, dir)
					p := param.New[float32](arch)
					if err := param.LoadEntries(p, back.Model()); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(p.Flat, want.Flat) { // all are exact in bf16
						t.Errorf("%s: other weights came back", dtype)
					}
					if kind := map[string]string{"fp32": `"dtype": "float32"`,
						"bf16": `"dtype": "bfloat16"`}[dtype]; !bytes.Contains(out[configFile], []byte(kind)) {
						t.Errorf("config.json of %s lacks %s", dtype, kind)
					}
				}
			})
		}
	}
}

// TestCompanions: what transformers puts beside a model goes through unchanged.
func TestCompanions(t *testing.T) {
	dir := putModel(t, archs()[0], "F32", 1)
	kept := map[string]string{
		generationFile: `{"eos_token_id": [256, 1], "temperature": 0.7}`,
		tokConfigFile: `{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "chat_template": ` +
			`"{{ x }}"}`,
		templateFile: "{{ messages }}\n",
	}
	for name, text := range kept {
		putBytes(t, filepath.Join(dir, name), []byte(text))
	}
	out := filepath.Join(t.TempDir(), "out")
	if err := Export(t.Context(), mustImport(t, dir), out, "fp32"); err != nil {
		t.Fatal(err)
	}
	got := files(t, out)
	for name, text := range kept {
		if string(got[name]) != text {
			t.Errorf("%s became %q", name, got[name])
		}
	}
	if want := files(t, dir)[tokenizerFile]; !bytes.Equal(got[tokenizerFile], want) {
		t.Error("tokenizer.json changed")
	}
	for _, name := range []string{"run.toml", "state.json", "health.json", "optimizer.safetensors"} {
		if got[name] != nil {
			t.Errorf("%s belongs to the run and not to the model", name)
		}
	}
}

// An export is checked against its manifest where that is there: whatever is changed is named, and what to do.
func TestExportIsProven(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	if err := Export(t.Context(), mustImport(t, putModel(t, archs()[0], "F32", 1)), out, "bf16"); err != nil {
		t.Fatal(err)
	}
	for name := range files(t, out) {
		raw := files(t, out)[name]
		for _, at := range []int{0, len(raw) / 2, len(raw) - 1} {
			raw[at] ^= 4
			putBytes(t, filepath.Join(out, name), raw)
			_, opened := OpenModel(out, "")
			_, imported := Import(t.Context(), out, t.TempDir())
			for _, err := range []error{opened, imported} {
				if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), name) ||
					!strings.Contains(err.Error(), "delete "+filepath.Join(out, checkpoint.ManifestFile)) {
					t.Errorf("%s, byte %d: %v", name, at, err)
				}
			}
			raw[at] ^= 4
		}
		putBytes(t, filepath.Join(out, name), raw)
	}
	m, err := OpenModel(out, "")
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	if err := os.Remove(filepath.Join(out, checkpoint.ManifestFile)); err != nil { // as older ones are
		t.Fatal(err)
	}
	if m, err = OpenModel(out, ""); err != nil {
		t.Fatal(err)
	}
	m.Close()
}

func TestExportRefuses(t *testing.T) {
	c := mustImport(t, putModel(t, archs()[0], "F32", 1))
	full := t.TempDir()
	putBytes(t, filepath.Join(full, "x"), nil)
	if err := Export(t.Context(), c, full, "fp32"); err == nil {
		t.Error("a directory with something in it was written to")
	}
	if err := Export(t.Context(), c, filepath.Join(t.TempDir(), "new"), "fp8"); err == nil {
		t.Error("an unknown type was taken")
	}
	if err := Export(t.Context(), c, t.TempDir(), "fp32"); err != nil {
		t.Errorf("an empty directory was refused: %v", err)
	}
	parent := t.TempDir()
	if err := write(filepath.Join(parent, "half"), 0, nil, weightsFile,
		func(io.Writer) error { return errors.New("broken") }); err == nil {
		t.Error("a failure was not told")
	}
	if left := files(t, parent); len(left) > 0 {
		t.Errorf("a failure left %d files", len(left))
	}
}

// doneAfter is a context that is done when its error has been asked for n times.
type doneAfter struct {
	context.Context
	n int
}

func (c *doneAfter) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancel wants an import and an export to end wherever they are cancelled, and to leave nothing.
func TestCancel(t *testing.T) {
	dir := putModel(t, archs()[0], "F32", 1)
	c := mustImport(t, dir)
	for what, do := range map[string]func(context.Context, string) error{
		"import": func(ctx context.Context, out string) error { _, err := Import(ctx, dir, out); return err },
		"export": func(ctx context.Context, out string) error { return Export(ctx, c, out, "fp32") },
	} {
		n := 0
		for ; ; n++ {
			parent := t.TempDir()
			err := do(&doneAfter{t.Context(), n}, filepath.Join(parent, "out"))
			if err == nil {
				break
			}
			var bad *Error
			if !errors.Is(err, context.Canceled) || errors.As(err, &bad) {
				t.Fatalf("%s, cancelled at %d: %v", what, n, err)
			}
			if left := files(t, parent); len(left) > 0 {
				t.Errorf("%s, cancelled at %d, left %v", what, n, left)
			}
		}
		if n < 5 {
			t.Errorf("%s looks at its context %d times only", what, n)
		}
	}
}

// What a killed export or import left is removed by the next one to the same place, and what another process makes is
// not.
func TestKilledLeaveNothing(t *testing.T) {
	dir := putModel(t, archs()[0], "F32", 1)
	c := mustImport(t, dir)
	for what, do := range map[string]func(out string) error{
		"export": func(out string) error { return Export(t.Context(), c, out, "fp32") },
		"import": func(out string) error { _, err := Import(t.Context(), dir, out); return err },
	} {
		t.Run(what, func(t *testing.T) { sweeps(t, do) })
	}
}

func sweeps(t *testing.T, do func(out string) error) {
	parent := t.TempDir()
	made, held, err := durable.Unfinished(durable.OS, parent, "out")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	left := []string{durable.TempName(parent, "out"), made, filepath.Join(parent, ".tmp-out-mine"),
		durable.TempName(parent, "other")}
	for _, dir := range left {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		putBytes(t, filepath.Join(dir, weightsFile), []byte("half"))
	}
	if err := do(filepath.Join(parent, "out")); err != nil {
		t.Fatal(err)
	}
	for i, dir := range left {
		if _, err := os.Stat(dir); (err == nil) != (i > 0) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}
