package device

import (
	"testing"

	"gimbal/internal/engine"
	"gimbal/internal/rng"
)

// input is sequences of the given lengths. Token i of all is i.
func input(lengths ...int) engine.Input {
	in := engine.Input{Bounds: []int32{0}, Scale: 1}
	for _, n := range lengths {
		for range n {
			i := int32(len(in.Tokens))
			in.Tokens, in.Labels, in.Counts = append(in.Tokens, i), append(in.Labels, i+1), append(in.Counts, i%3 != 0)
		}
		in.Bounds = append(in.Bounds, int32(len(in.Tokens)))
	}
	return in
}

// Sequences lie whole in the first row with room, and every position of theirs says what it said.
func TestPack(t *testing.T) {
	in := input(5, 6, 3, 2, 8, 1)
	in.Dropout = make([]rng.Key, 6)
	for s := range in.Dropout {
		in.Dropout[s] = rng.New(1, rng.Dropout).Sub(uint64(s))
	}
	r := packRows(in, 9, 0)
	if two := packRows(in, 9, 2); r.count != 3 || len(r.tokens) != 27 || two.places[5].at != 2*9+8 {
		t.Errorf("%d rows; with at most two sequences in each %+v", r.count, two.places)
	}
	r.grow(in, 4, 0)
	taken := 0
	for s, p := range r.places {
		if want := []int{0, 1, 0, 1, 2, 0}[s]; p.at/9 != want || p.lo != int(in.Bounds[s]) ||
			p.hi != int(in.Bounds[s+1]) {
			t.Errorf("sequence %d: %+v, want row %d", s, p, want)
		}
		for i := range p.hi - p.lo {
			at, from := p.at+i, p.lo+i
			taken++
			if r.tokens[at] != in.Tokens[from] || r.labels[at] != in.Labels[from] || r.positions[at] != int32(i) ||
				r.segments[at] != []int32{0, 0, 1, 1, 0, 2}[s] || (r.counts[at] == 1) != in.Counts[from] ||
				[4]uint32(r.keys[4*at:4*at+4]) != in.Dropout[s].Words() {
				t.Errorf("position %d of sequence %d differs", i, s)
			}
		}
	}
	for at, s := range r.segments {
		first := in.Tokens[0]
		if row := at / 9; row < 3 {
			first = r.tokens[row*9]
		}
		if s < 0 && (r.tokens[at] != first || r.counts[at] != 0) {
			t.Errorf("the empty place %d holds token %d", at, r.tokens[at])
		}
		if s < 0 {
			taken++
		}
	}
	if taken != len(r.segments) {
		t.Errorf("%d of %d places are taken or empty", taken, len(r.segments))
	}
	defer func() {
		if recover() == nil {
			t.Error("a sequence was cut")
		}
	}()
	packRows(in, 7, 0)
}
