package parquet

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var errValues = errors.New("its values run out of the page")

// width returns the bytes of a value; 0: its length stands before it.
func width(typ int32) int {
	switch typ {
	case int32Col, float:
		return 4
	case int64Col, doubleCol:
		return 8
	}
	return 0
}

// least returns the fewest bytes that a value takes in a dictionary.
func least(typ int32) int64 { return int64(max(4, width(typ))) }

// plainValue returns where the value lies that begins at b[at], with its length if it has one.
func plainValue(b []byte, at int, typ int32) (lo, hi int, err error) {
	if n := width(typ); n > 0 {
		if len(b)-at < n {
			return 0, 0, errValues
		}
		return at, at + n, nil
	}
	if len(b)-at < 4 {
		return 0, 0, errValues
	}
	n := binary.LittleEndian.Uint32(b[at:])
	if lo = at + 4; uint64(n) > uint64(len(b)-lo) {
		return 0, 0, errValues
	}
	return lo, lo + int(n), nil
}

// hybrid reads numbers of a fixed width as runs of one number, or as groups of eight packed ones.
type hybrid struct {
	b     []byte
	width int    // bits, at most 32
	run   uint64 // how often value comes again
	value uint32
	left  uint64 // packed numbers to come
	bit   uint   // of b, where the next packed number begins
}

func (h *hybrid) next() (uint32, error) {
	for h.run == 0 && h.left == 0 {
		if err := h.begin(); err != nil {
			return 0, err
		}
	}
	if h.run > 0 {
		h.run--
		return h.value, nil
	}
	v, err := takeBits(h.b, h.bit, h.width)
	h.bit += uint(h.width)
	if h.left--; h.left == 0 {
		h.b, h.bit = h.b[min(uint(len(h.b)), (h.bit+7)/8):], 0
	}
	return uint32(v), err
}

// begin reads the head of the next run or group.
func (h *hybrid) begin() error {
	head, n := binary.Uvarint(h.b)
	if n <= 0 {
		return errValues
	}
	h.b = h.b[n:]
	if head&1 == 1 {
		h.left, h.bit = head>>1*8, 0
		if h.left > math.MaxInt32 {
			return errValues
		}
		return nil
	}
	size := (h.width + 7) / 8
	if len(h.b) < size {
		return errValues
	}
	h.run, h.value = head>>1, 0
	for i, c := range h.b[:size] {
		h.value |= uint32(c) << (8 * i)
	}
	h.b = h.b[size:]
	return nil
}

// takeBits returns width bits of b from bit at on, the lowest first.
func takeBits(b []byte, at uint, width int) (v uint64, err error) {
	if end := at + uint(width); end > 8*uint(len(b)) {
		return 0, errValues
	}
	for got := 0; got < width; {
		c := uint64(b[at/8]) >> (at % 8)
		take := min(8-int(at%8), width-got)
		v |= c & (1<<take - 1) << got
		got += take
		at += uint(take)
	}
	return v, nil
}

// values returns the function that reads the n values of a data page one by one.
func (p *pages) values(encoding int32, b []byte, n int) (next func() ([]byte, error), err error) {
	switch {
	case p.c.typ == boolean:
		return booleans(encoding, b)
	case encoding == deltaNumbers && (p.c.typ == int32Col || p.c.typ == int64Col):
		return numbers(b, n)
	case p.c.typ != byteArray && (encoding == deltaLength || encoding == deltaPrefix):
		return nil, fmt.Errorf("numbers of the unknown encoding %d", encoding)
	}
	switch encoding {
	case plain:
		at := 0
		return func() ([]byte, error) {
			lo, hi, err := plainValue(b, at, p.c.typ)
			at = hi
			return b[lo:hi], err
		}, nil
	case plainDictionary, dictionary:
		if n == 0 {
			return nil, nil
		}
		if len(b) == 0 || b[0] > 32 {
			return nil, errors.New("an index of more than 32 bits")
		}
		index := hybrid{b: b[1:], width: int(b[0])}
		return func() ([]byte, error) {
			i, err := index.next()
			if err != nil {
				return nil, err
			}
			if uint64(i) >= uint64(len(p.words)) {
				return nil, fmt.Errorf("word %d of a dictionary of %d", i, len(p.words))
			}
			return p.dict[p.words[i].lo:p.words[i].hi], nil
		}, nil
	case deltaLength, deltaPrefix:
	default:
		return nil, fmt.Errorf("values of the unknown encoding %d", encoding)
	}
	var prefixes delta
	if encoding == deltaPrefix {
		if prefixes, b, err = newDelta(b, n); err != nil {
			return nil, err
		}
	}
	lengths, texts, err := newDelta(b, n)
	p.last = p.last[:0]
	return func() ([]byte, error) {
		n, err := lengths.next()
		if err != nil || n < 0 || n > int64(len(texts)) {
			return nil, cmp.Or(err, errValues)
		}
		text := texts[:n]
		texts = texts[n:]
		if encoding == deltaLength {
			return text, nil
		}
		n, err = prefixes.next()
		if err != nil || n < 0 || n > int64(len(p.last)) {
			return nil, cmp.Or(err, errValues)
		}
		p.last = append(p.last[:n], text...)
		return p.last, nil
	}, err
}

// booleans returns the function that reads booleans, each as a byte.
func booleans(encoding int32, b []byte) (next func() ([]byte, error), err error) {
	var value [1]byte
	switch encoding {
	case plain:
		at := uint(0)
		return func() ([]byte, error) {
			v, err := takeBits(b, at, 1)
			at++
			value[0] = byte(v)
			return value[:], err
		}, nil
	case levelsRLE:
		lo, hi, err := plainValue(b, 0, byteArray)
		if err != nil {
			return nil, err
		}
		runs := hybrid{b: b[lo:hi], width: 1}
		return func() ([]byte, error) {
			v, err := runs.next()
			value[0] = byte(v)
			return value[:], err
		}, nil
	}
	return nil, fmt.Errorf("booleans of the unknown encoding %d", encoding)
}

// numbers returns the function that reads n whole numbers that are written as differences.
func numbers(b []byte, n int) (next func() ([]byte, error), err error) {
	d, _, err := newDelta(b, n)
	var value [8]byte
	return func() ([]byte, error) {
		v, err := d.next()
		binary.LittleEndian.PutUint64(value[:], uint64(v))
		return value[:], err
	}, err
}
