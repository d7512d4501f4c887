package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Error is a fault of a file: what is wrong, and where.
type Error struct {
	Place string // "the footer", "row group 3, page at byte 1234"
	Err   error
}

func (e *Error) Error() string { return e.Place + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

var (
	// ErrNull stands for the value of a row that has none.
	ErrNull = errors.New("null")
	// ErrFormat says that a file is no Parquet file.
	ErrFormat = errors.New("no Parquet file")
)

const (
	magicSize = 4
	maxFooter = 64 << 20
	freeRows  = 1 << 24 // a column of nulls takes no room in a file, but time to go through
	maxRatio  = 1000    // of what a page may grow, beyond freeBytes
	freeBytes = 1 << 20
)

// File is a Parquet file, of which the footer has been read. Safe for concurrent use.
type File struct {
	r      io.ReaderAt
	end    int64 // where the footer begins
	footer []byte
	rows   int64
}

// Open reads the footer of a file of the given size. The file stays the caller's. All errors are of the reader or
// *Error.
func Open(r io.ReaderAt, size int64) (*File, error) {
	place := func(err error) error { return &Error{"the footer", err} }
	if size < 2*magicSize+4 {
		return nil, place(ErrFormat)
	}
	var tail [4 + magicSize]byte
	if err := readFull(r, tail[:], size-int64(len(tail))); err != nil {
		return nil, err
	}
	switch string(tail[4:]) {
	case "PAR1":
	case "PARE":
		return nil, place(errors.New("it is encrypted"))
	default:
		return nil, place(ErrFormat)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:4]))
	if n > maxFooter {
		return nil, place(fmt.Errorf("%d bytes are more than %d", n, maxFooter))
	}
	f := &File{r: r, end: size - int64(len(tail)) - n}
	if f.end < magicSize {
		return nil, place(fmt.Errorf("%d bytes do not fit a file of %d", n, size))
	}
	f.footer = make([]byte, n)
	if err := readFull(r, f.footer, f.end); err != nil {
		return nil, err
	}
	t := &thrift{b: f.footer}
	encrypted := false
	t.fields(func(id int64, kind byte) {
		switch id {
		case 3:
			want(t, kind, &f.rows)
		case 8:
			encrypted = true
			t.skip(kind)
		default:
			t.skip(kind)
		}
	})
	switch {
	case t.err != nil:
		return nil, place(t.err)
	case encrypted:
		return nil, place(errors.New("it is encrypted"))
	case f.rows < 0, f.rows > freeRows+maxRatio*size:
		return nil, place(fmt.Errorf("%d rows in %d bytes", f.rows, size))
	}
	return f, nil
}

// Rows returns the number of rows that the footer states.
func (f *File) Rows() int64 { return f.rows }

// Column is a column of text.
type Column struct {
	f        *File
	optional bool
	chunks   []chunk
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
	c := &Column{f: f}
	place := func(err error) error { return &Error{"the footer", err} }
	if err := c.schema(name); err != nil {
		return nil, place(err)
	}
	t := &thrift{b: f.footer}
	var err error
	t.fields(func(id int64, kind byte) {
		if id != 4 || kind != listT {
			t.skip(kind)
			return
		}
		t.structs(func() {
			if e := c.rowGroup(t, name); e != nil && err == nil {
				err = fmt.Errorf("row group %d: %w", len(c.chunks), e)
				t.fail(err)
			}
		})
	})
	if t.err != nil {
		return nil, place(t.err)
	}
	values := int64(0)
	for _, k := range c.chunks {
		values += k.values
	}
	if values != f.rows { // each was checked against f.rows, so that the sum of at most 64 Mi of them does not wrap
		return nil, place(fmt.Errorf("%d values of column %q in %d rows", values, name, f.rows))
	}
	return c, nil
}

// Bytes returns the size of the column's pages, unpacked, as the footer states it.
func (c *Column) Bytes() int64 { return c.bytes }

