package safetensors

import (
	"bytes"
	"math"
	"slices"

	"gimbal/internal/strictjson"
)

const metadataKey = "__metadata__"

var infoKeys = [3]string{"dtype", "shape", "data_offsets"}

// parseHeader reads the JSON of a header. A name may come twice here: newFile finds it by sorting, without a second
// copy of all names.
func parseHeader(data []byte) ([]Tensor, error) {
	h := header{Reader: strictjson.New(data, strictjson.AllowDuplicates)}
	// Guess the number of tensors, so that the slice is usually allocated once. No header can push the guess beyond
	// what its own length pays for.
	const least = len(`"":{"dtype":"","shape":[],"data_offsets":[0,0]}`)
	h.tensors = make([]Tensor, 0, min(bytes.Count(data, []byte(infoKeys[2])), len(data)/least, MaxTensors))
	metadata := false
	h.Object(func(key []byte) {
		switch {
		case string(key) == metadataKey && metadata:
			h.Failf(h.KeyAt(), "%s appears twice", key)
		case string(key) == metadataKey:
			metadata = true
			h.metadata()
		case len(h.tensors) == MaxTensors:
			h.Failf(h.KeyAt(), "more than %d tensors", MaxTensors)
		default:
			h.info(string(key))
		}
	})
	if err := h.End(); err != nil {
		return nil, &Error{h.tensor, err.Error() + " of the header"}
	}
	return h.tensors, nil
}

// header is a header in reading.
type header struct {
	*strictjson.Reader
	tensors []Tensor
	tensor  string // being read, for errors
}

// metadata checks an object of strings. Nothing needs what it says.
func (h *header) metadata() {
	seen := map[string]bool{}
	h.Object(func(key []byte) {
		if seen[string(key)] {
			h.Failf(h.KeyAt(), "%s key %.80q appears twice", metadataKey, key)
		}
		if len(seen) == maxMetadata {
			h.Failf(h.KeyAt(), "%s has more than %d keys", metadataKey, maxMetadata)
		}
		seen[string(key)] = true
		h.Text()
	})
}

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
		h.tensors = append(h.tensors, t)
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
		h.Failf(at, "data_offsets has %d instead of two numbers", count)
	}
	return begin, end
}
