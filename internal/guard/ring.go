package guard

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

const (
	ringSize = 128 // accepted values a window holds
	armedAt  = 64  // values before it judges
)

// ring is a window of finite numbers, oldest first. It is a value: assigning it copies it, and == compares contents.
type ring struct {
	n int
	v [ringSize]float64
}

// push adds a value, and drops the oldest if the window holds limit values. Panics on a number that is not finite.
func (r *ring) push(x float64, limit int) {
	if !finite(x) {
		panic("guard: a number that is not finite in a window")
	}
	if r.n == limit {
		copy(r.v[:limit], r.v[1:limit])
		r.n--
	}
	r.v[r.n] = x
	r.n++
}

func (r *ring) values() []float64 { return r.v[:r.n] }

// last returns the newest values, at most n.
func (r *ring) last(n int) []float64 { return r.v[max(0, r.n-n):r.n] }

func (r *ring) armed() bool { return r.n >= armedAt }

// MarshalJSON implements json.Marshaler: a list, oldest first.
func (r ring) MarshalJSON() ([]byte, error) { return json.Marshal(r.values()) }

// UnmarshalJSON implements json.Unmarshaler.
func (r *ring) UnmarshalJSON(data []byte) error {
	var v []float64
	if err := json.Unmarshal(data, &v); err != nil {
		return fmt.Errorf("guard: window: %w", err)
	}
	if len(v) > ringSize {
		return fmt.Errorf("guard: a window of %d values, more than %d", len(v), ringSize)
	}
	*r = ring{n: len(v)}
	copy(r.v[:], v)
	return nil
}

// median returns the median of v; NaN if v is empty or has a NaN. It reorders v.
func median(v []float64) float64 {
	n := len(v)
	switch {
	case n == 0 || slices.ContainsFunc(v, math.IsNaN):
		return math.NaN()
	case n%2 == 1:
		return quickselect(v, n/2)
	}
	upper := quickselect(v, n/2)
	return slices.Max(v[:n/2])/2 + upper/2 // halved first: the sum may overflow
}

// quickselect returns the value that would be v[k] if v were sorted, and puts no larger value before it. It takes a
// third of the time of sorting. Source: Hoare 1961, algorithm 65.
func quickselect(v []float64, k int) float64 {
	for lo, hi := 0, len(v)-1; lo < hi; {
		pivot, i, j := v[(lo+hi)/2], lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return v[k]
		}
	}
	return v[k]
}

// madScale makes the median absolute deviation of normal numbers their standard deviation.
const madScale = 1.4826

// windowMedian returns the median of at most ringSize values and leaves v unchanged.
func windowMedian(v []float64) float64 {
	var buf [ringSize]float64
	return median(buf[:copy(buf[:], v)])
}

// medianAndSpread returns the median of at most ringSize values and the spread around it, 1.4826·MAD.
func medianAndSpread(v []float64) (mid, spread float64) {
	var buf [ringSize]float64
	w := buf[:copy(buf[:], v)]
	mid = median(w)
	for i, x := range v {
		w[i] = math.Abs(x - mid)
	}
	return mid, madScale * median(w)
}

// fitLine fits a line to v at 0, 1, 2, … and returns its slope, its value at len(v), where the next value is expected,
// and the spread of v around it.
//
// The slope is the incomplete one of Theil 1950: the median of the slopes between values half a window apart. A quarter
// of the values may be arbitrary without moving it far. Products are rounded before they are added, so that every
// machine gets the same bits.
func fitLine(v []float64) (slope, next, spread float64) {
	var buf [ringSize]float64
	half := len(v) / 2
	w := buf[:half]
	for i := range w {
		w[i] = (v[i+half] - v[i]) / float64(half)
	}
	slope = median(w)
	w = buf[:len(v)]
	for i, x := range v {
		w[i] = x - float64(slope*float64(i))
	}
	base, spread := medianAndSpread(w)
	return slope, base + float64(slope*float64(len(v))), spread
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
