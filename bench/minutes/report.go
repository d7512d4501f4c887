package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// row is a candidate in a table: its runs of all seeds.
type row struct {
	outcome           // of the first seed
	bits    []float64 // of each, sorted
}

// median of an even number is the mean of the two in the middle.
func (r row) median() float64 {
	n := len(r.bits)
	return (r.bits[(n-1)/2] + r.bits[n/2]) / 2
}

// report prints a table for each budget and corpus, the best first.
func (s *store) report(w io.Writer) error {
	type group struct {
		budget time.Duration
		corpus string
	}
	tables := map[group]map[string]*row{}
	for _, key := range slices.Sorted(maps.Keys(s.Runs)) {
		o := s.Runs[key]
		if o.Stopped != "" {
			continue
		}
		g := group{o.Budget, o.Corpus}
		if tables[g] == nil {
			tables[g] = map[string]*row{}
		}
		name := o.Candidate + " | " + o.Build
		if tables[g][name] == nil {
			tables[g][name] = &row{outcome: o}
		}
		r := tables[g][name]
		r.bits = append(r.bits, o.Bits)
	}
	groups := slices.SortedFunc(maps.Keys(tables), func(a, b group) int {
		at := func(g group) int { return slices.Index(allCorpora, g.corpus) }
		return cmp.Or(cmp.Compare(a.budget, b.budget), cmp.Compare(at(a), at(b)))
	})
	for _, g := range groups {
		rows := slices.Collect(maps.Values(tables[g]))
		for _, r := range rows {
			slices.Sort(r.bits)
		}
		slices.SortFunc(rows, func(a, b *row) int {
			return cmp.Or(cmp.Compare(a.median(), b.median()), cmp.Compare(a.Candidate, b.Candidate))
		})
		if err := writeTable(w, fmt.Sprintf("%s, %s", g.corpus, g.budget), rows); err != nil {
			return err
		}
	}
	return s.stopped(w)
}

// writeTable prints rows. A peer is compared with the n-grams of the default learner, whose tokens it reads.
func writeTable(w io.Writer, title string, rows []*row) error {
	var usual *baseline
	for _, r := range rows {
		if r.Candidate == learners[0].name || usual == nil {
			usual = cmp.Or(r.Baseline, usual)
		}
	}
	fmt.Fprintf(w, "### %s\n\n| learner | build | parameters | steps | tokens | CPU ms/step | bits per byte | spread "+
		"| seeds | n-grams | against n-grams |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", title)
	for _, r := range rows {
		grams, against, below := cmp.Or(r.Baseline, usual), "", ""
		if grams != nil {
			against, below = fmt.Sprintf("%.3f", grams.Bits), fmt.Sprintf("%+.3f", r.median()-grams.Bits)
		}
		spread := ""
		if n := len(r.bits); n > 1 {
			spread = fmt.Sprintf("%.4f", r.bits[n-1]-r.bits[0])
		}
		if _, err := fmt.Fprintf(w, "| %s | %s | %.2fM | %d | %.2fM | %.1f | %.4f | %s | %d | %s | %s |\n", r.Candidate,
			r.Build, float64(r.Parameters)/1e6, r.Steps, float64(r.Tokens)/1e6, 1e3*r.StepCost, r.median(), spread,
			len(r.bits), against, below); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// stopped lists the runs that have no result.
func (s *store) stopped(w io.Writer) error {
	for _, key := range slices.Sorted(maps.Keys(s.Runs)) {
		if o := s.Runs[key]; o.Stopped != "" {
			if _, err := fmt.Fprintf(w, "- %s on %s, %s, seed %d was stopped %s\n", o.Candidate, o.Corpus, o.Budget, o.Seed,
				o.Stopped); err != nil {
				return err
			}
		}
	}
	return nil
}
