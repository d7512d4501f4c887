package guard

import (
	"math"
	"slices"
	"testing"
)

func TestPreferences(t *testing.T) {
	step := func(correct, chosen, other float64) PairSums {
		return PairSums{Pairs: 16, Correct: 16 * correct, Ratio: [2]float64{chosen * 1600, other * 1600},
			Tokens: [2]int64{1600, 1600}}
	}
	for name, c := range map[string]struct {
		at    func(i int) PairSums
		again bool
		want  []string
	}{
		"as people's":  {func(i int) PairSums { return step(0.5+0.3*float64(i)/99, 0.01, -0.2) }, false, nil},
		"leaks":        {func(int) PairSums { return step(1, 0.1, -0.2) }, false, []string{CodePairsEasy}},
		"by heart":     {func(int) PairSums { return step(1, 0.1, -0.2) }, true, nil},
		"learned late": {func(i int) PairSums { return step(math.Min(1, 0.5+float64(i)/64), 0.1, -0.2) }, false, nil},
		"both fall": {func(i int) PairSums { return step(0.7, -0.004*float64(i), -0.01*float64(i)) }, false,
			[]string{CodeChosenFalls}},
		"one falls":     {func(i int) PairSums { return step(0.7, 0, -0.01*float64(i)) }, false, nil},
		"not a number":  {func(int) PairSums { return step(1, math.NaN(), 0) }, false, nil},
		"wrong way":     {func(i int) PairSums { return step(0.3, -0.01*float64(i), 0) }, false, nil},
		"nothing to do": {func(int) PairSums { return PairSums{} }, false, nil},
	} {
		var s Preferences
		var got []string
		for i := range 100 {
			before := s
			next, events := NextPreferences(s, int64(i+1), c.at(i), c.again)
			if s != before {
				t.Fatal("the state that was passed in has changed")
			}
			s = next
			for _, e := range events {
				got = append(got, e.Code)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	var s Preferences
	for i, c := range []struct {
		before, now float64
		told        bool
	}{{100, 149, false}, {0, 200, false}, {100, 151, true}, {100, 300, false}} {
		next, events := NextLength(s, 1, c.before, c.now)
		if s = next; (len(events) > 0) != c.told {
			t.Errorf("length %d: %v", i, events)
		}
	}
}
