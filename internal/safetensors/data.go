package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"gimbal/internal/strictjson"
)

const chunk = 1 << 16 // bytes converted at a time; a multiple of every element size

// ReadF32 overwrites dst with a tensor converted to float32.
//
// Numerics: F32, F16 and BF16 are exact; F64 is rounded to nearest even, and what is out of range becomes an
// infinity. NaN is kept.
// Failure: an *Error if there is no such tensor, its type is no floating-point type of these, or len(dst) is not its
// number of elements; the error of the reader if reading fails, with dst partly overwritten.
func (f *File) ReadF32(dst []float32, name string) error {
	return read(f, dst, name)
}

// ReadF64 overwrites dst with a tensor converted to float64, which is exact. Otherwise like ReadF32.
func (f *File) ReadF64(dst []float64, name string) error {
	return read(f, dst, name)
}

func read[T float32 | float64](f *File, dst []T, name string) error {
	t, ok := f.Lookup(name)
	if !ok {
		return &Error{name, "is not in the file"}
	}
	if len(dst) != t.Len() {
		return &Error{name, fmt.Sprintf("has shape %v, %d elements, but %d are expected", t.Shape, t.Len(), len(dst))}
	}
	if !t.Float() {
		return &Error{name, fmt.Sprintf("has dtype %s, which is no floating-point type that can be read "+
			"(F64, F32, F16, BF16)", t.DType)}
	}
	buf := make([]byte, min(chunk, t.End-t.Begin))
	for off := t.Begin; off < t.End; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), t.End-off)]
		if err := readFull(f.r, buf, off); err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		n := convert(dst, buf, t.DType)
		dst = dst[n:]
	}
	return nil
}

// convert overwrites the front of dst with the elements in buf and returns their number.
func convert[T float32 | float64](dst []T, buf []byte, dtype string) int {
	le := binary.LittleEndian
	switch dtype {
	case "F32":
		n := len(buf) / 4
		for i := range dst[:n] {
			dst[i] = T(math.Float32frombits(le.Uint32(buf[4*i:])))
		}
		return n
	case "F64":
		n := len(buf) / 8
		for i := range dst[:n] {
			dst[i] = T(math.Float64frombits(le.Uint64(buf[8*i:])))
		}
		return n
	case "BF16":
		n := len(buf) / 2
		for i := range dst[:n] {
			dst[i] = T(math.Float32frombits(uint32(le.Uint16(buf[2*i:])) << 16))
		}
		return n
	default: // F16
		n := len(buf) / 2
		for i := range dst[:n] {
			dst[i] = T(half(le.Uint16(buf[2*i:])))
		}
		return n
	}
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

// NonFinite counts the NaN and infinite elements of x.
func NonFinite[T float32 | float64](x []T) int {
	n := 0
	for _, v := range x {
		if v-v != 0 { // NaN for NaN and the infinities, 0 for all others
			n++
		}
	}
	return n
}

// Entry is a tensor to write. len(Data) is the product of Shape.
type Entry struct {
	Name  string
	Shape []int // row-major, outermost first
	Data  []float32
}

// Write is WriteAs with F32, which is exact.
func Write(w io.Writer, entries []Entry, metadata map[string]string) error {
	return WriteAs(w, entries, metadata, "F32")
}

// WriteAs writes a file of tensors of one type, F32 or BF16: the header with metadata (keys sorted) and entries in
// the given order, then their bytes in that order. Equal arguments give equal bytes. Metadata of a model must be
// {"format": "pt"}, which Hugging Face loaders ask for.
//
// Layout: the header is padded with spaces so that the data begins at a multiple of 64 bytes.
// Numerics: BF16 is rounded to nearest even; a NaN stays one.
// Failure: an *Error if a name or shape is not valid, before anything is written; the error of w. Another type panics.
func WriteAs(w io.Writer, entries []Entry, metadata map[string]string, dtype string) error {
	put, width := putF32, 4
	switch dtype {
	case "F32":
	case "BF16":
		put, width = putBF16, 2
	default:
		panic("safetensors: write: unknown type")
	}
	header, err := makeHeader(entries, metadata, dtype, int64(width))
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return fmt.Errorf("safetensors: write header: %w", err)
	}
	longest := 0
	for _, e := range entries {
		longest = max(longest, len(e.Data))
	}
	buf := make([]byte, min(chunk, width*longest))
	for _, e := range entries {
		for data := e.Data; len(data) > 0; {
			n := min(len(data), chunk/width)
			put(buf, data[:n])
			if _, err := w.Write(buf[:width*n]); err != nil {
				return fmt.Errorf("safetensors: write tensor %q: %w", e.Name, err)
			}
			data = data[n:]
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
func makeHeader(entries []Entry, metadata map[string]string, dtype string, width int64) ([]byte, error) {
	if len(entries) > MaxTensors {
		return nil, &Error{Rule: fmt.Sprintf("more than %d tensors", MaxTensors)}
	}
	h := append(make([]byte, 8), '{')
	comma := func() {
		if last := h[len(h)-1]; last != '{' && last != '[' {
			h = append(h, ',')
		}
	}
	if len(metadata) > 0 {
		h = append(h, `"`+metadataKey+`":{`...)
		for _, key := range slices.Sorted(maps.Keys(metadata)) {
			comma()
			h = append(appendString(h, key), ':')
			h = appendString(h, metadata[key])
			if !utf8.ValidString(key) || !utf8.ValidString(metadata[key]) {
				return nil, &Error{Rule: fmt.Sprintf("metadata %q is not UTF-8", key)}
			}
		}
		h = append(h, '}')
	}
	seen := make(map[string]bool, len(entries))
	at := int64(0)
	for _, e := range entries {
		switch {
		case e.Name == metadataKey || !utf8.ValidString(e.Name) || len(e.Name) > strictjson.MaxKey:
			return nil, &Error{e.Name, "is no name for a tensor"}
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
		comma()
		h = fmt.Appendf(appendString(h, e.Name), `:{"dtype":%q,"shape":[`, dtype)
		for _, d := range e.Shape {
			comma()
			h = fmt.Append(h, d)
		}
		end := at + width*int64(n)
		h = fmt.Appendf(h, `],"data_offsets":[%d,%d]}`, at, end)
		at = end
	}
	h = append(h, '}')
	if pad := -len(h) & 63; pad > 0 {
		h = append(h, strings.Repeat(" ", pad)...)
	}
	if len(h)-8 > MaxHeader {
		return nil, &Error{Rule: fmt.Sprintf("header of %d bytes is longer than %d", len(h)-8, MaxHeader)}
	}
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	return h, nil
}

// appendString appends s as a JSON string.
func appendString(h []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("safetensors: string does not marshal") // encoding/json marshals every string
	}
	return append(h, b...)
}
