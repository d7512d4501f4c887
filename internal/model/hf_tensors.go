package model

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/safetensors"
)

// isConv1D reports whether the family stores a matrix as (In, Out): GPT-2 does for those of its blocks.
func isConv1D(v View) bool {
	return len(v.Shape) == 2 && strings.HasPrefix(v.Name, "transformer.h.")
}

// transpose overwrites dst (cols, rows) with src (rows, cols) transposed.
func transpose(dst, src []float32, rows, cols int) {
	for i := range rows {
		for j, x := range src[i*cols : (i+1)*cols] {
			dst[j*rows+i] = x
		}
	}
}

// Entries returns the tensors of model.safetensors, in the order of the views. A tied head is not among them.
//
// Memory: entries are views of p, but for the matrices of GPT-2's blocks, which are transposed copies.
func Entries(p *Params[float32]) []safetensors.Entry {
	entries := make([]safetensors.Entry, len(p.Views))
	for i, v := range p.Views {
		e := safetensors.Entry{Name: v.Name, Shape: v.Shape, Data: p.Flat[v.Lo:v.Hi:v.Hi]}
		if isConv1D(v) {
			e.Shape, e.Data = []int{v.Shape[1], v.Shape[0]}, make([]float32, v.Len())
			transpose(e.Data, p.Flat[v.Lo:v.Hi], v.Shape[0], v.Shape[1])
		}
		entries[i] = e
	}
	return entries
}

// Tensors is where weights are read from: a safetensors file, or the shards of a model.
type Tensors interface {
	Tensors() []safetensors.Tensor
	Lookup(name string) (safetensors.Tensor, bool)
	ReadF32(dst []float32, name string) error
}

// head is the tensor of a head that is not tied.
const head = "lm_head.weight"

// CheckEntries reports what keeps the weights of an architecture from being read from f, before anything is allocated
// for them: tensors that are missing, misshaped, unexpected or of a type that is not floating point, all by name.
func CheckEntries(a config.Arch, f Tensors) error {
	views, _ := Layout(a)
	_, _, err := checkEntries(views, f)
	return err
}

// checkEntries returns also what the names in the file lack at their front, and whether it holds the head of a tied model.
func checkEntries(views []View, f Tensors) (missing string, tiedHead bool, err error) {
	prefix, _, _ := strings.Cut(views[0].Name, ".")
	prefix += "."
	if !slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, prefix) }) {
		missing = prefix
	}
	var faults hfFaults
	expected := make(map[string]bool, len(views))
	for _, v := range views {
		name := strings.TrimPrefix(v.Name, missing)
		expected[name] = true
		want := v.Shape
		if isConv1D(v) {
			want = []int{v.Shape[1], v.Shape[0]}
		}
		t, ok := f.Lookup(name)
		switch {
		case !ok:
			faults.add("%s %v is missing", name, want)
		case !slices.Equal(t.Shape, want):
			faults.add("%s has shape %v, the configuration asks for %v", name, t.Shape, want)
		case !t.Float():
			faults.add("%s has dtype %s, not F32, BF16, F16 or F64", name, t.DType)
		}
	}
	for _, t := range f.Tensors() {
		switch {
		case expected[t.Name]:
		case t.Name == head && slices.Equal(t.Shape, views[0].Shape) && t.Float(): // the embedding is the first view
			tiedHead = true
		case strings.HasSuffix(t.Name, ".attn.bias") && len(t.Shape) == 4,
			strings.HasSuffix(t.Name, ".attn.masked_bias"),
			strings.HasSuffix(t.Name, ".rotary_emb.inv_freq"):
		default:
			faults.add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	return missing, tiedHead, faults.err()
}

// LoadEntries overwrites p with the tensors of a Hugging Face model, of any floating-point type.
//
// The names and shapes are all checked first (CheckEntries): p is untouched when one is wrong. Names may lack the prefix of
// the family (transformer., model.), as in files of the bare decoder; tables that are no weights (GPT-2's masks, RoPE's
// frequencies) are passed over; a head in the file of a tied model must equal the embedding. An error while reading leaves
// p partly overwritten. The caller refreshes the model.
func LoadEntries(p *Params[float32], f Tensors) error {
	missing, tiedHead, err := checkEntries(p.Views, f)
	if err != nil {
		return err
	}
	var scratch []float32
	for _, v := range p.Views {
		dst := p.Flat[v.Lo:v.Hi]
		if isConv1D(v) {
			scratch = slices.Grow(scratch[:0], v.Len())[:v.Len()]
			dst = scratch
		}
		if err := f.ReadF32(dst, strings.TrimPrefix(v.Name, missing)); err != nil {
			return fmt.Errorf("model: load: %w", err)
		}
		if isConv1D(v) {
			transpose(p.Flat[v.Lo:v.Hi], scratch, v.Shape[1], v.Shape[0])
		}
	}
	if tiedHead {
		embed := p.Views[0]
		other := make([]float32, embed.Len())
		if err := f.ReadF32(other, head); err != nil {
			return fmt.Errorf("model: load: %w", err)
		}
		if !slices.Equal(other, p.Flat[embed.Lo:embed.Hi]) {
			return fmt.Errorf("model: load: %s differs from %s, but the configuration ties them", head, strings.TrimPrefix(embed.Name, missing))
		}
	}
	return nil
}

// hfFaults gathers what is wrong with the tensors of a file; of many it tells the first.
type hfFaults struct {
	texts []string
	more  int
}

func (f *hfFaults) add(format string, args ...any) {
	if len(f.texts) == 8 {
		f.more++
		return
	}
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

func (f *hfFaults) err() error {
	if len(f.texts) == 0 {
		return nil
	}
	s := strings.Join(f.texts, "; ")
	if f.more > 0 {
		s += fmt.Sprintf("; and %d more", f.more)
	}
	return fmt.Errorf("model: load: the file does not fit its configuration: %s", s)
}
