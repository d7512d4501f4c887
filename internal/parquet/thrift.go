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
	doubleLen = 8
	double    = 7
	binaryT   = 8
	listT     = 9
	setT      = 10
	mapT      = 11
	structT   = 12
)

// maxDepth is deeper than any struct of the format lies.
const maxDepth = 16

// errShort says that a structure goes on behind the bytes there are.
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
	if len(t.b) == 0 {
		t.fail(errShort)
		return 0
	}
	c := t.b[0]
	t.b = t.b[1:]
	return c
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

// fields calls field for each field of the struct that begins here; field must read or skip the value.
func (t *thrift) fields(field func(id int64, kind byte)) {
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
	for range n {
		if t.err != nil {
			return
		}
		item()
	}
}

// skip passes over a value.
func (t *thrift) skip(kind byte) { t.skipAt(kind, 0) }

func (t *thrift) skipAt(kind byte, depth int) {
	if depth > maxDepth {
		t.fail(errors.New("structs nested too deep"))
		return
	}
	switch kind {
	case boolTrue, boolFalse: // the value is the type
	case int8Type:
		t.byte()
	case 4, 5, 6:
		t.uvarint()
	case double:
		t.take(doubleLen)
	case binaryT:
		t.bytes()
	case listT, setT:
		n, elem := t.list()
		for range n {
			if t.err != nil {
				return
			}
			if elem == boolTrue || elem == boolFalse {
				t.byte()
			} else {
				t.skipAt(elem, depth+1)
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
			return
		}
		for range n {
			if t.err != nil {
				return
			}
			t.skipAt(kinds>>4, depth+1)
			t.skipAt(kinds&15, depth+1)
		}
	case structT:
		t.fields(func(_ int64, kind byte) { t.skipAt(kind, depth+1) })
	default:
		t.fail(fmt.Errorf("a value of the unknown type %d", kind))
	}
}

// want reads a number of one of the integer types into p.
func want[T ~int32 | ~int64](t *thrift, kind byte, p *T) {
	if kind < 4 || kind > 6 {
		t.fail(fmt.Errorf("a value of type %d where a number should be", kind))
		return
	}
	v := t.int()
	if *p = T(v); int64(*p) != v {
		t.fail(errors.New("a number out of its range"))
	}
}

// text reads a string; it shares the memory of the structure.
func (t *thrift) text(kind byte) []byte {
	if kind != binaryT {
		t.fail(fmt.Errorf("a value of type %d where a string should be", kind))
		return nil
	}
	return t.bytes()
}