// schema finds the column among the children of the root.
func (c *Column) schema(name string) error {
	const root = -1
	element, skip := root, int64(0) // skip: elements below a group that are still to come
	found, fault := false, error(nil)
	t := &thrift{b: c.f.footer}
	t.fields(func(id int64, kind byte) {
		if id != 2 || kind != listT {
			t.skip(kind)
			return
		}
		t.structs(func() {
			var typ, repetition, children int32
			converted := int32(-1)
			typ = -1
			var own []byte
			t.fields(func(id int64, kind byte) {
				switch id {
				case 1:
					want(t, kind, &typ)
				case 3:
					want(t, kind, &repetition)
				case 4:
					own = t.text(kind)
				case 5:
					want(t, kind, &children)
				case 6:
					want(t, kind, &converted)
				default:
					t.skip(kind)
				}
			})
			element++
			if element == 0 || t.err != nil { // the root
				return
			}
			if children < 0 {
				t.fail(errors.New("a group with fewer than no columns"))
				return
			}
			if skip > 0 {
				skip += int64(children) - 1
				return
			}
			skip = int64(children)
			if string(own) != name || found {
				return
			}
			found = true
			switch {
			case children > 0 || repetition == 2:
				fault = fmt.Errorf("column %q holds lists or structs", name)
			case typ != 6:
				fault = fmt.Errorf("column %q holds no strings", name)
			case converted >= 0 && converted != 0 && converted != 4 && converted != 19: // UTF8, ENUM, JSON
				fault = fmt.Errorf("column %q holds no text", name)
			}
			c.optional = repetition == 1
		})
	})
	switch {
	case t.err != nil:
		return t.err
	case !found:
		return fmt.Errorf("there is no column %q", name)
	}
	return fault
}

// rowGroup reads one row group and keeps the chunk of the column.
func (c *Column) rowGroup(t *thrift, name string) (err error) {
	found := false
	rows := int64(-1)
	var k chunk
	t.fields(func(id int64, kind byte) {
		switch {
		case id == 3:
			want(t, kind, &rows)
		case id == 1 && kind == listT:
			t.structs(func() {
				got, is, e := columnChunk(t, name)
				if e != nil && err == nil {
					err = e
				}
				if is && found && err == nil {
					err = fmt.Errorf("column %q comes twice", name)
				}
				if is {
					k, found = got, true
				}
			})
		default:
			t.skip(kind)
		}
	})
	switch {
	case t.err != nil:
		return t.err
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("there is no column %q", name)
	case k.values < 0 || k.values > c.f.rows || k.values != rows:
		return fmt.Errorf("%d values of column %q in %d rows", k.values, name, rows)
	case k.values == 0:
		return nil
	case k.begin < magicSize || k.len < 0 || k.begin > c.f.end || k.len > c.f.end-k.begin:
		return fmt.Errorf("column %q lies at byte %d with %d bytes, outside of the file's data", name, k.begin, k.len)
	}
	if _, known := codecs[k.codec]; !known {
		return fmt.Errorf("column %q is packed with %s, which is not read", name, codecName(k.codec))
	}
	c.chunks = append(c.chunks, k)
	c.bytes += min(max(0, k.unpacked), freeBytes+maxRatio*k.len)
	return nil
}

// columnChunk reads the description of a chunk and whether it is the column's.
func columnChunk(t *thrift, name string) (k chunk, is bool, err error) {
	var packed, unpacked, data, dictionary int64
	t.fields(func(id int64, kind byte) {
		if id == 1 && kind == binaryT {
			if len(t.text(kind)) > 0 && err == nil {
				err = errors.New("its data lie in another file")
			}
			return
		}
		if id != 3 || kind != structT {
			t.skip(kind)
			return
		}
		t.fields(func(id int64, kind byte) {
			switch id {
			case 3:
				if kind != listT {
					t.skip(kind)
					return
				}
				n, elem := t.list()
				for i := range n {
					if elem != binaryT || t.err != nil {
						t.fail(errors.New("a path that is no list of names"))
						return
					}
					part := t.bytes()
					is = n == 1 && i == 0 && string(part) == name
				}
			case 4:
				want(t, kind, &k.codec)
			case 5:
				want(t, kind, &k.values)
			case 6:
				want(t, kind, &unpacked)
			case 7:
				want(t, kind, &packed)
			case 9:
				want(t, kind, &data)
			case 11:
				want(t, kind, &dictionary)
			default:
				t.skip(kind)
			}
		})
	})
	k.begin, k.len, k.unpacked = data, packed, unpacked
	if dictionary > 0 && dictionary < data {
		k.begin = dictionary
	}
	return k, is, err
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
