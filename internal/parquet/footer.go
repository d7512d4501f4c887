package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Error is a fault of a file: what is wrong, and where.
type Error struct {
	Place string // "the footer", "row group 3, page at byte 1234"
	Err   error
}

func (e *Error) Error() string { return e.Place + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func footerFault(format string, args ...any) error {
	return &Error{"the footer", fmt.Errorf(format, args...)}
}

var (
	// ErrNull stands for the value of a row that has none.
	ErrNull = errors.New("null")
	// ErrFormat says that a file is no Parquet file.
	ErrFormat = errors.New("no Parquet file")
)

const (
	magicSize = 4
	maxFooter = 64 << 20
	freeRows  = 1 << 24 // a column of nulls takes no room in a file, but takes time to read
	maxRatio  = 1000    // how many times larger a page may become, beyond freeBytes
	freeBytes = 1 << 20
)

// File is a Parquet file of which the footer has been read. Safe for concurrent use.
type File struct {
	r      io.ReaderAt
	end    int64 // where the footer begins
	footer []byte
	rows   int64 // as the footer states
}

// Open reads the footer of a file of the given size. The caller closes the file. Errors are the reader's or *Error.
func Open(r io.ReaderAt, size int64) (*File, error) {
	if size < 2*magicSize+4 {
		return nil, footerFault("%w", ErrFormat)
	}
	var tail [4 + magicSize]byte
	if err := readFull(r, tail[:], size-int64(len(tail))); err != nil {
		return nil, err
	}
	switch string(tail[4:]) {
	case "PAR1":
	case "PARE":
		return nil, footerFault("it is encrypted")
	default:
		return nil, footerFault("%w", ErrFormat)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:4]))
	if n > maxFooter {
		return nil, footerFault("%d bytes are more than %d", n, maxFooter)
	}
	f := &File{r: r, end: size - int64(len(tail)) - n}
	if f.end < magicSize {
		return nil, footerFault("%d bytes do not fit a file of %d", n, size)
	}
	f.footer = make([]byte, n)
	if err := readFull(r, f.footer, f.end); err != nil {
		return nil, err
	}
	t := &thrift{b: f.footer}
	encrypted := false
	t.read(fields{3: &f.rows, 8: func(kind byte) {
		encrypted = true
		t.skip(kind, 0)
	}})
	switch {
	case t.err != nil:
		return nil, footerFault("%w", t.err)
	case encrypted:
		return nil, footerFault("it is encrypted")
	case f.rows < 0, f.rows > freeRows+maxRatio*size:
		return nil, footerFault("%d rows in %d bytes", f.rows, size)
	}
	return f, nil
}

// Column is a column of values.
type Column struct {
	f        *File
	path     []string
	typ      int32
	def, rep int // the highest levels: a value is there at def
	chunks   []chunk
	values   int64
	bytes    int64
}

// chunk is the part of a column in one row group.
type chunk struct {
	codec      int32
	values     int64
	begin, len int64 // where its pages lie
	unpacked   int64 // bytes of its pages, as stated
}

// Column returns the column of strings with this name, which must lie at the top level.
func (f *File) Column(name string) (*Column, error) {
	root, err := f.schema()
	if err != nil {
		return nil, footerFault("%w", err)
	}
	n := root.child(name)
	switch {
	case n == nil:
		return nil, footerFault("there is no column %q", name)
	case n.typ < 0 || n.repetition == repeated:
		return nil, footerFault("column %q holds lists or structs", name)
	case n.typ != byteArray:
		return nil, footerFault("column %q holds no strings", name)
	case !n.isText():
		return nil, footerFault("column %q holds no text", name)
	}
	c := &Column{f: f, path: []string{name}, typ: n.typ, def: n.def}
	if err := c.rowGroups(); err != nil {
		return nil, footerFault("%w", err)
	}
	return c, nil
}

// Bytes returns the size of the column's pages, unpacked, as the footer states it.
func (c *Column) Bytes() int64 { return c.bytes }

// rowGroups keeps the column's chunk of each row group.
func (c *Column) rowGroups() error {
	name := strings.Join(c.path, ".")
	var k chunk // of any column
	var packed, data, dictionary, rows int64
	isColumn, elsewhere := false, false
	t := &thrift{b: c.f.footer}
	ofChunk := fields{
		1: func(kind byte) { // its file
			if kind == binaryT {
				elsewhere = len(t.bytes()) > 0 || elsewhere
			} else {
				t.skip(kind, 0)
			}
		},
		3: fields{3: func(kind byte) { isColumn = t.isPath(kind, c.path) }, 4: &k.codec, 5: &k.values, 6: &k.unpacked,
			7: &packed, 9: &data, 11: &dictionary},
	}
	var own chunk // the column's
	found, twice := false, false
	ofGroup := fields{3: &rows, 1: func() {
		k, packed, data, dictionary, isColumn = chunk{}, 0, 0, 0, false
		t.read(ofChunk)
		if k.begin, k.len = data, packed; dictionary > 0 && dictionary < data {
			k.begin = dictionary
		}
		if isColumn {
			twice = twice || found
			own, found = k, true
		}
	}}
	t.read(fields{4: func() {
		rows, own, found, twice, elsewhere = -1, chunk{}, false, false, false
		if t.read(ofGroup); t.err != nil {
			return
		}
		var err error
		switch {
		case elsewhere:
			err = errors.New("its data lie in another file")
		case twice:
			err = fmt.Errorf("column %q comes twice", name)
		case !found:
			err = fmt.Errorf("there is no column %q", name)
		default:
			err = c.add(own, rows, name)
		}
		if err != nil {
			t.fail(fmt.Errorf("row group %d: %w", len(c.chunks), err))
		}
	}})
	if t.err == nil && c.rep == 0 && c.values != c.f.rows {
		return fmt.Errorf("%d values of column %q in %d rows", c.values, name, c.f.rows)
	}
	return t.err
}

// isPath reports whether the value is this path.
func (t *thrift) isPath(kind byte, path []string) bool {
	if kind != listT {
		t.skip(kind, 0)
		return false
	}
	n, elem := t.list()
	is := n == len(path)
	for i := 0; i < n && t.err == nil; i++ {
		if elem != binaryT {
			t.fail(errors.New("a path that is no list of names"))
			return false
		}
		name := t.bytes()
		is = is && string(name) == path[i]
	}
	return is
}

// add checks a chunk and keeps it.
func (c *Column) add(k chunk, rows int64, name string) error {
	most := int64(freeRows + maxRatio*c.f.end)
	c.values += max(0, k.values)
	switch {
	case k.values < 0 || k.values < rows || k.values > rows && c.rep == 0 || c.values > most:
		return fmt.Errorf("%d values of column %q in %d rows", k.values, name, rows)
	case k.values == 0:
		return nil
	case k.begin < magicSize || k.len < 0 || k.begin > c.f.end || k.len > c.f.end-k.begin:
		return fmt.Errorf("column %q lies at byte %d with %d bytes, outside of the file's data", name, k.begin, k.len)
	case !readable(k.codec):
		return fmt.Errorf("column %q is packed with %s, which is not read", name, codecName(k.codec))
	}
	c.chunks = append(c.chunks, k)
	c.bytes += min(max(0, k.unpacked), freeBytes+maxRatio*k.len)
	return nil
}

// readFull reads len(p) bytes at off, which must be there.
func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
