package config

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// family is a Hugging Face family: the choices that all of its models make, and the names of the fields that each of
// them sets for itself, besides sizes.
type family struct {
	Arch
	own   string
	ownKV bool        // each query head has a key and value head of its own, and the heads are as wide as the stream
	usual func(*Arch) // sets the own fields of a new model, whose sizes are set; nil: they stay zero
}

// sizes are the fields that every model sets for itself.
const sizes = "Shape Layers Width Heads KVHeads HeadSize MLP Vocab Context Positions NormEps Tie Dropout "

var (
	rope  = Arch{Norm: "rms", Position: "rope", MLPKind: "swiglu"}
	gemma = with(rope, func(a *Arch) {
		a.MLPKind, a.Norms, a.UnitGain, a.EmbedScale = "geglu", "both", true, true
	})
	families = map[string]family{
		"gpt2": {
			ownKV: true, own: "MLPKind",
			Arch:  Arch{Norm: "layer", Position: "learned", QKVBias: true, Bias: true},
			usual: func(a *Arch) { a.MLPKind = "gelu" },
		},
		"llama":   {Arch: rope, own: "RopeTheta RopeScale"},
		"mistral": {Arch: rope, own: "RopeTheta RopeScale Window"},
		"qwen2":   {Arch: with(rope, func(a *Arch) { a.QKVBias = true }), own: "RopeTheta RopeScale"},
		"qwen3":   {Arch: with(rope, func(a *Arch) { a.QKNorm = true }), own: "RopeTheta RopeScale"},
		"olmo":    {own: "RopeTheta RopeScale", Arch: with(rope, func(a *Arch) { a.Norm, a.NoGain = "layer", true })},
		"olmo2": {own: "RopeTheta RopeScale",
			Arch: with(rope, func(a *Arch) { a.Norms, a.QKNorm, a.QKWide = "after", true, true })},
		"smollm3": {Arch: rope, own: "RopeTheta RopeScale Pattern",
			usual: func(a *Arch) { a.Alternate(Layers(a.Layers, 4, Full, Plain)) }},
		"phi3": {Arch: rope, own: "RopeTheta RopeScale Window Rotary"},
		"opt": {ownKV: true, Arch: Arch{Norm: "layer", Position: "learned", QKVBias: true, Bias: true, MLPKind: "relu",
			Variant: Variant{Places: 2}}},
		"phi": {own: "RopeTheta RopeScale Rotary MLPKind",
			Arch: Arch{Norm: "layer", Position: "rope", QKVBias: true, Bias: true,
				Variant: Variant{Parallel: true, SharedNorm: true, HeadBias: true}},
			usual: func(a *Arch) { a.MLPKind, a.Rotary = "gelu", max(2, a.HeadSize/4*2) }},
		"gpt_neo": {ownKV: true, own: "MLPKind Window Pattern",
			Arch: Arch{Norm: "layer", Position: "learned", Bias: true, Variant: Variant{ScoreFactor: 1}},
			usual: func(a *Arch) {
				a.MLPKind, a.Window = "gelu", 256
				a.Alternate(Layers(a.Layers, 2, Full, Local))
			}},
		"gpt_neox": {ownKV: true, own: "RopeTheta RopeScale Rotary Parallel MLPKind",
			Arch:  Arch{Norm: "layer", Position: "rope", MLPKind: "gelu-exact", QKVBias: true, Bias: true},
			usual: func(a *Arch) { a.MLPKind, a.Parallel, a.Rotary = "gelu-exact", true, max(2, a.HeadSize/8*2) }},
		"granite": {Arch: rope, own: "RopeTheta RopeScale EmbedFactor ScoreFactor ResidualFactor LogitDivisor"},
		"stablelm": {Arch: with(rope, func(a *Arch) { a.Norm = "layer" }), own: "RopeTheta RopeScale Rotary QKVBias",
			usual: func(a *Arch) { a.Rotary = max(2, a.HeadSize/8*2) }},
		"gemma": {Arch: with(gemma, func(a *Arch) { a.Norms = "" }), own: "RopeTheta RopeScale"},
		"gemma2": {Arch: gemma, own: "RopeTheta RopeScale Window Pattern QueryScale ScoreCap LogitCap",
			usual: func(a *Arch) {
				a.Window, a.ScoreCap, a.LogitCap = 4096, 50, 30
				a.Alternate(Layers(a.Layers, 2, Local, Full))
			}},
		"gemma3_text": {Arch: with(gemma, func(a *Arch) { a.QKNorm = true }),
			own: "RopeTheta RopeScale Window Pattern QueryScale ScoreCap LogitCap LocalTheta",
			usual: func(a *Arch) {
				a.Window, a.RopeTheta, a.LocalTheta = 512, thetaLong, thetaShort
				a.Alternate(Layers(a.Layers, 6, Local, Full))
			}},
	}
)

func with(a Arch, change func(*Arch)) Arch {
	change(&a)
	return a
}

// Shapes are the names of all families, those of the first version before the others.
func Shapes() []string {
	first := []string{"qwen3", "llama", "mistral", "qwen2", "gpt2"}
	all := slices.Sorted(maps.Keys(families))
	return append(first, slices.DeleteFunc(all, func(s string) bool { return slices.Contains(first, s) })...)
}

// Layers returns the letters of n layers: every every-th is a last, the others are most.
func Layers(n, every int, most, last byte) []byte {
	p := bytes.Repeat([]byte{most}, n)
	for i := every - 1; i < n; i += every {
		p[i] = last
	}
	return p
}

// Alternate sets the letters of the layers, and forgets the window where none is local.
func (a *Arch) Alternate(letters []byte) {
	if bytes.IndexByte(letters, Local) < 0 {
		a.Window = 0
	}
	if a.Pattern = string(letters); strings.Trim(a.Pattern, string(Full)) == "" ||
		strings.Trim(a.Pattern, string(Local)) == "" {
		a.Pattern = ""
	}
}

// InFamily returns a with every choice as its family makes it. Sizes stay, and so does what a model of the family
// chooses for itself. ok is false where there is no such family.
func (a Arch) InFamily() (_ Arch, ok bool) {
	f, ok := families[a.Shape]
	if a = a.inFamily(f); f.ownKV {
		a.KVHeads, a.HeadSize = a.Heads, a.Width/max(1, a.Heads)
	}
	return a, ok
}

func (a Arch) inFamily(f family) Arch {
	out := reflect.ValueOf(&f.Arch).Elem()
	for _, name := range strings.Fields(sizes + f.own) {
		out.FieldByName(name).Set(reflect.ValueOf(a).FieldByName(name))
	}
	return f.Arch
}
