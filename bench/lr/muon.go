package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
)

// factors are the multiples of the peak of the rule auto that are tried. 1 is among them.
var factors = []float64{0.5, 1, 2, 4}

// sweep is one model, batch and momentum over the factors.
type sweep struct {
	m        model
	c        corpus
	batch    int // tokens
	momentum float64
	seed     int
	points   []point // one for each of factors
}

// sweeps are those of reportMuon: shapes and sizes with one batch, then batches, another text and the other momentum.
func sweeps() (all []sweep) {
	letters, words := corpus{"text", *text, "chars"}, corpus{"chat", *chat, "bpe"}
	add := func(shape string, layers, width int, c corpus, batch int, momentum float64) {
		for seed := 1; seed <= *seeds; seed++ {
			all = append(all, sweep{m: model{shape, width, layers}, c: c, batch: batch, momentum: momentum, seed: seed})
		}
	}
	for _, size := range []struct{ layers, width int }{{2, 64}, {4, 128}, {4, 256}} {
		for _, shape := range []string{"qwen3", "llama", "gpt2"} {
			if size.width < 256 || shape == "qwen3" {
				add(shape, size.layers, size.width, letters, 2048, 0.9)
			}
		}
	}
	for _, size := range []struct{ layers, width int }{{2, 64}, {4, 128}} {
		for _, batch := range []int{1024, 4096, 8192} {
			add("qwen3", size.layers, size.width, letters, batch, 0.9)
		}
	}
	add("qwen3", 4, 128, words, 2048, 0.9)
	add("qwen3", 4, 128, letters, 2048, 0.95)
	return all
}

// reportMuon trains with multiples of the peak that the rule auto gives Muon, and writes what each reaches.
func reportMuon(w io.Writer) error {
	all := sweeps()
	work := make([]func() error, len(all))
	for i := range all {
		work[i] = all[i].run
	}
	if err := each(work); err != nil {
		return err
	}
	fmt.Fprintf(w, "Validation loss in nats per token after %d steps, by multiples of the peak of auto.\n\n", *steps)
	fmt.Fprint(w, "| model | corpus | batch | momentum | seed | auto |")
	for _, f := range factors {
		fmt.Fprintf(w, " × %g |", f)
	}
	fmt.Fprint(w, " best | auto is above it by |\n|---|---|--:|--:|--:|--:|")
	for range factors {
		fmt.Fprint(w, "--:|")
	}
	fmt.Fprintln(w, "--:|--:|")
	for _, s := range all {
		fmt.Fprintf(w, "| %s %d × %d | %s | %d | %g | %d | %.2g |", s.m.shape, s.m.layers, s.m.width, s.c.name, s.batch,
			s.momentum, s.seed, s.auto().lr)
		for _, p := range s.points {
			fmt.Fprintf(w, " %.3f |", p.loss)
		}
		factor, excess := s.best()
		fmt.Fprintf(w, " × %.2g | %.3f |\n", factor, excess)
	}
	return nil
}

// run measures the sweep.
func (s *sweep) run() error {
	settings := []string{"train.context=256", fmt.Sprint("train.batch_tokens=", s.batch), "optim.kind=muon",
		fmt.Sprint("optim.momentum=", s.momentum)}
	auto, err := train(s.m, s.c, s.seed, "auto", settings...)
	s.points = make([]point, len(factors))
	for i, f := range factors {
		if p := &s.points[i]; f == 1 {
			*p = auto
		} else if err == nil {
			*p, err = train(s.m, s.c, s.seed, strconv.FormatFloat(f*auto.lr, 'g', -1, 64), settings...)
		}
	}
	if err != nil {
		return fmt.Errorf("%+v: %w", *s, err)
	}
	_, err = fmt.Fprintf(os.Stderr, "%+v\n", *s)
	return err
}

// auto is the point of the rule.
func (s *sweep) auto() point { return s.points[slices.Index(factors, 1)] }

// best is the multiple of auto at which the parabola through the least loss and its neighbors is least, over the
// logarithm of the rate, and how far above that least auto lies, in nats. At an end it is the end.
func (s *sweep) best() (factor, excess float64) {
	k := 0
	for i := range s.points {
		if s.points[i].loss < s.points[k].loss {
			k = i
		}
	}
	least, at := s.points[k].loss, math.Log2(factors[k])
	if k > 0 && k < len(factors)-1 {
		left, right := s.points[k-1].loss, s.points[k+1].loss
		slope, bend := (right-left)/2, left+right-2*least
		at -= slope / bend
		least -= slope * slope / (2 * bend)
	}
	return math.Exp2(at), s.auto().loss - least
}
