package parquet

import (
	"fmt"
)

// delta reads numbers as differences in blocks (DELTA_BINARY_PACKED).
type delta struct {
	b     []byte
	minis uint64 // miniblocks of a block
	mini  uint64 // numbers of a miniblock
	begun bool   // the first number, which stands in the head, has been given
	last  int64
	min   int64
	width []byte // bits of each miniblock to come of the block
	left  uint64 // numbers to come of the miniblock
	bit   uint
}

// newDelta reads the head of n numbers, and returns what follows the last of them. next may be called n times.
func newDelta(b []byte, n int) (d delta, rest []byte, err error) {
	t := &thrift{b: b} // the same variable-length numbers
	block, minis, total := t.uvarint(), t.uvarint(), t.uvarint()
	d.last, d.b = t.int(), t.b
	switch {
	case t.err != nil:
		return d, nil, errValues
	case block == 0 || block > 1<<20 || block%128 != 0, minis == 0 || block%minis != 0 || block/minis%32 != 0:
		return d, nil, fmt.Errorf("blocks of %d values in %d parts", block, minis)
	case total != uint64(n):
		return d, nil, errValues
	}
	d.minis, d.mini = minis, block/minis
	all := d
	for range n {
		if _, err := all.next(); err != nil {
			return d, nil, err
		}
	}
	if all.left > 0 {
		all.end()
	}
	return d, all.b, nil
}

func (d *delta) next() (int64, error) {
	if !d.begun {
		d.begun = true
		return d.last, nil
	}
	if d.left == 0 {
		if err := d.begin(); err != nil {
			return 0, err
		}
	}
	width := int(d.width[0])
	v, err := takeBits(d.b, d.bit, width)
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

func (d *delta) begin() error {
	if len(d.width) == 0 {
		t := &thrift{b: d.b}
		d.min, d.width = t.int(), t.take(d.minis)
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
