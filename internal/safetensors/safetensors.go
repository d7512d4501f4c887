// Package safetensors reads and writes the safetensors format: a JSON header that names tensors, then their bytes. It
// is the format of Hugging Face model directories.
//
// Parse checks a file and Write makes one. Parse trusts nothing: it checks every rule of the format before it hands out
// any tensor, and a violation is an *Error that names the tensor and the rule. Values are not checked: NaN is data.
//
// The package reads floating-point types only, as float32, and writes F32 and BF16. The index file of a model in shards
// belongs to the caller; Join makes one File of the shards.
//
// Format: https://github.com/huggingface/safetensors, "Format" in the README, and the checks of its Rust reader
// (tensor.rs). docs/format/checkpoint.md lists where this reader is stricter.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Limits of a header. Real files stay far below them. They bound what Parse allocates beyond the header itself.
const (
	MaxHeader  = 100_000_000 // bytes, as in the reference reader
	MaxTensors = 1 << 16
	MaxRank    = 8

	maxMetadata = 1024 // keys
)

// ErrFormat is matched by every *Error.
var ErrFormat = errors.New("not a valid safetensors file")

// Error says which rule of the format a file breaks.
type Error struct {
	Tensor string // that breaks it; empty: the file as a whole
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

	from io.ReaderAt // the file
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
	return slices.Contains([]string{"F64", "F32", "F16", "BF16"}, t.DType)
}

// elementBytes gives the size of one element of each known type.
var elementBytes = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4,
	"U64": 8, "I64": 8, "F64": 8, "C64": 8,
}

// File is the tensors of a file, of several files (Join) or in memory (Memory). Safe for concurrent use if the
// io.ReaderAt that Parse got is.
type File struct {
	tensors []Tensor                                  // in the order of their bytes
	byName  []int32                                   // indices into tensors, in the order of names
	change  func(name string, values []float32) error // of what ReadF32 has read; nil: nothing is changed
}

// Parse reads the header of a file of size bytes and checks all of it. It returns an *Error if a rule is broken, and
// the error of r if reading fails. It never reads tensor data.
//
// Memory: the header while it is read, which is never longer than the file; a copy of its strings; and at most 160
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
	tensors, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	if err := place(tensors, r, 8+int64(n), size); err != nil {
		return nil, err
	}
	return newFile(tensors)
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

// place checks that the tensors cover the data section of the file r exactly, and that each has the bytes that its
// shape and type need. It sorts them by their bytes and turns their offsets into positions in the file.
func place(tensors []Tensor, r io.ReaderAt, dataStart, size int64) error {
	slices.SortStableFunc(tensors, func(a, b Tensor) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.End, b.End))
	})
	dataLen, at := size-dataStart, int64(0)
	for i := range tensors {
		t := &tensors[i]
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
		t.Begin, t.End, t.from = t.Begin+dataStart, t.End+dataStart, r
	}
	if at != dataLen {
		return &Error{Rule: fmt.Sprintf("the data after the last tensor belongs to none (bytes: %d)", dataLen-at)}
	}
	return nil
}

// newFile returns the file of the tensors, or an *Error if two have one name.
func newFile(tensors []Tensor) (*File, error) {
	f := &File{tensors: tensors, byName: make([]int32, len(tensors))}
	for i := range f.byName {
		f.byName[i] = int32(i)
	}
	slices.SortFunc(f.byName, func(a, b int32) int { return strings.Compare(tensors[a].Name, tensors[b].Name) })
	for i := 1; i < len(f.byName); i++ {
		if name := tensors[f.byName[i]].Name; name == tensors[f.byName[i-1]].Name {
			return nil, &Error{name, "name appears twice"}
		}
	}
	return f, nil
}

// Join returns the tensors of several files, such as the shards of a model, as those of one. It returns an *Error if a
// name is in two of them.
func Join(files ...*File) (*File, error) {
	var all []Tensor
	for _, f := range files {
		all = append(all, f.tensors...)
	}
	return newFile(all)
}

// Tensors returns all tensors, those of one file in the order of their bytes. The slice belongs to f.
func (f *File) Tensors() []Tensor { return f.tensors }

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

// Mismatch says why ReadF32 cannot read a tensor of this name and shape: it is missing, has another shape, or is not of
// a floating-point type. It returns "" where nothing is wrong.
func (f *File) Mismatch(name string, shape []int) string {
	t, ok := f.Lookup(name)
	switch {
	case !ok:
		return fmt.Sprintf("%s %v is missing", name, shape)
	case !slices.Equal(t.Shape, shape):
		return fmt.Sprintf("%s has shape %v, want %v", name, t.Shape, shape)
	case !t.Float():
		return fmt.Sprintf("%s has dtype %s, want F32, BF16, F16 or F64", name, t.DType)
	}
	return ""
}
