package device

import (
	"unsafe"

	"gimbal/internal/engine"
)

// rows are the sequences of a pass in rows of a fixed length: whole, in their order, each in the first row that has
// room for it. An empty place has segment -1 and the first token of its row, or of the pass in an empty row: another
// token might have weights that are not finite.
type rows struct {
	length int
	count  int     // rows with a sequence
	places []place // of the sequences

	tokens, labels, segments, positions []int32 // (rows, length)
	counts, weights                     []float32
	keys                                []uint32 // (rows, length, 4) of dropout; nil: nothing is dropped
}

// place is where a sequence lies: position lo of the pass at position at, counted through all rows.
type place struct{ lo, hi, at int }

// packRows returns the rows of a pass, of at most the given number of sequences; 0: of any number. Panics if a
// sequence is longer than a row.
func packRows(in engine.Input, length, most int) *rows {
	r := &rows{length: length}
	var used, held []int // positions and sequences of each row
	for s := range len(in.Bounds) - 1 {
		lo, hi := int(in.Bounds[s]), int(in.Bounds[s+1])
		if hi-lo > length {
			panic("device: sequence longer than a row")
		}
		row := 0
		for row < len(used) && (used[row]+hi-lo > length || most > 0 && held[row] == most) {
			row++
		}
		if row == len(used) {
			used, held = append(used, 0), append(held, 0)
		}
		at := row*length + used[row]
		r.places = append(r.places, place{lo, hi, at})
		r.grow(in, row+1, lo)
		copy(r.tokens[at:], in.Tokens[lo:hi])
		copy(r.labels[at:], in.Labels[lo:hi])
		for i := range hi - lo {
			r.segments[at+i], r.positions[at+i] = int32(held[row]), int32(i)
			if in.Counts[lo+i] {
				r.counts[at+i] = 1
			}
			if in.Weights != nil {
				r.weights[at+i] = float32(in.Weights[lo+i])
			}
			if in.Dropout != nil {
				words := in.Dropout[s].Words()
				copy(r.keys[4*(at+i):], words[:])
			}
		}
		used[row] += hi - lo
		held[row]++
	}
	r.count = len(used)
	return r
}

// grow adds empty rows up to n, filled with the token at a position of the pass.
func (r *rows) grow(in engine.Input, n, position int) {
	for range n*r.length - len(r.tokens) {
		r.tokens, r.labels = append(r.tokens, in.Tokens[position]), append(r.labels, 0)
		r.segments, r.positions = append(r.segments, -1), append(r.positions, 0)
		r.counts, r.weights = append(r.counts, 0), append(r.weights, 0)
		if in.Dropout != nil {
			r.keys = append(r.keys, 0, 0, 0, 0)
		}
	}
}

// bytesOf are the bytes of s, whose memory they share.
func bytesOf[T int32 | uint32 | uint16 | float32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
