package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"
)

// round is a part of the study. Each halves what the one before has left.
type round struct {
	corpora []string
	seeds   int
	budget  time.Duration
	peers   bool // other programs, and not Gimbal
	keep    int  // candidates, the best of the round before; 0: all
	before  string
}

var (
	allCorpora = []string{"go", "shakespeare", "poems"}

	rounds = map[string]round{
		"first":  {corpora: allCorpora[:1], seeds: 1, budget: short},
		"second": {corpora: allCorpora, seeds: 3, budget: short, keep: 3, before: "first"},
		"last":   {corpora: allCorpora, seeds: 1, budget: long, keep: 2, before: "second"},
		"peers":  {corpora: allCorpora, seeds: 1, budget: short, peers: true},
	}
)

const (
	short = 150 * time.Second
	long  = 10 * time.Minute
)

func (r *round) override(corpora string, seeds int, budget time.Duration) {
	if corpora != "" {
		r.corpora = strings.Split(corpora, ",")
	}
	r.seeds, r.budget = cmp.Or(seeds, r.seeds), cmp.Or(budget, r.budget)
}

// choose returns the candidates of a round: all, or those that the round before ranks first. The default learner is
// always among them, so that there is something to compare with.
func (r round) choose(s *store, build string) []candidate {
	all := matching(candidates(), nil, r.peers)
	if r.keep == 0 {
		return all
	}
	before := rounds[r.before]
	type ranked struct {
		candidate
		bits float64
	}
	var list []ranked
	for _, c := range all {
		if bits, ok := s.mean(c, build, before); ok {
			list = append(list, ranked{c, bits})
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int { return cmp.Compare(a.bits, b.bits) })
	chosen := []candidate{}
	for _, c := range list[:min(r.keep, len(list))] {
		chosen = append(chosen, c.candidate)
	}
	if r.keep > 2 && !slices.Contains(chosen, learners[0]) {
		chosen = append(chosen, learners[0])
	}
	return chosen
}

// mean is the bits per byte of a candidate over all runs of a round, which must be there.
func (s *store) mean(c candidate, build string, r round) (float64, bool) {
	sum, n := 0.0, 0
	for _, name := range r.corpora {
		t, err := findText(name)
		if err != nil {
			return 0, false
		}
		for seed := 1; seed <= r.seeds; seed++ {
			j := job{candidate: c, build: build, corpus: folder{text: t}, seed: seed, budget: r.budget}
			o, ok := s.Runs[j.key()]
			if !ok || o.Stopped != "" {
				return 0, false
			}
			sum, n = sum+o.Bits, n+1
		}
	}
	return sum / float64(n), n > 0
}

// matching are the candidates of Gimbal or of peers whose name matches; nil matches all.
func matching(all []candidate, only *regexp.Regexp, peers bool) (list []candidate) {
	for _, c := range all {
		if (c.peer != "") == peers && (only == nil || only.MatchString(c.name)) {
			list = append(list, c)
		}
	}
	return list
}
