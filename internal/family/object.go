package family

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"gimbal/internal/strictjson"
)

// maxObject bounds the JSON files of a Hugging Face directory, except tokenizer.json and the index of shards.
const maxObject = 1 << 20

// ReadObject reads a JSON object of at most limit bytes, such as a file of a Hugging Face directory. Unlike
// encoding/json it keeps keys apart that differ in case. It refuses a key that appears twice at any depth, text that is
// not UTF-8, and anything after the end. The values are parts of data.
func ReadObject(data []byte, limit int) (map[string]json.RawMessage, error) {
	if len(data) > limit {
		return nil, fmt.Errorf("%d bytes are more than %d", len(data), limit)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some editors put a mark there
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

// Faults gathers what is wrong with a file.
type Faults []string

// Add adds a fault.
func (f *Faults) Add(format string, args ...any) { *f = append(*f, fmt.Sprintf(format, args...)) }

// Err returns the first faults and the number of the others, nil if there are none.
func (f Faults) Err() error {
	const most = 8
	if len(f) == 0 {
		return nil
	}
	text := strings.Join(f[:min(most, len(f))], "; ")
	if more := len(f) - most; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return errors.New(text)
}

// reader reads keys of a JSON object and gathers the faults.
type reader struct {
	keys  map[string]json.RawMessage
	known map[string]bool // keys that were asked for
	Faults
}

func newReader(data []byte) (*reader, error) {
	keys, err := ReadObject(data, maxObject)
	return &reader{keys: keys, known: map[string]bool{}}, err
}

func (r *reader) fault(key, format string, args ...any) {
	r.Add("%s "+format, append([]any{key}, args...)...)
}

// has reports whether key is there and not null.
func (r *reader) has(key string) bool {
	r.known[key] = true
	v, ok := r.keys[key]
	return ok && string(v) != "null"
}

// need is has, with a fault where the key is missing.
func (r *reader) need(key string) bool {
	ok := r.has(key)
	if !ok {
		r.fault(key, "is missing")
	}
	return ok
}

// read leaves dst as it is when key is missing or null.
func (r *reader) read(key string, dst any) {
	if !r.has(key) {
		return
	}
	if err := json.Unmarshal(r.keys[key], dst); err != nil {
		r.fault(key, "is %.40s, not a %T", r.keys[key], reflect.ValueOf(dst).Elem().Interface())
	}
}

// size reads a number from 1 to most. byDefault 0 means that the key must be there.
func (r *reader) size(key string, byDefault, most int) int {
	if byDefault > 0 && !r.has(key) {
		return byDefault
	}
	if !r.need(key) {
		return 1
	}
	n := 0
	r.read(key, &n)
	if n < 1 || n > most {
		r.fault(key, "is %.40s, outside 1 to %d", r.keys[key], most)
		return 1
	}
	return n
}

func (r *reader) positive(key string) float64 {
	if !r.need(key) {
		return 1
	}
	x := 0.0
	r.read(key, &x)
	if !(x > 0) {
		r.fault(key, "is %.40s, not above 0", r.keys[key])
	}
	return x
}

// only refuses a key that is there with another value than those allowed (as JSON text). Where one of them is off, all
// that is off is allowed.
func (r *reader) only(key string, allowed ...string) {
	if !r.has(key) || slices.Contains(allowed, string(r.keys[key])) {
		return
	}
	if !Off(key, r.keys[key]) || !Off(key, []byte(allowed[0])) {
		r.fault(key, "is %.60s, which is not supported (only %s)", r.keys[key], strings.Join(allowed, " or "))
	}
}

// rest refuses every key that nothing asked for and that is on: it may change what the model computes.
func (r *reader) rest() {
	for _, key := range slices.Sorted(maps.Keys(r.keys)) {
		if value := r.keys[key]; !r.known[key] && !Off(key, value) {
			r.fault(key, "is a key that this program does not know, so it cannot tell what it changes (it is %.40s; "+
				"delete it if the model computes the same without it)", value)
		}
	}
}
