package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/hub"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
	"gimbal/internal/tokenizer"
)

// writeForeign writes a small Llama as others have them: shards in bfloat16, an epsilon, a base and a scaling of RoPE
// of its own, a head of its own, more ids than the tokenizer has tokens, and a chat template.
func writeForeign(dir string) error {
	a := config.Arch{Shape: "llama", Layers: 2, Width: 16, Heads: 4, KVHeads: 2, HeadSize: 4, MLP: 24, Vocab: 272,
		Context: 64, Norm: "rms", NormEps: 1e-5,
		Position: "rope", RopeTheta: 5e5, RopeScale: config.RopeScale{Kind: "llama3", Factor: 4, Low: 1, High: 4,
			Original: 32},
		MLPKind: "swiglu"}
	conf, err := family.Config(a, 256, -1, "float32")
	if err != nil {
		return err
	}
	tok, err := tokenizer.NewBytes().JSON()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	files := map[string][]byte{"config.json": conf, "tokenizer.json": tok,
		"chat_template.jinja": []byte("{{ messages[0].content }}")}
	p := param.New[float32](a)
	for i, v := range p.Views {
		key := rng.New(1, rng.Init).Sub(uint64(i))
		for j := v.Lo; j < v.Hi; j++ {
			p.Flat[j] = float32(0.1 * key.Normal(uint64(j)))
			if v.Kind == param.KindNorm {
				p.Flat[j] = 1
			}
		}
	}
	entries, where := param.Entries(p), map[string]string{}
	half := len(entries) / 2
	for i, part := range [][]safetensors.Entry{entries[:half], entries[half:]} {
		name := fmt.Sprintf("model-0000%d-of-00002.safetensors", i+1)
		var b bytes.Buffer
		if err := safetensors.Write(&b, part, map[string]string{"format": "pt"}, "BF16"); err != nil {
			return err
		}
		files[name] = b.Bytes()
		for _, e := range part {
			where[e.Name] = name
		}
	}
	if files["model.safetensors.index.json"],
		err = json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": where}); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// TestForeignMarks imports a model whose every text file begins with a byte order mark.
func TestForeignMarks(t *testing.T) {
	dir := t.TempDir()
	if err := writeForeign(dir); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, pattern := range []string{"*.json", "*.jinja"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, append([]byte("\xEF\xBB\xBF"), text...), 0o666); err != nil {
				t.Fatal(err)
			}
			n++
		}
	}
	in, err := hub.Import(t.Context(), dir, t.TempDir())
	if err != nil || n < 4 {
		t.Fatalf("%d files: %v", n, err)
	}
	m, err := hub.OpenModel(in.Path, "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if kept, err := m.Kept(); err != nil || kept.Template != "{{ messages[0].content }}" {
		t.Errorf("template %q, %v", kept.Template, err)
	}
}
