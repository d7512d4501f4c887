package faults

import (
	"slices"
	"testing"

	"gimbal/internal/data"
)

// A poisoned batch is the rarest token, at the places of the old one.
func TestPoison(t *testing.T) {
	x := text(t)
	counts := map[int32]int{}
	for ids := range x.Train.CountedLabels() {
		for _, id := range ids {
			counts[id]++
		}
	}
	s := set(t, x, newRecorder().info, "poison-batch@70")
	var clean, b data.Batch
	source(t, x)(70, &clean, data.Cursor{})
	s.Source(source(t, x))(70, &b, data.Cursor{})
	rarest := b.Tokens[0]
	for id, n := range counts {
		if n < counts[rarest] || n == counts[rarest] && id < rarest {
			t.Errorf("%d occurs %d times, the poison %d %d times", id, n, rarest, counts[rarest])
		}
	}
	for i := range b.Tokens {
		if b.Tokens[i] != rarest || b.Labels[i] != rarest {
			t.Fatalf("position %d is %d, then %d", i, b.Tokens[i], b.Labels[i])
		}
	}
	if !slices.Equal(b.Spans, clean.Spans) || !slices.Equal(b.Counts, clean.Counts) || b.Counted != clean.Counted {
		t.Error("something else changed")
	}
}

// A repeated paragraph comes again and again in every sequence, which still predicts what follows.
func TestRepeat(t *testing.T) {
	x := text(t)
	var unit, clean, b data.Batch
	x.Train.Read(&unit, 0)
	paragraph := unit.Labels[:min(paragraph, len(unit.Labels))]
	s := set(t, x, newRecorder().info, "repetition@1")
	source(t, x)(1, &clean, data.Cursor{})
	s.Source(source(t, x))(1, &b, data.Cursor{})
	for k, span := range b.Spans {
		for i := range span.Len {
			at := span.Start + i
			if b.Labels[at] != paragraph[(7*k+i)%len(paragraph)] || i > 0 && b.Tokens[at] != b.Labels[at-1] ||
				i == 0 && b.Tokens[at] != clean.Tokens[at] {
				t.Fatalf("sequence %d, position %d: %d, then %d", k, i, b.Tokens[at], b.Labels[at])
			}
		}
	}
	if !slices.Equal(b.Spans, clean.Spans) || !slices.Equal(b.Counts, clean.Counts) {
		t.Error("something else changed")
	}
}
