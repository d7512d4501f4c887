package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The counts are those that the models' own cards and checkpoints state.
func TestParamsPublished(t *testing.T) {
	rms := func(a Arch) Arch {
		a.Norm, a.MLPKind, a.Position, a.Tie = "rms", "swiglu", "rope", true
		return a
	}
	for name, c := range map[string]struct {
		a     Arch
		total int64
	}{
		"GPT-2": {Arch{Layers: 12, Width: 768, Heads: 12, KVHeads: 12, HeadSize: 64, MLP: 3072, Vocab: 50257,
			Context: 1024, Norm: "layer", Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
			124_439_808},
		"Qwen3-0.6B": {rms(Arch{Layers: 28, Width: 1024, Heads: 16, KVHeads: 8, HeadSize: 128, MLP: 3072, Vocab: 151936,
			QKNorm: true}), 596_049_920},
		"Qwen2.5-0.5B": {rms(Arch{Layers: 24, Width: 896, Heads: 14, KVHeads: 2, HeadSize: 64, MLP: 4864, Vocab: 151936,
			QKVBias: true}), 494_032_768},
		"Llama-3.2-1B": {rms(Arch{Layers: 16, Width: 2048, Heads: 32, KVHeads: 8, HeadSize: 64, MLP: 8192,
			Vocab: 128256}), 1_235_814_400},
		"Llama-2-7b (2)": {Arch{Layers: 32, Width: 4096, Heads: 32, KVHeads: 32, HeadSize: 128, MLP: 11008, Vocab: 32000,
			Norm: "rms", MLPKind: "swiglu", Position: "rope"}, 6_738_415_616},
	} {
		total, multiplied := c.a.Params()
		if total != c.total {
			t.Errorf("%s: %d parameters, published %d", name, total, c.total)
		}
		if head := int64(c.a.Vocab * c.a.Width); multiplied >= total || multiplied <= head {
			t.Errorf("%s: %d of %d multiplied", name, multiplied, total)
		}
	}
}

func TestArchDefaults(t *testing.T) {
	type sizes struct{ Heads, KVHeads, HeadSize, MLP int }
	for _, c := range []struct {
		sets string
		want sizes
	}{
		{"width=128", sizes{2, 1, 64, 384}},
		{"width=64", sizes{1, 1, 64, 192}},
		{"width=48", sizes{1, 1, 48, 128}},
		{"width=192", sizes{3, 1, 64, 512}},
		{"width=256", sizes{4, 2, 64, 704}},
		{"width=320", sizes{5, 1, 64, 896}}, // 2 does not divide 5
		{"width=384", sizes{6, 3, 64, 1024}},
		{"width=512", sizes{8, 4, 64, 1408}},
		{"width=512 head_size=128", sizes{4, 2, 128, 1408}},
		{"width=512 heads=4", sizes{4, 2, 128, 1408}},
		{"width=512 kv_heads=8 mlp=100", sizes{8, 8, 64, 100}},
		{"width=128 shape=gpt2", sizes{2, 2, 64, 512}},
		{"width=768 shape=gpt2 heads=12", sizes{12, 12, 64, 3072}},
		{"width=128 shape=llama", sizes{2, 1, 64, 384}},
		{"width=128 shape=qwen2", sizes{2, 1, 64, 384}},
	} {
		var s []Assignment
		for _, text := range strings.Fields(c.sets) {
			s = append(s, Set("model."+text))
		}
		config, err := Load("", append(s, Set("model.layers=2")))
		if err != nil {
			t.Error(err)
			continue
		}
		a, err := config.Arch(300)
		if got := (sizes{a.Heads, a.KVHeads, a.HeadSize, a.MLP}); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.sets, got, err, c.want)
		}
	}
}

