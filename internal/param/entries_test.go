package param

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/safetensors"
)

// familyArchs is one architecture of each family.
func familyArchs() (list []config.Arch) {
	for _, shape := range []string{"qwen3", "qwen2", "llama", "gpt2", "mistral", "olmo2", "smollm3", "phi3", "gpt_neox",
		"gemma2", "gemma3_text", "stablelm", "granite", "olmo", "phi",
		"gpt_neo", "opt"} {
		a, _ := config.Arch{
			Shape:     shape,
			Layers:    3,
			Width:     48,
			Heads:     6,
			KVHeads:   2,
			HeadSize:  10,
			MLP:       40,
			Vocab:     37,
			Context:   24,
			NormEps:   1e-6,
			RopeTheta: 10000,
			Tie:       shape != "llama" && shape != "gpt_neox",
		}.InFamily()
		if slices.Contains([]string{"gpt_neox", "phi", "gpt_neo"}, shape) {
			a.MLPKind = "gelu-exact"
		}
		list = append(list, a)
	}
	return list
}

// filled returns parameters that are all different.
func filled(a config.Arch) *Params[float32] {
	p := New[float32](a)
	rnd := rand.New(rand.NewPCG(1, uint64(a.Vocab)))
	for _, v := range p.Views {
		for i := v.Lo; i < v.Hi; i++ {
			p.Flat[i] = rnd.Float32() - 0.5
		}
	}
	return p
}

func fileOf(t *testing.T, entries []safetensors.Entry) *safetensors.File {
	t.Helper()
	var b bytes.Buffer
	if err := safetensors.Write(&b, entries, map[string]string{"format": "pt"}, "F32"); err != nil {
		t.Fatal(err)
	}
	f, err := safetensors.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestEntriesRoundTrip(t *testing.T) {
	for _, a := range familyArchs() {
		p := filled(a)
		entries := Entries(p)
		count := 0
		for _, e := range entries {
			count += len(e.Data)
		}
		if total, _ := a.Params(); int64(count) != total {
			t.Errorf("%s: %d parameters, %d are counted", a.Shape, count, total)
		}
		f := fileOf(t, entries)
		got := New[float32](a)
		if err := LoadEntries(got, f); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Flat, p.Flat) { // the gaps are zero in both
			t.Errorf("%s: other parameters came back", a.Shape)
		}
		if _, ok := f.Lookup(family.NamesOf(a.Shape).Head + ".weight"); ok == a.Tie {
			t.Errorf("%s: head in the file: %v, tied: %v", a.Shape, ok, a.Tie)
		}
		// The same file without the prefix of the family, as the bare decoder is saved, with its tables.
		for i := range entries {
			_, rest, _ := strings.Cut(entries[i].Name, ".")
			if !strings.HasPrefix(entries[i].Name, family.NamesOf(a.Shape).Head+".") {
				entries[i].Name = rest
			}
		}
		entries = append(entries, safetensors.Entry{Name: "h.0.attn.bias", Shape: []int{1, 1, 2, 2},
			Data: make([]float32, 4)})
		clear(got.Flat)
		if err := LoadEntries(got, fileOf(t, entries)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Flat, p.Flat) {
			t.Errorf("%s: other parameters came back without the prefix", a.Shape)
		}
	}
}

// GPT-2 stores its block matrices as (In, Out), and only these.
func TestEntriesOfGPT2AreTransposed(t *testing.T) {
	a := familyArchs()[3]
	p := filled(a)
	transposed := 0
	for _, e := range Entries(p) {
		v, _ := p.Lookup(e.Name)
		ours := p.Tensor(e.Name)
		switch {
		case strings.Contains(e.Name, ".h.") && len(v.Shape) == 2:
			transposed++
			out, in := v.Shape[0], v.Shape[1]
			if !slices.Equal(e.Shape, []int{in, out}) || e.Data[1*out+2] != ours[2*in+1] {
				t.Errorf("%s %v is not transposed", e.Name, e.Shape)
			}
		case !slices.Equal(e.Shape, v.Shape) || !slices.Equal(e.Data, ours):
			t.Errorf("%s %v was changed", e.Name, e.Shape)
		}
	}
	if transposed != 4*a.Layers {
		t.Errorf("%d matrices were transposed, want %d", transposed, 4*a.Layers)
	}
}

// GPT-NeoX stores queries, keys and values of a head together.
func TestEntriesOfGPTNeoXAreInterleaved(t *testing.T) {
	a := familyArchs()[8]
	p := filled(a)
	for _, e := range Entries(p) {
		rest := strings.TrimPrefix(e.Name, "gpt_neox.layers.1.attention.query_key_value.")
		if rest == e.Name {
			continue
		}
		row := map[string]int{"weight": a.Width, "bias": 1}[rest] // elements of a row
		ours, part := p.Tensor(e.Name), a.HeadSize*row
		for h := range a.Heads {
			for i := range 3 {
				if at := (3*h + i) * part; !slices.Equal(e.Data[at:at+part], ours[(i*a.Heads+h)*part:][:part]) {
					t.Errorf("%s: part %d of head %d is another one", e.Name, i, h)
				}
			}
		}
	}
}

// New releases of transformers call the head of GPT-NeoX as that of others.
func TestHeadHasTwoNames(t *testing.T) {
	a := familyArchs()[8]
	p := filled(a)
	entries := Entries(p)
	entries[len(entries)-1].Name = headNames[0]
	got := New[float32](a)
	if err := LoadEntries(got, fileOf(t, entries)); err != nil || !slices.Equal(got.Flat, p.Flat) {
		t.Errorf("other parameters came back: %v", err)
	}
}

func TestLoadEntriesNamesWhatDoesNotFit(t *testing.T) {
	archs := familyArchs()
	for _, c := range []struct {
		family int
		edit   func(e []safetensors.Entry) []safetensors.Entry
		want   []string
	}{
		{0, func(e []safetensors.Entry) []safetensors.Entry { return e[1:] },
			[]string{"model.embed_tokens.weight [37 48] is missing"}},
		{0, func(e []safetensors.Entry) []safetensors.Entry {
			e[0].Name = "model.embed.weight"
			e[1].Shape = []int{6, 8}
			return e
		}, []string{"model.embed_tokens.weight [37 48] is missing", "model.embed.weight [37 48] is unexpected",
			"input_layernorm.weight has shape [6 8], want [48]"}},
		{3, func(e []safetensors.Entry) []safetensors.Entry {
			e[4].Shape = []int{144, 48} // c_attn as (Out, In)
			return e
		}, []string{"attn.c_attn.weight has shape [144 48], want [48 144]"}},
		{0, func(e []safetensors.Entry) []safetensors.Entry {
			other := e[0]
			other.Name, other.Data = "lm_head.weight", slices.Clone(other.Data)
			other.Data[7]++
			return append(e, other)
		}, []string{"lm_head.weight differs from model.embed_tokens.weight"}},
		{2, func(e []safetensors.Entry) []safetensors.Entry { return e[:len(e)-1] },
			[]string{"lm_head.weight [37 48] is missing"}},
		{0, func([]safetensors.Entry) []safetensors.Entry { return nil }, []string{"is missing", "and 27 more"}},
	} {
		p := filled(archs[c.family])
		err := LoadEntries(New[float32](archs[c.family]), fileOf(t, c.edit(Entries(p))))
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
	}
	// A tied model's file may repeat the embedding.
	p := filled(archs[0])
	head := Entries(p)[0]
	head.Name = "lm_head.weight"
	if err := LoadEntries(New[float32](archs[0]), fileOf(t, append(Entries(p), head))); err != nil {
		t.Error(err)
	}
}
