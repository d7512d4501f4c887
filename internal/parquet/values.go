package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

var errValues = errors.New("its values run out of the page")

// plainValue returns where the value lies that begins with its length at b[at].
func plainValue(b []byte, at int) (lo, hi int, err error) {
	if len(b)-at < 4 {
		return 0, 0, errValues
	}
	n := binary.LittleEndian.Uint32(b[at:])
	if lo = at + 4; uint64(n) > uint64(len(b)-lo) {
		return 0, 0, errValues
	}
	return lo, lo + int(n), nil
}

// cutLevels cuts the definition levels off the front of a data page.
func cutLevels(b []byte) (levels, rest []byte, err error) {
	lo, hi, err := plainValue(b, 0)
	if err != nil {
		return nil, nil, errors.New("levels longer than their page")
	}
	return b[lo:hi], b[hi:], nil
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

// next returns the next number.
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
	v, err := bits(h.b, h.bit, h.width)
	if err != nil {
		return 0, err
	}
	h.bit += uint(h.width)
	if h.left--; h.left == 0 {
		h.b, h.bit = h.b[min(uint(len(h.b)), (h.bit+7)/8):], 0
	}
	return uint32(v), nil
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

// count returns how many of the next n numbers are not zero, without taking them.
func (h hybrid) count(n int) (set int, err error) {
	for n > 0 {
		if h.run > 1 { // whole runs at once
			k := min(h.run, uint64(n))
			if h.value != 0 {
				set += int(k)
			}
			h.run -= k
			n -= int(k)
			continue
		}
		v, err := h.next()
		if err != nil {
			return 0, err
		}
		if v != 0 {
			set++
		}
		n--
	}
	return set, nil
}

// bits returns width bits of b from bit at on, the lowest first.
func bits(b []byte, at uint, width int) (v uint64, err error) {
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

// delta reads numbers as differences in blocks (DELTA_BINARY_PACKED).
type delta struct {
	b     []byte
	total uint64 // numbers in all
	block uint64 // numbers of a block, and of these in a miniblock
	mini  uint64
	read  uint64 // numbers given
	last  int64
	min   int64
	width []byte // bits of each miniblock to come of the block
	left  uint64 // numbers to come of the miniblock
	bit   uint
}

func newDelta(b []byte) (d delta, err error) {
	t := &thrift{b: b} // the same variable-length numbers
	d.block = t.uvarint()
	minis := t.uvarint()
	d.total = t.uvarint()
	d.last = t.int()
	d.b = t.b
	switch {
	case t.err != nil:
		return d, errValues
	case d.block == 0 || d.block > 1<<20 || d.block%128 != 0,
		minis == 0 || d.block%minis != 0 || d.block/minis%32 != 0:
		return d, fmt.Errorf("blocks of %d values in %d parts", d.block, minis)
	}
	d.mini = d.block / minis
	return d, nil
}

// next returns the next number.
func (d *delta) next() (int64, error) {
	if d.read == d.total {
		return 0, errValues
	}
	if d.read++; d.read == 1 {
		return d.last, nil
	}
	if d.left == 0 {
		if err := d.begin(); err != nil {
			return 0, err
		}
	}
	width := int(d.width[0])
	v, err := bits(d.b, d.bit, width)
	if err != nil {
		return 0, err
	}
	d.bit += uint(width)
	if d.left--; d.left == 0 {
		d.end()
	}
	d.last += d.min + int64(v)
	return d.last, nil
}

// begin opens the next miniblock.
func (d *delta) begin() error {
	if len(d.width) == 0 {
		t := &thrift{b: d.b}
		d.min = t.int()
		d.width = t.take(d.block / d.mini)
		if t.err != nil {
			return errValues
		}
		d.b = t.b
	}
	if d.width[0] > 64 {
		return fmt.Errorf("a number of %d bits", d.width[0])
	}
	d.left, d.bit = d.mini, 0
	return nil
}

// end passes over the rest of the miniblock.
func (d *delta) end() {
	n := d.mini * uint64(d.width[0]) / 8
	d.b, d.width, d.left = d.b[min(n, uint64(len(d.b))):], d.width[1:], 0
}

// rest returns what follows all the numbers.
func (d delta) rest() ([]byte, error) {
	for d.read < d.total {
		if _, err := d.next(); err != nil {
			return nil, err
		}
	}
	if d.left > 0 {
		d.end()
	}
	return d.b, nil
}

// values reads the values of a data page.
type values struct {
	encoding int32
	b        []byte // plain and delta: the bytes
	at       int
	dict     []byte
	words    []span
	index    hybrid // dictionary
	lengths  delta
	prefixes delta
	last     []byte
}

// reset begins a page of n values.
func (v *values) reset(encoding int32, b []byte, n int, dict []byte, words []span) (err error) {
	v.encoding, v.b, v.at, v.dict, v.words, v.last = encoding, b, 0, dict, words, v.last[:0]
	switch encoding {
	case plain:
		return nil
	case plainDictionary, dictionary:
		if n == 0 {
			return nil
		}
		if len(b) == 0 || b[0] > 32 {
			return errors.New("an index of more than 32 bits")
		}
		v.index = hybrid{b: b[1:], width: int(b[0])}
		return nil
	case deltaPrefix:
		if v.prefixes, err = newDelta(b); err != nil {
			return err
		}
		if v.prefixes.total != uint64(n) {
			return errValues
		}
		if b, err = v.prefixes.rest(); err != nil {
			return err
		}
	case deltaLength:
	default:
		return fmt.Errorf("values of the unknown encoding %d", encoding)
	}
	if v.lengths, err = newDelta(b); err != nil {
		return err
	}
	if v.lengths.total != uint64(n) {
		return errValues
	}
	v.b, err = v.lengths.rest()
	return err
}

// next returns the next value.
func (v *values) next() ([]byte, error) {
	switch v.encoding {
	case plain:
		lo, hi, err := plainValue(v.b, v.at)
		if err != nil {
			return nil, err
		}
		v.at = hi
		return v.b[lo:hi], nil
	case plainDictionary, dictionary:
		i, err := v.index.next()
		if err != nil {
			return nil, err
		}
		if uint64(i) >= uint64(len(v.words)) {
			return nil, fmt.Errorf("word %d of a dictionary of %d", i, len(v.words))
		}
		return v.dict[v.words[i].lo:v.words[i].hi], nil
	}
	n, err := v.lengths.next()
	if err != nil {
		return nil, err
	}
	if n < 0 || n > int64(len(v.b)-v.at) {
		return nil, errValues
	}
	text := v.b[v.at : v.at+int(n)]
	v.at += int(n)
	if v.encoding == deltaLength {
		return text, nil
	}
	prefix, err := v.prefixes.next()
	if err != nil {
		return nil, err
	}
	if prefix < 0 || prefix > int64(len(v.last)) {
		return nil, errValues
	}
	v.last = append(v.last[:prefix], text...)
	return v.last, nil
}
