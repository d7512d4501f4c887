package shards

import "math/bits"

// Mask says which tokens count, one bit each; nil: all do.
type Mask []byte

// At reports whether a token counts.
func (m Mask) At(i int64) bool { return m == nil || m[i>>3]>>(i&7)&1 == 1 }

// Count returns how many of the tokens [lo, hi) count.
func (m Mask) Count(lo, hi int64) (n int64) {
	if m == nil {
		return hi - lo
	}
	for ; lo < hi && lo&7 != 0; lo++ {
		n += int64(m[lo>>3] >> (lo & 7) & 1)
	}
	for ; hi-lo >= 8; lo += 8 {
		n += int64(bits.OnesCount8(m[lo>>3]))
	}
	for ; lo < hi; lo++ {
		n += int64(m[lo>>3] >> (lo & 7) & 1)
	}
	return n
}

// Runs returns how many runs of tokens that count lie in [lo, hi), wholly or in part.
func (m Mask) Runs(lo, hi int64) (n int64) {
	if m == nil {
		return min(1, hi-lo)
	}
	before := byte(0) // whether the token before counts
	for ; lo < hi && lo&7 != 0; lo++ {
		bit := m[lo>>3] >> (lo & 7) & 1
		n += int64(bit &^ before)
		before = bit
	}
	for ; hi-lo >= 8; lo += 8 {
		b := m[lo>>3]
		n += int64(bits.OnesCount8(b &^ (b<<1 | before)))
		before = b >> 7
	}
	for ; lo < hi; lo++ {
		bit := m[lo>>3] >> (lo & 7) & 1
		n += int64(bit &^ before)
		before = bit
	}
	return n
}

// maskWriter writes the mask. It makes the file at the first token that does not count, because most corpora have none.
type maskWriter struct {
	f   *fileWriter
	n   int64 // tokens so far
	bit byte  // the byte that is being filled
}

// add appends n tokens; create makes the file.
func (w *maskWriter) add(n int64, counts bool, create func(name string) (*fileWriter, error)) (err error) {
	if w.f == nil && counts {
		w.n += n
		return nil
	}
	if w.f == nil {
		if w.f, err = create(countsFile); err != nil {
			return err
		}
		before := w.n
		w.n = 0
		if err = w.put(before, true); err != nil {
			return err
		}
	}
	return w.put(n, counts)
}

func (w *maskWriter) put(n int64, counts bool) error {
	var fill byte
	if counts {
		fill = 0xFF
	}
	for n > 0 {
		at := w.n & 7
		take := min(8-at, n)
		w.bit |= fill & (1<<take - 1) << at
		w.n += take
		n -= take
		if w.n&7 == 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *maskWriter) flush() error {
	if err := w.f.room(1); err != nil {
		return err
	}
	w.f.buf = append(w.f.buf, w.bit)
	w.bit = 0
	return nil
}

// finish writes the last byte, with zeros after the last token.
func (w *maskWriter) finish() error {
	if w.f == nil || w.n&7 == 0 {
		return nil
	}
	return w.flush()
}
