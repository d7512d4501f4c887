// Package safetensors reads and writes the safetensors format: a JSON header that names tensors, then their
// bytes. It is the format of Hugging Face model directories.
//
// Parse checks a file and Write makes one. Parse trusts nothing: every rule of the format is checked before any
// tensor is handed out, and a violation is an *Error that names the tensor and the rule. Values are not
// judged: NaN is data, and NonFinite counts it.
//
// The package holds no tensor in memory, converts only floating-point types (to float32 or float64), and writes
// only F32 and BF16. Sharded models and their index file belong to the caller.
//
// Format: https://github.com/huggingface/safetensors, "Format" in the README, and the checks of its
// Rust reader (tensor.rs); docs/format/checkpoint.md tells where this reader is stricter.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Limits of a header. Real ones stay far below; the others bound what Parse allocates beyond the header itself.
const (
	MaxHeader  = 100_000_000 // bytes, as in the reference reader
	MaxTensors = 1 << 16
	MaxRank    = 8

	maxMetadata = 1024 // keys
)

// ErrFormat is matched by every error that means: this is not a valid safetensors file.
var ErrFormat = errors.New("not a valid safetensors file")

// Error tells which rule of the format a file breaks, and in which tensor ("" when in none).
type Error struct {
	Tensor string
	Rule   string
}

func (e *Error) Error() string {
	if e.Tensor == "" {
		return "safetensors: " + e.Rule
	}
	return fmt.Sprintf("safetensors: tensor %q: %s", e.Tensor, e.Rule)
}

// Is reports whether target is ErrFormat.
func (e *Error) Is(target error) bool { return target == ErrFormat }

// Tensor describes one tensor of a file.
type Tensor struct {
	Name       string
	DType      string // as in the format: "F32", "F16", "BF16", "F64", "I64", "U8", ...
	Shape      []int  // row-major, outermost first; empty for a scalar
	Begin, End int64  // bytes [Begin, End) of the file, not of its data section
}

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float reports whether the elements are of a type that ReadF32 converts.
func (t Tensor) Float() bool {
	switch t.DType {
	case "F64", "F32", "F16", "BF16":
		return true
	}
	return false
}

// elementBytes gives the size of one element of each known type.
var elementBytes = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8, "C64": 8,
}

// File is a checked header over its data. Safe for concurrent use if its io.ReaderAt is.
type File struct {
	r        io.ReaderAt
	tensors  []Tensor // in the order of their bytes
	byName   []int32  // indices into tensors, in the order of names
	metadata map[string]string
}

// Parse reads the header of a file of size bytes and checks all of it. It returns an *Error (ErrFormat) if a
// rule is broken and the error of r if reading fails. It never reads tensor data.
//
// Memory: the header, which is never longer than the file, while it is read; a copy of its strings; and at most 160
// bytes for each of at most MaxTensors tensors.
func Parse(r io.ReaderAt, size int64) (*File, error) {
	fail := func(format string, args ...any) (*File, error) {
		return nil, &Error{Rule: fmt.Sprintf(format, args...)}
	}
	if size < 8 {
		return fail("file of %d bytes is too short for the 8-byte header length", size)
	}
	var b [8]byte
	if err := readFull(r, b[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(b[:])
	if n > MaxHeader {
		return fail("header of %d bytes is longer than %d", n, MaxHeader)
	}
	if int64(n) > size-8 {
		return fail("header of %d bytes is longer than the file, which has %d after the length", n, size-8)
	}
	header := make([]byte, n)
	if err := readFull(r, header, 8); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(header, []byte("{")) {
		return fail("header does not start with '{'")
	}
	f, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	f.r = r
	if err := f.checkLayout(8+int64(n), size); err != nil {
		return nil, err
	}
	return f, nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("safetensors: read %d bytes at %d: %w", len(p), off, err)
}

// checkLayout checks that names are unique, that the tensors cover the data section exactly, and that each has
// the bytes that its shape and type ask for; it turns offsets into positions in the file.
func (f *File) checkLayout(dataStart, size int64) error {
	slices.SortStableFunc(f.tensors, func(a, b Tensor) int {
		if a.Begin != b.Begin {
			return compare(a.Begin, b.Begin)
		}
		return compare(a.End, b.End)
	})
	dataLen := size - dataStart
	at := int64(0)
	for i := range f.tensors {
		t := &f.tensors[i]
		bad := func(format string, args ...any) error {
			return &Error{t.Name, fmt.Sprintf(format, args...)}
		}
		want, ok := elementBytes[t.DType]
		if !ok {
			return bad("unknown dtype %q", t.DType)
		}
		for _, d := range t.Shape {
			if d != 0 && want > math.MaxInt64/int64(d) {
				return bad("shape %v of %s overflows", t.Shape, t.DType)
			}
			want *= int64(d)
		}
		switch {
		case t.End < t.Begin:
			return bad("data_offsets [%d, %d] run backwards", t.Begin, t.End)
		case t.End > dataLen:
			return bad("data_offsets [%d, %d] end behind the file, whose data has %d bytes", t.Begin, t.End, dataLen)
		case t.Begin < at:
			return bad("data_offsets [%d, %d] overlap the tensor before, which ends at %d", t.Begin, t.End, at)
		case t.Begin > at:
			return bad("data_offsets [%d, %d] leave a hole after byte %d", t.Begin, t.End, at)
		case t.End-t.Begin != want:
			return bad("shape %v of %s needs %d bytes, data_offsets give %d", t.Shape, t.DType, want, t.End-t.Begin)
		}
		at = t.End
		t.Begin += dataStart
		t.End += dataStart
	}
	if at != dataLen {
		return &Error{Rule: fmt.Sprintf("%d bytes after the last tensor belong to none", dataLen-at)}
	}
	f.byName = make([]int32, len(f.tensors))
	for i := range f.byName {
		f.byName[i] = int32(i)
	}
	slices.SortFunc(f.byName, func(a, b int32) int { return strings.Compare(f.tensors[a].Name, f.tensors[b].Name) })
	for i := 1; i < len(f.byName); i++ {
		if name := f.tensors[f.byName[i]].Name; name == f.tensors[f.byName[i-1]].Name {
			return &Error{name, "name appears twice"}
		}
	}
	return nil
}

func compare(a, b int64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// Tensors returns all tensors in the order of their bytes. The slice belongs to f.
func (f *File) Tensors() []Tensor { return f.tensors }

// Metadata returns the strings under __metadata__, nil if there are none. The map belongs to f.
func (f *File) Metadata() map[string]string { return f.metadata }

// Lookup returns the tensor of a name.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := slices.BinarySearchFunc(f.byName, name, func(i int32, name string) int {
		return strings.Compare(f.tensors[i].Name, name)
	})
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[f.byName[i]], true
}
