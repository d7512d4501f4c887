package generate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gimbal/internal/rng"
)

// The frequencies of 200,000 draws against the probabilities, by a chi-square test at a fixed seed.
func TestDrawFollowsTheDistribution(t *testing.T) {
	logits := []float32{0.5, -1, 2, 2, float32(math.Inf(-1)), 0.25, -3, 1.5}
	const draws, seed = 200_000, 1
	for _, c := range []struct {
		topK        int
		temperature float64
		kept        []int32
	}{
		{0, 1, []int32{0, 1, 2, 3, 5, 6, 7}},
		{0, 0.8, []int32{0, 1, 2, 3, 5, 6, 7}},
		{3, 0.8, []int32{2, 3, 7}},
		{1, 2, []int32{2}}, // 2 and 3 tie: the lower id stays
		{50, 1.7, []int32{0, 1, 2, 3, 5, 6, 7}},
	} {
		want := make([]float64, len(logits))
		sum := 0.0
		for _, id := range c.kept {
			want[id] = math.Exp(float64(logits[id]) / c.temperature)
			sum += want[id]
		}
		s := &sampler{topK: c.topK, temperature: c.temperature}
		key := rng.New(seed, rng.Sample)
		got := make([]float64, len(logits))
		for i := range uint64(draws) {
			id, ok := s.draw(logits, key.Float64(i))
			if !ok {
				t.Fatal("no token")
			}
			got[id]++
		}
		chi := 0.0
		for id := range want {
			expected := want[id] / sum * draws
			if expected == 0 {
				if got[id] != 0 {
					t.Errorf("top %d: token %d was drawn %v times", c.topK, id, got[id])
				}
				continue
			}
			chi += (got[id] - expected) * (got[id] - expected) / expected
		}
		if chi > 22.46 { // 99.9 % of chi-square with 6 degrees of freedom
			t.Errorf("top %d, temperature %v: chi-square %.1f", c.topK, c.temperature, chi)
		}
	}
}

// The kept set is the k first of a full sort by (logit descending, id ascending).
func TestTopKIsExact(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		logits := make([]float32, 1+rnd.IntN(60))
		for i := range logits {
			logits[i] = float32(rnd.IntN(8)) // many ties
		}
		k := 1 + rnd.IntN(len(logits))
		ids := make([]int32, len(logits))
		for i := range ids {
			ids[i] = int32(i)
		}
		slices.SortStableFunc(ids, func(a, b int32) int { return int(logits[b]) - int(logits[a]) })
		want := slices.Clone(ids[:k])
		slices.Sort(want)
		s := &sampler{topK: k, temperature: 1}
		s.keep(logits)
		var got []int32
		for _, c := range s.kept {
			got = append(got, c.id)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("top %d of %v: %v, want %v", k, logits, got, want)
		}
	}
}

func TestDrawAtTheEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	s := &sampler{topK: 0, temperature: 1}
	below1 := math.Nextafter(1, 0)
	for _, c := range []struct {
		logits []float32
		u      float64
		want   int32
		ok     bool
	}{
		{[]float32{0, 0}, 0, 0, true},
		{[]float32{0, 0}, 0.5, 1, true},
		{[]float32{0, 0}, below1, 1, true},
		{[]float32{0, -inf}, below1, 0, true}, // probability 0 is never drawn
		{[]float32{-inf, 0}, 0, 1, true},
		{[]float32{0, -2000}, below1, 0, true}, // nor what underflows to it
		{[]float32{1e30, 0, -1e30}, 0.5, 0, true},
		{[]float32{0, nan}, 0.5, 0, false},
		{[]float32{0, inf}, 0.5, 0, false},
		{[]float32{-inf, -inf}, 0.5, 0, false},
		{nil, 0.5, 0, false},
	} {
		if got, ok := s.draw(c.logits, c.u); got != c.want || ok != c.ok {
			t.Errorf("%v at %v: %d %v, want %d %v", c.logits, c.u, got, ok, c.want, c.ok)
		}
	}
	greedy := &sampler{topK: 50, temperature: 0}
	if got, ok := greedy.draw([]float32{1, 3, 3, 2}, below1); got != 1 || !ok {
		t.Errorf("greedy took %d", got)
	}
}

// What top-p and min-p leave of a distribution, and what a penalty makes of logits.
func TestThin(t *testing.T) {
	logits := []float32{1, 3, 2, 0, -1} // probabilities 0.086, 0.636, 0.234, 0.032, 0.012
	for _, c := range []struct {
		topP, minP float64
		left       []int32
	}{
		{0, 0, []int32{0, 1, 2, 3, 4}}, {0.6, 0, []int32{1}}, {0.65, 0, []int32{1, 2}}, {0.9, 0, []int32{0, 1, 2}},
		{1, 0, []int32{0, 1, 2, 3, 4}}, {0, 0.1, []int32{0, 1, 2}}, {0, 0.3, []int32{1, 2}}, {0.65, 0.4, []int32{1}},
	} {
		s := &sampler{temperature: 1, topP: c.topP, minP: c.minP}
		drawn := map[int32]bool{}
		for i := range 5000 {
			id, ok := s.draw(logits, float64(i)/5000)
			if !ok {
				t.Fatal("nothing was drawn")
			}
			drawn[id] = true
		}
		for id := range int32(5) {
			if drawn[id] != slices.Contains(c.left, id) {
				t.Errorf("top-p %v, min-p %v: drawn %v, want %v", c.topP, c.minP, drawn, c.left)
				break
			}
		}
	}
	got := slices.Clone(logits)
	penalize(got, map[int32]bool{1: true, 4: true, 3: true}, 2)
	if want := []float32{1, 1.5, 2, 0, -2}; !slices.Equal(got, want) {
		t.Errorf("penalized: %v, want %v", got, want)
	}
}
