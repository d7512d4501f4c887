package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"gimbal/internal/strictjson"
)

const chunk = 1 << 16 // bytes converted at a time; a multiple of every element size

// ReadF32 overwrites dst with a tensor converted to float32.
//
// Numerics: F32, F16 and BF16 are exact. F64 is rounded to nearest even; what is out of range becomes an infinity. NaN
// is kept.
// Failure: an *Error if there is no such tensor, if its type is not floating point, or if len(dst) is not its number of
// elements; the error of the reader if reading fails, with dst partly overwritten.
func (f *File) ReadF32(dst []float32, name string) error {
	t, ok := f.Lookup(name)
	switch {
	case !ok:
		return &Error{name, "is not in the file"}
	case len(dst) != t.Len():
		return &Error{name, fmt.Sprintf("has shape %v, %d elements, but %d are expected", t.Shape, t.Len(), len(dst))}
	case !t.Float():
		return &Error{name, fmt.Sprintf("has dtype %s: only F64, F32, F16 and BF16 are read", t.DType)}
	}
	all, buf := dst, make([]byte, min(chunk, t.End-t.Begin))
	for off := t.Begin; off < t.End; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), t.End-off)]
		if err := readFull(t.from, buf, off); err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		dst = dst[convert(dst, buf, t.DType):]
	}
	if f.change != nil {
		return f.change(name, all)
	}
	return nil
}

// convert overwrites the front of dst with the elements in buf and returns their number.
func convert(dst []float32, buf []byte, dtype string) int {
	le := binary.LittleEndian
	dst = dst[:len(buf)/int(elementBytes[dtype])]
	switch dtype {
	case "F32":
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(buf[4*i:]))
		}
	case "F64":
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(buf[8*i:])))
		}
	case "BF16":
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(buf[2*i:])) << 16)
		}
	case "F16":
		for i := range dst {
			dst[i] = half(le.Uint16(buf[2*i:]))
		}
	}
	return len(dst)
}

// half converts an IEEE 754 binary16 number; all of them are exact in float32.
func half(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac · 2^-24
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	case 31: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// Entry is a tensor to write. len(Data) is the product of Shape.
type Entry struct {
	Name  string
	Shape []int // row-major, outermost first
	Data  []float32
}

// Write writes a file of tensors of one type, F32 or BF16: the header with metadata (keys sorted) and entries in the
// given order, then their bytes in that order. Equal arguments give equal bytes. Hugging Face loaders ask for the
// metadata {"format": "pt"} in a model.
//
// Layout: spaces pad the header so that the data begins at a multiple of 64 bytes.
// Numerics: BF16 is rounded to nearest even; a NaN stays one.
// Failure: an *Error if a name or shape is not valid, before anything is written; the error of w. Another type panics.
func Write(w io.Writer, entries []Entry, metadata map[string]string, dtype string) error {
	put := map[string]func([]byte, []float32){"F32": putF32, "BF16": putBF16}[dtype]
	if put == nil {
		panic("safetensors: write: unknown type")
	}
	width := int(elementBytes[dtype])
	header, err := makeHeader(entries, metadata, dtype)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("safetensors: write header: %w", err)
	}
	var buf []byte
	for _, e := range entries {
		for piece := range slices.Chunk(e.Data, chunk/width) {
			buf = slices.Grow(buf[:0], width*len(piece))[:width*len(piece)]
			put(buf, piece)
			if _, err := w.Write(buf); err != nil {
				return fmt.Errorf("safetensors: write tensor %q: %w", e.Name, err)
			}
		}
	}
	return nil
}

func putF32(buf []byte, data []float32) {
	for i, v := range data {
		binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
	}
}

func putBF16(buf []byte, data []float32) {
	for i, v := range data {
		b := math.Float32bits(v)
		if v != v {
			b |= 1 << 22 // a quiet NaN, whatever its low bits were
		} else {
			b += 1<<15 - 1 + b>>16&1
		}
		binary.LittleEndian.PutUint16(buf[2*i:], uint16(b>>16))
	}
}

// makeHeader returns the length and the padded header.
func makeHeader(entries []Entry, metadata map[string]string, dtype string) ([]byte, error) {
	if len(entries) > MaxTensors {
		return nil, &Error{Rule: fmt.Sprintf("more than %d tensors", MaxTensors)}
	}
	h := append(make([]byte, 8), '{')
	if len(metadata) > 0 {
		for key, value := range metadata {
			if !utf8.ValidString(key) || !utf8.ValidString(value) {
				return nil, &Error{Rule: fmt.Sprintf("metadata %q is not UTF-8", key)}
			}
		}
		h = fmt.Appendf(h, "%s:%s,", encode(metadataKey), encode(metadata))
	}
	seen := make(map[string]bool, len(entries))
	at := int64(0)
	for _, e := range entries {
		switch {
		case e.Name == metadataKey || !utf8.ValidString(e.Name) || len(e.Name) > strictjson.MaxKey:
			return nil, &Error{e.Name, "this cannot be the name of a tensor"}
		case seen[e.Name]:
			return nil, &Error{e.Name, "name appears twice"}
		case len(e.Shape) > MaxRank:
			return nil, &Error{e.Name, fmt.Sprintf("more than %d dimensions", MaxRank)}
		}
		seen[e.Name] = true
		n := 1
		for _, d := range e.Shape {
			if d < 0 || d > 0 && n > math.MaxInt/d {
				return nil, &Error{e.Name, fmt.Sprintf("shape %v is negative or overflows", e.Shape)}
			}
			n *= d
		}
		if n != len(e.Data) {
			return nil, &Error{e.Name, fmt.Sprintf("shape %v needs %d elements, there are %d", e.Shape, n, len(e.Data))}
		}
		end := at + elementBytes[dtype]*int64(n)
		h = fmt.Appendf(h, `%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]},`, encode(e.Name), dtype,
			encode(append([]int{}, e.Shape...)), at, end)
		at = end
	}
	h = append(bytes.TrimSuffix(h, []byte{','}), '}')
	h = append(h, bytes.Repeat([]byte{' '}, -len(h)&63)...)
	if len(h)-8 > MaxHeader {
		return nil, &Error{Rule: fmt.Sprintf("header of %d bytes is longer than %d", len(h)-8, MaxHeader)}
	}
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	return h, nil
}

// encode returns the JSON of strings or numbers.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("safetensors: a string or a number does not marshal") // encoding/json marshals all of them
	}
	return b
}
