package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gimbal/internal/checkpoint"
	"gimbal/internal/family"
	"gimbal/internal/safetensors"
)

const (
	maxIndex  = 64 << 20 // bytes of an index
	maxShards = 1 << 10
)

// weights opens the weights of a directory: one file, or shards.
func (d *directory) weights() (*safetensors.File, error) {
	f, err := d.safetensors(weightsFile)
	switch {
	case err == nil:
		if _, err := d.root.Lstat(indexFile); err == nil {
			d.notes = append(d.notes, fmt.Sprintf("%s is read, and %s beside it is not", weightsFile, indexFile))
		}
		return f, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, &Error{d.path, weightsFile, err}
	}
	raw, err := d.File(indexFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d.unlisted()
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

// shardName is the name of a shard: its number and how many there are. DeepSeek writes the latter with six digits.
var shardName = regexp.MustCompile(`^model-(\d{5})-of-(\d{5,6})\.safetensors$`)

// unlisted opens shards that no index lists, if their names say that all are there.
func (d *directory) unlisted() (*safetensors.File, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	names := map[string]map[int]string{} // by how many there are, by number
	for _, e := range entries {
		if m := shardName.FindStringSubmatch(e.Name()); m != nil {
			if names[m[2]] == nil {
				names[m[2]] = map[int]string{}
			}
			i, _ := strconv.Atoi(m[1]) // five digits
			names[m[2]][i] = e.Name()
		}
	}
	switch len(names) {
	case 0:
		return nil, d.noWeights(entries)
	case 1:
	default:
		return nil, &Error{d.path, "", fmt.Errorf("it has shards of %d models and no %s that says which count: delete "+
			"the others", len(names), indexFile)}
	}
	for of, have := range names {
		n, _ := strconv.Atoi(of)
		var missing []string
		for i := 1; i <= min(n, maxShards); i++ {
			if have[i] == "" {
				missing = append(missing, fmt.Sprintf("model-%05d-of-%s.safetensors", i, of))
			}
		}
		if len(missing) > 0 || len(have) != n {
			return nil, &Error{d.path, "", fmt.Errorf("it has %d of %d shards and no %s; missing are %s", len(have), n,
				indexFile, list(missing))}
		}
		var files []*safetensors.File
		for _, name := range slices.Sorted(maps.Values(have)) {
			f, err := d.safetensors(name)
			if err != nil {
				return nil, &Error{d.path, name, err}
			}
			files = append(files, f)
		}
		all, err := safetensors.Join(files...)
		if err != nil {
			return nil, &Error{d.path, "", fmt.Errorf("its shards do not fit together: %w", err)}
		}
		return all, nil
	}
	panic("hub: no shards") // one model was found
}

// list names the first of some files, and counts the others.
func list(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// parseIndex reads the index of a model in shards: the file of each tensor.
func parseIndex(data []byte) (where map[string]string, err error) {
	keys, err := family.ReadObject(data, maxIndex)
	if err != nil {
		return nil, err
	}
	for key := range keys {
		if key != "weight_map" && key != "metadata" { // nothing in the metadata is needed
			return nil, fmt.Errorf("%s is not known", key)
		}
	}
	if keys["weight_map"] == nil {
		return nil, errors.New("weight_map is missing")
	}
	list, err := family.ReadObject(keys["weight_map"], maxIndex)
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
		if !checkpoint.PlainName(name) || !strings.HasSuffix(name, ".safetensors") {
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
func (d *directory) shards(where map[string]string) (*safetensors.File, error) {
	var files []*safetensors.File
	names := slices.Compact(slices.Sorted(maps.Values(where)))
	absent := func(name string) bool {
		_, err := d.root.Lstat(name)
		return errors.Is(err, fs.ErrNotExist)
	}
	var missing []string
	for _, name := range names {
		if absent(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return nil, &Error{d.path, indexFile, fmt.Errorf("names files that are not there: %s; copy them, too",
			list(missing))}
	}
	for _, name := range names {
		f, err := d.safetensors(name)
		if err != nil {
			return nil, &Error{d.path, name, err}
		}
		for _, t := range f.Tensors() {
			if where[t.Name] != name {
				return nil, &Error{d.path, name, fmt.Errorf("holds %s, which %s does not say", t.Name, indexFile)}
			}
		}
		files = append(files, f)
	}
	all, err := safetensors.Join(files...)
	if err != nil {
		return nil, &Error{d.path, indexFile, err}
	}
	for _, tensor := range slices.Sorted(maps.Keys(where)) {
		if _, ok := all.Lookup(tensor); !ok {
			return nil, &Error{d.path, where[tensor], fmt.Errorf("lacks %s, which %s says it holds", tensor, indexFile)}
		}
	}
	return all, nil
}
