package nn

import "math"

// Scores says how attention makes the scores of queries, and which keys they see.
type Scores struct {
	Scale  float64 // of the products of queries and keys
	Cap    float64 // a score s becomes Cap·tanh(s/Cap); 0: it stays
	Window int     // keys that a query sees, its own and those before it; 0: all
}

// first is the first key that a query sees.
func (s Scores) first(query int) int {
	if s.Window == 0 {
		return 0
	}
	return max(0, query+1-s.Window)
}

// end is one more than the last of n queries that sees a key.
func (s Scores) end(key, n int) int {
	if s.Window == 0 {
		return n
	}
	return min(n, key+s.Window)
}

// softCap sets each x of row to limit·tanh(x/limit), unless limit is 0; what is not finite becomes NaN, so that it is
// seen. It is the same on every tier, in float64 and rounded.
//
// Source: Gemma Team 2024 (Gemma 2), arXiv:2408.00118, section 2.
func softCap[T float32 | float64](row []T, limit float64) {
	if limit == 0 {
		return
	}
	for i, x := range row {
		row[i] = T(limit*math.Tanh(float64(x)/limit)) + (x - x)
	}
}

// slope is the derivative of softCap where its result is y.
func slope(y, limit float64) float64 { return 1 - y/limit*(y/limit) }
