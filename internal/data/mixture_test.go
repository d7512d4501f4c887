package data

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"gimbal/internal/corpus"
)

// mixed prepares one JSONL file for each weight, in folders whose order is not that of their names, and texts of quite
// different lengths.
func mixed(t *testing.T, r *rand.Rand, weights []float64, opt PrepareOptions) *Set {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for g := range weights {
		texts := randomTexts(r, 30+r.IntN(200), 10+r.IntN(300))
		texts = append(texts, strings.Repeat("z", 40))
		paths = append(paths, filepath.Dir(jsonLines(t, dir, fmt.Sprintf("%c/a.jsonl", 'z'-g), texts)))
	}
	return prepare(t, discover(t, corpus.Options{Weights: weights}, paths...), nil, opt)
}

// TestMixture wants of every epoch the shares that the weights give, of every root each sequence once before any
// comes again, and the same batch at every cursor whoever asks.
func TestMixture(t *testing.T) {
	r := random(t)
	for range 12 {
		weights := []float64{1, 0.3, 4}[:2+r.IntN(2)]
		s := mixed(t, r, weights, PrepareOptions{ValFraction: 0.2})
		context := 8 + r.IntN(40)
		sp := s.Train(context)
		seed, n := r.Uint64(), sp.Sequences()
		l := loader(t, sp, seed, context)
		root := func(span Span) int { return s.roots[span.Doc.Source] }
		seen := map[id]int{}
		var b Batch
		labels := make([]int64, len(weights))
		epochs := int64(6)
		var at []Cursor
		var spans []Span
		for cur := (Cursor{}); cur.Seq < epochs*n; {
			at = append(at, cur)
			next := l.Next(&b, cur)
			for k, span := range b.Spans {
				if cur.Seq+int64(k) >= epochs*n {
					break
				}
				labels[root(span)] += int64(span.Len)
				seen[id{span.Doc, span.First}]++
				spans = append(spans, span)
			}
			cur = next
		}
		if int64(len(spans)) != epochs*n {
			t.Fatalf("%d sequences in %d epochs of %d", len(spans), epochs, n)
		}
		// Each root's sequences come as often as one another, but for the pass that is not done.
		least, most := make([]int, len(weights)), make([]int, len(weights))
		found := make([]int64, len(weights))
		for x, times := range seen {
			g := s.roots[x.doc.Source]
			if found[g]++; found[g] == 1 || times < least[g] {
				least[g] = times
			}
			most[g] = max(most[g], times)
		}
		m := l.mix
		for g := range weights {
			if found[g] < m.seqs[g] {
				least[g] = 0
			}
			if most[g]-least[g] > 1 {
				t.Fatalf("root %d: a sequence comes %d times, another %d", g, most[g], least[g])
			}
		}
		// Shares of tokens, over whole epochs, up to what one sequence of an epoch is worth.
		sum, total := 0.0, int64(0)
		for g, w := range weights {
			sum += w
			total += labels[g]
		}
		for g, w := range weights {
			got, want := float64(labels[g])/float64(total), w/sum
			if math.Abs(got-want) > 0.02+3/float64(n) {
				t.Errorf("root %d has %.3f of the labels, want %.3f (%v)", g, got, want, weights)
			}
		}
		shares, err := sp.Mixture()
		if err != nil {
			t.Fatal(err)
		}
		for g := range weights {
			if math.Abs(shares[g].Share-float64(labels[g])/float64(total)) > 0.02 ||
				math.Abs(shares[g].Passes*float64(m.seqs[g])*float64(epochs)-float64(countRoot(spans, root, g))) > 0.5 {
				t.Errorf("root %d: said to give %+v", g, shares[g])
			}
		}
		// Any cursor, any loader.
		for range 20 {
			cur := at[r.IntN(len(at))]
			var again, first Batch
			l.Next(&first, cur)
			loader(t, s.Train(context), seed, context).Next(&again, cur)
			if fmt.Sprint(first.Spans, first.Labels) != fmt.Sprint(again.Spans, again.Labels) {
				t.Fatalf("batch %d differs", cur.Batch)
			}
		}
	}
}

func countRoot(spans []Span, root func(Span) int, g int) (n int) {
	for _, s := range spans {
		if root(s) == g {
			n++
		}
	}
	return n
}

// TestMixtureShare has the corner cases of dividing an epoch: every root gets a sequence, and no more than there are.
func TestMixtureShare(t *testing.T) {
	for _, c := range []struct {
		weights      []float64
		seqs, labels []int64
		n            int64
		want         string
	}{
		{[]float64{1, 1}, []int64{10, 10}, []int64{100, 100}, 20, "[10 10]"},
		{[]float64{1, 1e-9}, []int64{10, 10}, []int64{100, 100}, 20, "[19 1]"},
		{[]float64{1, 1}, []int64{10, 10}, []int64{100, 900}, 20, "[17 3]"}, // nine times as long: fewer
		{[]float64{3, 2, 1}, []int64{1, 1, 1}, []int64{5, 5, 5}, 3, "[1 1 1]"},
		{[]float64{5}, []int64{7}, []int64{70}, 7, "[7]"},
	} {
		m := &mixture{seqs: c.seqs, labels: c.labels}
		m.share(c.weights, c.n)
		if got := fmt.Sprint(m.quota); got != c.want || m.ends[len(m.ends)-1] != c.n {
			t.Errorf("%v: %s, want %s", c.weights, got, c.want)
		}
	}
	// A root of which everything is held out.
	dir := t.TempDir()
	a, b := write(t, dir, "a.txt", strings.Repeat("a", 900)), write(t, dir, "b.txt", strings.Repeat("b", 50))
	s := prepare(t, discover(t, corpus.Options{Weights: []float64{1, 1}}, a, b), nil, PrepareOptions{ValFraction: 0.1})
	if _, err := NewLoader(s.Train(8), 1, 8); err == nil || !strings.Contains(err.Error(), "path 2") {
		t.Errorf("%v", err)
	}
}
