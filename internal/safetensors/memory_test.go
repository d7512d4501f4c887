package safetensors

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
)

// Tensors in memory, and those of a model in shards, are read as those of one file with the same entries are.
func TestMemory(t *testing.T) {
	rnd := random(t)
	all := entries(rnd)
	for len(all) < 5 {
		all = entries(rnd)
	}
	all[3] = Entry{all[3].Name, []int{chunk}, make([]float32, chunk)} // more than one buffer
	for i := range all[3].Data {
		all[3].Data[i] = float32(i)
	}
	var b bytes.Buffer
	if err := Write(&b, all, nil, "F32"); err != nil {
		t.Fatal(err)
	}
	f, err := parse(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	m := Memory(all)
	joined, err := Join(Memory(all[:2]), Memory(all[2:4]), Memory(all[4:]))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*File{m, joined} {
		if len(m.Tensors()) != len(f.Tensors()) {
			t.Fatalf("%d tensors, want %d", len(m.Tensors()), len(f.Tensors()))
		}
		for i, e := range all {
			got, ok := m.Lookup(e.Name)
			want, _ := f.Lookup(e.Name)
			if !ok || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) || got.Len() != want.Len() ||
				m.Tensors()[i].Name != e.Name || m.Mismatch(e.Name, e.Shape) != "" {
				t.Errorf("%+v, want %+v", got, want)
			}
			a, b := make([]float32, len(e.Data)), make([]float32, len(e.Data))
			if err := m.ReadF32(a, e.Name); err != nil {
				t.Error(err)
			}
			if err := f.ReadF32(b, e.Name); err != nil {
				t.Error(err)
			}
			for j := range a {
				if math.Float32bits(a[j]) != math.Float32bits(b[j]) {
					t.Fatalf("%s[%d] is %v, want %v", e.Name, j, a[j], b[j])
				}
			}
		}
	}
	if _, err := Join(m, Memory(all[4:])); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a tensor in two files: %v", err)
	}
	name := all[0].Name
	if err := m.ReadF32(make([]float32, len(all[0].Data)+1), name); err == nil ||
		!strings.Contains(err.Error(), "elements") {
		t.Errorf("a slice of the wrong length: %v", err)
	}
	if err := m.ReadF32(nil, "nowhere"); err == nil {
		t.Error("a tensor that is not there was read")
	}
	if _, ok := m.Lookup("nowhere"); ok {
		t.Error("a tensor that is not there was found")
	}
	for what, bad := range map[string][]Entry{"twice": {all[0], all[0]},
		"shape": {{Name: "a", Shape: []int{3}, Data: make([]float32, 2)}}} {
		func() {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.Contains(text, what) {
					t.Errorf("%s: no panic", what)
				}
			}()
			Memory(bad)
		}()
	}
}
