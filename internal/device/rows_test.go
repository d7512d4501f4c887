package device

import (
	"slices"
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
func TestRows(t *testing.T) {
	in := input(5, 6, 3, 2, 8, 1)
	in.Dropout = make([]rng.Key, 6)
	for s := range in.Dropout {
		in.Dropout[s] = rng.New(1, rng.Dropout).Sub(uint64(s))
	}
	for range 2 { // rows that were used before are as new ones
		r := newRows(3, 8)
		for s := range 5 {
			if !r.add(in, s, 7) {
				t.Fatalf("no room for sequence %d", s)
			}
		}
		wantRow := []int{0, 1, 0, 1, 2}
		for s, p := range r.places {
			if p.at/8 != wantRow[s] || p.pass != 7 || p.lo != int(in.Bounds[s]) || p.hi != int(in.Bounds[s+1]) {
				t.Errorf("sequence %d: %+v", s, p)
			}
			for i := range p.hi - p.lo {
				at, from := p.at+i, p.lo+i
				if r.tokens[at] != in.Tokens[from] || r.labels[at] != in.Labels[from] || r.segments[at] != int32(s) ||
					r.positions[at] != int32(i) || (r.counts[at] == 1) != in.Counts[from] || r.keys[at] != in.Dropout[s] {
					t.Errorf("position %d of sequence %d differs", i, s)
				}
			}
		}
		if r.add(in, 5, 8) || r.inUse() != 3 || !slices.Equal(r.used, []int{8, 8, 8}) {
			t.Errorf("used %v", r.used)
		}
		r.clear()
		if r.inUse() != 0 || slices.Contains(r.segments, 0) || slices.Contains(r.counts, 1) {
			t.Error("rows that were cleared hold something")
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a sequence was cut")
		}
	}()
	newRows(1, 7).add(in, 4, 0)
}

// Rows go to the devices in turn, and come back to their places.
func TestDeal(t *testing.T) {
	all := []int32{0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61, 70, 71}
	if got := deal(all, 2, 2, 1, 2); !slices.Equal(got, []int32{20, 21, 40, 41, 30, 31, 50, 51}) {
		t.Error(got)
	}
	for _, devices := range []int{1, 2, 4} {
		back := make([]int32, len(all))
		n := 8 / devices
		dealt := deal(all, 2, devices, 0, n)
		for d := range devices {
			collect(back, dealt[d*n*2:(d+1)*n*2], 2, devices, d, 0)
		}
		if !slices.Equal(back, all) {
			t.Errorf("%d devices: %v", devices, back)
		}
	}
}