func TestArchShapes(t *testing.T) {
	for shape, want := range map[string]Arch{
		"qwen3": {Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, QKNorm: true, MLPKind: "swiglu", Tie: true},
		"llama": {Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, MLPKind: "swiglu", Tie: true},
		"qwen2": {Norm: "rms", NormEps: 1e-6, Position: "rope", RopeTheta: 1e4, QKVBias: true, MLPKind: "swiglu", Tie: true},
		"gpt2":  {Norm: "layer", NormEps: 1e-5, Position: "learned", QKVBias: true, Bias: true, MLPKind: "gelu", Tie: true},
	} {
		c := parse(t, "", "model.preset=nano", "model.shape="+shape)
		got, err := c.Arch(300)
		if err != nil {
			t.Fatal(err)
		}
		want.Shape, want.Layers, want.Width, want.Vocab, want.Context = shape, 4, 128, 300, 256
		want.Heads, want.KVHeads, want.HeadSize, want.MLP = got.Heads, got.KVHeads, got.HeadSize, got.MLP
		if got != want {
			t.Errorf("%s:\n%+v, want\n%+v", shape, got, want)
		}
	}
	long := parse(t, "", "model.preset=nano", "train.context=8192")
	if a, err := long.Arch(300); err != nil || a.RopeTheta != 1e6 {
		t.Errorf("long context: theta %g, %v", a.RopeTheta, err)
	}
	var e *Error
	if _, err := Default().Arch(300); !errors.As(err, &e) || len(e.Faults) != 2 {
		t.Errorf("undecided: %v", err)
	}
	if _, err := parse(t, "", "model.preset=nano").Arch(0); err == nil {
		t.Error("an empty vocabulary passes")
	}
}

// What the presets promise.
func TestPresets(t *testing.T) {
	million := func(n int64) string { return fmt.Sprintf("%.1fM", float64(n)/1e6) }
	for _, w := range []struct {
		name       string
		vocab      int
		shape      string // shape layers x width, heads x size
		total      string
		withoutEmb string
	}{
		{"nano", 66, "qwen3 4x128 2x64", "0.8M", "0.8M"},
		{"micro", 4096, "qwen3 6x256 4x64", "5.5M", "4.4M"},
		{"mini", 4096, "qwen3 6x384 6x64", "11.3M", "9.7M"},
		{"small", 4096, "qwen3 10x512 8x64", "31.6M", "29.5M"},
		{"gpt2-124m", 50257, "gpt2 12x768 12x64", "124.4M", "84.9M"},
		{"gpt2-350m", 50257, "gpt2 24x1024 16x64", "354.8M", "302.0M"},
		{"char-10m", 66, "gpt2 6x384 6x64", "10.8M", "10.6M"},
		{"nanogpt-cpu", 66, "gpt2 4x128 4x32", "0.8M", "0.8M"},
	} {
		c := parse(t, "", "model.preset="+w.name)
		a, err := c.Arch(w.vocab)
		if err != nil {
			t.Errorf("%s: %v", w.name, err)
			continue
		}
		total, multiplied := a.Params()
		shape := fmt.Sprintf("%s %dx%d %dx%d", a.Shape, a.Layers, a.Width, a.Heads, a.HeadSize)
		if shape != w.shape || million(total) != w.total || million(multiplied-int64(w.vocab*a.Width)) != w.withoutEmb {
			t.Errorf("%s: %s, %s parameters, %s without embedding; want %+v", w.name, shape, million(total),
				million(multiplied-int64(w.vocab*a.Width)), w)
		}
	}
	if len(presets) != 8 {
		t.Errorf("%d presets", len(presets))
	}
	// The figure that the design's own measurements were made with.
	a, err := parse(t, "", "model.preset=nano", "train.context=64").Arch(66)
	if total, _ := a.Params(); err != nil || total != 796_544 {
		t.Errorf("nano with 66 symbols: %d parameters, %v", total, err)
	}
	n := parse(t, "", "model.preset=nanogpt-cpu")
	if n.Train != (Train{Steps: 2000, Budget: 2.5, Context: 64, BatchTokens: 768, Adapter: "none", Objective: "lm",
		Seed: 1}) ||
		n.Optim.LR.Value != 1e-3 ||
		n.Optim.Beta2 != 0.99 ||
		!reflect.DeepEqual(n.Schedule, Schedule{Kind: "cosine", Warmup: Rule{Value: 100}, WarmupExact: true, Floor: 0.1}) ||
		n.Tokenizer.Kind != "chars" || n.Data.ValFraction != 0.1 || n.Model.Dropout != 0 {
		t.Errorf("nanogpt-cpu: %s", n.TOML())
	}
}

