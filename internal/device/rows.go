package device

import (
	"unsafe"

	"gimbal/internal/engine"
	"gimbal/internal/rng"
)

// place is where a sequence of a pass lies in rows.
type place struct {
	pass   int
	lo, hi int // positions of the pass
	at     int // where the first of them lies, counted through all rows
}

// rows are sequences in rows of a fixed length: whole, in their order, each in the first row that has room for it. The
// devices take the rows in turn, so that few rows are few on each.
type rows struct {
	count, length int
	used          []int // positions of each row
	places        []place

	tokens, labels, segments, positions []int32 // (count, length)
	counts                              []float32
	keys                                []rng.Key
}

// newRows returns count empty rows. A position that no sequence takes has segment -1.
func newRows(count, length int) *rows {
	n := count * length
	r := &rows{count: count, length: length, used: make([]int, count), tokens: make([]int32, n),
		labels: make([]int32, n), segments: make([]int32, n), positions: make([]int32, n),
		counts: make([]float32, n), keys: make([]rng.Key, n)}
	r.clear()
	return r
}

func (r *rows) clear() {
	r.places = nil // those of a run stay with it
	clear(r.used)
	clear(r.tokens)
	clear(r.labels)
	for i := range r.segments {
		r.segments[i] = -1
	}
	clear(r.positions)
	clear(r.counts)
	clear(r.keys)
}

// add takes sequence s of a pass and reports whether there was room for it. Panics if it is longer than a row.
func (r *rows) add(in engine.Input, s, pass int) bool {
	lo, hi := int(in.Bounds[s]), int(in.Bounds[s+1])
	if hi-lo > r.length {
		panic("device: sequence longer than a row")
	}
	row := 0
	for row < r.count && r.used[row]+hi-lo > r.length {
		row++
	}
	if row == r.count {
		return false
	}
	at := row*r.length + r.used[row]
	copy(r.tokens[at:], in.Tokens[lo:hi])
	copy(r.labels[at:], in.Labels[lo:hi])
	for i := range hi - lo {
		r.segments[at+i], r.positions[at+i] = int32(len(r.places)), int32(i)
		if in.Counts[lo+i] {
			r.counts[at+i] = 1
		}
		if in.Dropout != nil {
			r.keys[at+i] = in.Dropout[s]
		}
	}
	r.used[row] += hi - lo
	r.places = append(r.places, place{pass, lo, hi, at})
	return true
}

// inUse is the number of rows that hold a sequence. They are the first ones.
func (r *rows) inUse() int {
	n := 0
	for n < r.count && r.used[n] > 0 {
		n++
	}
	return n
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
func bytesOf[T int32 | uint32 | uint64 | float32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
