package device

import (
	"unsafe"

	"gimbal/internal/engine"
)

// rows are the sequences of a pass in rows of a fixed length: whole, in their order, each in the first row that has room
// for it. The devices take the rows in turn, so that few rows are few on each.
type rows struct {
	length int
	used   []int // positions of each row
	places []place

	tokens, labels, segments, positions []int32 // (rows, length)
	counts                              []float32
	keys                                []uint32 // (rows, length, 4) of dropout; nil: nothing is dropped
}

// place is where a sequence lies: position lo of the pass at position at, counted through all rows.
type place struct{ lo, hi, at int }

// packRows returns the rows of a pass, of at most the given number of sequences; 0: of any number. Panics if a sequence is
// longer than a row.
func packRows(in engine.Input, length, most int) *rows {
	r := &rows{length: length}
	var held []int // sequences of each row
	for s := range len(in.Bounds) - 1 {
		lo, hi := int(in.Bounds[s]), int(in.Bounds[s+1])
		n := hi - lo
		if n > length {
			panic("device: sequence longer than a row")
		}
		row := 0
		for row < len(r.used) && (r.used[row]+n > length || most > 0 && held[row] == most) {
			row++
		}
		if row == len(r.used) {
			r.used, held = append(r.used, 0), append(held, 0)
		}
		r.places = append(r.places, place{lo, hi, row*length + r.used[row]})
		r.used[row] += n
		held[row]++
	}
	r.fill(in)
	return r
}

// fill writes the sequences to their places. An empty place has segment -1 and the first token of its row.
func (r *rows) fill(in engine.Input) {
	r.grow(len(r.used), in)
	next := make([]int32, len(r.used))
	for s, p := range r.places {
		row := p.at / r.length
		if p.at%r.length == 0 && p.hi > p.lo {
			for i := range r.length {
				r.tokens[p.at+i] = in.Tokens[p.lo]
			}
		}
		copy(r.tokens[p.at:], in.Tokens[p.lo:p.hi])
		copy(r.labels[p.at:], in.Labels[p.lo:p.hi])
		for i := range p.hi - p.lo {
			at := p.at + i
			r.segments[at], r.positions[at] = next[row], int32(i)
			if in.Counts[p.lo+i] {
				r.counts[at] = 1
			}
			if in.Dropout != nil {
				words := in.Dropout[s].Words()
				copy(r.keys[4*at:], words[:])
			}
		}
		next[row]++
	}
}

// grow adds empty rows up to n. They hold a token of the pass: that of another row could be one without finite weights.
func (r *rows) grow(n int, in engine.Input) {
	more := n*r.length - len(r.tokens)
	if more <= 0 {
		return
	}
	token := int32(0)
	if len(in.Tokens) > 0 {
		token = in.Tokens[0]
	}
	for range more {
		r.tokens, r.segments = append(r.tokens, token), append(r.segments, -1)
	}
	r.labels, r.positions = append(r.labels, make([]int32, more)...), append(r.positions, make([]int32, more)...)
	r.counts = append(r.counts, make([]float32, more)...)
	if in.Dropout != nil {
		r.keys = append(r.keys, make([]uint32, 4*more)...)
	}
}

// deal returns n rows for each of the devices, a part after the other, from row first of each part on. Row i of all is
// row i/devices of part i%devices.
func deal[T any](all []T, length, devices, first, n int) []T {
	if devices == 1 {
		return all[first*length : (first+n)*length]
	}
	dealt := make([]T, 0, devices*n*length)
	for d := range devices {
		for i := first; i < first+n; i++ {
			at := (i*devices + d) * length
			dealt = append(dealt, all[at:at+length]...)
		}
	}
	return dealt
}

// collect puts a part that deal dealt to device d back to its rows of all.
func collect[T any](all, part []T, length, devices, d, first int) {
	for i := range len(part) / length {
		copy(all[((first+i)*devices+d)*length:], part[i*length:(i+1)*length])
	}
}

// bytesOf are the bytes of s, whose memory they share.
func bytesOf[T int32 | uint32 | float32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
