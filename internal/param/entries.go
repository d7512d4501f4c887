package param

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/safetensors"
)

// stored returns the shape of a tensor in a file.
func (v View) stored() []int {
	if v.conv1D {
		return []int{v.Shape[1], v.Shape[0]}
	}
	return v.Shape
}

// arrange overwrites dst by src, a tensor as this package has it, as the family stores it, or with back the other way.
func (v View) arrange(dst, src []float32, back bool) {
	switch {
	case v.conv1D:
		rows, cols := v.Shape[0], v.Shape[1]
		if back {
			rows, cols = cols, rows
		}
		for i := range rows {
			for j, x := range src[i*cols : (i+1)*cols] {
				dst[j*rows+i] = x
			}
		}
	case v.heads > 0:
		part := len(src) / (3 * v.heads) // of one head of q, k or v
		for i := range 3 * v.heads {
			ours, theirs := i*part, (i%v.heads*3+i/v.heads)*part
			if back {
				ours, theirs = theirs, ours
			}
			copy(dst[theirs:theirs+part], src[ours:ours+part])
		}
	default:
		copy(dst, src)
	}
}

// read overwrites dst by the tensor that is called name in f.
func (v View) read(f *safetensors.File, dst []float32, name string) error {
	if !v.conv1D && v.heads == 0 {
		return f.ReadF32(dst, name)
	}
	src := make([]float32, len(dst))
	err := f.ReadF32(src, name)
	v.arrange(dst, src, true)
	return err
}

// Entries returns the tensors of model.safetensors, in the order of the views. A tied head is not among them.
//
// Memory: entries are views of p, except what the family stores otherwise: the matrices of GPT-2's blocks, and q, k and
// v of GPT-NeoX.
func Entries(p *Params[float32]) []safetensors.Entry {
	entries := make([]safetensors.Entry, len(p.Views))
	for i, v := range p.Views {
		e := safetensors.Entry{Name: v.Name, Shape: v.stored(), Data: p.Flat[v.Lo:v.Hi:v.Hi]}
		if v.conv1D || v.heads > 0 {
			e.Data = make([]float32, v.Len())
			v.arrange(e.Data, p.Flat[v.Lo:v.Hi], false)
		}
		entries[i] = e
	}
	return entries
}

// headNames are what families call a head that is not tied. New releases of transformers know the first for all.
var headNames = []string{"lm_head.weight", "embed_out.weight"}

// nameIn is the name of a tensor in f, whose names lack the prefix missing.
func (v View) nameIn(f *safetensors.File, missing string) string {
	for _, name := range headNames {
		if _, there := f.Lookup(name); there && v.Kind == KindHead {
			return name
		}
	}
	return strings.TrimPrefix(v.Name, missing)
}

// CheckEntries returns what keeps the weights of an architecture from being read from f: tensors that are missing,
// unexpected, of another shape or not of a floating-point type, all by name. It allocates nothing for the weights.
func CheckEntries(a config.Arch, f *safetensors.File) error {
	views, _ := Layout(a)
	_, _, err := checkEntries(views, f)
	return err
}

// checkEntries returns also the prefix that the names in the file lack, and the name of the head of a tied model where
// the file holds one.
func checkEntries(views []View, f *safetensors.File) (missing, tiedHead string, err error) {
	prefix, _, _ := strings.Cut(views[0].Name, ".")
	prefix += "."
	if !slices.ContainsFunc(
		f.Tensors(),
		func(t safetensors.Tensor) bool { return strings.HasPrefix(t.Name, prefix) },
	) {
		missing = prefix
	}
	var bad family.Faults
	expected := make(map[string]bool, len(views))
	for _, v := range views {
		name := v.nameIn(f, missing)
		expected[name] = true
		if wrong := f.Mismatch(name, v.stored()); wrong != "" {
			bad.Add("%s", wrong)
		}
	}
	tied := views[len(views)-1].Kind != KindHead // the embedding, the first view, is the head
	for _, t := range f.Tensors() {
		switch {
		case expected[t.Name]:
		case slices.Contains(headNames, t.Name) && slices.Equal(t.Shape, views[0].Shape) && t.Float() && tied:
			tiedHead = t.Name
		case (strings.HasSuffix(t.Name, ".attn.bias") || strings.HasSuffix(t.Name, ".attention.bias")) &&
			len(t.Shape) == 4,
			strings.HasSuffix(t.Name, ".attn.masked_bias"),
			strings.HasSuffix(t.Name, ".attention.masked_bias"),
			strings.HasSuffix(t.Name, ".rotary_emb.inv_freq"):
		default:
			bad.Add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	if err := bad.Err(); err != nil {
		return "", "", fmt.Errorf("model: load: the file does not fit its configuration: %w", err)
	}
	return missing, tiedHead, nil
}

// LoadEntries overwrites p with the tensors of a Hugging Face model, of any floating-point type.
//
// It first checks all names and shapes (CheckEntries) and leaves p untouched when one is wrong. Names may lack the
// prefix of the family (transformer., model.), as in files of the bare decoder. Tables that are no weights (masks,
// RoPE's frequencies) are skipped. If the file of a tied model has a head, it must equal the embedding. An error
// while reading leaves p partly overwritten. The caller refreshes the model.
func LoadEntries(p *Params[float32], f *safetensors.File) error {
	return LoadBlocks(p, f, func(int) error { return nil })
}

// LoadBlocks is LoadEntries that calls after when the tensors of a block have been read.
func LoadBlocks(p *Params[float32], f *safetensors.File, after func(block int) error) error {
	missing, tiedHead, err := checkEntries(p.Views, f)
	if err != nil {
		return err
	}
	for i, v := range p.Views {
		if err == nil {
			err = v.read(f, p.Flat[v.Lo:v.Hi], v.nameIn(f, missing))
		}
		last := i == len(p.Views)-1 || p.Views[i+1].Block != v.Block
		if last && v.Block >= 0 && err == nil {
			err = after(v.Block)
		}
	}
	embed := p.Views[0]
	own := p.Flat[embed.Lo:embed.Hi]
	var theirs []float32
	if tiedHead != "" && err == nil {
		theirs = make([]float32, len(own))
		err = f.ReadF32(theirs, tiedHead)
	}
	if err != nil {
		return fmt.Errorf("model: load: %w", err)
	}
	if tiedHead != "" && !slices.Equal(theirs, own) {
		return fmt.Errorf("model: load: %s differs from %s, but the configuration ties them", tiedHead,
			strings.TrimPrefix(embed.Name, missing))
	}
	return nil
}
