package baseline

import (
	"errors"
	"io/fs"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

func seqs(s ...[]int32) iter.Seq[[]int32] { return slices.Values(s) }

// counted is seqs where every label counts.
func counted(s ...[]int32) iter.Seq2[[]int32, []bool] {
	return func(yield func([]int32, []bool) bool) {
		for _, seq := range s {
			if !yield(seq, nil) {
				return
			}
		}
	}
}

// By hand. Vocabulary {0,1,2}; the training sequences are 1 1 2 and 1, so of four labels c(1)=3, c(2)=1, T=2, and
//
//	P1(0) = (0 + 2/3)/6 = 1/9,  P1(1) = (3 + 2/3)/6 = 11/18,  P1(2) = (1 + 2/3)/6 = 5/18.
//
// At the start ^: 1 twice, T=1: P2(1|^) = (2 + 11/18)/3 = 47/54, P2(2|^) = (0 + 5/18)/3 = 5/54. After 1: 1 once, 2
// once, T=2 (the 1 that ends the second sequence is followed by nothing): P2(1|1) = (1 + 2·11/18)/4 = 5/9, P2(2|1) =
// (1 + 2·5/18)/4 = 7/18. After ^ 1: 1 once, T=1: P3(1|^1) = (1 + 5/9)/2 = 7/9, P3(2|^1) = (0 + 7/18)/2 = 7/36.
func TestByHand(t *testing.T) {
	m := Fit(3, 3, seqs([]int32{1, 1, 2}, []int32{1}, nil))
	if m.tokens != 4 || m.missed != 0 {
		t.Fatalf("counted %d labels, missed %d", m.tokens, m.missed)
	}
	for _, c := range []struct {
		seq  []int32
		want [3]float64 // probability of all labels, by order
	}{
		{[]int32{1}, [3]float64{11. / 18, 47. / 54, 47. / 54}},
		{[]int32{2}, [3]float64{5. / 18, 5. / 54, 5. / 54}},
		{[]int32{1, 1}, [3]float64{11. / 18 * 11 / 18, 47. / 54 * 5 / 9, 47. / 54 * 7 / 9}},
		{[]int32{1, 2}, [3]float64{11. / 18 * 5 / 18, 47. / 54 * 7 / 18, 47. / 54 * 7 / 36}},
		{[]int32{2, 0}, [3]float64{5. / 18 / 9, 5. / 54 / 9, 5. / 54 / 9}}, // nothing ever followed 2
		{nil, [3]float64{1, 1, 1}},
	} {
		r := m.Score(counted(c.seq))
		if r.Tokens != int64(len(c.seq)) {
			t.Errorf("%v: %d labels", c.seq, r.Tokens)
		}
		for k, p := range c.want {
			if got := math.Exp(-r.ByOrder[k]); math.Abs(got-p) > 1e-14 {
				t.Errorf("%v: order %d gives %v, want %v", c.seq, k+1, got, p)
			}
		}
		if r.Nats != r.ByOrder[2] {
			t.Errorf("%v: Nats is not that of the highest order", c.seq)
		}
	}
}

// A model is a distribution over the vocabulary after every context, also when
// its table is too small for what it was shown.
func TestSumsToOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const vocab = 11
	var train [][]int32
	for range 200 {
		s := make([]int32, rnd.IntN(40))
		for i := range s {
			s[i] = int32(rnd.IntN(rnd.IntN(vocab) + 1))
		}
		train = append(train, s)
	}
	for _, slots := range []int{64, 1024, tableSlots} {
		m := fit(5, vocab, slots, seqs(train...))
		if full := m.missed > 0; full != (slots < tableSlots) {
			t.Fatalf("%d slots: %d missed", slots, m.missed)
		}
		if m.grams.used > room(slots) {
			t.Fatalf("%d slots: %d in use", slots, m.grams.used)
		}
		for _, ctx := range [][]int32{nil, {0}, {3, 1, 0}, {10, 10}, {0, 0, 0, 0}, {1, 0, 2, 0, 1}} {
			var sum [5]float64
			base := m.Score(counted(ctx))
			for w := range int32(vocab) {
				r := m.Score(counted(append(slices.Clone(ctx), w)))
				for k := range sum {
					sum[k] += math.Exp(base.ByOrder[k] - r.ByOrder[k])
				}
			}
			for k, s := range sum {
				if math.Abs(s-1) > 1e-12 {
					t.Errorf("%d slots, context %v, order %d: probabilities sum to %v", slots, ctx, k+1, s)
				}
			}
		}
	}
}

