package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gimbal/internal/strictjson"
)

// maxObject bounds the JSON files of a Hugging Face directory but for tokenizer.json and the index of shards.
const maxObject = 1 << 20

// ReadObject reads a JSON object, such as a file of a Hugging Face directory, of at most limit bytes. Other than
// encoding/json it keeps keys apart that differ in case, and refuses one that comes twice at any depth, text that is
// not UTF-8, and anything after the end. The values are parts of data.
func ReadObject(data []byte, limit int) (map[string]json.RawMessage, error) {
	if len(data) > limit {
		return nil, fmt.Errorf("%d bytes are more than %d", len(data), limit)
	}
	r := strictjson.New(data)
	if r.Kind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	keys := map[string]json.RawMessage{}
	r.Object(func(key []byte) { keys[string(key)] = r.Value() })
	if err := r.End(); err != nil {
		return nil, err
	}
	return keys, nil
}

// hfReader reads keys of a JSON object and gathers the faults.
type hfReader struct {
	keys   map[string]json.RawMessage
	known  map[string]bool // keys that were asked for
	faults []error
}

func newHFReader(keys map[string]json.RawMessage) *hfReader {
	return &hfReader{keys: keys, known: map[string]bool{}}
}

func (r *hfReader) fault(key, format string, args ...any) {
	r.faults = append(r.faults, fmt.Errorf("%s "+format, append([]any{key}, args...)...))
}

// has reports whether key is there and not null.
func (r *hfReader) has(key string) bool {
	r.known[key] = true
	v, ok := r.keys[key]
	return ok && string(v) != "null"
}

// read leaves dst as it is when key is missing or null.
func (r *hfReader) read(key string, dst any) {
	if !r.has(key) {
		return
	}
	if err := json.Unmarshal(r.keys[key], dst); err != nil {
		r.fault(key, "is %.40s, not a %T", r.keys[key], reflect.ValueOf(dst).Elem().Interface())
	}
}

// size reads a number of things, at most most; byDefault 0 makes the key a must.
func (r *hfReader) size(key string, byDefault, most int) int {
	if !r.has(key) {
		if byDefault == 0 {
			r.fault(key, "is missing")
		}
		return max(1, byDefault)
	}
	n := 0
	r.read(key, &n)
	if n < 1 || n > most {
		r.fault(key, "is %.40s, outside 1 to %d", r.keys[key], most)
		return 1
	}
	return n
}

func (r *hfReader) positive(key string) float64 {
	if !r.has(key) {
		r.fault(key, "is missing")
		return 1
	}
	x := 0.0
	r.read(key, &x)
	if !(x > 0) {
		r.fault(key, "is %.40s, not above 0", r.keys[key])
	}
	return x
}

// only refuses a key that is there with another value than those allowed (as JSON text).
func (r *hfReader) only(key string, allowed ...string) {
	if r.has(key) && !slices.Contains(allowed, string(r.keys[key])) {
		r.fault(key, "is %.60s, which is not supported (only %s)", r.keys[key], strings.Join(allowed, " or "))
	}
}

// rest refuses every key that nothing asked for: it may change what the model computes.
func (r *hfReader) rest() {
	var unknown []string
	for key, v := range r.keys {
		if !r.known[key] && string(v) != "null" {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for i, key := range unknown {
		if i == 8 {
			r.faults = append(r.faults, fmt.Errorf("and %d more unknown keys", len(unknown)-i))
			break
		}
		r.fault(key, "is a key that this program does not know, so it cannot tell what it changes")
	}
}
