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
// Memory: entries are views of p, except the matrices of GPT-2's blocks, which are transposed copies.
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

// head is the tensor of a head that is not tied.
const head = "lm_head.weight"

// CheckEntries returns what keeps the weights of an architecture from being read from f: tensors that are missing,
// unexpected, of another shape or not of a floating-point type, all by name. It allocates nothing for the weights.
func CheckEntries(a config.Arch, f *safetensors.File) error {
	views, _ := Layout(a)
	_, _, err := checkEntries(views, f)
	return err
}

// checkEntries returns also the prefix that the names in the file lack, and whether the file holds the head of a tied
// model.
func checkEntries(views []View, f *safetensors.File) (missing string, tiedHead bool, err error) {
	prefix, _, _ := strings.Cut(views[0].Name, ".")
	prefix += "."
	if !slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, prefix) }) {
		missing = prefix
	}
	var bad faults
	expected := make(map[string]bool, len(views))
	for _, v := range views {
		name := strings.TrimPrefix(v.Name, missing)
		expected[name] = true
		want := v.Shape
		if isConv1D(v) {
			want = []int{v.Shape[1], v.Shape[0]}
		}
		if wrong := f.Mismatch(name, want); wrong != "" {
			bad.add("%s", wrong)
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
			bad.add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	if err := bad.err(); err != nil {
		return "", false, fmt.Errorf("model: load: the file does not fit its configuration: %w", err)
	}
	return missing, tiedHead, nil
}

// LoadEntries overwrites p with the tensors of a Hugging Face model, of any floating-point type.
//
// It first checks all names and shapes (CheckEntries) and leaves p untouched when one is wrong. Names may lack the
// prefix of the family (transformer., model.), as in files of the bare decoder. Tables that are no weights (GPT-2's
// masks, RoPE's frequencies) are skipped. If the file of a tied model has a head, it must equal the embedding. An error
// while reading leaves p partly overwritten. The caller refreshes the model.
func LoadEntries(p *Params[float32], f *safetensors.File) error {
	return loadEntries(p, f, func(int) {})
}

// loadEntries is LoadEntries that calls after when the tensors of a block, or of what is outside, have been read.
func loadEntries(p *Params[float32], f *safetensors.File, after func(block int)) error {
	missing, tiedHead, err := checkEntries(p.Views, f)
	if err != nil {
		return err
	}
	read := func(dst []float32, name string) {
		if err == nil {
			err = f.ReadF32(dst, name)
		}
	}
	var scratch []float32
	for i, v := range p.Views {
		if i > 0 && p.Views[i-1].Block != v.Block {
			after(p.Views[i-1].Block)
		}
		dst, name := p.Flat[v.Lo:v.Hi], strings.TrimPrefix(v.Name, missing)
		if !isConv1D(v) {
			read(dst, name)
			continue
		}
		scratch = slices.Grow(scratch[:0], v.Len())[:v.Len()]
		read(scratch, name)
		transpose(dst, scratch, v.Shape[1], v.Shape[0])
	}
	embed := p.Views[0]
	if tiedHead {
		scratch = slices.Grow(scratch[:0], embed.Len())[:embed.Len()]
		read(scratch, head)
	}
	if err != nil {
		return fmt.Errorf("model: load: %w", err)
	}
	if tiedHead && !slices.Equal(scratch, p.Flat[embed.Lo:embed.Hi]) {
		return fmt.Errorf("model: load: %s differs from %s, but the configuration ties them", head,
			strings.TrimPrefix(embed.Name, missing))
	}
	return nil
}
