package bpe

import (
	"slices"
	"testing"

	"gimbal/internal/testseed"
)

// naive merges by the definition: again and again the merge of lowest rank, the leftmost of equals.
func naive(merges []Merge, ids []int32) []int32 {
	ids = slices.Clone(ids)
	for _, m := range merges {
		for i := 0; i+1 < len(ids); i++ {
			if ids[i] == m.A && ids[i+1] == m.B {
				ids[i] = m.ID
				ids = slices.Delete(ids, i+1, i+2)
				return naive(merges, ids)
			}
		}
	}
	return ids
}

// TestMerge compares both ways of merging with the definition, with tokens on both sides of the near ones.
func TestMerge(t *testing.T) {
	r := testseed.Rand(t)
	for range 300 {
		base := int32(r.IntN(2) * 252) // the tokens of the text are base to base+3
		var merges []Merge
		seen := map[uint64]bool{}
		for id := base + 4; id < base+20; id++ {
			m := Merge{base + int32(r.IntN(int(id-base))), base + int32(r.IntN(int(id-base))), id}
			if !seen[PairKey(m.A, m.B)] {
				seen[PairKey(m.A, m.B)] = true
				merges = append(merges, m)
			}
		}
		table := NewTable(merges)
		for range 20 {
			ids := make([]int32, r.IntN(shortWord+1))
			for i := range ids {
				ids[i] = base + int32(r.IntN(4))
			}
			want := naive(merges, ids)
			if got := table.Merge(slices.Clone(ids), new(Word)); !slices.Equal(got, want) {
				t.Fatalf("%v by %v: %v, want %v", ids, merges, got, want)
			}
			if got := table.mergeLong(slices.Clone(ids), new(Word)); !slices.Equal(got, want) {
				t.Fatalf("%v by %v with a heap: %v, want %v", ids, merges, got, want)
			}
		}
	}
}