// docs/config.md is made from the table, so that it cannot fall behind.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(docsHead, "'", "`"))
	c := Default()
	section := ""
	for _, k := range keys {
		name, short, _ := strings.Cut(k.name, ".")
		if name != section {
			section = name
			fmt.Fprintf(&b, "\n## %s\n\n| key | default | values | meaning |\n|---|---|---|---|\n", section)
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", short, k.format(c, true), k.values(), k.doc)
	}
	b.WriteString("\n## Presets\n\n| preset | what it is | values |\n|---|---|---|\n")
	for _, p := range presets {
		var list []string
		for _, s := range p.values {
			list = append(list, fmt.Sprintf("%s=%v", s.key, s.value))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, p.doc, strings.Join(list, ", "))
	}
	dir := filepath.Join("..", "..", "docs")
	if *updateFlag {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, filepath.Join(dir, "config.md"), []byte(b.String()))
}

// values tells what a key accepts.
func (k *key) values() string {
	var list []string
	if k.auto {
		list = append(list, "`auto`")
	}
	for _, c := range k.choices {
		list = append(list, "`"+c+"`")
	}
	span := func(what string) string {
		low, join, high := "", " to ", ""
		if k.above || k.below {
			low, join, high = ">= ", " and ", "<= "
		}
		if k.above {
			low = "> "
		}
		if k.below {
			high = "< "
		}
		return what + ", " + low + formatFloat(k.lo) + join + high + formatFloat(k.hi)
	}
	switch k.at(new(Config)).(type) {
	case *string:
		switch {
		case k.choices == nil:
			list = append(list, "text")
		case k.path:
			list = append(list, "a path")
		}
	case *[]string:
		list = append(list, "text or list")
	case *bool:
		list = append(list, "`true`, `false`")
	case *Rule, *float64:
		list = append(list, span("number"))
	default:
		list = append(list, span("integer"))
	}
	return strings.Join(list, ", ")
}

// docsHead has ' where the page has a back quote.
const docsHead = `# Configuration

A configuration file is TOML with the sections below; on the command line a key has a dotted name:
'--set train.steps=500'. A later source overrides an earlier one: the defaults, the preset ('model.preset'), the file
('--config'), then '--set' and flags in their order. The 'config.toml' of a run holds every value and where it came
from.

Unknown keys, keys given twice, values out of range, and values that do not fit together are errors (exit code 2).
All are reported at once, with file and line, an unknown key with the nearest known one.

- 'auto': Gimbal chooses the value, prints it and records it.
- 'article': a rule of the guide in [article.md](article.md). [guards.md](guards.md) and [judge.md](judge.md) explain
  the other rules.
- In '--set', strings need no quotes. A list is one path, or TOML: '["a", "b"]'.

Values that must fit together:

- 'model.heads' divides 'model.width', unless 'model.head_size' is given; 'model.kv_heads' divides 'model.heads'.
- A head has an even number of channels. In 'gpt2', 'model.kv_heads' equals 'model.heads'. In 'gpt2' and 'qwen2',
  heads times head size is the width.
- 'train.context' <= 'train.micro_tokens' <= 'train.batch_tokens'.
- An exact warmup is shorter than the run. Only 'cosine-restarts' has a 'schedule.period'.

A new 'qwen3', 'llama' or 'qwen2' has RMSNorm (eps 1e-6), rotary positions (base 10,000 up to a context of 4,096, then
1,000,000) and SwiGLU; 'gpt2' has LayerNorm (eps 1e-5) and GELU. [interop.md](interop.md#import) has how shapes differ.
`
