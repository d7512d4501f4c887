package model_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/durable"
	"gimbal/internal/family"
	"gimbal/internal/kernel"
	"gimbal/internal/model"
	"gimbal/internal/param"
	"gimbal/internal/rng"
	"gimbal/internal/safetensors"
)

// Both are for bench/transformers/check.py.
var (
	fixture    = flag.String("fixture", "", "directory to write model directories to")
	checkpoint = flag.String("checkpoint", "", "checkpoint directory whose logits to write")
	logitsFile = flag.String("logits", "", "file to write the logits of -checkpoint to")
)

// TestWriteTransformersFixture writes one Hugging Face directory for each family, with weights that are nowhere at
// their initial value, and the logits of a few sequences beside it. Without -fixture it writes to a temporary
// directory, and in either case it reads the directory back and asks for the same logits.
func TestWriteTransformersFixture(t *testing.T) {
	dir := *fixture
	if dir == "" {
		dir = t.TempDir()
	}
	x, err := kernel.NewExec(0, kernel.TierAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	rope := config.Arch{Layers: 3, Width: 192, Heads: 4, KVHeads: 2, HeadSize: 64, MLP: 320, Vocab: 300, Context: 64,
		Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 10000, MLPKind: "swiglu", Tie: true}
	qwen3, llama, qwen2 := rope, rope, rope
	qwen3.Shape, qwen3.QKNorm = "qwen3", true
	llama.Shape, llama.Tie, llama.NormEps = "llama", false, 1e-5
	qwen2.Shape, qwen2.QKVBias, qwen2.RopeTheta = "qwen2", true, 1e6
	gpt2 := config.Arch{
		Shape:    "gpt2",
		Layers:   3,
		Width:    192,
		Heads:    3,
		KVHeads:  3,
		HeadSize: 64,
		MLP:      768,
		Vocab:    300,
		Context:  64,
		Norm:     "layer",
		NormEps:  1e-5,
		Position: "learned",
		QKVBias:  true,
		Bias:     true,
		MLPKind:  "gelu",
		Tie:      true,
	}
	mistral := llama
	mistral.Shape, mistral.HeadSize, mistral.Window = "mistral", 32, 20
	archs := []config.Arch{qwen3, gpt2, llama, mistral, qwen2}
	for shape, change := range map[string]func(*config.Arch){
		"olmo2": func(a *config.Arch) {
			a.HeadSize, a.Tie = 48, false
			a.RopeScale = config.RopeScale{Kind: "yarn", Factor: 4, Low: 1, High: 32, Original: 32, Gain: 1.25,
				Exact: true}
		},
		"smollm3": func(a *config.Arch) {
			a.Pattern, a.RopeScale = "fnf", config.RopeScale{Kind: "dynamic", Factor: 4}
		},
		"phi3": func(a *config.Arch) {
			a.HeadSize, a.Rotary, a.Window, a.Tie, a.Positions = 48, 36, 20, false, 256
			a.RopeScale = config.RopeScale{Kind: "longrope", Original: 64, Gain: 1.1,
				Short: "[1" + strings.Repeat(",1.25", 17) + "]", Long: "[1" + strings.Repeat(",3", 17) + "]"}
		},
		"gpt_neox": func(a *config.Arch) { a.MLPKind, a.Parallel, a.Rotary, a.Tie = "gelu-exact", true, 12, false },
		"granite": func(a *config.Arch) {
			a.HeadSize = 48
			a.EmbedFactor, a.ScoreFactor, a.ResidualFactor, a.LogitDivisor = 12, 0.1, 0.22, 4
		},
		"olmo":     func(a *config.Arch) { a.HeadSize, a.NormEps, a.Tie = 48, 1e-5, false },
		"phi":      func(a *config.Arch) { a.HeadSize, a.MLPKind, a.Rotary, a.Tie = 48, "gelu", 24, false },
		"gpt_neo":  func(a *config.Arch) { a.MLPKind, a.Window, a.Pattern, a.RopeTheta = "gelu", 20, "lfl", 0 },
		"opt":      func(a *config.Arch) { a.NormEps, a.RopeTheta = 1e-5, 0 },
		"stablelm": func(a *config.Arch) { a.HeadSize, a.Rotary, a.QKVBias = 48, 12, true },
		"gemma2": func(a *config.Arch) {
			a.Window, a.Pattern, a.QueryScale, a.ScoreCap, a.LogitCap = 20, "lfl", 40, 5, 8
		},
		"gemma3_text": func(a *config.Arch) {
			a.Window, a.Pattern, a.LocalTheta, a.RopeTheta = 20, "llf", 1e4, 1e6
			a.RopeScale = config.RopeScale{Kind: "linear", Factor: 8}
		},
	} {
		a := rope
		a.Shape = shape
		change(&a)
		a, _ = a.InFamily()
		archs = append(archs, a)
	}
	for _, arch := range archs {
		t.Run(arch.Shape, func(t *testing.T) { writeFixture(t, filepath.Join(dir, arch.Shape), arch, x) })
	}
}

func writeFixture(t *testing.T, dir string, arch config.Arch, x *kernel.Exec) {
	m := newModel(t, arch, x)
	p := m.Params()
	for i, v := range p.Views {
		key := rng.New(1, rng.Init).Sub(uint64(i))
		scale, shift := 0.06, 0.0
		switch {
		case len(v.Shape) == 1 && strings.HasSuffix(v.Name, "weight"):
			scale, shift = 0.2, 1
		case len(v.Shape) == 1:
			scale = 0.1
		}
		for j := v.Lo; j < v.Hi; j++ {
			p.Flat[j] = float32(shift + scale*key.Normal(uint64(j)))
		}
	}
	m.Refresh()

	out := computeLogits(m, arch)
	conf, err := family.Config(arch, 0, 0, "float32")
	if err != nil {
		t.Fatal(err)
	}
	gen, err := family.Generation(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	logitsJSON, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.OS.Mkdir(dir); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"config.json": conf, "generation_config.json": gen, "logits.json": logitsJSON} {
		if err := durable.WriteFile(durable.OS, filepath.Join(dir, name), data); err != nil {
			t.Fatal(err)
		}
	}
	weights, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if err := safetensors.Write(weights, param.Entries(p), map[string]string{"format": "pt"}, "F32"); err != nil {
		t.Fatal(err)
	}
	if err := weights.Close(); err != nil {
		t.Fatal(err)
	}

	// Back again.
	arch2, _, _, err := family.Parse(conf)
	if err != nil || arch2 != arch {
		t.Fatalf("%v: %+v", err, arch2)
	}
	again := newModel(t, arch2, x)
	loadWeights(t, again, weights.Name())
	for i, tokens := range out.Tokens {
		if !slices.Equal(logitsOf(again, arch, tokens), slices.Concat(out.Logits[i]...)) {
			t.Errorf("other logits for sequence %d after reading the directory back", i)
		}
	}
}

// TestWriteCheckpointLogits writes the logits of an existing directory, such as a run's checkpoint.
func TestWriteCheckpointLogits(t *testing.T) {
	if *checkpoint == "" || *logitsFile == "" {
		t.Skip("nothing asked for: -checkpoint DIR -logits FILE")
	}
	conf, err := os.ReadFile(filepath.Join(*checkpoint, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	arch, _, _, err := family.Parse(conf)
	if err != nil {
		t.Fatal(err)
	}
	x, err := kernel.NewExec(0, kernel.TierAuto)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	m := newModel(t, arch, x)
	loadWeights(t, m, filepath.Join(*checkpoint, "model.safetensors"))
	data, err := json.Marshal(computeLogits(m, arch))
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(durable.OS, *logitsFile, data); err != nil {
		t.Fatal(err)
	}
}

// logits are sequences and the logits after each of their tokens.
type logits struct {
	Tokens [][]int32     `json:"tokens"`
	Logits [][][]float32 `json:"logits"`
}

// computeLogits computes the logits of a few sequences of random tokens.
func computeLogits(m *model.Model[float32], arch config.Arch) (out logits) {
	for i, n := range []int{1, min(17, arch.Context), min(256, arch.Context)} {
		key := rng.New(2, rng.Init).Sub(uint64(i))
		tokens := make([]int32, n)
		for j := range tokens {
			tokens[j] = int32(key.Uint64(uint64(j)) % uint64(arch.Vocab))
		}
		out.Tokens = append(out.Tokens, tokens)
		out.Logits = append(out.Logits, slices.Collect(slices.Chunk(logitsOf(m, arch, tokens), arch.Vocab)))
	}
	return out
}

func loadWeights(t *testing.T, m *model.Model[float32], name string) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(file, stat.Size())
	if err != nil {
		t.Fatal(err)
	}
	if err := param.LoadEntries(m.Params(), f); err != nil {
		t.Fatal(err)
	}
	m.Refresh()
}

func newModel(t *testing.T, arch config.Arch, x *kernel.Exec) *model.Model[float32] {
	t.Helper()
	m, err := model.New[float32](arch, x, model.Options{MicroTokens: min(256, arch.Context)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logitsOf returns the logits (len(tokens), V) of one sequence.
func logitsOf(m *model.Model[float32], arch config.Arch, tokens []int32) []float32 {
	n := len(tokens)
	in := model.Input{Tokens: tokens, Labels: make([]int32, n), Counts: make([]bool, n), Bounds: []int32{0, int32(n)}}
	dst := make([]float32, n*arch.Vocab)
	m.Logits(dst, in)
	return dst
}
