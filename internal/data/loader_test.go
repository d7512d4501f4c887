package data

import (
	"errors"
	"gimbal/internal/corpus"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func loader(t *testing.T, sp *Split, seed uint64, budget int) *Loader {
	t.Helper()
	l, err := NewLoader(sp, seed, budget)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type id struct {
	doc   Ref
	first int64
}

func TestLoader(t *testing.T) {
	r := random(t)
	for range 20 {
		context := 1 + r.IntN(20)
		budget := context + r.IntN(60)
		s := prepareTexts(t, append(randomTexts(r, 30, 60), strings.Repeat("z", budget)), PrepareOptions{})
		sp := s.All(context)
		seed := r.Uint64()
		l := loader(t, sp, seed, budget)

		// Three epochs in one go: what comes when, and that every epoch has every sequence once, in an order of its
		// own.
		n := sp.Sequences()
		var batches []*Batch
		var cursors []Cursor
		var orders [3][]id
		var cur Cursor
		for l.Epoch(cur) < 3 {
			var b Batch
			next := l.Next(&b, cur)
			if next.Batch != cur.Batch+1 || next.Seq != cur.Seq+int64(len(b.Spans)) || len(b.Spans) == 0 {
				t.Fatalf("cursor %v after %v with %d sequences", next, cur, len(b.Spans))
			}
			if len(b.Tokens) > budget {
				t.Fatalf("%d inputs, budget %d", len(b.Tokens), budget)
			}
			for k, s := range b.Spans {
				if e := l.Epoch(Cursor{Seq: cur.Seq + int64(k)}); e < 3 {
					orders[e] = append(orders[e], id{s.Doc, s.First})
				}
			}
			batches, cursors = append(batches, &b), append(cursors, cur)
			cur = next
		}
		for e, order := range orders {
			all := map[id]bool{}
			for _, x := range order {
				all[x] = true
			}
			if int64(len(all)) != n || int64(len(order)) != n {
				t.Fatalf("epoch %d: %d sequences, %d different, want %d", e, len(order), len(all), n)
			}
		}
		if n > 20 && (slices.Equal(orders[0], orders[1]) || slices.Equal(orders[1], orders[2])) {
			t.Error("two epochs have one order")
		}
		// A batch ends only where the next sequence does not fit.
		for k := range len(batches) - 1 {
			if len(batches[k].Tokens)+batches[k+1].Spans[0].Len <= budget {
				t.Fatalf("batch %d of %d inputs left out a sequence of %d, budget %d", k, len(batches[k].Tokens),
					batches[k+1].Spans[0].Len, budget)
			}
		}
		// Resuming anywhere, with a new loader and an old batch's memory, gives the same.
		var b Batch
		for range 10 {
			k := r.IntN(len(batches))
			l.Next(&b, cursors[r.IntN(len(cursors))])
			loader(t, s.All(context), seed, budget).Next(&b, cursors[k])
			b.bounds = nil
			if !reflect.DeepEqual(&b, batches[k]) {
				t.Fatalf("batch %d differs when resumed at %v", k, cursors[k])
			}
		}
		if other := loader(t, sp, seed+1, budget); n > 20 {
			other.Next(&b, Cursor{})
			if reflect.DeepEqual(b.Spans, batches[0].Spans) && len(b.Spans) > 5 {
				t.Error("another seed gives the same batch")
			}
		}
	}
}

func TestLoaderSkips(t *testing.T) {
	s := prepareTexts(t, []string{strings.Repeat("a", 64), strings.Repeat("b", 64)}, PrepareOptions{})
	sp := s.All(8)
	l := loader(t, sp, 1, 16)
	bad := id{s.index.Ref(1), 24}
	l.Skip = func(s Span) bool { return s.Doc == bad.doc && s.First == bad.first }
	seen := map[id]int{}
	var b Batch
	cur := Cursor{}
	for l.Epoch(cur) < 2 {
		cur = l.Next(&b, cur)
		for _, s := range b.Spans {
			seen[id{s.Doc, s.First}]++
		}
	}
	if seen[bad] != 0 || len(seen) != int(sp.Sequences())-1 {
		t.Errorf("%d of %d sequences seen, the skipped one %d times", len(seen), sp.Sequences(), seen[bad])
	}
	l.Skip = func(Span) bool { return true }
	if next := l.Next(&b, cur); len(b.Tokens) != 0 || b.Counted != 0 || next.Seq != cur.Seq+sp.Sequences() {
		t.Errorf("with everything skipped: %d inputs, cursor %v after %v", len(b.Tokens), next, cur)
	}
}

func TestLoaderAllocatesNothing(t *testing.T) {
	s := prepareTexts(t, []string{strings.Repeat("ab", 500), strings.Repeat("cd", 300)}, PrepareOptions{})
	l := loader(t, s.All(16), 1, 128)
	var b Batch
	var micro []Micro
	cur := Cursor{}
	step := func() {
		cur = l.Next(&b, cur)
		micro = SplitMicro(micro[:0], &b, 40)
	}
	for range 50 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func TestLoaderErrors(t *testing.T) {
	s := prepareTexts(t, []string{strings.Repeat("a", 99)}, PrepareOptions{})
	for _, c := range []struct {
		context, budget int
		want            []string
	}{
		{64, 63, []string{"train.batch_tokens is 63", "train.context 64", "at least 64"}},
		{64, 101, []string{"smaller than one batch", "100 labels", "101", "at most 100"}},
		{128, 8192, []string{"smaller than one batch", "100 labels",
			"lower train.context and train.batch_tokens to at most 100"}},
	} {
		_, err := NewLoader(s.All(c.context), 1, c.budget)
		if fault := new(corpus.Error); !errors.As(err, &fault) {
			t.Fatalf("%v: %v", c, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
	loader(t, s.All(64), 1, 100)
	if _, err := NewLoader(s.Val(64), 1, 100); err == nil || !strings.Contains(err.Error(), "0 labels") {
		t.Errorf("an empty split: %v", err)
	}
}

func TestSplitMicro(t *testing.T) {
	r := random(t)
	s := prepareTexts(t, append(randomTexts(r, 40, 50), strings.Repeat("z", 300)), PrepareOptions{})
	l := loader(t, s.All(16), 1, 200)
	var b Batch
	cur := Cursor{}
	for range 30 {
		cur = l.Next(&b, cur)
		ceiling := 16 + r.IntN(100)
		at, spans := 0, 0
		micros := SplitMicro(nil, &b, ceiling)
		for k, m := range micros {
			n := len(m.Tokens)
			if n == 0 || n > ceiling || len(m.Labels) != n || len(m.Counts) != n || len(m.Bounds) != len(m.Spans)+1 {
				t.Fatalf("micro %d: %d inputs under %d, %d spans, %d bounds", k, n, ceiling, len(m.Spans), len(m.Bounds))
			}
			if &m.Tokens[0] != &b.Tokens[at] || &m.Labels[0] != &b.Labels[at] || &m.Counts[0] != &b.Counts[at] {
				t.Fatalf("micro %d is no view at %d", k, at)
			}
			for i, s := range m.Spans {
				if int(m.Bounds[i]) != s.Start-at || int(m.Bounds[i+1]) != s.Start-at+s.Len || s != b.Spans[spans+i] {
					t.Fatalf("micro %d: span %d %v has bounds %v", k, i, s, m.Bounds)
				}
			}
			if k+1 < len(micros) && n+micros[k+1].Spans[0].Len <= ceiling {
				t.Fatalf("micro %d of %d inputs left out a sequence that fits %d", k, n, ceiling)
			}
			at, spans = at+n, spans+len(m.Spans)
		}
		if at != len(b.Tokens) || spans != len(b.Spans) {
			t.Fatalf("%d of %d inputs, %d of %d spans", at, len(b.Tokens), spans, len(b.Spans))
		}
	}
	if got := SplitMicro(nil, new(Batch), 1); len(got) != 0 {
		t.Errorf("an empty batch has %d micro-batches", len(got))
	}
	defer func() {
		if recover() == nil {
			t.Error("a sequence above the ceiling did not panic")
		}
	}()
	SplitMicro(nil, &b, 1)
}
