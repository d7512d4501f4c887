package param

import (
	"fmt"
	"slices"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/family"
	"gimbal/internal/safetensors"
)

// IsBF16 reports whether a file holds all matrices in bfloat16.
func IsBF16(f *safetensors.File) bool {
	return !slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool {
		return len(t.Shape) == 2 && t.DType != "BF16"
	})
}

// IsAdapter reports whether a file holds an adapter and no model.
func IsAdapter(f *safetensors.File) bool {
	return slices.ContainsFunc(f.Tensors(), func(t safetensors.Tensor) bool {
		return strings.HasPrefix(t.Name, adapterPrefix)
	})
}

// CheckAdapter returns what keeps an adapter from being read from f, by name.
func CheckAdapter(a config.Arch, ad Adapter, f *safetensors.File) error {
	views, _ := AdapterLayout(a, ad)
	return checkAdapter(views, f)
}

func checkAdapter(views []View, f *safetensors.File) error {
	var bad family.Faults
	expected := map[string]bool{}
	for _, v := range views {
		expected[v.Name] = true
		if wrong := f.Mismatch(v.Name, v.Shape); wrong != "" {
			bad.Add("%s", wrong)
		}
	}
	for _, t := range f.Tensors() {
		if !expected[t.Name] {
			bad.Add("%s %v is unexpected", t.Name, t.Shape)
		}
	}
	if err := bad.Err(); err != nil {
		return fmt.Errorf("model: load: the adapter does not fit its configuration: %w", err)
	}
	return nil
}

// Merged returns the weights in base with those of an adapter added.
func Merged(a config.Arch, ad Adapter, base, adapter *safetensors.File) *safetensors.File {
	places := map[string]Adapted{}
	for _, m := range AdaptedViews(a, ad) {
		places[m.Name] = m
	}
	return base.Changed(func(name string, w []float32) error {
		m, ok := places[name]
		for _, prefix := range []string{"model.", "transformer."} { // which files of the bare decoder leave out
			if !ok {
				m, ok = places[prefix+name]
			}
		}
		if !ok {
			return nil
		}
		stem := adapterPrefix + strings.TrimSuffix(m.Name, ".weight")
		out, in, r := m.Shape[0], m.Shape[1], ad.Rank
		low, high, lengths := make([]float32, r*in), make([]float32, out*r), make([]float32, out)
		for i, dst := range [][]float32{low, high, lengths}[:ad.Parts()] {
			if err := adapter.ReadF32(dst, stem+[]string{suffixA, suffixB, suffixMagnitude}[i]); err != nil {
				return err
			}
		}
		row := make([]float64, in) // of B·A, then of what is computed with
		for o := range out {
			clear(row)
			for k, b := range high[o*r : (o+1)*r] {
				for c, a := range low[k*in : (k+1)*in] {
					row[c] += float64(b) * float64(a)
				}
			}
			at := func(c int) *float32 {
				if m.conv1D { // stored (in, out)
					return &w[c*out+o]
				}
				return &w[o*in+c]
			}
			if !ad.DoRA {
				for c, sum := range row {
					*at(c) += float32(ad.Scale * sum)
				}
				continue
			}
			for c, sum := range row {
				row[c] = float64(*at(c)) + ad.Scale*sum
			}
			norm := length(row)
			for c, v := range row {
				if *at(c) = 0; norm > 0 {
					*at(c) = float32(float64(lengths[o]) / norm * v)
				}
			}
		}
		return nil
	})
}

// LoadAdapter overwrites the parameters p of an adapter by those of a file, of which it checks names and shapes first.
func LoadAdapter(p *Params[float32], f *safetensors.File) error {
	err := checkAdapter(p.Views, f)
	for _, v := range p.Views {
		if err == nil {
			err = v.read(f, p.Flat[v.Lo:v.Hi], v.Name)
		}
	}
	return err
}
