package shards

import (
	"slices"
	"testing"

	"gimbal/internal/testseed"
)

func TestLengths(t *testing.T) {
	r := testseed.Rand(t)
	for range 50 {
		var l lengths
		var all []int64
		for range r.IntN(60) {
			n := r.Int64N(100)
			if r.IntN(3) == 0 {
				n = shortLength - 2 + r.Int64N(5)
			}
			l.add(n)
			all = append(all, n)
		}
		slices.Sort(all)
		for i, got := range l.quantiles() {
			want := int64(0)
			if len(all) > 0 {
				want = all[int(lengthQuantiles[i]*float64(len(all)-1))]
			}
			if got != want {
				t.Fatalf("quantile %d of %v is %d, want %d", i, all, got, want)
			}
		}
	}
}
