package safetensors

import (
	"bytes"
	"math"
	"slices"

	"gimbal/internal/strictjson"
)

// parseHeader reads the JSON of a header. The reader lets names come twice: checkLayout finds them by sorting,
// without a second copy of all of them.
func parseHeader(data []byte) (*File, error) {
	h := header{Reader: strictjson.New(data, strictjson.AllowDuplicates)}
	// A guess, which no file can push beyond what it pays for, so that as a rule the result is allocated once.
	const least = len(`"":{"dtype":"","shape":[],"data_offsets":[0,0]}`)
	guess := min(bytes.Count(data, []byte(infoKeys[2])), len(data)/least, MaxTensors)
	h.file.tensors = make([]Tensor, 0, guess)
	metadata := false
	h.Object(func(key []byte) {
		switch {
		case string(key) == metadataKey && metadata:
			h.Failf(h.KeyAt(), "%s appears twice", key)
		case string(key) == metadataKey:
			metadata = true
			h.metadata()
		case len(h.file.tensors) == MaxTensors:
			h.Failf(h.KeyAt(), "more than %d tensors", MaxTensors)
		default:
			h.info(string(key))
		}
	})
	if err := h.End(); err != nil {
		return nil, &Error{h.tensor, err.Error() + " of the header"}
	}
	return &h.file, nil
}

// header reads a header into a file.
type header struct {
	*strictjson.Reader
	file   File
	tensor string // being read, for errors
}

const metadataKey = "__metadata__"

// metadata reads an object of strings.
func (h *header) metadata() {
	h.Object(func(key []byte) {
		if _, twice := h.file.metadata[string(key)]; twice {
			h.Failf(h.KeyAt(), "%s key %.80q appears twice", metadataKey, key)
		}
		if len(h.file.metadata) == maxMetadata {
			h.Failf(h.KeyAt(), "%s has more than %d keys", metadataKey, maxMetadata)
		}
		if h.file.metadata == nil {
			h.file.metadata = map[string]string{}
		}
		h.file.metadata[string(key)] = h.Text()
	})
}

var infoKeys = [3]string{"dtype", "shape", "data_offsets"}

// info reads the description of one tensor: exactly infoKeys, in any order.
func (h *header) info(name string) {
	h.tensor = name
	at, t := h.At(), Tensor{Name: name}
	var seen [len(infoKeys)]bool
	h.Object(func(key []byte) {
		k := slices.Index(infoKeys[:], string(key))
		switch {
		case k < 0:
			h.Failf(h.KeyAt(), "unknown key %.80q", key)
			return
		case seen[k]:
			h.Failf(h.KeyAt(), "key %q appears twice", key)
		}
		seen[k] = true
		switch k {
		case 0:
			t.DType = h.Text()
		case 1:
			t.Shape = h.shape()
		case 2:
			t.Begin, t.End = h.offsets()
		}
	})
	for k, ok := range seen {
		if !ok {
			h.Failf(at, "key %q is missing", infoKeys[k])
		}
	}
	if !h.Failed() {
		h.file.tensors = append(h.file.tensors, t)
		h.tensor = ""
	}
}

// shape reads an array of dimensions.
func (h *header) shape() []int {
	var dims [MaxRank]int
	rank := 0
	h.Array(func(i int) {
		if rank = i + 1; rank > MaxRank {
			h.Failf(h.At(), "more than %d dimensions", MaxRank)
			return
		}
		dims[i] = int(h.Size(math.MaxInt))
	})
	if h.Failed() {
		return nil
	}
	return append(make([]int, 0, rank), dims[:rank]...)
}

// offsets reads an array of two numbers.
func (h *header) offsets() (begin, end int64) {
	at, count := h.At(), 0
	h.Array(func(i int) {
		begin, end = end, h.Size(math.MaxInt64)
		count++
	})
	if count != 2 {
		h.Failf(at, "data_offsets has %d numbers instead of two", count)
	}
	return begin, end
}
