package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"gimbal/internal/model"
	"gimbal/internal/safetensors"
)

const (
	maxIndex  = 64 << 20 // bytes of an index
	maxShards = 1 << 10
)

// shards is the weights of a model in several files.
type shards struct {
	files   []*safetensors.File
	tensors []safetensors.Tensor
	in      map[string]*safetensors.File // by tensor
}

func (s *shards) Tensors() []safetensors.Tensor { return s.tensors }

func (s *shards) Lookup(name string) (safetensors.Tensor, bool) {
	f, ok := s.in[name]
	if !ok {
		return safetensors.Tensor{}, false
	}
	return f.Lookup(name)
}

func (s *shards) ReadF32(dst []float32, name string) error {
	f, ok := s.in[name]
	if !ok {
		return &safetensors.Error{Tensor: name, Rule: "is in none of the shards"}
	}
	return f.ReadF32(dst, name)
}

// weights opens the weights of a directory: one file, or shards.
func (d *directory) weights() (model.Tensors, error) {
	f, err := d.safetensors(weightsFile)
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &Error{d.path, weightsFile, err}
	}
	raw, err := d.File(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, d.noWeights()
	}
	var where map[string]string
	if err == nil {
		where, err = parseIndex(raw)
	}
	if err != nil {
		return nil, &Error{d.path, indexFile, err}
	}
	return d.shards(where)
}

// parseIndex reads the index of a model in shards: the file of each tensor.
func parseIndex(data []byte) (where map[string]string, err error) {
	keys, err := model.ReadObject(data, maxIndex)
	if err != nil {
		return nil, err
	}
	for key := range keys {
		if key != "weight_map" && key != "metadata" { // the latter says nothing that the shards do not
			return nil, fmt.Errorf("%s is not known", key)
		}
	}
	if keys["weight_map"] == nil {
		return nil, errors.New("weight_map is missing")
	}
	list, err := model.ReadObject(keys["weight_map"], maxIndex)
	if err != nil {
		return nil, fmt.Errorf("weight_map: %w", err)
	}
	if len(list) == 0 || len(list) > safetensors.MaxTensors {
		return nil, fmt.Errorf("weight_map: %d tensors, not 1 to %d", len(list), safetensors.MaxTensors)
	}
	where = make(map[string]string, len(list))
	folded := map[string]string{}
	for _, tensor := range slices.Sorted(maps.Keys(list)) {
		var name string
		if err := json.Unmarshal(list[tensor], &name); err != nil {
			return nil, fmt.Errorf("weight_map: %s: %.40s is not the name of a file", tensor, list[tensor])
		}
		if !plainName(name) || !strings.HasSuffix(name, ".safetensors") {
			return nil, fmt.Errorf("weight_map: %s: %.80q is not the plain name of a safetensors file", tensor, name)
		}
		low := strings.ToLower(name)
		if other, ok := folded[low]; ok && other != name {
			return nil, fmt.Errorf("weight_map: %q and %q are one file on some systems", other, name)
		}
		if folded[low] = name; len(folded) > maxShards {
			return nil, fmt.Errorf("weight_map: more than %d files", maxShards)
		}
		where[tensor] = name
	}
	return where, nil
}

// shards opens the files of an index and checks that each holds the tensors that the index says, and no others.
func (d *directory) shards(where map[string]string) (*shards, error) {
	s := &shards{in: make(map[string]*safetensors.File, len(where))}
	for _, name := range slices.Compact(slices.Sorted(maps.Values(where))) {
		f, err := d.safetensors(name)
		if err != nil {
			return nil, &Error{d.path, name, err}
		}
		for _, t := range f.Tensors() {
			if where[t.Name] != name {
				return nil, &Error{d.path, name, fmt.Errorf("holds %s, which %s does not say", t.Name, indexFile)}
			}
			s.in[t.Name] = f
		}
		s.files = append(s.files, f)
		s.tensors = append(s.tensors, f.Tensors()...)
	}
	for _, tensor := range slices.Sorted(maps.Keys(where)) {
		if s.in[tensor] == nil {
			return nil, &Error{d.path, where[tensor], fmt.Errorf("lacks %s, which %s says it holds",
				tensor, indexFile)}
		}
	}
	return s, nil
}
