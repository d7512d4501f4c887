package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The types of Thrift's compact protocol.
const (
	boolTrue  = 1
	boolFalse = 2
	int8Type  = 3
	int16Type = 4
	int32Type = 5
	int64Type = 6
	double    = 7
	binaryT   = 8
	listT     = 9
	setT      = 10
	mapT      = 11
	structT   = 12
)

// maxDepth is deeper than any struct of the format.
const maxDepth = 16

// errShort says that the bytes end inside a structure.
var errShort = errors.New("ends early")

// thrift reads a structure in Thrift's compact protocol. It keeps the first error; from then on every read gives zero.
type thrift struct {
	b   []byte // what is left
	err error
}

func (t *thrift) fail(err error) {
	if t.err == nil {
		t.err = err
	}
	t.b = nil
}

func (t *thrift) byte() byte {
	if b := t.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (t *thrift) take(n uint64) []byte {
	if n > uint64(len(t.b)) {
		t.fail(errShort)
		return nil
	}
	b := t.b[:n]
	t.b = t.b[n:]
	return b
}

func (t *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(t.b)
	switch {
	case n == 0:
		t.fail(errShort)
		return 0
	case n < 0:
		t.fail(errors.New("a number of more than 64 bits"))
		return 0
	}
	t.b = t.b[n:]
	return v
}

// int reads a number in zigzag form.
func (t *thrift) int() int64 {
	v := t.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (t *thrift) bytes() []byte { return t.take(t.uvarint()) }

// fields says, for each field id of a struct, where its value goes:
//   - *int32, *int64: a number; another type is an error, and so is a number out of range
//   - *[]byte: a string, which shares the memory of the structure; another type is an error
//   - fields: a struct; another type is skipped
//   - func(): called at each struct of a list, which it reads; another type is skipped
//   - func(kind byte): called with the type of the value, which it reads
type fields map[int64]any

// read reads the struct that begins here. It skips the fields that want does not have.
func (t *thrift) read(want fields) {
	t.each(func(id int64, kind byte) {
		switch to := want[id].(type) {
		case *int32:
			v := t.number(kind)
			if *to = int32(v); int64(*to) != v {
				t.fail(errors.New("a number out of its range"))
			}
		case *int64:
			*to = t.number(kind)
		case *[]byte:
			if kind != binaryT {
				t.fail(fmt.Errorf("a value of type %d where a string should be", kind))
			}
			*to = t.bytes()
		case func(kind byte):
			to(kind)
		case fields:
			if kind == structT {
				t.read(to)
			} else {
				t.skip(kind, 0)
			}
		case func():
			if kind == listT {
				t.structs(to)
			} else {
				t.skip(kind, 0)
			}
		default:
			t.skip(kind, 0)
		}
	})
}

// each calls field for each field of the struct that begins here; field must read or skip the value.
func (t *thrift) each(field func(id int64, kind byte)) {
	id := int64(0)
	for t.err == nil {
		head := t.byte()
		kind := head & 15
		if t.err != nil || kind == 0 {
			return
		}
		if delta := head >> 4; delta > 0 {
			id += int64(delta)
		} else {
			id = t.int()
		}
		field(id, kind)
	}
}

func (t *thrift) number(kind byte) int64 {
	if kind < int16Type || kind > int64Type {
		t.fail(fmt.Errorf("a value of type %d where a number should be", kind))
	}
	return t.int()
}

// list reads the head of a list. Every element takes at least a byte.
func (t *thrift) list() (n int, kind byte) {
	head := t.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(len(t.b)) {
		t.fail(errShort)
		return 0, 0
	}
	return int(size), head & 15
}

// structs calls item at each struct of the list that begins here.
func (t *thrift) structs(item func()) {
	n, kind := t.list()
	if n > 0 && kind != structT {
		t.fail(fmt.Errorf("a list of type %d where structs should be", kind))
	}
	for i := 0; i < n && t.err == nil; i++ {
		item()
	}
}

// skip passes over a value, which is depth values deep.
func (t *thrift) skip(kind byte, depth int) {
	if depth > maxDepth {
		t.fail(errors.New("structs nested too deep"))
		return
	}
	switch kind {
	case boolTrue, boolFalse: // the value is the type
	case int8Type:
		t.byte()
	case int16Type, int32Type, int64Type:
		t.uvarint()
	case double:
		t.take(8)
	case binaryT:
		t.bytes()
	case listT, setT:
		n, elem := t.list()
		for i := 0; i < n && t.err == nil; i++ {
			if elem == boolTrue || elem == boolFalse {
				t.byte()
			} else {
				t.skip(elem, depth+1)
			}
		}
	case mapT:
		n := t.uvarint()
		if n == 0 {
			return
		}
		kinds := t.byte()
		if n > uint64(len(t.b)) {
			t.fail(errShort)
		}
		for i := uint64(0); i < n && t.err == nil; i++ {
			t.skip(kinds>>4, depth+1)
			t.skip(kinds&15, depth+1)
		}
	case structT:
		t.each(func(_ int64, kind byte) { t.skip(kind, depth+1) })
	default:
		t.fail(fmt.Errorf("a value of the unknown type %d", kind))
	}
}

// header is what is needed of a page's header.
type header struct {
	kind             int32
	unpacked, packed int32
	values           int32
	encoding         int32
	levelEncoding    int32 // dataPage: of definition levels, and
	repEncoding      int32 // of repetition levels
	defBytes         int32 // dataPage2: bytes of definition levels, which are never packed
	repBytes         int32
	plainBody        bool // dataPage2: the rest is not packed either
	size             int  // bytes of the header itself
}

func parseHeader(b []byte) (header, error) {
	h := header{kind: -1, levelEncoding: levelsRLE, repEncoding: levelsRLE}
	t := &thrift{b: b}
	t.read(fields{
		1: &h.kind, 2: &h.unpacked, 3: &h.packed,
		5: fields{1: &h.values, 2: &h.encoding, 3: &h.levelEncoding, 4: &h.repEncoding}, // dataPage
		7: fields{1: &h.values, 2: &h.encoding},                                         // dictionaryPage
		8: fields{1: &h.values, 4: &h.encoding, 5: &h.defBytes, 6: &h.repBytes, // dataPage2
			7: func(kind byte) { h.plainBody = kind == boolFalse }},
	})
	h.size = len(b) - len(t.b)
	switch {
	case t.err != nil:
		return h, t.err
	case h.kind < dataPage || h.kind > dataPage2:
		return h, fmt.Errorf("a page of the unknown kind %d", h.kind)
	case h.packed < 0 || h.unpacked < 0 || h.values < 0 || h.defBytes < 0 || h.repBytes < 0:
		return h, errors.New("a page of negative size")
	case h.unpacked > maxPage:
		return h, fmt.Errorf("a page of %d bytes, more than %d; write the file with smaller pages", h.unpacked, maxPage)
	case int64(h.unpacked) > freeBytes+maxRatio*int64(h.packed):
		return h, fmt.Errorf("a page that grows from %d to %d bytes", h.packed, h.unpacked)
	case int64(h.defBytes)+int64(h.repBytes) > int64(min(h.packed, h.unpacked)):
		return h, errors.New("levels longer than their page")
	}
	return h, nil
}