// Counters that are full stop the count and keep the sum.
func TestFullCounter(t *testing.T) {
	m := fit(3, 2, 64, func(yield func([]int32) bool) {
		s := make([]int32, 1<<20)
		for range 5 { // 5 · 2²⁰ > 2²² - 1
			if !yield(s) {
				return
			}
		}
	})
	if m.missed == 0 {
		t.Fatal("no counter was full")
	}
	base := m.Score(counted([]int32{0, 0}))
	var sum float64
	for w := range int32(2) {
		sum += math.Exp(base.Nats - m.Score(counted([]int32{0, 0, w})).Nats)
	}
	if math.Abs(sum-1) > 1e-12 {
		t.Errorf("probabilities sum to %v", sum)
	}
}

// Labels that do not count are context: what is scored is the same as where all count, without them.
func TestScoreOnlyWhatCounts(t *testing.T) {
	text := []int32{0, 1, 2, 0, 1, 2, 1, 1}
	m := Fit(3, 3, seqs(text))
	all, last := m.Score(counted(text)), m.Score(counted(text[:7]))
	r := m.Score(func(yield func([]int32, []bool) bool) {
		yield(text, []bool{false, false, false, false, false, false, false, true})
	})
	if r.Tokens != 1 || math.Abs(r.Nats-(all.Nats-last.Nats)) > 1e-12 {
		t.Errorf("%d labels of %v nats, want 1 of %v", r.Tokens, r.Nats, all.Nats-last.Nats)
	}
}

func TestBestReportsTheLowest(t *testing.T) {
	text := []int32{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0}
	r := Best(4, 3, seqs(text), counted(text), nil)
	for k, l := range r.ByOrder {
		if l < r.Loss || k+1 == r.Order && l != r.Loss {
			t.Errorf("order %d has %v, reported order %d with %v", k+1, l, r.Order, r.Loss)
		}
	}
	if r.Unigram != r.ByOrder[0] || r.Order < 2 || r.Tokens != 13 || r.TrainTokens != 13 {
		t.Errorf("%+v", r)
	}
	if r := Best(2, 3, seqs(text), counted(), nil); !math.IsNaN(r.Loss) || r.Tokens != 0 {
		t.Errorf("no labels to score, and a loss of %v", r.Loss)
	}
}

func TestMisusePanics(t *testing.T) {
	for name, f := range map[string]func(){
		"order":   func() { Fit(0, 2, seqs()) },
		"vocab":   func() { Fit(1, 0, seqs()) },
		"token":   func() { Fit(1, 2, seqs([]int32{0, 2})) },
		"scoring": func() { Fit(1, 2, seqs()).Score(counted([]int32{0, -1})) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// The figures were measured by another implementation (a dictionary of counts,
// 65 symbols, first 90 % counted, last 10 % scored).
func TestTinyShakespeare(t *testing.T) {
	text, err := os.ReadFile("../../../shared/data/tinyshakespeare.txt")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the text is not beside this checkout: ../shared/data/tinyshakespeare.txt")
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[byte]int32)
	all := make([]int32, len(text))
	for i, c := range text {
		id, ok := ids[c]
		if !ok {
			id = int32(len(ids))
			ids[c] = id
		}
		all[i] = id
	}
	cut := len(all) * 9 / 10
	begin := time.Now()
	r := Best(6, len(ids), seqs(all[:cut]), counted(all[cut:]), nil)
	t.Logf("%.4f in %v", r.ByOrder, time.Since(begin).Round(time.Millisecond))
	for k, want := range []float64{3.347, 2.486, 2.049, 1.774, 1.669, 1.698} {
		if math.Abs(r.ByOrder[k]-want) > 0.005 {
			t.Errorf("order %d: %.4f nats, want %.3f", k+1, r.ByOrder[k], want)
		}
	}
	if r.Order != 5 {
		t.Errorf("best order %d", r.Order)
	}
	if m := Fit(6, len(ids), seqs(all[:cut])); m.missed != 0 {
		t.Errorf("missed %d", m.missed)
	}
}

// BenchmarkFit counts 4.5 million tokens of a vocabulary of 4,096 whose n-grams are
// about as varied as those of source text.
func BenchmarkFit(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s := make([]int32, 4_500_000)
	for i := range s {
		if i > 5000 && rnd.IntN(5) > 0 { // continue a phrase seen before
			s[i] = s[i-1-rnd.IntN(2)*997]
			continue
		}
		s[i] = int32(4095 * math.Pow(rnd.Float64(), 3))
	}
	for b.Loop() {
		m := Fit(5, 4096, seqs(s))
		b.ReportMetric(float64(m.grams.used), "n-grams")
		b.ReportMetric(float64(m.missed), "missed")
	}
}
